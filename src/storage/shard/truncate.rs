//! Truncation and deletion of records: the two ways in which a log loses records that it had.

use std::ops::Bound;

use super::{AppendError, Event, PartitionSlot, Purpose, ShardLog};
use crate::model::{LeaderEpoch, Offset};
use crate::runtime::memory::ArenaMemory;
use crate::storage::commit_log::frame::kind;
use crate::storage::operation::{Fault, Lane, Task};
use crate::storage::partition::segment::{FileState, Segment, file_name, index_path};
use crate::storage::partition::{Hold, PartitionLog};
use crate::storage::seeded_bug::{SeededBug, planted};

use super::checkpoint::describe;
use super::files::Control;

impl<M: ArenaMemory> ShardLog<M> {
    /// Cuts the log so that it ends at `end_offset`, or before the batch that holds it. Appends are refused with `Busy`
    /// until [`Event::Truncated`]. Batches appended then carry `leader_epoch`, which must be a new one: recovery tells what
    /// was truncated from what came after by it.
    ///
    /// # Errors
    /// `UnknownPartition`, `Storage`, `Busy` (a truncation is under way, or the commit log has no room now).
    pub fn truncate(
        &mut self,
        slot: PartitionSlot,
        end_offset: Offset,
        leader_epoch: LeaderEpoch,
    ) -> Result<(), AppendError> {
        let has_room = self.commit.has_room(0);
        let partition = self.partition_mut(slot).ok_or(AppendError::UnknownPartition)?;
        if partition.failed {
            return Err(AppendError::Storage);
        }
        if partition.hold.is_some() || !has_room {
            return Err(AppendError::Busy);
        }
        assert!(leader_epoch > partition.leader_epoch, "a truncation needs a new leader epoch");
        if end_offset >= partition.log_end_offset {
            partition.leader_epoch = leader_epoch;
            self.events.push_back(Event::Truncated(slot));
            return Ok(());
        }
        partition.hold = Some(Hold::Waiting { end_offset, leader_epoch });
        self.finish_round_partition(slot);
        self.truncating.insert(slot);
        self.proceed_truncations();
        Ok(())
    }

    /// Takes the next step of every truncation that is under way, if it is due: after anything that one may wait for.
    pub(super) fn proceed_truncations(&mut self) {
        let mut next = self.truncating.first().copied();
        while let Some(slot) = next {
            self.proceed_truncation(slot);
            next = self.truncating.range((Bound::Excluded(slot), Bound::Unbounded)).next().copied();
        }
    }

    fn proceed_truncation(&mut self, slot: PartitionSlot) {
        let Some(partition) = self.partition(slot).filter(|partition| !partition.failed) else {
            self.truncating.remove(&slot);
            return;
        };
        match &partition.hold {
            Some(Hold::Waiting { end_offset, leader_epoch }) if !partition.busy => {
                self.cut_memory(slot, *end_offset, *leader_epoch);
            }
            Some(Hold::Cutting { removing: false }) => {
                let unfinished = partition.segments.iter().any(|segment| segment.size > 0 && !segment.sealed);
                if !unfinished {
                    if let Some(partition) = self.partition_mut(slot) {
                        partition.hold = None;
                        partition.described = None;
                        // Only now: a death before would have had the truncated frames replayed.
                        for mark in &mut partition.marks {
                            mark.end = mark.end.min(partition.end);
                        }
                    }
                    self.truncating.remove(&slot);
                    self.note_segment_synced(slot);
                    self.events.push_back(Event::Truncated(slot));
                    self.starved = true;
                    self.note_room();
                }
            }
            _ => {}
        }
    }

