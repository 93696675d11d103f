//! A sorted map whose clones share what they have in common.
//!
//! Why: the cluster image is published as a whole after each batch of records, and must not be copied as a whole.
//! A clone costs one reference count. The first write after it copies the list of chunks (some n / 64 pointers)
//! and one chunk of at most 128 entries; later writes to the same chunk copy nothing until the next clone. For 10,000
//! entries that is some 300 reference counts instead of 10,000.
//!
//! Invariants: keys ascend through and across chunks; no chunk is empty or has more than 128 entries.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

const CHUNK_ENTRIES_MAX: usize = 128;

/// See the module. Iteration order is the order of the keys.
pub struct SharedMap<K, V> {
    chunks: Arc<Vec<Arc<Chunk<K, V>>>>,
    len: usize,
}

type Chunk<K, V> = Vec<(K, V)>;

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    #[must_use]
    pub fn new() -> Self {
        Self { chunks: Arc::new(Vec::new()), len: 0 }
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// O(log n).
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let place = chunk.binary_search_by(|(known, _)| known.borrow().cmp(key)).ok()?;
        chunk.get(place).map(|(_, value)| value)
    }

    /// Puts `value` under `key` and returns what stood there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let chunk_place = self.chunk_of(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(shared) = chunks.get_mut(chunk_place) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let chunk = Arc::make_mut(shared);
        match chunk.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(place) => chunk.get_mut(place).map(|(_, old)| std::mem::replace(old, value)),
            Err(place) => {
                chunk.insert(place, (key, value));
                self.len += 1;
                if chunk.len() > CHUNK_ENTRIES_MAX {
                    let upper = chunk.split_off(CHUNK_ENTRIES_MAX / 2);
                    chunks.insert(chunk_place + 1, Arc::new(upper));
                }
                None
            }
        }
    }

    /// Takes `key` out and returns what stood there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let chunk_place = self.chunk_of(key);
        let place =
            self.chunks.get(chunk_place)?.binary_search_by(|(known, _)| known.borrow().cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(chunk_place)?);
        let (_, value) = chunk.remove(place);
        self.len -= 1;
        let entry_count = chunk.len();
        if entry_count == 0 {
            chunks.remove(chunk_place);
        } else {
            Self::merge_small(chunks, chunk_place, entry_count);
        }
        Some(value)
    }

    /// Joins the chunk at `place` with its successor if both are small, so that removals do not leave a long list.
    fn merge_small(chunks: &mut Vec<Arc<Chunk<K, V>>>, place: usize, entry_count: usize) {
        let next_count = chunks.get(place + 1).map_or(CHUNK_ENTRIES_MAX, |next| next.len());
        if entry_count + next_count <= CHUNK_ENTRIES_MAX / 2 {
            let next = chunks.remove(place + 1);
            if let Some(chunk) = chunks.get_mut(place) {
                Arc::make_mut(chunk).extend_from_slice(&next);
            }
        }
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }

    /// The entries that may not be in `older`: all but those of chunks that both share. O(n / 64 log n) beside them; nothing, if
    /// one is a clone of the other.
    pub fn unshared<'m>(&'m self, older: &'m Self) -> impl Iterator<Item = (&'m K, &'m V)> {
        let chunks = if Arc::ptr_eq(&self.chunks, &older.chunks) { &[][..] } else { self.chunks.as_slice() };
        let is_shared = |chunk: &Arc<Chunk<K, V>>| {
            let place = chunk.first().map(|(first, _)| older.chunk_of(first));
            let known = place.and_then(|place| older.chunks.get(place));
            known.is_some_and(|known| Arc::ptr_eq(known, chunk))
        };
        let changed = chunks.iter().filter(move |chunk| !is_shared(chunk));
        changed.flat_map(|chunk| chunk.iter()).map(|(key, value)| (key, value))
    }

    /// The entries from `key` on, in the order of their keys. O(log n) to the first.
    pub fn iter_from<Q: Ord + ?Sized>(&self, key: &Q) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let chunk_place = self.chunk_of(key);
        let skipped = self
            .chunks
            .get(chunk_place)
            .map_or(0, |chunk| chunk.partition_point(|(known, _)| known.borrow() < key));
        let chunks = self.chunks.iter().skip(chunk_place);
        chunks.flat_map(|chunk| chunk.iter()).skip(skipped).map(|(key, value)| (key, value))
    }

    /// The place of the last chunk that begins at or before `key`, else of the first.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let begins_later = |chunk: &Arc<Chunk<K, V>>| {
            chunk.first().is_some_and(|(first, _)| first.borrow().cmp(key) == Ordering::Greater)
        };
        self.chunks.partition_point(|chunk| !begins_later(chunk)).saturating_sub(1)
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), len: self.len }
    }
}

impl<K: Ord + Clone, V: Clone> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// Equal entries make equal maps, however they are cut into chunks.
impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Ord + Clone, V: Clone + Eq> Eq for SharedMap<K, V> {}

impl<K: Ord + Clone + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn check_invariants(map: &SharedMap<u16, u32>) {
        assert!(map.chunks.iter().all(|chunk| (1..=CHUNK_ENTRIES_MAX).contains(&chunk.len())));
        assert!(map.iter().is_sorted_by(|a, b| a.0 < b.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_does_what_a_tree_does_and_clones_do_not_change(
            steps in prop::collection::vec((any::<bool>(), 0u16..600, any::<u32>()), 0..1500),
            removed_at_last in 0u16..600,
            clone_at in 0usize..1500,
            from in 0u16..600,
        ) {
            let (mut ours, mut naive) = (SharedMap::new(), BTreeMap::new());
            let mut kept = None;
            for (number, &(insert, key, value)) in steps.iter().enumerate() {
                if insert {
                    prop_assert_eq!(ours.insert(key, value), naive.insert(key, value));
                } else {
                    prop_assert_eq!(ours.remove(&key), naive.remove(&key));
                }
                prop_assert_eq!(ours.get(&key), naive.get(&key));
                if number == clone_at {
                    kept = Some((ours.clone(), naive.clone()));
                }
            }
            for key in 0..removed_at_last {
                prop_assert_eq!(ours.remove(&key), naive.remove(&key));
            }
            check_invariants(&ours);
            prop_assert_eq!(ours.len(), naive.len());
            prop_assert!(ours.iter().eq(naive.iter()));
            prop_assert!(ours.iter_from(&from).eq(naive.range(from..)));
            if let Some((old, naive)) = kept {
                prop_assert!(old.iter().eq(naive.iter()));
                for (map, other) in [(&ours, &old), (&old, &ours)] {
                    let unshared: BTreeMap<u16, u32> = map.unshared(other).map(|(k, v)| (*k, *v)).collect();
                    for (key, value) in map.iter() {
                        prop_assert!(other.get(key) == Some(value) || unshared.get(key) == Some(value));
                    }
                }
            }
        }
    }

    #[test]
    fn a_write_after_a_clone_copies_one_chunk_only() {
        let mut map = SharedMap::new();
        for key in 0u32..10_000 {
            map.insert(key, Arc::new(key));
        }
        let old = map.clone();
        map.insert(5_000, Arc::new(0));
        let copied = old.iter().filter(|(_, value)| Arc::strong_count(value) > 1).count();
        assert!(copied < CHUNK_ENTRIES_MAX, "{copied} entries were copied");
        assert_eq!((old.unshared(&map).count(), map.unshared(&old).count()), (copied + 1, copied + 1));
        assert_eq!(map.unshared(&map.clone()).count(), 0);
        assert_eq!(old.get(&5_000).map(|value| **value), Some(5_000));
    }
}
