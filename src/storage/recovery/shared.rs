//! What partitions that are recovered at the same time have in common: the bounds of what they hold together.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use super::RecoveryOptions;
use crate::model::Offset;
use crate::model::limits::PRODUCERS_PER_SHARD_MAX;
use crate::storage::partition::PartitionLog;

/// Index entries that wait in memory to be written when the broker serves.
const DUE_ENTRIES_MAX: u64 = 1 << 20;

/// What is read of trusted segments to make indices that a death has prevented; segments for which it does not do have none, and
/// reads in them take longer. Unit: bytes.
const MISSING_INDEX_BYTES_MAX: u64 = 256 << 20;

/// Of one recovery.
pub(super) struct Shared<'a> {
    /// A checkpoint is missing or damaged.
    pub(super) unsure: bool,
    pub(super) options: &'a RecoveryOptions,
    due_entries: AtomicU64,
    missing_index_bytes: AtomicU64,
    found: Mutex<Found>,
    producers_max: usize,
}

/// The logs that are done, in that order, with their places among all.
#[derive(Default)]
struct Found {
    places: Vec<usize>,
    logs: Vec<PartitionLog>,
    producer_count: usize,
}

impl<'a> Shared<'a> {
    pub(super) fn new(unsure: bool, options: &'a RecoveryOptions) -> Self {
        Self {
            unsure,
            options,
            due_entries: AtomicU64::new(0),
            missing_index_bytes: AtomicU64::new(0),
            found: Mutex::default(),
            producers_max: PRODUCERS_PER_SHARD_MAX,
        }
    }

    /// Whether there is room for so many more entries of indices to be written later; if so, it is taken.
    pub(super) fn may_wait(&self, entries: u64) -> bool {
        take_within(&self.due_entries, entries, DUE_ENTRIES_MAX)
    }

    /// Whether so much may still be read for an index; if so, it counts as read.
    pub(super) fn may_read_for_index(&self, bytes: u64) -> bool {
        take_within(&self.missing_index_bytes, bytes, MISSING_INDEX_BYTES_MAX)
    }

    /// Takes a log that is done. All together remember no more producers than a shard may.
    pub(super) fn take(&self, place: usize, log: PartitionLog) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.producer_count = found.producer_count.saturating_add(log.producers.len());
        found.places.push(place);
        found.logs.push(log);
        if found.producer_count > self.producers_max {
            found.producer_count = share_producers(&mut found.logs, self.producers_max);
        }
    }

    /// The logs, by their places.
    pub(super) fn into_logs(self) -> impl Iterator<Item = PartitionLog> {
        let Found { places, logs, .. } = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = places.into_iter().zip(logs).collect();
        found.sort_unstable_by_key(|&(place, _)| place);
        found.into_iter().map(|(_, log)| log)
    }
}

/// Adds to the count, unless it would be more than `max`.
fn take_within(count: &AtomicU64, more: u64, max: u64) -> bool {
    count.fetch_update(Relaxed, Relaxed, |count| count.checked_add(more).filter(|sum| *sum <= max)).is_ok()
}

/// Of more than `max` producers, the partitions that have the most forget those that have been idle longest, until an eighth of
/// `max` is free again. Returns how many are left.
fn share_producers(logs: &mut [PartitionLog], max: usize) -> usize {
    let left = |share: usize| logs.iter().map(|log| log.producers.len().min(share)).sum::<usize>();
    let wanted = max.saturating_sub(max / 8);
    let (mut share, mut too_many) = (0, max.saturating_add(1));
    while too_many.saturating_sub(share) > 1 {
        let middle = share.midpoint(too_many);
        if left(middle) > wanted { too_many = middle } else { share = middle }
    }
    let left = left(share);
    for log in logs {
        log.producers.forget_idle(share, Offset(i64::MAX));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::BatchHeader;
    use crate::model::{LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicPartition};
    use crate::storage::partition::LogConfig;
    use crate::storage::recovery::tests::{OPTIONS, batch};

    fn log(place: usize, count: i64) -> PartitionLog {
        let id = TopicPartition { topic_id: TopicId([1; 16]), partition: PartitionIndex(0) };
        let mut log = PartitionLog::empty(id, format!("t-{place}"), LogConfig::default(), LeaderEpoch(0));
        for id in 0..count {
            let header = BatchHeader {
                producer_id: ProducerId(id),
                producer_epoch: ProducerEpoch(0),
                base_sequence: 0,
                ..BatchHeader::parse(&batch(id, 1, 0, 1)).unwrap()
            };
            log.producers.note(&header, 0, Offset(0));
        }
        log
    }

    #[test]
    fn the_partitions_with_the_most_producers_forget_and_those_that_were_idle_longest() {
        let shared = Shared { producers_max: 160, ..Shared::new(false, &OPTIONS) };
        // In the order in which they are done.
        for (place, count) in [(1, 1_000), (3, 60), (0, 5), (2, 0)] {
            shared.take(place, log(place, count));
        }
        let logs: Vec<_> = shared.into_logs().collect();
        let folders: Vec<_> = logs.iter().map(|log| log.folder.as_str()).collect();
        assert_eq!(folders, ["t-0", "t-1", "t-2", "t-3"]);
        let counts: Vec<_> = logs.iter().map(|log| log.producers.len()).collect();
        assert_eq!(counts[0], 5);
        assert_eq!(counts[3], 60);
        assert!(counts.iter().sum::<usize>() <= 160 && counts[1] >= 75, "{counts:?}");
        let kept = 1_000 - i64::try_from(counts[1]).unwrap();
        assert!((kept..1_000).all(|id| logs[1].producers.contains(ProducerId(id))));
    }

    #[test]
    fn what_does_not_fit_is_not_counted() {
        let shared = Shared::new(false, &OPTIONS);
        assert!(shared.may_wait(DUE_ENTRIES_MAX - 10));
        assert!(!shared.may_wait(11) && !shared.may_wait(u64::MAX) && shared.may_wait(10));
        assert!(!shared.may_wait(1));
        assert!(shared.may_read_for_index(MISSING_INDEX_BYTES_MAX) && !shared.may_read_for_index(1));
    }
}
