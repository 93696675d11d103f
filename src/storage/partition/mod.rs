//! One partition's log: segments, the tail in memory, what is durable, producers, epochs.
//!
//! Lives: on the shard that owns the partition. Knows nothing of files and operations; [`crate::storage::shard`] moves it.
//!
//! Invariants: `log_start_offset <= flushed_offset <= log_end_offset`; `high_watermark <= log_end_offset`; none of the upper
//! ends goes back but by truncation; log positions grow with offsets; only the last segment can be appended to.

pub mod epochs;
pub mod pending;
pub mod producers;
pub mod segment;
pub mod tail;

use std::collections::VecDeque;

use self::epochs::EpochCache;
use self::pending::Pending;
use self::producers::Producers;
use self::segment::Segment;
use self::tail::Tail;
use crate::model::limits::BLOCK_BYTES;
use crate::model::number::{round_up, wide};
use crate::model::{Durability, LeaderEpoch, Offset, TopicPartition};
use crate::storage::checkpoint::CheckpointPartition;
use crate::storage::operation::PREPARED_NAME;

/// An entry of Kafka's offset index. Unit: bytes.
const OFFSET_INDEX_ENTRY_BYTES: u64 = 8;
/// Index files and tools hold offsets relative to their segment's in 31 bits, as Kafka's do. Unit: records.
const OFFSET_DELTA_MAX: i64 = i32::MAX as i64 / 2;

/// Smallest reservation of offsets. Unit: records.
pub(in crate::storage) const RESERVATION_RECORDS: i64 = 1 << 20;

/// What a topic's settings mean to its partitions' logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub durability: Durability,
    /// `segment.bytes`
    pub segment_bytes: u64,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `segment.jitter.ms`: a segment is closed up to so much earlier, so that many do not close at once.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment whose offset index would be larger in Kafka's format is closed.
    pub segment_index_bytes: u64,
    /// `retention.bytes`; `None` keeps all.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`; `None` keeps all.
    pub retention_ms: Option<i64>,
    /// `max.message.bytes`
    pub batch_bytes_max: usize,
    /// `message.timestamp.type` is LogAppendTime.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `index.interval.bytes`
    pub index_interval_bytes: u64,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: i64,
    /// `flush.messages`, where it asks for a flush of a `written` topic; records.
    pub flush_records: Option<i64>,
    /// `flush.ms`, likewise.
    pub flush_ms: Option<i64>,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            durability: Durability::Synced,
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            retention_bytes: None,
            retention_ms: Some(7 * 24 * 3_600_000),
            batch_bytes_max: 1_048_588,
            log_append_time: false,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            index_interval_bytes: 4096,
            file_delete_delay_ms: 60_000,
            flush_records: None,
            flush_ms: None,
        }
    }
}

/// A use of a commit-log file that holds frames of this partition.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub file_sequence: u64,
    /// Log position behind the last frame there.
    pub end: u64,
}

/// Where a truncation stands. No append is taken before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The segment operation under way must end first, or the place of the offset must be read from disk, or the commit log must
    /// have room. Segments are written meanwhile: perhaps that makes it.
    Waiting { end_offset: Offset, leader_epoch: LeaderEpoch },
    /// Memory is cut; the frame that says so is not yet durable. Then these files go.
    FrameOnItsWay { remove: Vec<String> },
    /// The file of the last segment left is being cut, files of later ones removed.
    Cutting { removing: bool },
}

/// The disk has refused an operation for a segment, which is tried again: no append is taken until what is there is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// It gave an error; otherwise it had no room.
    pub is_broken: bool,
    /// When it is tried again.
    pub retry_ms: i64,
    /// How long that is waited for.
    pub pause_ms: i64,
}

