//! What memory knows of the things of one kind: by name, by user in order, and which names went not long ago.
//!
//! A watch tells of a write some time after it was made, and the answer to a write may come after the watch told of
//! the next one. So every thing carries its version, and older news is dropped, for deleted names too.
//!
//! Work that grows with the number of things is done in steps, and the lock is released between two of them: a relist
//! and the expiry of many tombstones at once do not hold up requests.

use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use tokio::sync::watch;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// The most entries that are visited under one hold of the write lock. Every request needs the lock.
const STEP: usize = 256;
/// How many expired tombstones a removal drops: more than it adds, so that their number falls.
const EXPIRE_PER_REMOVAL: usize = 4;

/// How long the name of a deleted thing is remembered: longer than any authorization code or answer is under way.
const TOMBSTONE_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// A thing that is indexed.
pub trait Indexed {
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
pub enum Lookup<T> {
    /// It is there.
    Present(Arc<T>),
    /// It was deleted not long ago.
    Deleted,
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
    /// Numbered, so that a sweep can be interrupted.
    present: IndexMap<Arc<str>, Slot<T>>,
    /// By user; then by order and name.
    users: HashMap<String, BTreeMap<(String, String), Arc<T>>>,
    deleted: HashMap<Arc<str>, Tombstone>,
    /// In the order of deletion. A name that was deleted again has an entry for each time.
    deleted_at: VecDeque<(Timestamp, Arc<str>)>,
    /// Counts lists.
    list: u64,
    /// How many entries were visited under this hold of the lock.
    #[cfg(test)]
    visited: usize,
    #[cfg(test)]
    most_visited: usize,
}

/// The name of a deleted thing.
#[derive(Debug)]
struct Tombstone {
    /// Versions up to this one are old news.
    version: u64,
    /// When it was last deleted.
    at: Timestamp,
}

#[derive(Debug)]
struct Slot<T> {
    thing: Arc<T>,
    /// The list during or after which it was last heard of.
    list: u64,
    /// Whether the place itself told of it, and not the answer to a write.
    from_watch: bool,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        let inner = Inner {
            present: IndexMap::new(),
            users: HashMap::new(),
            deleted: HashMap::new(),
            deleted_at: VecDeque::new(),
            list: 0,
            #[cfg(test)]
            visited: 0,
            #[cfg(test)]
            most_visited: 0,
        };
        Self { inner: RwLock::new(inner), changed: watch::Sender::default() }
    }
}

impl<T: Indexed> Index<T> {
    /// What is known of `name`.
    pub fn find(&self, name: &str) -> Lookup<T> {
        let inner = self.read();
        match inner.present.get(name) {
            Some(slot) => Lookup::Present(Arc::clone(&slot.thing)),
            None if inner.deleted.contains_key(name) => Lookup::Deleted,
            None => Lookup::Unknown,
        }
    }

    /// All of a user's, in order.
    pub fn of_user(&self, user: &str) -> Vec<Arc<T>> {
        self.with_user(user, |things| things.cloned().collect())
    }

    /// Looks at all of a user's, in order. Nothing is copied, and nothing may wait.
    pub fn with_user<R>(&self, user: &str, look: impl FnOnce(&mut dyn Iterator<Item = &Arc<T>>) -> R) -> R {
        let inner = self.read();
        look(&mut inner.users.get(user).into_iter().flat_map(BTreeMap::values))
    }

    /// All of a kind, in no order.
    pub fn all(&self, of_kind: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        self.read().present.values().filter(|slot| of_kind(&slot.thing)).map(|slot| Arc::clone(&slot.thing)).collect()
    }

    /// Tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// How many there are of a kind.
    pub fn count(&self, of_kind: impl Fn(&T) -> bool) -> usize {
        self.read().present.values().filter(|slot| of_kind(&slot.thing)).count()
    }

    /// The place told of a thing.
    pub fn apply_watch_event(&self, thing: T) -> Arc<T> {
        self.change(|inner| inner.put(thing, true))
    }

    /// The place answered a write, or a read of this one thing. Returns the newest that is known of it.
    pub fn apply_response(&self, thing: T) -> Arc<T> {
        self.change(|inner| inner.put(thing, false))
    }

    /// The state of `name` that is known: to be looked at before the place is asked, for [`Self::apply_not_found`].
    pub fn version(&self, name: &str) -> Option<u64> {
        self.read().present.get(name).map(|slot| slot.thing.version())
    }

    /// The place answered that there is no `name`. What was known when it was `asked` is gone; what was made while the
    /// answer was on its way stays. Names that nobody knew are not kept: anybody could fill memory with them.
    pub fn apply_not_found(&self, name: &str, asked: Option<u64>, now: Timestamp) {
        if asked.is_some() {
            self.removed(name, asked, now);
        }
    }

    /// Replaces a thing by one of the same version: something is noted that the place does not know yet.
    pub fn update_local(&self, name: &str, update: impl FnOnce(&T) -> T) {
        self.change(|inner| inner.update_local(name, update));
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
        let mut doubtful = Vec::new();
        let mut next = Some(usize::MAX);
        while let Some(end) = next {
            next = self.change(|inner| inner.sweep(end, now, &mut doubtful));
        }
        doubtful
    }

