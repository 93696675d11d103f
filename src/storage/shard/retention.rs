//! Retention: which of the oldest segments go, by age and by size (`retention.ms`, `retention.bytes`).

use super::{PartitionSlot, ShardLog};
use crate::model::Offset;
use crate::runtime::memory::ArenaMemory;
use crate::storage::partition::PartitionLog;
use crate::storage::partition::segment::Segment;

impl<M: ArenaMemory> ShardLog<M> {
    /// Looks at all partitions: rolls active segments that have outlived `segment.ms` or `retention.ms`, gives up what is
    /// too old or too much, and forgets idle producers.
    pub(super) fn apply_retention(&mut self) {
        if self.awaits_recovery {
            return;
        }
        let now_ms = self.now_ms;
        let expired_ms = now_ms.saturating_sub(self.options.producer_expiration_ms);
        for place in 0..self.partitions.place_count() {
            let Some(slot) = self.partitions.slot_at(place) else { continue };
            self.change_producers(slot, |partition| partition.producers.expire(expired_ms));
            let Some(partition) = self.partition_mut(slot) else { continue };
            if partition.failed || partition.hold.is_some() {
                continue;
            }
            if active_is_overdue(partition, now_ms) {
                partition.close_active();
                self.pump(slot);
            }
            if !self.commit.has_room(0) {
                continue;
            }
            if let Some(start) = self.partition(slot).and_then(|log| choose_start(log, now_ms)) {
                self.move_log_start(slot, start);
            }
            self.give_up_what_is_gone(slot);
        }
    }

    /// When the log's start was moved past a segment it may have been the last, or some of it in memory still: then it goes now.
    fn give_up_what_is_gone(&mut self, slot: PartitionSlot) {
        let now_ms = self.now_ms;
        let has_room = self.commit.has_room(0);
        let Some(partition) = self.partition_mut(slot) else { return };
        let Some(first) = partition.segments.front() else { return };
        let next = partition.segments.get(1).map_or(partition.log_end_offset, |next| next.base_offset);
        if !has_room || next > partition.log_start_offset || !first.sealed {
            return;
        }
        let segment = first.base_offset;
        self.forget_clean_chunks(slot, segment);
        let Some(partition) = self.partition_mut(slot) else { return };
        if !partition.segments.front().is_some_and(|first| partition.may_give_up(first)) {
            return;
        }
        if partition.segments.len() == 1 {
            // As in Kafka, a log has a segment to go on with.
            partition.begin_segment(now_ms);
        }
        let start = partition.log_start_offset;
        self.move_log_start(slot, start);
    }
}

/// An active segment whose records are all past retention must be closed before it can go; Kafka rolls it likewise.
fn active_is_overdue(partition: &PartitionLog, now_ms: i64) -> bool {
    partition.active_ref().is_some_and(|active| {
        active.size > 0
            && (partition.is_segment_old(active, now_ms) || is_past_retention(partition, active, now_ms))
    })
}

/// Of a segment whose records have no timestamps the age is that of its first append, or of this life, if that was before.
fn is_past_retention(partition: &PartitionLog, segment: &Segment, now_ms: i64) -> bool {
    let newest_ms = if segment.max_timestamp >= 0 { segment.max_timestamp } else { segment.first_append_ms };
    let age_ms = now_ms.saturating_sub(newest_ms);
    partition.config.retention_ms.is_some_and(|retention_ms| age_ms > retention_ms)
}

/// The offset at which the log shall start, if that is later than now. Only sealed segments below the high watermark go.
#[must_use]
fn choose_start(partition: &PartitionLog, now_ms: i64) -> Option<Offset> {
    let mut size_bytes = partition.size_bytes();
    let mut start = partition.log_start_offset();
    for (place, segment) in partition.segments.iter().enumerate() {
        let next =
            partition.segments.get(place + 1).map_or(partition.log_end_offset, |next| next.base_offset);
        let too_much = partition
            .config
            .retention_bytes
            .is_some_and(|limit| size_bytes.saturating_sub(segment.size) >= limit);
        let gone = next <= partition.log_start_offset();
        if !segment.sealed
            || next > partition.high_watermark
            || !(gone || too_much || is_past_retention(partition, segment, now_ms))
        {
            break;
        }
        size_bytes -= segment.size;
        start = start.max(next);
    }
    (start > partition.log_start_offset()).then_some(start)
}