/// One partition's log. Fields are open to the storage room alone.
#[derive(Debug)]
pub struct PartitionLog {
    pub(in crate::storage) topic_partition: TopicPartition,
    /// Folder below the data directory: `<topic>-<partition>`.
    pub(in crate::storage) folder: String,
    pub(in crate::storage) config: LogConfig,
    /// Written into batches appended now.
    pub(in crate::storage) leader_epoch: LeaderEpoch,
    /// In order; positions grow. Sealed ones first.
    pub(in crate::storage) segments: VecDeque<Segment>,
    pub(in crate::storage) tail: Tail,
    pub(in crate::storage) log_start_offset: Offset,
    pub(in crate::storage) log_end_offset: Offset,
    /// Log position behind the last batch.
    pub(in crate::storage) end: u64,
    /// Log positions below it are not given again: what is under way for truncated bytes must not count for others.
    pub(in crate::storage) end_before_truncation: u64,
    pub(in crate::storage) pending: Pending,
    /// First offset that is not yet on stable media, and its log position.
    pub(in crate::storage) flushed_offset: Offset,
    pub(in crate::storage) flushed_end: u64,
    /// Consumers read strictly below it: all before it has reached the topic's durability.
    pub(in crate::storage) high_watermark: Offset,
    pub(in crate::storage) high_watermark_end: u64,
    /// Offsets below it may be given out by a `written` topic: a durable reservation of this life says so. 0 if it made none.
    pub(in crate::storage) reserved_offset: Offset,
    /// A reservation that is on its way, up to this offset.
    pub(in crate::storage) reserving: Option<Offset>,
    pub(in crate::storage) producers: Producers,
    pub(in crate::storage) epochs: EpochCache,
    pub(in crate::storage) marks: VecDeque<Mark>,
    /// Log position up to which the segments shall be on stable media.
    pub(in crate::storage) flush_goal: u64,
    /// The flush round waits for this log position.
    pub(in crate::storage) round_goal: Option<u64>,
    /// A write, sync or file task of this partition is under way: never two, so that no block is written twice at once.
    pub(in crate::storage) busy: bool,
    pub(in crate::storage) hold: Option<Hold>,
    /// What checkpoints say while a truncation has cut memory and not yet the files.
    pub(in crate::storage) described: Option<Box<CheckpointPartition>>,
    pub(in crate::storage) stall: Option<Stall>,
    /// With `stall`: it is being tried again.
    pub(in crate::storage) retrying: bool,
    /// What the disk has of it is not known: nothing is served until recovery has rebuilt the log.
    pub(in crate::storage) failed: bool,
    pub(in crate::storage) dirty: bool,
    /// Something was appended since the start.
    pub(in crate::storage) touched: bool,
    /// Base offset of the first segment that a truncation has cut or dropped since the start.
    pub(in crate::storage) truncated_segment: Offset,
    /// Truncations since the start.
    pub(in crate::storage) truncation_count: u64,
    /// The file of the next segment is being made or there already, with so much room. Unit: bytes.
    pub(in crate::storage) prepared: Option<u64>,
    /// Handles of segments that a truncation has dropped, to be closed.
    pub(in crate::storage) dropped_files: Vec<crate::storage::operation::FileId>,
    /// When the oldest unflushed append of a topic with `flush.ms` came.
    pub(in crate::storage) unflushed_since_ms: Option<i64>,
}

impl PartitionLog {
    /// A log that is empty and starts at offset 0.
    #[must_use]
    pub fn empty(
        topic_partition: TopicPartition,
        folder: String,
        config: LogConfig,
        leader_epoch: LeaderEpoch,
    ) -> Self {
        Self::with_segments(topic_partition, folder, config, leader_epoch, VecDeque::new(), Offset::ZERO)
    }

    /// A log whose sealed segments are `segments` and whose next offset is `log_end_offset`.
    #[must_use]
    pub fn with_segments(
        topic_partition: TopicPartition,
        folder: String,
        config: LogConfig,
        leader_epoch: LeaderEpoch,
        segments: VecDeque<Segment>,
        log_end_offset: Offset,
    ) -> Self {
        let end = segments.back().map_or(0, Segment::end);
        let log_start_offset = segments.front().map_or(log_end_offset, |first| first.base_offset);
        Self {
            topic_partition,
            folder,
            config,
            leader_epoch,
            segments,
            tail: Tail::default(),
            log_start_offset,
            log_end_offset,
            end,
            end_before_truncation: 0,
            pending: Pending::starting_at(end),
            flushed_offset: log_end_offset,
            flushed_end: end,
            high_watermark: log_end_offset,
            high_watermark_end: end,
            reserved_offset: Offset::ZERO,
            reserving: None,
            producers: Producers::default(),
            epochs: EpochCache::default(),
            marks: VecDeque::new(),
            flush_goal: 0,
            round_goal: None,
            busy: false,
            hold: None,
            described: None,
            stall: None,
            retrying: false,
            failed: false,
            dirty: false,
            touched: false,
            unflushed_since_ms: None,
            prepared: None,
            dropped_files: Vec::new(),
            truncated_segment: Offset(i64::MAX),
            truncation_count: 0,
        }
    }

