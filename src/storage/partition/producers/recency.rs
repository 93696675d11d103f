//! A table whose entries are also in the order in which they were last used.
//!
//! Finding, using and forgetting cost O(log n), and nothing is allocated for an entry that is known. Entries lie densely in
//! one vector, each naming its neighbours in the order by their places; what is given up is given back, so that the vector
//! is never larger than twice what is in it.

use std::collections::BTreeMap;

use crate::model::number::index;

/// No place: before the oldest and behind the newest.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Entry<T> {
    id: i64,
    older: u32,
    newer: u32,
    value: T,
}

/// Values by id, in the order of their last use.
#[derive(Clone, Debug)]
pub(super) struct Recency<T> {
    places: BTreeMap<i64, u32>,
    entries: Vec<Entry<T>>,
    oldest: u32,
    newest: u32,
}

impl<T> Default for Recency<T> {
    fn default() -> Self {
        Self { places: BTreeMap::new(), entries: Vec::new(), oldest: NONE, newest: NONE }
    }
}

impl<T> Recency<T> {
    pub(super) fn get(&self, id: i64) -> Option<&T> {
        self.entry(*self.places.get(&id)?).map(|entry| &entry.value)
    }

    /// The value of `id`, made by `make` if there is none, which is now the newest. `None` if the table is full: it holds at
    /// most 2³² − 1.
    pub(super) fn use_or_insert(&mut self, id: i64, make: impl FnOnce() -> T) -> Option<&mut T> {
        let place = match self.places.get(&id) {
            Some(&place) => {
                if place != self.newest {
                    self.unlink(place);
                    self.link_newest(place);
                }
                place
            }
            None => {
                let place = u32::try_from(self.entries.len()).ok().filter(|&place| place != NONE)?;
                self.entries.push(Entry { id, older: NONE, newer: NONE, value: make() });
                self.places.insert(id, place);
                self.link_newest(place);
                place
            }
        };
        self.entries.get_mut(index(u64::from(place))).map(|entry| &mut entry.value)
    }

    pub(super) fn oldest(&self) -> Option<&T> {
        self.entry(self.oldest).map(|entry| &entry.value)
    }

    pub(super) fn forget_oldest(&mut self) {
        self.remove(self.oldest);
    }

    /// Forgets all of which `keep`, which may change them, says no.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let mut place = 0;
        while let Some(entry) = self.entries.get_mut(index(u64::from(place))) {
            if keep(&mut entry.value) {
                place += 1;
            } else {
                // The last one comes to stand here.
                self.remove(place);
            }
        }
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &T)> {
        let mut place = self.oldest;
        std::iter::from_fn(move || {
            let entry = self.entry(place)?;
            place = entry.newer;
            Some((entry.id, &entry.value))
        })
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn entry(&self, place: u32) -> Option<&Entry<T>> {
        self.entries.get(index(u64::from(place)))
    }

    fn remove(&mut self, place: u32) {
        self.unlink(place);
        let at = index(u64::from(place));
        if at >= self.entries.len() {
            return;
        }
        let removed = self.entries.swap_remove(at);
        self.places.remove(&removed.id);
        if let Some(moved) = self.entries.get(at) {
            let (id, older, newer) = (moved.id, moved.older, moved.newer);
            self.places.insert(id, place);
            self.set_newer(older, place);
            self.set_older(newer, place);
        }
        let capacity = self.entries.len().saturating_mul(3) / 2;
        if self.entries.len().saturating_mul(2) < self.entries.capacity() {
            self.entries.shrink_to(capacity);
        }
    }

    fn unlink(&mut self, place: u32) {
        let Some(entry) = self.entry(place) else { return };
        let (older, newer) = (entry.older, entry.newer);
        self.set_newer(older, newer);
        self.set_older(newer, older);
    }

    fn link_newest(&mut self, place: u32) {
        let before = self.newest;
        self.set_newer(before, place);
        self.set_older(place, before);
        self.set_newer(place, NONE);
        self.newest = place;
    }

    /// What comes behind `place`; before the oldest stands nothing, and what comes behind that is the oldest.
    fn set_newer(&mut self, place: u32, newer: u32) {
        match self.entries.get_mut(index(u64::from(place))) {
            Some(entry) if place != NONE => entry.newer = newer,
            _ => self.oldest = newer,
        }
    }

    fn set_older(&mut self, place: u32, older: u32) {
        match self.entries.get_mut(index(u64::from(place))) {
            Some(entry) if place != NONE => entry.older = older,
            _ => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Against a list that is searched from end to end.
    #[test]
    fn order_and_values_are_those_of_a_plain_list() {
        let mut table = Recency::default();
        let mut plain: VecDeque<(i64, u64)> = VecDeque::new();
        let mut random = 1_u64;
        for step in 0..20_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let id = i64::try_from(random >> 33).unwrap() % 60;
            match (random >> 20) % 16 {
                0..3 => {
                    table.forget_oldest();
                    plain.pop_front();
                }
                3 if step % 8 == 0 => {
                    table.retain(|value: &mut u64| !value.is_multiple_of(3));
                    plain.retain(|(_, value)| !value.is_multiple_of(3));
                }
                _ => {
                    let known = plain.iter().position(|&(found, _)| found == id);
                    let value = known.and_then(|place| plain.remove(place)).map_or(0, |(_, value)| value);
                    plain.push_back((id, value + step));
                    *table.use_or_insert(id, || 0).unwrap() += step;
                }
            }
            assert_eq!(table.oldest(), plain.front().map(|(_, value)| value));
            assert_eq!(table.get(id), plain.iter().find(|&&(found, _)| found == id).map(|(_, value)| value));
            assert!(table.iter().map(|(id, &value)| (id, value)).eq(plain.iter().copied()), "step {step}");
            assert!((table.len(), table.is_empty()) == (plain.len(), plain.is_empty()));
        }
    }

    #[test]
    fn what_is_forgotten_is_given_back() {
        let mut table = Recency::default();
        for id in 0..10_000 {
            table.use_or_insert(id, || id);
        }
        assert!(table.entries.capacity() <= 20_000);
        for _ in 0..9_990 {
            table.forget_oldest();
        }
        assert!(
            table.entries.capacity() <= 20
                && table
                    .iter()
                    .eq((9_990..10_000).map(|id| (id, &table.entries[table.places[&id] as usize].value)))
        );
    }
}