    fn cut_memory(&mut self, slot: PartitionSlot, end_offset: Offset, leader_epoch: LeaderEpoch) {
        let Some(place) = self.locate_for_truncation(slot, end_offset) else { return };
        if self.commit.has_failed() {
            // No frame will ever say so: only a new stream, through recovery, brings the partition back.
            self.fail_partition(slot);
            return;
        }
        if !self.commit.has_room(0) || !self.commit.has_file_room() {
            // Once memory is cut nothing is flushed before the frame is durable: it must not wait for a flush to make room.
            self.changed = true;
            self.schedule_round(self.options.flush_interval_ms);
            return;
        }
        self.finish_round_partition(slot);
        let (base_offset, position, new_end_offset) = place;
        let control_sequence = self.commit.next_sequence();
        let Some(partition) = self.partition_mut(slot) else { return };
        // Until the files are cut, checkpoints say this, and the frame says the rest.
        partition.described = Some(Box::new(describe(partition, control_sequence)));
        partition.end_before_truncation = partition.end_before_truncation.max(partition.end);
        let remove = cut_segments(partition, base_offset, position);
        partition.truncated_segment = partition.truncated_segment.min(base_offset);
        partition.touched = true;
        partition.truncation_count += 1;
        let end = partition.end;
        self.change_producers(slot, |partition| cut_state(partition, new_end_offset));
        self.cut_tail(slot, end);
        self.close_dropped_files(slot);
        if planted(self.options.seeded_bug, SeededBug::ForgetTruncation) {
            self.set_leader_epoch(slot, leader_epoch);
            self.begin_cut(slot, remove);
            return;
        }
        // The frame carries the old epoch: everything behind the cut with an epoch not above it is to go.
        self.push_truncation(slot, base_offset, position, new_end_offset);
        self.commit.keep_to_file_room();
        self.set_leader_epoch(slot, leader_epoch);
        if let Some(partition) = self.partition_mut(slot) {
            partition.hold = Some(Hold::FrameOnItsWay { remove });
        }
    }

    fn set_leader_epoch(&mut self, slot: PartitionSlot, leader_epoch: LeaderEpoch) {
        if let Some(partition) = self.partition_mut(slot) {
            partition.leader_epoch = leader_epoch;
        }
    }

    fn push_truncation(&mut self, slot: PartitionSlot, segment: Offset, position: u64, end_offset: Offset) {
        self.push_control_at(slot, kind::TRUNCATE, end_offset, (segment.0, position), Control::Truncate);
    }