    #[must_use]
    pub const fn topic_partition(&self) -> TopicPartition {
        self.topic_partition
    }

    #[must_use]
    pub const fn config(&self) -> &LogConfig {
        &self.config
    }

    #[must_use]
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    #[must_use]
    pub const fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    #[must_use]
    pub const fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// First offset not yet on stable media.
    #[must_use]
    pub const fn flushed_offset(&self) -> Offset {
        self.flushed_offset
    }

    /// First offset that has not reached the topic's durability; consumers read strictly below it.
    #[must_use]
    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Its log position: how far it is from one to a later one is at least the bytes of the batches between.
    #[must_use]
    pub const fn high_watermark_end(&self) -> u64 {
        self.high_watermark_end
    }

    #[must_use]
    pub const fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// What the disk has of it is not known; every request is answered with a storage error.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.failed
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Latest timestamp of a record and that record's offset; `None` if there is none.
    #[must_use]
    pub fn max_timestamp(&self) -> Option<(i64, Offset)> {
        let mut best: Option<(i64, Offset)> = None;
        for segment in &self.segments {
            if segment.size > 0 && best.is_none_or(|(timestamp, _)| segment.max_timestamp > timestamp) {
                best = Some((segment.max_timestamp, segment.max_timestamp_offset));
            }
        }
        best
    }

    /// The segment that can be appended to.
    pub(in crate::storage) fn active(&mut self) -> Option<&mut Segment> {
        self.segments.back_mut().filter(|last| !last.closed)
    }

    pub(in crate::storage) fn active_ref(&self) -> Option<&Segment> {
        self.segments.back().filter(|last| !last.closed)
    }

    /// Whether the active segment must be closed before `bytes` more are appended at `now_ms`.
    pub(in crate::storage) fn is_roll_due(&self, bytes: u64, now_ms: i64) -> bool {
        let Some(active) = self.active_ref() else { return false };
        active.size > 0
            && (active.size + bytes > self.config.segment_bytes
                || self.is_segment_old(active, now_ms)
                || active.index.len() * OFFSET_INDEX_ENTRY_BYTES >= self.config.segment_index_bytes
                || self.log_end_offset.since(active.base_offset) > OFFSET_DELTA_MAX)
    }

    /// Whether three quarters of what closes the active segment, in bytes or time, are over.
    pub(in crate::storage) fn is_roll_near(&self, now_ms: i64) -> bool {
        let Some(active) = self.active_ref() else { return false };
        let age_ms = now_ms.saturating_sub(active.first_append_ms);
        active.size >= self.config.segment_bytes / 4 * 3 || age_ms >= self.config.segment_ms / 4 * 3
    }

    /// Path of the file that the next segment will be.
    pub(in crate::storage) fn prepared_path(&self) -> String {
        format!("{}/{PREPARED_NAME}", self.folder)
    }

    /// Whether a segment has outlived `segment.ms`, less its share of the jitter.
    pub(in crate::storage) fn is_segment_old(&self, segment: &Segment, now_ms: i64) -> bool {
        let spread = self.topic_partition.topic_id.0.iter().fold(segment.base_offset.0, |sum, &byte| {
            sum.wrapping_mul(31)
                .wrapping_add(i64::from(byte))
                .wrapping_add(i64::from(self.topic_partition.partition.0))
        });
        // As Kafka: no more than the time itself.
        let jitter_ms_max = self.config.segment_jitter_ms.min(self.config.segment_ms);
        let jitter_ms = spread.checked_rem_euclid(jitter_ms_max).unwrap_or(0);
        now_ms.saturating_sub(segment.first_append_ms) >= self.config.segment_ms.saturating_sub(jitter_ms)
    }

    /// Closes the active segment, so that the next append begins a new one.
    pub(in crate::storage) fn close_active(&mut self) {
        if let Some(active) = self.active() {
            if active.size == 0 {
                return;
            }
            active.closed = true;
        }
    }

    /// Whether the end of the log can be written to its segment at once: the file is open, and all segments before it are done.
    pub(in crate::storage) fn writes_at_once(&self) -> bool {
        let mut newest = self.segments.iter().rev();
        newest.next().is_some_and(|active| matches!(active.file, segment::FileState::Open(_)))
            && newest.next().is_none_or(|before| before.sealed || before.size == 0)
    }