    /// Forgets names that were deleted long ago. Removals do so too, but there may be none for long.
    pub fn forget(&self, now: Timestamp) {
        while self.hold(|inner| inner.expire(now, STEP)) {}
    }

    fn change<R>(&self, change: impl FnOnce(&mut Inner<T>) -> R) -> R {
        let result = self.hold(change);
        self.changed.send_replace(());
        result
    }

    /// One hold of the write lock.
    fn hold<R>(&self, work: impl FnOnce(&mut Inner<T>) -> R) -> R {
        let mut inner = self.write();
        #[cfg(test)]
        {
            inner.visited = 0;
        }
        let result = work(&mut inner);
        #[cfg(test)]
        {
            inner.most_visited = inner.most_visited.max(inner.visited);
        }
        result
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<T>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<T>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Indexed> Inner<T> {
    fn put(&mut self, thing: T, from_watch: bool) -> Arc<T> {
        let thing = Arc::new(thing);
        let name = thing.name();
        if let Some(slot) = self.present.get_mut(name) {
            slot.list = self.list;
            slot.from_watch |= from_watch;
            if slot.thing.version() >= thing.version() {
                return Arc::clone(&slot.thing);
            }
            let before = std::mem::replace(&mut slot.thing, Arc::clone(&thing));
            self.unlink(&before);
            self.link(&thing);
            return thing;
        }
        if self.deleted.get(name).is_some_and(|deleted| thing.version() <= deleted.version) {
            return thing;
        }
        self.deleted.remove(name);
        self.link(&thing);
        self.present.insert(name.into(), Slot { thing: Arc::clone(&thing), list: self.list, from_watch });
        thing
    }

    fn update_local(&mut self, name: &str, update: impl FnOnce(&T) -> T) {
        if let Some(slot) = self.present.get_mut(name) {
            let after = Arc::new(update(&slot.thing));
            let before = std::mem::replace(&mut slot.thing, Arc::clone(&after));
            self.unlink(&before);
            self.link(&after);
        }
    }

    fn link(&mut self, thing: &Arc<T>) {
        if let Some(user) = thing.user() {
            self.users.entry(user.to_owned()).or_default().insert(sort_key(&**thing), Arc::clone(thing));
        }
    }

    fn unlink(&mut self, thing: &T) {
        if let Some(user) = thing.user()
            && let Some(things) = self.users.get_mut(user)
        {
            things.remove(&sort_key(thing));
            if things.is_empty() {
                self.users.remove(user);
            }
        }
    }

    fn remove(&mut self, name: &str, version: Option<u64>, now: Timestamp) {
        self.bury(name, version, now);
        self.expire(now, EXPIRE_PER_REMOVAL);
    }

    fn bury(&mut self, name: &str, version: Option<u64>, now: Timestamp) {
        let known = self.present.get(name).map(|slot| slot.thing.version());
        if version.is_some_and(|version| known.is_some_and(|known| version < known)) {
            return;
        }
        let name = match self.present.swap_remove_entry(name) {
            Some((name, slot)) => {
                self.unlink(&slot.thing);
                name
            }
            None => name.into(),
        };
        let version = version.or(known).unwrap_or_default();
        let deleted = self.deleted.entry(Arc::clone(&name)).or_insert(Tombstone { version, at: now });
        deleted.version = version.max(deleted.version);
        deleted.at = now;
        self.deleted_at.push_back((now, name));
    }

    /// Drops at most `most` entries of names that were deleted long ago. Returns whether there may be more.
    fn expire(&mut self, now: Timestamp, most: usize) -> bool {
        for _ in 0..most {
            #[cfg(test)]
            {
                self.visited += 1;
            }
            let is_old = |(at, _): &mut (Timestamp, _)| now.duration_since(*at) > TOMBSTONE_LIFETIME;
            let Some((at, name)) = self.deleted_at.pop_front_if(is_old) else { return false };
            // Not if it was deleted again since: a later entry stands for that.
            if self.deleted.get(&name).is_some_and(|deleted| deleted.at <= at) {
                self.deleted.remove(&name);
            }
        }
        true
    }

    /// Looks at the things with the numbers from `end - STEP` to `end`: removes those that the list did not tell of, and
    /// collects the doubtful ones. Returns where to go on; `None`: there is no more.
    ///
    /// From the last to the first, since a removal moves the last thing to the place of the removed one: so what was not
    /// looked at yet stays below `end`, whatever happens between two steps.
    fn sweep(&mut self, end: usize, now: Timestamp, doubtful: &mut Vec<String>) -> Option<usize> {
        let end = end.min(self.present.len());
        let begin = end.saturating_sub(STEP);
        for index in (begin..end).rev() {
            #[cfg(test)]
            {
                self.visited += 1;
            }
            let Some((name, slot)) = self.present.get_index(index) else { continue };
            if slot.list < self.list {
                let name = Arc::clone(name);
                self.bury(&name, None, now);
            } else if !slot.from_watch {
                doubtful.push((**name).to_owned());
            }
        }
        self.expire(now, STEP);
        (begin > 0).then_some(begin)
    }
}

fn sort_key<T: Indexed>(thing: &T) -> (String, String) {
    (thing.order().to_owned(), thing.name().to_owned())
}
