//! The checkpoint files: per-shard ones written after each flush round, and the base written at a start and a clean stop.
//!
//! Everything in them can be rebuilt from the log, at the price of reading it. The base of incarnation N makes all commit
//! logs, arenas and shard checkpoints of other incarnations void: it is replaced atomically.

use rkyv::{Archive, Deserialize, Serialize};

use super::partition::producers::ProducedBatch;
use super::partition::segment::Segment;
use super::side_file::{self, Kind, SideFileError};
use crate::model::limits::{OFFSET_MAX, SEGMENT_BYTES_MAX};
use crate::model::{Offset, ProducerEpoch, ProducerId, TopicPartition};

/// Largest checkpoint that is read. What the shards say, and so the base, stays well below it: producers, partitions and their
/// number are bounded. Unit: bytes.
pub const CHECKPOINT_BYTES_MAX: usize = 1 << 30;

/// Path of the base, relative to the data directory.
pub const BASE_PATH: &str = "checkpoints/base";

/// Path of a shard's checkpoint, relative to the data directory.
#[must_use]
pub fn shard_checkpoint_path(shard: u32) -> String {
    format!("checkpoints/shard-{shard}")
}

/// A checkpoint file's content.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    pub incarnation: u64,
    /// Of the base: how many shards there were.
    pub shard: u32,
    /// Of the base: everything was sealed when it was written, so that nothing need be scanned.
    pub clean: bool,
    /// Of a shard: frames of its commit log before this sequence number are not needed any more.
    pub oldest_sequence: u64,
    pub partitions: Vec<CheckpointPartition>,
}

/// What is known of a partition.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointPartition {
    pub topic_id: [u8; 16],
    pub partition: i32,
    pub log_start_offset: i64,
    /// All before it was on stable media.
    pub flushed_offset: i64,
    /// Offsets below it may have been given out by a `written` topic; 0 if it was none in this life of the process.
    pub reserved_offset: i64,
    /// Where the scan of the tail begins: base offset of the segment, byte position of a batch, that batch's offset.
    pub recovery_segment: i64,
    pub recovery_position: u64,
    pub recovery_offset: i64,
    /// Of a shard: control frames of its commit log before this sequence number have had their effect on what stands here.
    pub control_sequence: u64,
    /// Largest timestamp in that segment so far, and its record's offset.
    pub max_timestamp: i64,
    pub max_timestamp_offset: i64,
    /// (leader epoch, start offset)
    pub epochs: Vec<(i32, i64)>,
    /// Producer state when the log ended at `flushed_offset`.
    pub producers: Vec<ProducerRecord>,
    /// Of the base alone: the sealed segments, in order.
    pub segments: Vec<SegmentRecord>,
    /// Offset behind the last of them. Of a shard: what the base says of segments from there on holds no more, because they
    /// were truncated since.
    pub segments_end: i64,
}

/// A producer in a snapshot.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ProducerRecord {
    pub producer_id: i64,
    pub last_append_ms: i64,
    pub batches: Vec<ProducedBatchRecord>,
}

/// A batch in a snapshot.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ProducedBatchRecord {
    pub epoch: i16,
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub base_offset: i64,
    pub end_offset: i64,
    pub timestamp: i64,
}

/// A sealed segment.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SegmentRecord {
    pub base_offset: i64,
    pub size: u64,
    pub max_timestamp: i64,
    pub max_timestamp_offset: i64,
}

impl CheckpointFile {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let archived = rkyv::to_bytes::<rkyv::rancor::Error>(self);
        // Serialising into memory fails only when memory ends, and then the process does.
        assert!(archived.is_ok(), "a checkpoint could not be serialised");
        side_file::envelope(Kind::Checkpoint, &archived.unwrap_or_default())
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`SideFileError`] unless magic, version, length and CRC hold, the archive is sound and its numbers are possible.
    pub fn decode(bytes: &[u8]) -> Result<Self, SideFileError> {
        let payload = side_file::open(Kind::Checkpoint, bytes)?;
        let file = rkyv::from_bytes::<Self, rkyv::rancor::Error>(&payload);
        let file = file.map_err(|_| SideFileError::Archive)?;
        if file.partitions.iter().all(CheckpointPartition::is_possible) {
            Ok(file)
        } else {
            Err(SideFileError::Numbers)
        }
    }
}

impl CheckpointPartition {
    /// What is known of a partition of which nothing was written down.
    #[must_use]
    pub fn fresh(id: TopicPartition) -> Self {
        Self {
            topic_id: id.topic_id.0,
            partition: id.partition.0,
            max_timestamp: -1,
            max_timestamp_offset: -1,
            ..Self::default()
        }
    }

    fn is_possible(&self) -> bool {
        let offsets = [
            self.log_start_offset,
            self.flushed_offset,
            self.reserved_offset,
            self.recovery_segment,
            self.recovery_offset,
        ];
        offsets.iter().all(|offset| (0..=OFFSET_MAX).contains(offset))
            && self.segments_end >= 0
            && self.recovery_position <= SEGMENT_BYTES_MAX
            && self.segments.iter().all(SegmentRecord::is_possible)
            && self.segments.is_sorted_by(|before, segment| before.base_offset < segment.base_offset)
    }

