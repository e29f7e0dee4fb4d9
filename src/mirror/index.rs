//! What memory knows of the things of one kind: by name, by user in order, and which names went not long ago.
//!
//! A watch tells of a write some time after it was made, and the answer to a write may come after the watch told of
//! the next one. So every thing carries its version, and older news is dropped, for deleted names too.

use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use tokio::sync::watch;

/// How long the name of a deleted thing is remembered: longer than any authorization code or answer is under way.
const REMEMBER_GONE: SignedDuration = SignedDuration::from_mins(10);

/// A thing that is indexed.
pub trait Entry {
    /// Its name.
    fn name(&self) -> &str;
    /// Which state of it this is; grows with every write.
    fn version(&self) -> u64;
    /// Whose it is, if things of this kind belong to somebody.
    fn user(&self) -> Option<&str>;
    /// What its user's things are sorted by, before their names.
    fn order(&self) -> &str {
        self.name()
    }
}

/// What is known of a name.
#[derive(Debug)]
pub enum Found<T> {
    /// It is there.
    Here(Arc<T>),
    /// It was deleted not long ago.
    Gone,
    /// Never heard of.
    Unknown,
}

/// The index. Reading takes a lock for the time of a look-up; nothing waits while it is held.
#[derive(Debug)]
pub struct Index<T> {
    inner: RwLock<Inner<T>>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner<T> {
    here: HashMap<String, Slot<T>>,
    /// By user; then by order and name.
    users: HashMap<String, BTreeMap<(String, String), Arc<T>>>,
    /// The version of which no more is to be believed.
    gone: HashMap<String, u64>,
    /// In the order of deletion.
    gone_at: VecDeque<(Timestamp, String)>,
    /// Counts lists.
    list: u64,
}

#[derive(Debug)]
struct Slot<T> {
    thing: Arc<T>,
    /// The list during or after which it was last heard of.
    list: u64,
    /// Whether the place itself told of it, and not the answer to a write.
    told: bool,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        let inner = Inner {
            here: HashMap::new(),
            users: HashMap::new(),
            gone: HashMap::new(),
            gone_at: VecDeque::new(),
            list: 0,
        };
        Self { inner: RwLock::new(inner), changed: watch::Sender::default() }
    }
}

impl<T: Entry> Index<T> {
    /// What is known of `name`.
    pub fn find(&self, name: &str) -> Found<T> {
        let inner = self.read();
        match inner.here.get(name) {
            Some(slot) => Found::Here(Arc::clone(&slot.thing)),
            None if inner.gone.contains_key(name) => Found::Gone,
            None => Found::Unknown,
        }
    }

    /// All of a user's, in order.
    pub fn of_user(&self, user: &str) -> Vec<Arc<T>> {
        self.look_at_user(user, |things| things.cloned().collect())
    }

    /// Looks at all of a user's, in order. Nothing is copied, and nothing may wait.
    pub fn look_at_user<R>(&self, user: &str, look: impl FnOnce(&mut dyn Iterator<Item = &Arc<T>>) -> R) -> R {
        let inner = self.read();
        look(&mut inner.users.get(user).into_iter().flat_map(BTreeMap::values))
    }

    /// All of a kind, in no order.
    pub fn all(&self, of_kind: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        self.read().here.values().filter(|slot| of_kind(&slot.thing)).map(|slot| Arc::clone(&slot.thing)).collect()
    }

    /// Tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// How many there are of a kind.
    pub fn count(&self, of_kind: impl Fn(&T) -> bool) -> usize {
        self.read().here.values().filter(|slot| of_kind(&slot.thing)).count()
    }

    /// The place told of a thing.
    pub fn told(&self, thing: T) -> Arc<T> {
        self.change(|inner| inner.put(thing, true))
    }

    /// The place answered a write, or a read of this one thing. Returns the newest that is known of it.
    pub fn answered(&self, thing: T) -> Arc<T> {
        self.change(|inner| inner.put(thing, false))
    }

    /// The state of `name` that is known: to be looked at before the place is asked, for [`Self::answered_none`].
    pub fn version(&self, name: &str) -> Option<u64> {
        self.read().here.get(name).map(|slot| slot.thing.version())
    }

    /// The place answered that there is no `name`. What was known when it was `asked` is gone; what was made while the
    /// answer was on its way stays. Names that nobody knew are not kept: anybody could fill memory with them.
    pub fn answered_none(&self, name: &str, asked: Option<u64>, now: Timestamp) {
        if asked.is_some() {
            self.removed(name, asked, now);
        }
    }

