//! Negative cache of grant and registration names. A name is issued only after its object was created and is never
//! reused, so a missing object does not appear later.

use jiff::{SignedDuration, Timestamp};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How long a name is cached. An object that is restored from a backup is found in memory, which is read first.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);
/// Maximum number of names. Only names with a valid MAC are cached, so a client needs that many genuine ones to fill
/// it.
const CAPACITY: usize = 4096;

/// The missing names, with the time of the last miss.
#[derive(Default)]
pub(super) struct Misses(Mutex<HashMap<String, Timestamp>>);

impl Misses {
    /// Whether the store recently reported that this name does not exist.
    pub(crate) fn has(&self, name: &str, now: Timestamp) -> bool {
        self.names().get(name).is_some_and(|since| recent(*since, now))
    }

    /// Records that the store has no object of this name.
    pub(crate) fn note(&self, name: &str, now: Timestamp) {
        let mut names = self.names();
        if names.len() >= CAPACITY {
            names.retain(|_, since| recent(*since, now));
        }
        if names.len() >= CAPACITY {
            names.clear();
        }
        names.insert(name.to_owned(), now);
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        // A poisoned map is consistent: no code panics between two writes to it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn recent(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since).abs() < REMEMBERED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn names_are_remembered_for_a_while_and_not_without_end() {
        let misses = Misses::default();
        misses.note("a", at(0));
        assert!(misses.has("a", at(599)) && !misses.has("a", at(600)) && !misses.has("b", at(0)));
        for name in 0..3 * CAPACITY {
            misses.note(&name.to_string(), at(0));
        }
        assert!(misses.names().len() <= CAPACITY);
        misses.note("last", at(700));
        assert!(misses.has("last", at(700)));
    }
}
