//! The partitions of a shard, by slot. As many places are held as there were partitions at once.

use crate::model::number::index;
use crate::storage::PartitionSlot;
use crate::storage::partition::PartitionLog;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Slots {
    places: Vec<Place>,
    /// Places that nobody has.
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    log: Option<Box<PartitionLog>>,
}

impl Slots {
    /// Places, taken or not.
    pub(super) const fn place_count(&self) -> usize {
        self.places.len()
    }

    /// Gives the log a slot that no log had before.
    pub(super) fn insert(&mut self, log: PartitionLog) -> PartitionSlot {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let mut generation = 0;
        if let Some(found) = self.places.get_mut(index(u64::from(place))) {
            generation = found.generation;
            found.log = Some(Box::new(log));
        }
        PartitionSlot { place, generation }
    }

    #[inline]
    pub(super) fn get(&self, slot: PartitionSlot) -> Option<&PartitionLog> {
        let place = self.places.get(index(u64::from(slot.place)))?;
        place.log.as_deref().filter(|_| place.generation == slot.generation)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: PartitionSlot) -> Option<&mut PartitionLog> {
        let place = self.places.get_mut(index(u64::from(slot.place)))?;
        place.log.as_deref_mut().filter(|_| place.generation == slot.generation)
    }

    /// Takes the log out. From now on nothing is found by this slot.
    pub(super) fn remove(&mut self, slot: PartitionSlot) -> Option<Box<PartitionLog>> {
        let place = self.places.get_mut(index(u64::from(slot.place)))?;
        if place.generation != slot.generation {
            return None;
        }
        let log = place.log.take()?;
        // A place that has no more generations is given up.
        if let Some(next) = place.generation.checked_add(1) {
            place.generation = next;
            self.free.push(slot.place);
        }
        Some(log)
    }

    /// Who has the place.
    pub(super) fn slot_at(&self, place: usize) -> Option<PartitionSlot> {
        let found = self.places.get(place).filter(|found| found.log.is_some())?;
        Some(PartitionSlot { place: u32::try_from(place).ok()?, generation: found.generation })
    }

    /// How many there are. A place that has been given up counts.
    pub(super) const fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// All, in order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PartitionSlot, &PartitionLog)> {
        (0u32..).zip(&self.places).filter_map(|(place, found)| {
            Some((PartitionSlot { place, generation: found.generation }, found.log.as_deref()?))
        })
    }
}
