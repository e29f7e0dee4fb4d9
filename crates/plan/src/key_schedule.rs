//! The rotation schedule of signing and sealing keys.
//!
//! The list of keys is the entire state. The first key is in use. A later key without an expiry is the successor: it is
//! published, so that every server and verifier knows it before its first use, and becomes the first after
//! [`PUBLISH_AHEAD`]. A key with an expiry was in use before, and is kept to verify or open older values.

use crate::client_secret::whole_seconds;
use jiff::Timestamp;
use portcullis_config::{SealingKey, SigningKey};
use std::time::Duration;

/// The time between the publication and the first use of a key: twice the cache lifetime of documents with keys, which
/// is much longer than servers need to load it.
pub(super) const PUBLISH_AHEAD: Duration = Duration::from_mins(10);

/// A key with its times.
pub(super) trait Key {
    fn created_at(&self) -> Timestamp;
    fn set_created_at(&mut self, at: Timestamp);
    fn expires_at(&self) -> Option<Timestamp>;
    fn set_expires_at(&mut self, at: Option<Timestamp>);
}

macro_rules! key {
    ($kind:ty) => {
        impl Key for $kind {
            fn created_at(&self) -> Timestamp {
                self.created_at
            }
            fn set_created_at(&mut self, at: Timestamp) {
                self.created_at = at;
            }
            fn expires_at(&self) -> Option<Timestamp> {
                self.expires_at
            }
            fn set_expires_at(&mut self, at: Option<Timestamp>) {
                self.expires_at = at;
            }
        }
    };
}

key!(SigningKey);
key!(SealingKey);

/// When keys are replaced, and how long they are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// The age at which a key gets a successor.
    pub(super) interval: Duration,
    /// How long a key is kept after its successor became the first.
    pub(super) keep: Duration,
    /// The maximum time that a key is kept. A later expiry comes from a wrong clock.
    pub(super) keep_at_most: Duration,
    /// The maximum number of keys: at the limit, a rotation waits until one is removed.
    pub(super) most: usize,
    /// Whether a rotation was requested, at any age of the key.
    pub(super) asked: bool,
}

/// The changes of one call of [`Schedule::advance`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// The list was empty, so a key was generated and is in use at once.
    pub(super) begun: bool,
    /// A successor was generated and is published.
    pub(super) published: bool,
    /// A successor is in use now.
    pub(super) promoted: bool,
    /// When the next change is due.
    pub(super) next: Option<Timestamp>,
}

impl Schedule {
    /// Applies all changes that are due at `now`. A second call at the same time does nothing.
    pub(super) fn advance<K: Key, E>(
        &self,
        keys: &mut Vec<K>,
        now: Timestamp,
        mut make: impl FnMut() -> Result<K, E>,
    ) -> Result<Step, E> {
        let mut step = Step::default();
        if keys.is_empty() {
            keys.push(make()?);
            step.begun = true;
        }
        self.settle(keys, now);
        let ready = |key: &K| key.expires_at().is_none() && after(key.created_at(), PUBLISH_AHEAD) <= now;
        let successors = keys.iter().enumerate().skip(1).filter(|(_, key)| ready(key));
        if let Some((index, _)) = successors.max_by_key(|(_, key)| key.created_at()) {
            let successor = keys.remove(index);
            if let Some(first) = keys.first_mut() {
                first.set_expires_at(Some(after(now, self.keep)));
            }
            keys.insert(0, successor);
            self.settle(keys, now);
            step.promoted = true;
        }
        let has_successor = keys.iter().skip(1).any(|key| key.expires_at().is_none());
        let due = keys.first().map(|first| after(first.created_at(), self.interval));
        let may_rotate = !has_successor && keys.len() < self.most;
        if may_rotate && (self.asked || due.is_some_and(|due| due <= now)) {
            keys.push(make()?);
            step.published = true;
        }
        let changes = keys.iter().skip(1).map(|key| key.expires_at().unwrap_or(after(key.created_at(), PUBLISH_AHEAD)));
        step.next = changes.chain(due.filter(|_| may_rotate && !step.published)).min();
        Ok(step)
    }

    /// Repairs times that a wrong clock, an edit or a backup left, and removes expired keys, but never the first one.
    fn settle<K: Key>(&self, keys: &mut Vec<K>, now: Timestamp) {
        for key in keys.iter_mut().filter(|key| key.created_at() > now) {
            // A time in the future would postpone the rotation, perhaps forever.
            key.set_created_at(whole_seconds(now));
        }
        let Some((first, others)) = keys.split_first_mut() else { return };
        first.set_expires_at(None);
        for key in others {
            let end = match key.expires_at() {
                Some(end) => Some(end.min(after(now, self.keep_at_most))),
                // This is not a successor but a predecessor without an expiry.
                None if key.created_at() <= first.created_at() => Some(after(now, self.keep)),
                None => None,
            };
            key.set_expires_at(end);
        }
        let mut is_first = true;
        keys.retain(|key| std::mem::take(&mut is_first) || key.expires_at().is_none_or(|end| now < end));
    }
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