    /// Gives up the chunks behind log position `end`, and shortens the one that holds it.
    fn cut_tail(&mut self, slot: PartitionSlot, end: u64) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        while let Some(last) = partition.tail.chunks.back().copied()
            && last.start >= end
        {
            partition.tail.chunks.pop_back();
            if last.clean {
                self.clean_bytes = self.clean_bytes.saturating_sub(last.class.bytes());
            }
            self.arena.disown(last.id);
        }
        if let Some(last) = partition.tail.chunks.back() {
            // A segment that was cut whole began on a block: what lies before it in the chunk is no batch.
            let segment_end = partition.segment_of_base(last.segment).map_or(end, Segment::end);
            let valid_bytes = end.min(segment_end).min(last.capacity_end()).saturating_sub(last.start);
            if last.clean {
                self.arena.publish_clean(last.id, valid_bytes);
            } else {
                self.arena.publish(last.id, valid_bytes);
            }
        }
    }

    fn close_dropped_files(&mut self, slot: PartitionSlot) {
        let Some(partition) = self.partition_mut(slot) else { return };
        let dropped = std::mem::take(&mut partition.dropped_files);
        for file in dropped {
            self.close_file(file);
        }
        self.cache.forget(slot);
    }

    pub(super) fn handle_truncation_durable(&mut self, slot: PartitionSlot) {
        let Some(partition) = self.partition_mut(slot) else { return };
        if let Some(Hold::FrameOnItsWay { remove }) = &mut partition.hold {
            let remove = std::mem::take(remove);
            self.begin_cut(slot, remove);
        }
    }

    /// The frame is durable: now the files may lose what memory has lost already.
    fn begin_cut(&mut self, slot: PartitionSlot, remove: Vec<String>) {
        let Some(partition) = self.partition_mut(slot) else { return };
        partition.hold = Some(Hold::Cutting { removing: true });
        let (folder, end_offset) = (partition.folder.clone(), partition.log_end_offset);
        let task = Task::RemoveTruncated { paths: remove, folder, end_offset };
        self.task(Lane::Files, task, Purpose::Remove { slot });
        self.pump(slot);
    }

    pub(super) fn end_removal(&mut self, slot: PartitionSlot, fault: Option<Fault>) {
        if fault.is_some() {
            self.fail_partition(slot);
            return;
        }
        if let Some(partition) = self.partition_mut(slot)
            && matches!(partition.hold, Some(Hold::Cutting { .. }))
        {
            partition.hold = Some(Hold::Cutting { removing: false });
        }
    }

    /// Moves the start of the log up to `offset` (bounded by the high watermark); what lies before is not served any more.
    /// Returns the new start.
    ///
    /// # Errors
    /// `UnknownPartition`, `Storage`, `Busy`.
    pub fn delete_records(&mut self, slot: PartitionSlot, offset: Offset) -> Result<Offset, AppendError> {
        let has_room = self.commit.has_room(0);
        let partition = self.partition_mut(slot).ok_or(AppendError::UnknownPartition)?;
        if partition.failed {
            return Err(AppendError::Storage);
        }
        if partition.hold.is_some() || !has_room {
            return Err(AppendError::Busy);
        }
        let start = offset.min(partition.high_watermark).max(partition.log_start_offset);
        if start > partition.log_start_offset {
            self.move_log_start(slot, start);
        }
        Ok(start)
    }

    /// Moves the log start and gives up sealed segments that lie wholly before it; their files go when the frame is durable.
    pub(super) fn move_log_start(&mut self, slot: PartitionSlot, start: Offset) {
        let Some(partition) = self.partition_mut(slot) else { return };
        partition.log_start_offset = start;
        partition.epochs.advance_start(start);
        partition.touched = true;
        let mut remove = Vec::new();
        let mut files = Vec::new();
        while let (Some(first), Some(next)) = (partition.segments.front(), partition.segments.get(1)) {
            if next.base_offset > start || !partition.may_give_up(first) {
                break;
            }
            if let FileState::Open(file) = first.file {
                files.push(file);
            }
            remove.extend(segment_paths(&partition.folder, first.base_offset));
            partition.segments.pop_front();
        }
        for file in files {
            self.close_file(file);
        }
        self.push_control(slot, kind::LOG_START, start, Control::LogStart { remove });
        let interval = self.options.flush_interval_ms;
        self.schedule_round(interval);
    }
}

/// Cuts the segment at `base_offset` to `position` and closes it; later ones go, and itself if nothing is left of it. There
/// may be no such segment. Returns the paths of files that go.
fn cut_segments(partition: &mut PartitionLog, base_offset: Offset, position: u64) -> Vec<String> {
    let mut remove = Vec::new();
    while let Some(last) = partition.segments.back()
        && (last.base_offset > base_offset || (last.base_offset == base_offset && position == 0))
    {
        remove.extend(segment_paths(&partition.folder, last.base_offset));
        if let FileState::Open(file) = last.file {
            partition.dropped_files.push(file);
        }
        partition.end = last.start;
        partition.segments.pop_back();
    }
    if let Some(last) = partition.segments.back_mut()
        && last.base_offset == base_offset
    {
        last.size = position;
        last.written = last.written.min(position);
        last.synced = last.synced.min(position);
        last.closed = true;
        last.sealed = false;
        last.index.truncate(position);
        partition.end = last.end();
    }
    remove
}

fn cut_state(partition: &mut PartitionLog, end_offset: Offset) {
    let end = partition.end;
    partition.log_end_offset = end_offset;
    partition.pending.truncate(end, end_offset, partition.flushed_offset);
    if partition.flushed_offset >= end_offset {
        partition.flushed_offset = end_offset;
        partition.flushed_end = end;
    }
    if partition.high_watermark >= end_offset {
        partition.high_watermark = end_offset;
        partition.high_watermark_end = end;
    }
    partition.log_start_offset = partition.log_start_offset.min(end_offset);
    partition.producers.truncate(end_offset);
    partition.epochs.truncate(end_offset);
    partition.flush_goal = partition.flush_goal.min(end);
}

fn segment_paths(folder: &str, base_offset: Offset) -> [String; 2] {
    [format!("{folder}/{}", file_name(base_offset, "log")), index_path(folder, base_offset)]
}
