//! Segment operations that the disk has refused: which of them are tried again, and when.
//!
//! A write puts the same bytes in the same place, so it can be repeated: until it has succeeded its bytes are in memory, and in the
//! commit log if that acknowledged them. So can opening, allocating and sealing. Until then the partition takes no appends; it is
//! read, and the others are served. A flush is never repeated alone: what the disk was given since the one before may be lost
//! without a further word, so all of that is written again, or, if memory has it no more, recovery must find out what there is.

use super::{PartitionSlot, ShardLog};
use crate::model::Offset;
use crate::model::limits::BLOCK_BYTES;
use crate::model::number::{round_down, wide};
use crate::runtime::memory::ArenaMemory;
use crate::storage::operation::Fault;
use crate::storage::partition::Stall;

/// Time to the first attempt, and between attempts as long as the disk has no room. Unit: ms.
const PAUSE_MS_MIN: i64 = 1_000;
/// Time between attempts at most; it doubles from one to the next while the disk gives errors. Unit: ms.
const PAUSE_MS_MAX: i64 = 30_000;

impl<M: ArenaMemory> ShardLog<M> {
    /// An operation for the partition's segments was refused: it is tried again later. A file that has vanished takes the partition
    /// out of service.
    pub(super) fn end_faulty(&mut self, slot: PartitionSlot, fault: Fault) {
        let is_broken = match fault {
            Fault::NoSpace => false,
            Fault::Io => true,
            Fault::NotFound => return self.fail_partition(slot),
        };
        let now_ms = self.now_ms;
        let Some(partition) = self.partition_mut(slot).filter(|partition| !partition.failed) else { return };
        let before_ms = partition.stall.map_or(0, |stall| stall.pause_ms);
        let pause_ms =
            if is_broken { (before_ms * 2).clamp(PAUSE_MS_MIN, PAUSE_MS_MAX) } else { PAUSE_MS_MIN };
        if partition.stall.is_none() {
            let folder = partition.folder.as_str();
            tracing::warn!(folder, %fault, "the disk refuses a segment; it is tried again, and appends are refused");
        }
        let stall = Stall { is_broken, pause_ms, retry_ms: now_ms.saturating_add(pause_ms) };
        partition.stall = Some(stall);
        partition.retrying = false;
        self.stalled.insert(slot);
        self.next_round_ms = self.next_round_ms.min(stall.retry_ms);
        self.finish_round_partition(slot);
        // What is needed now may find room there.
        self.give_up_prepared(slot);
    }

    /// A flush of a segment was refused.
    pub(super) fn end_faulty_flush(&mut self, slot: PartitionSlot, base_offset: Offset, fault: Fault) {
        if self.take_back_written(slot, base_offset) {
            self.end_faulty(slot, fault);
        } else {
            self.fail_partition(slot);
        }
    }

    /// What of the segment is not on stable media counts as not written any more. False: memory has not all of it.
    fn take_back_written(&mut self, slot: PartitionSlot, base_offset: Offset) -> bool {
        let Some(partition) = self.partitions.get_mut(slot) else { return false };
        let Some(segment) = partition.segment_at(base_offset) else { return false };
        let from = segment.start + round_down(segment.synced, wide(BLOCK_BYTES));
        let (synced, end) = (segment.synced, segment.end());
        let Some(place) = partition.tail.place_of(from) else { return false };
        if let Some(segment) = partition.segment_at(base_offset) {
            segment.written = synced;
        }
        for chunk in partition.tail.chunks.range_mut(place..) {
            if chunk.segment == base_offset && chunk.clean {
                // Where it is noted among the clean ones, it is passed over.
                chunk.clean = false;
                self.clean_bytes = self.clean_bytes.saturating_sub(chunk.class.bytes());
                self.arena.publish(chunk.id, end.min(chunk.capacity_end()) - chunk.start);
            }
        }
        self.holders.insert(slot);
        true
    }

    /// Tries what was refused, as far as it is due.
    pub(super) fn retry_stalled(&mut self) {
        for slot in self.stalled.clone() {
            let now_ms = self.now_ms;
            let stall = self.partition(slot).filter(|partition| !partition.failed).and_then(|log| log.stall);
            let (Some(stall), Some(partition)) = (stall, self.partition_mut(slot)) else {
                self.stalled.remove(&slot);
                continue;
            };
            if stall.retry_ms > now_ms {
                self.next_round_ms = self.next_round_ms.min(stall.retry_ms);
                continue;
            }
            partition.retrying = true;
            partition.flush_goal = partition.end;
            self.changed = true;
            self.pump(slot);
            self.end_retry(slot);
        }
        self.note_room();
    }

    /// If the disk has taken all that the partition holds, appends may come again.
    pub(super) fn end_retry(&mut self, slot: PartitionSlot) {
        let Some(partition) = self.partition_mut(slot) else { return };
        let has_taken_all = partition.segment_synced_end() >= partition.flush_goal;
        if partition.retrying && !partition.busy && has_taken_all {
            partition.retrying = false;
            partition.stall = None;
            self.stalled.remove(&slot);
        }
    }

    /// The wall clock was set back.
    pub(super) fn hasten_retries(&mut self, back_ms: i64) {
        for slot in self.stalled.clone() {
            if let Some(stall) = self.partition_mut(slot).and_then(|partition| partition.stall.as_mut()) {
                stall.retry_ms = stall.retry_ms.saturating_sub(back_ms);
            }
        }
    }

    /// Whether partitions whose segments cannot be written hold so much of the arena that the others want for it.
    pub(super) fn is_arena_held(&self) -> bool {
        let (free, capacity) = self.arena_bytes();
        if free + self.clean_bytes >= capacity / 8 {
            return false;
        }
        let slots = self.stalled.union(&self.failed);
        let broken = slots.filter_map(|&slot| self.partition(slot)).filter(|partition| partition.is_broken());
        let chunks = broken.flat_map(|partition| &partition.tail.chunks).filter(|chunk| !chunk.clean);
        chunks.map(|chunk| chunk.class.bytes()).sum::<u64>() >= capacity / 2
    }
}
