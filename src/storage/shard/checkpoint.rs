//! Checkpoints: what recovery may rely on, written after each flush round; then the commit log can be used again.

use super::{PartitionSlot, Purpose, ShardLog};
use crate::model::Offset;
use crate::runtime::memory::ArenaMemory;
use crate::storage::checkpoint::{CheckpointFile, CheckpointPartition, shard_checkpoint_path};
use crate::storage::operation::{Fault, Lane, Task};
use crate::storage::partition::PartitionLog;

/// What a checkpoint under way covers.
#[derive(Debug)]
pub(super) struct Capture {
    /// Partitions and the log position up to which their segments were on stable media.
    synced: Vec<(PartitionSlot, u64)>,
    /// Uses of commit-log files before this one are not needed once it is durable.
    oldest_needed: u64,
}

impl<M: ArenaMemory> ShardLog<M> {
    /// Writes down where every partition stands that was appended to since the start. A checkpoint replaces the one before and
    /// makes frames void that only what it says stands for: a partition that it does not name would be as the base has it.
    pub(super) fn begin_checkpoint(&mut self) {
        let mut synced = Vec::new();
        let mut partitions = Vec::new();
        let control_sequence = self.commit.next_sequence();
        debug_assert_eq!(
            self.producer_count,
            self.partitions().map(|(_, log)| log.producers.len()).sum::<usize>(),
            "producers were miscounted"
        );
        for (slot, partition) in self.partitions() {
            if let Some(described) = &partition.described {
                // In the middle of a truncation: all its frames are needed.
                partitions.push(described.as_ref().clone());
            } else if partition.touched {
                synced.push((slot, partition.segment_synced_end()));
                partitions.push(describe(partition, control_sequence));
            }
        }
        let oldest_needed = self.oldest_needed_file(&synced, self.covered_sequence());
        let oldest_sequence = self.commit.first_sequence_of(oldest_needed);
        let file = CheckpointFile {
            incarnation: self.options.incarnation,
            shard: self.options.shard,
            clean: false,
            oldest_sequence,
            partitions,
        };
        let capture = Capture { synced, oldest_needed };
        self.checkpoint_in_flight = true;
        let path = shard_checkpoint_path(self.options.shard);
        self.task(
            Lane::Slow,
            Task::WriteCheckpoint { path, file: Box::new(file) },
            Purpose::Checkpoint(Box::new(capture)),
        );
    }

    /// The oldest use of a commit-log file that is needed when the segments are synced as captured.
    fn oldest_needed_file(&self, synced: &[(PartitionSlot, u64)], control_sequence: u64) -> u64 {
        let mut oldest = self.commit.oldest_needed_file(control_sequence);
        let mut captured = synced.iter().copied().peekable();
        for (slot, partition) in self.partitions() {
            // Both go up by slot; a partition that was not captured needs all its frames.
            let end = captured.next_if(|&(found, _)| found == slot).map(|(_, end)| end);
            if let Some(mark) = partition.marks.iter().find(|mark| end.is_none_or(|end| mark.end > end)) {
                oldest = oldest.min(mark.file_sequence);
            }
        }
        oldest
    }

    /// Control frames below it have had their effect on the state that is being captured, whether they are durable yet or not:
    /// one that waits for room in the stream must not keep the stream full. A truncation alone has none before its files are cut.
    fn covered_sequence(&self) -> u64 {
        let described = self.partitions().filter_map(|(_, partition)| partition.described.as_ref());
        let oldest = described.map(|described| described.control_sequence).min();
        oldest.unwrap_or_else(|| self.commit.next_sequence())
    }

    pub(super) fn end_checkpoint(&mut self, capture: &Capture, fault: Option<Fault>) {
        self.checkpoint_in_flight = false;
        if fault.is_some() {
            self.changed = true;
            self.schedule_round(1_000);
            return;
        }
        self.release_marks(capture);
        let interval = self.options.flush_interval_ms;
        self.schedule_round(interval);
        let (used, capacity) = self.commit.used_and_capacity_bytes();
        // What waits for room on the disk has its time; a round now would be a checkpoint and nothing else, and so the next.
        if used * 2 > capacity && self.dirty.iter().any(|&slot| self.is_flushable(slot)) {
            self.changed = true;
            self.begin_round();
        }
    }