    /// Begins a new segment at the end of the log.
    pub(in crate::storage) fn begin_segment(&mut self, now_ms: i64) {
        let start = round_up(self.end.max(self.end_before_truncation), wide(BLOCK_BYTES));
        self.segments.push_back(Segment::new(self.log_end_offset, start, now_ms));
        self.end = start;
    }

    /// Whether the file of a segment that is not needed any more can go now: nothing is written to it, and none of it is in memory.
    pub(in crate::storage) fn may_give_up(&self, candidate: &Segment) -> bool {
        let in_memory = self.tail.floor().is_some_and(|floor| floor < candidate.end());
        candidate.sealed && !in_memory && !matches!(candidate.file, segment::FileState::Busy(_))
    }

    /// Log position up to which the segments are on stable media without a gap.
    pub(in crate::storage) fn segment_synced_end(&self) -> u64 {
        // Unsynced segments are the last few: walk from the back to the first of them.
        let mut synced = self.end;
        for segment in self.segments.iter().rev() {
            if segment.synced < segment.size {
                synced = segment.synced_end();
            } else if segment.sealed {
                break;
            }
        }
        synced
    }

    pub(in crate::storage) fn segment_at(&mut self, base_offset: Offset) -> Option<&mut Segment> {
        let place = self.segments.binary_search_by_key(&base_offset, |segment| segment.base_offset).ok()?;
        self.segments.get_mut(place)
    }

    pub(in crate::storage) fn segment_of_base(&self, base_offset: Offset) -> Option<&Segment> {
        let place = self.segments.binary_search_by_key(&base_offset, |segment| segment.base_offset).ok()?;
        self.segments.get(place)
    }

    /// Whether everything stands in final files.
    pub(in crate::storage) fn is_sealed(&self) -> bool {
        self.hold.is_none()
            && self.flushed_offset == self.log_end_offset
            && self.segments.iter().all(|segment| segment.sealed || segment.size == 0)
    }

    /// Whether segment operations must wait for a truncation.
    pub(in crate::storage) const fn is_held(&self) -> bool {
        matches!(self.hold, Some(Hold::FrameOnItsWay { .. }))
    }

    /// Whether segment operations must wait before the disk is asked again.
    pub(in crate::storage) const fn is_stalled(&self) -> bool {
        self.stall.is_some() && !self.retrying
    }

    /// Whether the disk gives errors for its segments.
    pub(in crate::storage) fn is_broken(&self) -> bool {
        self.failed || self.stall.is_some_and(|stall| stall.is_broken)
    }

    /// `flush.messages` and `flush.ms` of a `written` topic, after an append: whether a flush is due now, and when one
    /// becomes due by time.
    pub(in crate::storage) fn note_flush_rules(&mut self, now_ms: i64) -> (bool, Option<i64>) {
        let due = self
            .config
            .flush_records
            .is_some_and(|records| self.log_end_offset.since(self.flushed_offset) >= records);
        if due {
            self.flush_goal = self.end;
        }
        let mut deadline = None;
        if let Some(flush_ms) = self.config.flush_ms
            && self.unflushed_since_ms.is_none()
        {
            self.unflushed_since_ms = Some(now_ms);
            deadline = Some(now_ms.saturating_add(flush_ms));
        }
        (due, deadline)
    }

    /// Moves `flushed_offset` and the high watermark as far as they can go; true if the high watermark moved.
    pub(in crate::storage) fn advance(&mut self) -> bool {
        while let Some((end, end_offset)) = self.pending.poll_durable() {
            assert!(end_offset > self.flushed_offset, "the flushed offset went back");
            self.flushed_offset = end_offset;
            self.flushed_end = end;
        }
        let (offset, end) = match self.config.durability {
            Durability::Synced => (self.flushed_offset, self.flushed_end),
            Durability::Written if self.log_end_offset <= self.reserved_offset => {
                (self.log_end_offset, self.end)
            }
            Durability::Written => (self.flushed_offset, self.flushed_end),
        };
        if offset > self.high_watermark {
            self.high_watermark = offset;
            self.high_watermark_end = end;
            return true;
        }
        false
    }
}

/// Up to where a log from `start` to `end` reserves offsets. Grows with the rate at which reservations are used up: a fast
/// topic asks a few times per second.
pub(in crate::storage) fn reservation_end(start: Offset, end: Offset) -> Offset {
    let used = end.since(start).clamp(0, RESERVATION_RECORDS << 8);
    end.plus(RESERVATION_RECORDS.max(used / 8))
}