    /// Replaces a thing by one of the same version: something is noted that the place does not know yet.
    pub fn amend(&self, name: &str, amended: impl FnOnce(&T) -> T) {
        self.change(|inner| inner.amend(name, amended));
    }

    /// It is gone since `version`, or whatever was known of it.
    pub fn removed(&self, name: &str, version: Option<u64>, now: Timestamp) {
        self.change(|inner| inner.remove(name, version, now));
    }

    /// The place begins to tell of all things anew.
    pub fn list_begins(&self) {
        self.write().list += 1;
    }

    /// It has told of all. What it did not tell of is gone. Returns the names that only an answer told of meanwhile:
    /// whether they were made after the list or deleted before it, only the place can say.
    pub fn list_ends(&self, now: Timestamp) -> Vec<String> {
        self.change(|inner| {
            let list = inner.list;
            let old: Vec<String> =
                inner.here.iter().filter(|(_, slot)| slot.list < list).map(|(name, _)| name.clone()).collect();
            for name in old {
                inner.remove(&name, None, now);
            }
            inner.here.iter().filter(|(_, slot)| !slot.told).map(|(name, _)| name.clone()).collect()
        })
    }

    fn change<R>(&self, change: impl FnOnce(&mut Inner<T>) -> R) -> R {
        let result = change(&mut self.write());
        self.changed.send_replace(());
        result
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<T>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<T>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Entry> Inner<T> {
    fn put(&mut self, thing: T, told: bool) -> Arc<T> {
        let thing = Arc::new(thing);
        let name = thing.name();
        if let Some(slot) = self.here.get_mut(name) {
            slot.list = self.list;
            slot.told |= told;
            if slot.thing.version() >= thing.version() {
                return Arc::clone(&slot.thing);
            }
            let before = std::mem::replace(&mut slot.thing, Arc::clone(&thing));
            self.unlink(&before);
            self.link(&thing);
            return thing;
        }
        if self.gone.get(name).is_some_and(|gone| thing.version() <= *gone) {
            return thing;
        }
        self.gone.remove(name);
        self.link(&thing);
        self.here.insert(name.to_owned(), Slot { thing: Arc::clone(&thing), list: self.list, told });
        thing
    }

    fn amend(&mut self, name: &str, amended: impl FnOnce(&T) -> T) {
        if let Some(slot) = self.here.get_mut(name) {
            let after = Arc::new(amended(&slot.thing));
            let before = std::mem::replace(&mut slot.thing, Arc::clone(&after));
            self.unlink(&before);
            self.link(&after);
        }
    }

    fn link(&mut self, thing: &Arc<T>) {
        if let Some(user) = thing.user() {
            self.users.entry(user.to_owned()).or_default().insert(place(&**thing), Arc::clone(thing));
        }
    }

    fn unlink(&mut self, thing: &T) {
        if let Some(user) = thing.user()
            && let Some(things) = self.users.get_mut(user)
        {
            things.remove(&place(thing));
            if things.is_empty() {
                self.users.remove(user);
            }
        }
    }

    fn remove(&mut self, name: &str, version: Option<u64>, now: Timestamp) {
        let known = self.here.get(name).map(|slot| slot.thing.version());
        if version.is_some_and(|version| known.is_some_and(|known| version < known)) {
            return;
        }
        if let Some(slot) = self.here.remove(name) {
            self.unlink(&slot.thing);
        }
        let version = version.or(known).unwrap_or_default();
        let gone = self.gone.entry(name.to_owned()).or_default();
        *gone = version.max(*gone);
        self.gone_at.push_back((now, name.to_owned()));
        while let Some((at, _)) = self.gone_at.front()
            && now.duration_since(*at) > REMEMBER_GONE
            && let Some((_, name)) = self.gone_at.pop_front()
        {
            // Deleted, made and deleted again: its later entry is still in the queue, and forgetting early would be
            // wrong, so look whether there is one.
            if !self.gone_at.iter().any(|(_, later)| *later == name) {
                self.gone.remove(&name);
            }
        }
    }
}

fn place<T: Entry>(thing: &T) -> (String, String) {
    (thing.order().to_owned(), thing.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Thing(&'static str, u64);

    impl Entry for Thing {
        fn name(&self) -> &str {
            self.0
        }
        fn version(&self) -> u64 {
            self.1
        }
        fn user(&self) -> Option<&str> {
            Some("ann")
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn version(index: &Index<Thing>, name: &str) -> Result<u64, &'static str> {
        match index.find(name) {
            Found::Here(thing) => Ok(thing.version()),
            Found::Gone => Err("gone"),
            Found::Unknown => Err("unknown"),
        }
    }

    #[test]
    fn older_news_is_dropped_whatever_order_it_comes_in() {
        let index = Index::default();
        assert_eq!(version(&index, "a"), Err("unknown"));
        index.answered(Thing("a", 10));
        assert_eq!(index.told(Thing("a", 9)).version(), 10);
        index.told(Thing("a", 12));
        assert_eq!(version(&index, "a"), Ok(12));
        index.removed("a", Some(11), at(0));
        assert_eq!(version(&index, "a"), Ok(12), "deleted, then made again, then told of the deletion");
        index.removed("a", Some(13), at(0));
        assert_eq!(version(&index, "a"), Err("gone"));
        index.answered(Thing("a", 12));
        assert_eq!(version(&index, "a"), Err("gone"), "a late answer does not bring it back");
        assert!(index.of_user("ann").is_empty());
        index.told(Thing("a", 14));
        assert_eq!(version(&index, "a"), Ok(14), "made again");
        assert_eq!(index.of_user("ann").len(), 1);
    }

    #[test]
    fn an_answer_that_there_is_none_is_about_what_was_known_when_it_was_asked() {
        let index = Index::default();
        let asked = index.version("a");
        index.answered(Thing("a", 10));
        index.answered_none("a", asked, at(0));
        assert_eq!(version(&index, "a"), Ok(10), "made while the answer was on its way");
        let asked = index.version("a");
        index.told(Thing("a", 12));
        index.answered_none("a", asked, at(0));
        assert_eq!(version(&index, "a"), Ok(12), "deleted and made again");
        index.answered_none("a", index.version("a"), at(0));
        assert_eq!(version(&index, "a"), Err("gone"));
        index.answered_none("b", index.version("b"), at(0));
        assert_eq!(version(&index, "b"), Err("unknown"));
    }

    #[test]
    fn a_list_tells_what_is_gone_and_what_is_doubtful() {
        let index = Index::default();
        index.list_begins();
        for name in ["stays", "goes"] {
            index.told(Thing(name, 1));
        }
        assert!(index.list_ends(at(0)).is_empty());

        index.list_begins();
        index.told(Thing("stays", 1));
        index.answered(Thing("new", 7));
        assert_eq!(index.list_ends(at(0)), ["new"]);
        assert_eq!(version(&index, "goes"), Err("gone"));
        assert_eq!((version(&index, "stays"), version(&index, "new")), (Ok(1), Ok(7)));
    }

    #[test]
    fn things_are_in_order_wherever_they_move() {
        #[derive(Clone, Debug)]
        struct Named(&'static str, u64, &'static str, &'static str);
        impl Entry for Named {
            fn name(&self) -> &str {
                self.0
            }
            fn version(&self) -> u64 {
                self.1
            }
            fn user(&self) -> Option<&str> {
                Some(self.2)
            }
            fn order(&self) -> &str {
                self.3
            }
        }
        let index: Index<Named> = Index::default();
        let names = |user: &str| index.of_user(user).iter().map(|thing| thing.0).collect::<Vec<_>>();
        let mut changes = index.changes();
        for named in [Named("a", 1, "ann", "z"), Named("b", 2, "ann", "m"), Named("c", 3, "ann", "m")] {
            index.told(named);
        }
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert_eq!(names("ann"), ["b", "c", "a"]);
        index.told(Named("a", 4, "ann", "d"));
        index.amend("b", |thing| Named(thing.0, thing.1, thing.2, "n"));
        assert_eq!(names("ann"), ["a", "c", "b"], "renamed");
        index.told(Named("c", 5, "bob", "m"));
        assert_eq!((names("ann"), names("bob")), (vec!["a", "b"], vec!["c"]), "made anew by somebody else");
        index.removed("c", None, at(0));
        assert!(names("bob").is_empty());
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn deleted_names_are_remembered_for_a_while() {
        let index = Index::default();
        index.told(Thing("a", 1));
        index.removed("a", Some(2), at(0));
        index.removed("b", None, at(300));
        assert_eq!(version(&index, "a"), Err("gone"), "five minutes later");
        index.removed("a", Some(3), at(500));
        index.removed("c", None, at(700));
        assert_eq!(version(&index, "a"), Err("gone"), "deleted twice");
        index.removed("d", None, at(1200));
        assert_eq!(version(&index, "a"), Err("unknown"));
        assert_eq!(version(&index, "c"), Err("gone"));
    }
}