    /// The same after a truncation to `end_offset`, at byte `position` of the segment at offset `segment`.
    pub fn truncate(&mut self, end_offset: i64, segment: i64, position: u64) {
        if (segment, position) < (self.recovery_segment, self.recovery_position) {
            // From its start, because its largest timestamp is not known.
            self.recovery_segment = segment;
            self.recovery_position = 0;
            self.recovery_offset = segment;
        }
        self.flushed_offset = self.flushed_offset.min(end_offset);
        self.segments.retain(|record| record.base_offset < segment);
        self.segments_end = self.segments_end.min(segment);
        self.epochs.retain(|&(_, start)| start < end_offset);
        for producer in &mut self.producers {
            producer.batches.retain(|batch| batch.end_offset <= end_offset);
        }
        self.producers.retain(|producer| !producer.batches.is_empty());
        self.log_start_offset = self.log_start_offset.min(end_offset);
    }
}

impl SegmentRecord {
    /// Whether a segment can be so. What a checksum covers may still be wrong; sums with it must not overflow.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        (0..=OFFSET_MAX).contains(&self.base_offset) && self.size <= SEGMENT_BYTES_MAX
    }
}

impl From<&Segment> for SegmentRecord {
    fn from(segment: &Segment) -> Self {
        Self {
            base_offset: segment.base_offset.0,
            size: segment.size,
            max_timestamp: segment.max_timestamp,
            max_timestamp_offset: segment.max_timestamp_offset.0,
        }
    }
}

impl From<&(ProducerId, i64, Vec<ProducedBatch>)> for ProducerRecord {
    fn from((id, last_append_ms, batches): &(ProducerId, i64, Vec<ProducedBatch>)) -> Self {
        Self {
            producer_id: id.0,
            last_append_ms: *last_append_ms,
            batches: batches
                .iter()
                .map(|batch| ProducedBatchRecord {
                    epoch: batch.epoch.0,
                    base_sequence: batch.base_sequence,
                    last_sequence: batch.last_sequence,
                    base_offset: batch.base_offset.0,
                    end_offset: batch.end_offset.0,
                    timestamp: batch.timestamp,
                })
                .collect(),
        }
    }
}

impl From<&ProducedBatchRecord> for ProducedBatch {
    fn from(batch: &ProducedBatchRecord) -> Self {
        Self {
            epoch: ProducerEpoch(batch.epoch),
            base_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence,
            base_offset: Offset(batch.base_offset),
            end_offset: Offset(batch.end_offset),
            timestamp: batch.timestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::{PARTITIONS_MAX, PRODUCERS_PER_SHARD_MAX};

    fn decoded(partition: CheckpointPartition) -> Result<CheckpointFile, SideFileError> {
        let partitions = vec![partition];
        let file = CheckpointFile { incarnation: 1, shard: 1, clean: true, oldest_sequence: 0, partitions };
        CheckpointFile::decode(&file.encode())
    }

    #[test]
    fn numbers_that_no_log_has_are_refused_even_under_a_right_crc() {
        let segment = |base_offset, size| SegmentRecord {
            base_offset,
            size,
            max_timestamp: -1,
            max_timestamp_offset: -1,
        };
        let good = CheckpointPartition {
            flushed_offset: OFFSET_MAX,
            segments: vec![segment(0, SEGMENT_BYTES_MAX), segment(5, 0)],
            segments_end: i64::MAX,
            ..CheckpointPartition::default()
        };
        assert_eq!(decoded(good.clone()).map(|file| file.partitions), Ok(vec![good.clone()]));
        for segments in [vec![segment(0, u64::MAX)], vec![segment(-1, 0)], vec![segment(5, 0), segment(5, 0)]]
        {
            let wrong = CheckpointPartition { segments, ..good.clone() };
            assert_eq!(decoded(wrong), Err(SideFileError::Numbers));
        }
        let wrong = CheckpointPartition { recovery_position: u64::MAX, ..good.clone() };
        assert_eq!(decoded(wrong), Err(SideFileError::Numbers));
        let wrong = CheckpointPartition { flushed_offset: -1, ..good };
        assert_eq!(decoded(wrong), Err(SideFileError::Numbers));
    }

    /// With as many producers as shards may remember, twice (those of partitions that are not served are told from what was known),
    /// and as many partitions as there may be, each of 16 leader epochs.
    #[test]
    fn the_largest_checkpoint_can_be_read_again() {
        let record = |n: i64| ProducedBatchRecord {
            epoch: 0,
            base_sequence: 0,
            last_sequence: 0,
            base_offset: n,
            end_offset: n,
            timestamp: n,
        };
        let producer =
            |n| ProducerRecord { producer_id: n, last_append_ms: n, batches: (0..5).map(record).collect() };
        let bytes_of = |partitions: Vec<CheckpointPartition>| {
            CheckpointFile { incarnation: 1, shard: 1, clean: false, oldest_sequence: 0, partitions }
                .encode()
                .len()
        };
        let epochs = (0..16).map(|epoch| (epoch, i64::from(epoch))).collect();
        let plain = CheckpointPartition { epochs, ..CheckpointPartition::default() };
        let with_producers = CheckpointPartition {
            producers: (0..1_000).map(producer).collect(),
            ..CheckpointPartition::default()
        };
        let per_producer = bytes_of(vec![with_producers]).div_ceil(1_000);
        let per_partition = bytes_of(vec![plain; 1_000]).div_ceil(1_000);
        let largest = 2 * PRODUCERS_PER_SHARD_MAX * per_producer
            + usize::try_from(PARTITIONS_MAX).unwrap() * per_partition;
        assert!(largest <= CHECKPOINT_BYTES_MAX, "{per_producer} and {per_partition} bytes: {largest}");
    }
}
