//! Checkpoints: what recovery may rely on, written after each flush round; then the commit log can be used again.

use super::{PartitionSlot, Purpose, ShardLog};
use crate::runtime::memory::ArenaMemory;
use crate::storage::checkpoint::{CheckpointFile, CheckpointPartition, shard_checkpoint_path};
use crate::storage::operation::{Fault, Lane, Task};
use crate::storage::partition::PartitionLog;
use crate::storage::seeded_bug::{SeededBug, planted};

/// What a checkpoint under way covers.
#[derive(Debug)]
pub(super) struct Capture {
    /// Partitions and the log position up to which their segments were on stable media.
    synced: Vec<(PartitionSlot, u64)>,
    /// Uses of commit-log files before this one are not needed once it is durable.
    oldest_needed: u64,
}

impl<M: ArenaMemory> ShardLog<M> {
    /// Writes down where every partition that was appended to stands.
    pub(super) fn begin_checkpoint(&mut self) {
        let mut synced = Vec::new();
        let mut partitions = Vec::new();
        for (slot, partition) in self.partitions() {
            // A partition in the middle of a truncation is described by its frames; its marks stay.
            if partition.failed || !partition.touched || partition.hold.is_some() {
                continue;
            }
            synced.push((slot, partition.segment_synced_end()));
            partitions.push(describe(partition));
        }
        // Control frames of held partitions are not in the checkpoint, so none is counted as covered.
        let held = self.partitions().any(|(_, partition)| partition.hold.is_some());
        let sequence = if held { 0 } else { self.covered_sequence() };
        let oldest_needed = self.oldest_needed_file(&synced, sequence);
        let oldest_sequence = self.commit.first_sequence_of(oldest_needed);
        let file = CheckpointFile {
            incarnation: self.options.incarnation,
            shard: self.options.shard,
            clean: false,
            oldest_sequence,
            partitions,
        };
        let capture = Capture { synced, oldest_needed };
        if planted(self.options.seeded_bug, SeededBug::RecycleEarly) {
            self.release_marks(&capture);
        }
        self.checkpoint_in_flight = true;
        let path = shard_checkpoint_path(self.options.shard);
        self.task(
            Lane::Slow,
            Task::Replace { path, bytes: file.encode() },
            Purpose::Checkpoint(Box::new(capture)),
        );
    }

    /// The oldest use of a commit-log file that is needed when the segments are synced as captured.
    fn oldest_needed_file(&self, synced: &[(PartitionSlot, u64)], control_sequence: u64) -> u64 {
        let mut oldest = self.commit.oldest_needed_file(control_sequence);
        let mut captured = synced.iter().copied().peekable();
        for (slot, partition) in self.partitions() {
            // Both go up by slot; a partition that was not captured needs all its frames.
            let end = captured.next_if(|&(found, _)| found == slot).map_or(0, |(_, end)| end);
            if let Some(mark) = partition.marks.iter().find(|mark| mark.end > end) {
                oldest = oldest.min(mark.file_sequence);
            }
        }
        oldest
    }

    /// Control frames below it have been applied to the state that is being captured.
    fn covered_sequence(&self) -> u64 {
        if self.controls.is_empty() { self.commit.next_sequence() } else { 0 }
    }

    pub(super) fn end_checkpoint(&mut self, capture: &Capture, fault: Option<Fault>) {
        self.checkpoint_in_flight = false;
        if fault.is_some() {
            self.changed = true;
            self.schedule_round(1_000);
            return;
        }
        if !planted(self.options.seeded_bug, SeededBug::RecycleEarly) {
            self.release_marks(capture);
        }
        let interval = self.options.flush_interval_ms;
        self.schedule_round(interval);
        let (used, capacity) = self.commit.used_and_capacity_bytes();
        if used * 2 > capacity && !self.dirty.is_empty() {
            self.changed = true;
            self.begin_round();
        }
    }

    fn release_marks(&mut self, capture: &Capture) {
        for &(slot, synced) in &capture.synced {
            let number = crate::model::number::index(u64::from(slot.0));
            let Some(partition) = self.partitions.get_mut(number).and_then(Option::as_deref_mut) else {
                continue;
            };
            while let Some(first) = partition.marks.front()
                && first.end <= synced
            {
                self.commit.unpin(first.file_sequence);
                partition.marks.pop_front();
            }
        }
        self.commit.recycle(capture.oldest_needed);
    }

    /// All partitions as a clean stop leaves them, for the manifest. Call when [`Self::is_closed`].
    #[must_use]
    pub fn describe_all(&self) -> Vec<CheckpointPartition> {
        self.partitions()
            .filter(|(_, log)| !log.segments.is_empty() || log.log_end_offset.0 > 0)
            .map(|(_, log)| {
                let mut described = describe(log);
                described.segments =
                    log.segments.iter().filter(|segment| segment.size > 0).map(Into::into).collect();
                described
            })
            .collect()
    }
}

/// What recovery needs to know of a partition; without its segments.
fn describe(partition: &PartitionLog) -> CheckpointPartition {
    let synced_end = partition.segment_synced_end();
    // The scan begins at a batch boundary that is on stable media in the segment.
    let (recovery_segment, recovery_position) = if partition.flushed_end <= synced_end {
        place_of(partition, partition.flushed_end)
    } else {
        floor_boundary(partition, synced_end)
    };
    let timestamps = partition
        .segments
        .iter()
        .find(|segment| segment.base_offset.0 == recovery_segment)
        .map_or((-1, -1), |segment| (segment.max_timestamp, segment.max_timestamp_offset.0));
    CheckpointPartition {
        topic_id: partition.topic_partition.topic_id.0,
        partition: partition.topic_partition.partition.0,
        log_start_offset: partition.log_start_offset.0,
        flushed_offset: partition.flushed_offset.0,
        reserved_offset: partition.reserved_offset.max(partition.reserving.unwrap_or_default()).0,
        recovery_segment,
        recovery_position,
        max_timestamp: timestamps.0,
        max_timestamp_offset: timestamps.1,
        epochs: partition.epochs.entries().iter().map(|&(epoch, offset)| (epoch.0, offset.0)).collect(),
        producers: partition.producers.snapshot(partition.flushed_offset).iter().map(Into::into).collect(),
        segments: Vec::new(),
    }
}

/// Segment (base offset) and byte position of log position `at`, a batch boundary; the later segment if two meet there.
fn place_of(partition: &PartitionLog, at: u64) -> (i64, u64) {
    partition
        .segments
        .iter()
        .rev()
        .find(|segment| segment.start <= at)
        .map_or((partition.log_end_offset.0, 0), |segment| {
            (segment.base_offset.0, (at - segment.start).min(segment.size))
        })
}

/// The last indexed batch boundary at or before log position `at`.
fn floor_boundary(partition: &PartitionLog, at: u64) -> (i64, u64) {
    let (segment, position) = place_of(partition, at);
    let boundary = partition
        .segments
        .iter()
        .find(|candidate| candidate.base_offset.0 == segment)
        .and_then(|found| {
            found.index.entries().take_while(|entry| entry.position <= position).last().copied()
        })
        .map_or(0, |entry| entry.position);
    (segment, boundary)
}