    /// The planted mistake: commit-log files are free as soon as their frames' segments are about to be written.
    pub(super) fn recycle_early(&mut self) {
        let synced = self.partitions().map(|(slot, partition)| (slot, partition.end)).collect();
        let oldest_needed = self.commit.oldest_needed_file(self.commit.next_sequence());
        self.release_marks(&Capture { synced, oldest_needed });
    }

    fn release_marks(&mut self, capture: &Capture) {
        for &(slot, synced) in &capture.synced {
            let Some(partition) = self.partitions.get_mut(slot) else {
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
                let mut described = describe(log, 0);
                described.segments =
                    log.segments.iter().filter(|segment| segment.size > 0).map(Into::into).collect();
                described.segments_end = log.log_end_offset.0;
                described
            })
            .collect()
    }
}

/// What recovery needs to know of a partition; without its segments. Control frames before `control_sequence` have had their
/// effect on it.
pub(super) fn describe(partition: &PartitionLog, control_sequence: u64) -> CheckpointPartition {
    let from = recovery_point(partition);
    let timestamps = partition
        .segments
        .iter()
        .find(|segment| segment.base_offset == from.segment)
        .map_or((-1, -1), |segment| (segment.max_timestamp, segment.max_timestamp_offset.0));
    CheckpointPartition {
        topic_id: partition.topic_partition.topic_id.0,
        partition: partition.topic_partition.partition.0,
        log_start_offset: partition.log_start_offset.0,
        flushed_offset: partition.flushed_offset.0,
        reserved_offset: partition.reserved_offset.max(partition.reserving.unwrap_or_default()).0,
        recovery_segment: from.segment.0,
        recovery_position: from.position,
        recovery_offset: from.offset.0,
        control_sequence,
        max_timestamp: timestamps.0,
        max_timestamp_offset: timestamps.1,
        epochs: partition.epochs.entries().iter().map(|&(epoch, offset)| (epoch.0, offset.0)).collect(),
        producers: partition.producers.snapshot(partition.flushed_offset).iter().map(Into::into).collect(),
        segments: Vec::new(),
        segments_end: partition.truncated_segment.0,
    }
}

/// A batch boundary: base offset of the segment, byte position there, offset of the batch that begins there.
struct Boundary {
    segment: Offset,
    position: u64,
    offset: Offset,
}

/// Where the scan of the tail shall begin: the last known boundary up to which everything is on stable media in segments. What
/// lies in an earlier segment is trusted unread, so it is never behind a segment that is not sealed.
fn recovery_point(partition: &PartitionLog) -> Boundary {
    let synced_end = partition.segment_synced_end();
    // Segments that were given up were sealed, even if that is not counted yet.
    let first = partition.segments.front().map_or(0, |first| first.start);
    let at = partition.flushed_end.min(synced_end).max(first);
    let unsealed = partition.segments.iter().find(|segment| !segment.sealed && segment.size > 0);
    let behind = partition.segments.partition_point(|segment| segment.start <= at);
    let holding = behind.checked_sub(1).and_then(|place| partition.segments.get(place));
    let holding = match (holding, unsealed) {
        (Some(holding), Some(unsealed)) if unsealed.start < holding.start => Some(unsealed),
        (holding, _) => holding,
    };
    let Some(segment) = holding else {
        return Boundary { segment: partition.log_end_offset, position: 0, offset: partition.log_end_offset };
    };
    let position = (at - segment.start).min(segment.size);
    if segment.sealed && position == segment.size && at == partition.flushed_end {
        // A segment that is not there yet begins where the log goes on, perhaps behind offsets without records.
        return Boundary { segment: partition.flushed_offset, position: 0, offset: partition.flushed_offset };
    }
    if at == partition.flushed_end && segment.start + position == at {
        return Boundary { segment: segment.base_offset, position, offset: partition.flushed_offset };
    }
    let entry = segment.index.entries().take_while(|entry| entry.position <= position).last();
    entry.map_or(
        Boundary { segment: segment.base_offset, position: 0, offset: segment.base_offset },
        |entry| Boundary { segment: segment.base_offset, position: entry.position, offset: entry.offset },
    )
}
