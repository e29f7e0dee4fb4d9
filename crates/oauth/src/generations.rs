//! A bounded map that evicts entries without a scan: when the young half is full, it becomes the old half, and the
//! previous old half is dropped.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, mem};

/// The map. An entry stays for at least `half` insertions of other entries.
#[derive(Debug)]
pub(crate) struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Hash + Eq, V> Generations<K, V> {
    /// An empty map for at most `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (capacity / 2).max(1) }
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Returns the dropped entries, so that the caller can release a lock before they are freed.
    #[must_use]
    pub(crate) fn insert(&mut self, key: K, value: V) -> HashMap<K, V> {
        let mut dropped = HashMap::new();
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            dropped = mem::replace(&mut self.old, mem::take(&mut self.young));
        }
        self.young.insert(key, value);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_keeps_what_is_new() {
        let mut map = Generations::new(100);
        for number in 0..10_000 {
            drop(map.insert(number, number));
            assert!(map.young.len() + map.old.len() <= 100);
            let oldest_kept = (number - 50_i32).max(0);
            assert!((oldest_kept..=number).all(|kept| map.get(&kept) == Some(&kept)), "{number}");
        }
        assert_eq!(map.get(&0), None);
        drop(map.insert(9_999, 1));
        assert_eq!(map.get(&9_999), Some(&1), "the newest value counts");
    }
}
