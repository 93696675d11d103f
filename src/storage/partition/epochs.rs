//! The leader-epoch cache: where each leader's part of the log begins (KIP-101).

use crate::model::{LeaderEpoch, Offset};

/// Pairs (epoch, start offset), both strictly growing; one entry per leader that appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochCache {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl EpochCache {
    /// Notes that `epoch` appends at `offset`. An epoch that is already known or older changes nothing.
    pub fn note(&mut self, epoch: LeaderEpoch, offset: Offset) {
        if self.latest().is_none_or(|latest| epoch > latest) {
            while self.entries.last().is_some_and(|&(_, start)| start >= offset) {
                self.entries.pop();
            }
            self.entries.push((epoch, offset));
        }
    }

    /// The latest epoch that appended.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|&(epoch, _)| epoch)
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let behind = self.entries.partition_point(|&(_, start)| start <= offset);
        self.entries.get(behind.checked_sub(1)?).map(|&(epoch, _)| epoch)
    }

    /// The largest epoch not above `epoch`, and the offset behind its last record (KIP-320).
    #[must_use]
    pub fn end_offset_of(&self, epoch: LeaderEpoch, log_end_offset: Offset) -> Option<(LeaderEpoch, Offset)> {
        let behind = self.entries.partition_point(|&(known, _)| known <= epoch);
        let &(found, _) = self.entries.get(behind.checked_sub(1)?)?;
        let end = self.entries.get(behind).map_or(log_end_offset, |&(_, start)| start);
        Some((found, end))
    }

    /// Forgets epochs that begin at or behind `end_offset`.
    pub fn truncate(&mut self, end_offset: Offset) {
        self.entries.retain(|&(_, start)| start < end_offset);
    }

    /// Moves the first entry's start up to `start_offset` and forgets entries that end before it.
    pub fn advance_start(&mut self, start_offset: Offset) {
        let behind = self.entries.partition_point(|&(_, start)| start <= start_offset);
        self.entries.drain(..behind.saturating_sub(1));
        if let Some(first) = self.entries.first_mut() {
            first.1 = first.1.max(start_offset);
        }
    }

    /// All entries in order.
    #[must_use]
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kip_320_the_end_of_an_epoch_is_the_start_of_the_next() {
        let mut cache = EpochCache::default();
        cache.note(LeaderEpoch(1), Offset(0));
        cache.note(LeaderEpoch(3), Offset(50));
        cache.note(LeaderEpoch(3), Offset(70));
        assert_eq!(cache.end_offset_of(LeaderEpoch(2), Offset(90)), Some((LeaderEpoch(1), Offset(50))));
        assert_eq!(cache.end_offset_of(LeaderEpoch(3), Offset(90)), Some((LeaderEpoch(3), Offset(90))));
        assert_eq!(cache.end_offset_of(LeaderEpoch(0), Offset(90)), None);
        assert_eq!(cache.epoch_of(Offset(49)), Some(LeaderEpoch(1)));
        cache.advance_start(Offset(60));
        assert_eq!(cache.entries(), [(LeaderEpoch(3), Offset(60))]);
        cache.truncate(Offset(60));
        assert_eq!(cache.latest(), None);
    }
}
