//! An index of the objects of one kind: by name, by user in order, and the names that were deleted recently.
//!
//! A watch reports a write with a delay, and the response to a write may arrive after the watch has reported the next
//! one. So every object carries its version, and older events are dropped, for deleted names too.
//!
//! Work that grows with the number of objects is done in steps, and the lock is released between two steps: a relist
//! and the expiry of many tombstones at once do not delay requests.

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

/// How long the name of a deleted object is kept: longer than the lifetime of an authorization code, and than any
/// response takes.
const TOMBSTONE_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// An object in the index.
pub trait Indexed {
    /// The name.
    fn name(&self) -> &str;
    /// The version, which grows with every write.
    fn version(&self) -> u64;
    /// The user that it belongs to, if objects of this kind belong to users.
    fn user(&self) -> Option<&str>;
    /// The first sort key of the objects of a user. The second one is the name.
    fn order(&self) -> &str {
        self.name()
    }
}

/// The result of a lookup by name.
#[derive(Debug)]
pub enum Lookup<T> {
    /// The object exists.
    Present(Arc<T>),
    /// The object was deleted recently.
    Deleted,
    /// The index has never seen the name.
    Unknown,
}

/// The index. A lookup holds a read lock, and does nothing that can wait.
#[derive(Debug)]
pub struct Index<T> {
    inner: RwLock<Inner<T>>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner<T> {
    /// By position too, so that a sweep can be interrupted.
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

/// The name of a deleted object.
#[derive(Debug)]
struct Tombstone {
    /// Events up to this version are old.
    version: u64,
    /// The time of the last deletion.
    at: Timestamp,
}

#[derive(Debug)]
struct Slot<T> {
    thing: Arc<T>,
    /// The number of the list during or after which the object was last reported.
    list: u64,
    /// Whether the watch reported it, and not only the response to a write.
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
    /// Looks up `name`.
    pub fn find(&self, name: &str) -> Lookup<T> {
        let inner = self.read();
        match inner.present.get(name) {
            Some(slot) => Lookup::Present(Arc::clone(&slot.thing)),
            None if inner.deleted.contains_key(name) => Lookup::Deleted,
            None => Lookup::Unknown,
        }
    }

    /// All objects of a user, in order.
    pub fn of_user(&self, user: &str) -> Vec<Arc<T>> {
        self.with_user(user, |things| things.cloned().collect())
    }

    /// Calls `look` with all objects of a user, in order, under the read lock. `look` must not wait.
    pub fn with_user<R>(&self, user: &str, look: impl FnOnce(&mut dyn Iterator<Item = &Arc<T>>) -> R) -> R {
        let inner = self.read();
        look(&mut inner.users.get(user).into_iter().flat_map(BTreeMap::values))
    }

    /// All objects that meet the condition, in no order.
    pub fn all(&self, of_kind: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        self.read().present.values().filter(|slot| of_kind(&slot.thing)).map(|slot| Arc::clone(&slot.thing)).collect()
    }

    /// Notifies of every change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The number of objects that meet the condition.
    pub fn count(&self, of_kind: impl Fn(&T) -> bool) -> usize {
        self.read().present.values().filter(|slot| of_kind(&slot.thing)).count()
    }

    /// Applies an object that the watch reported.
    pub fn apply_watch_event(&self, thing: T) -> Arc<T> {
        self.change(|inner| inner.put(thing, true))
    }

    /// Applies the response to a write, or to a read of this one object. Returns the newest known version of the object.
    pub fn apply_response(&self, thing: T) -> Arc<T> {
        self.change(|inner| inner.put(thing, false))
    }

    /// The known version of `name`. Read it before the request, for [`Self::apply_not_found`].
    pub fn version(&self, name: &str) -> Option<u64> {
        self.read().present.get(name).map(|slot| slot.thing.version())
    }

    /// Applies the response that `name` does not exist. `asked` is the version that was known before the request: it is
    /// deleted, and an object that was created meanwhile stays. Unknown names leave no tombstone: clients could fill
    /// memory with them.
    pub fn apply_not_found(&self, name: &str, asked: Option<u64>, now: Timestamp) {
        if asked.is_some() {
            self.removed(name, asked, now);
        }
    }

    /// Replaces an object by one of the same version, with a change that the API server does not know yet.
    pub fn update_local(&self, name: &str, update: impl FnOnce(&T) -> T) {
        self.change(|inner| inner.update_local(name, update));
    }

    /// Removes an object that was deleted at `version`, or at any version.
    pub fn removed(&self, name: &str, version: Option<u64>, now: Timestamp) {
        self.change(|inner| inner.remove(name, version, now));
    }

    /// A new list of all objects begins.
    pub fn list_begins(&self) {
        self.write().list += 1;
    }

    /// The list is complete: objects that are not in it are removed. Returns the names that only responses reported
    /// meanwhile. Whether they were created after the list or deleted before it, only the API server knows.
    pub fn list_ends(&self, now: Timestamp) -> Vec<String> {
        let mut doubtful = Vec::new();
        let mut next = Some(usize::MAX);
        while let Some(end) = next {
            next = self.change(|inner| inner.sweep(end, now, &mut doubtful));
        }
        doubtful
    }

    /// Drops expired tombstones. Removals do so too, but there may be none for a long time.
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

    /// Drops at most `most` expired tombstones. Returns whether there may be more.
    fn expire(&mut self, now: Timestamp, most: usize) -> bool {
        for _ in 0..most {
            #[cfg(test)]
            {
                self.visited += 1;
            }
            let is_old = |(at, _): &mut (Timestamp, _)| now.duration_since(*at) > TOMBSTONE_LIFETIME;
            let Some((at, name)) = self.deleted_at.pop_front_if(is_old) else { return false };
            // Unless the name was deleted again since: then there is a later entry.
            if self.deleted.get(&name).is_some_and(|deleted| deleted.at <= at) {
                self.deleted.remove(&name);
            }
        }
        true
    }

    /// Visits the objects at the positions from `end - STEP` to `end`: removes those that were not in the list, and
    /// collects the doubtful ones. Returns where to continue; `None`: the sweep is complete.
    ///
    /// From the last to the first, since a removal moves the last object to the position of the removed one: so objects
    /// that were not visited yet stay below `end`, whatever happens between two steps.
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
