//! The bound of producer state: how many producers all partitions of a shard remember, and who is forgotten for a new one.
//!
//! An idempotent producer is whatever id a client makes up. Beyond the bound the partition with the most producers forgets those
//! that have been idle longest: who floods one partition takes nothing from the others. A producer with a batch that is not
//! acknowledged is kept; if all there are so, the append waits until some are.

use super::{PartitionSlot, ShardLog};
use crate::model::Offset;
use crate::model::batch::BatchHeader;
use crate::model::limits::PRODUCERS_PER_PARTITION_MAX;
use crate::runtime::memory::ArenaMemory;
use crate::storage::partition::PartitionLog;

/// A look at all partitions pays when it forgets one producer for so many partitions.
const PARTITIONS_PER_FORGOTTEN: usize = 64;
/// Most that the largest partition forgets at once: this part.
const FORGOTTEN_SHARE: usize = 8;

impl<M: ArenaMemory> ShardLog<M> {
    /// Sees to room for the batch's producer. False: not before some of what is under way is acknowledged.
    pub(super) fn make_room_for_producer(&mut self, slot: PartitionSlot, header: &BatchHeader) -> bool {
        let Some(partition) = self.partition(slot) else { return true };
        let is_partition_full = partition.producers.len() >= PRODUCERS_PER_PARTITION_MAX;
        let is_full = self.producer_count >= self.options.producers_max;
        if !header.is_idempotent()
            || !(is_partition_full || is_full)
            || partition.producers.contains(header.producer_id)
        {
            return true;
        }
        if is_partition_full && self.forget_producers(slot, 1) == 0 {
            return false;
        }
        self.producer_count < self.options.producers_max || self.forget_of_largest()
    }

    /// Changes a partition's producers; all changes go through here, so that they are counted.
    pub(super) fn change_producers(&mut self, slot: PartitionSlot, change: impl FnOnce(&mut PartitionLog)) {
        let Some(partition) = self.partition_mut(slot) else { return };
        let before = partition.producers.len();
        change(partition);
        let after = partition.producers.len();
        self.producer_count = (self.producer_count + after).saturating_sub(before);
    }

    /// Brings what recovery has found under the bound.
    pub(super) fn bound_producers(&mut self) {
        while self.producer_count > self.options.producers_max && self.forget_of_largest() {}
    }

    /// Forgets some of the partition that has the most producers; false if all of them wait to be acknowledged. Then it is waited
    /// for them, and the others remember theirs, unless the disk may keep them waiting for long.
    fn forget_of_largest(&mut self) -> bool {
        let able = |log: &PartitionLog| log.stall.is_none() || log.producers.has_idle(acknowledged(log));
        let largest = self
            .partitions()
            .filter(|(_, log)| able(log))
            .map(|(slot, log)| (log.producers.len(), slot))
            .max();
        let Some((count, slot)) = largest else { return false };
        let some =
            (self.partitions.place_count() / PARTITIONS_PER_FORGOTTEN).min(count / FORGOTTEN_SHARE).max(1);
        self.forget_producers(slot, some) > 0
    }

    /// Forgets up to `some` of the partition's producers that have been idle longest. Returns how many.
    fn forget_producers(&mut self, slot: PartitionSlot, some: usize) -> usize {
        let before = self.producer_count;
        self.change_producers(slot, |partition| {
            let count = partition.producers.len().saturating_sub(some);
            partition.producers.forget_idle(count, acknowledged(partition));
        });
        before - self.producer_count
    }
}

/// Batches before it are acknowledged. A partition that has failed acknowledges nothing any more.
const fn acknowledged(partition: &PartitionLog) -> Offset {
    if partition.failed { Offset(i64::MAX) } else { partition.high_watermark }
}
