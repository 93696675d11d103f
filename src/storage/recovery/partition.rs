//! One partition's recovery: which segments are trusted, which are scanned, what is cut.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

use super::scan::{Expected, scan};
use super::shared::Shared;
use super::snapshots;
use super::{KnownPartition, RecoveryError, RecoveryOptions, RecoveryReport};
use crate::model::limits::{OFFSET_MAX, PRODUCERS_PER_PARTITION_MAX};
use crate::model::number::round_up;
use crate::model::{Durability, LeaderEpoch, Offset, ProducerId};
use crate::runtime::disk::{BlockingDisk, EntryKind};
use crate::runtime::file::{Access, BlockingFile, Caching};
use crate::storage::checkpoint::{CheckpointPartition, ProducerRecord, SegmentRecord};
use crate::storage::driver::write_index;
use crate::storage::partition::producers::{ProducedBatch, Producers};
use crate::storage::partition::segment::{
    FileState, SNAPSHOT_SUFFIX, Segment, SegmentIndex, file_name, index_path, parse_file_name,
};
use crate::storage::partition::{PartitionLog, reservation_end};
use crate::storage::seeded_bug::{SeededBug, planted};
use crate::storage::side_file::{self, SEALED_INDEX_INTERVAL_BYTES, SideFile};

/// Largest index file that is read. Unit: bytes.
const INDEX_BYTES_MAX: usize = 256 << 20;

/// The log that a clean stop left: nothing is read.
pub(super) fn from_clean(known: &KnownPartition, state: Option<&CheckpointPartition>) -> PartitionLog {
    let mut segments = VecDeque::new();
    if let Some(state) = state {
        for record in &state.segments {
            push_segment(&mut segments, record);
        }
    }
    let end_offset = state.map_or(Offset::ZERO, |state| Offset(state.flushed_offset));
    let mut log = with_segments(known, segments, end_offset);
    if let Some(state) = state {
        restore(&mut log, state);
    }
    log
}

/// The log after a death: segments before the recovery point are trusted if their sizes agree, the rest is scanned and cut.
/// `unsure`: a checkpoint cannot be used, and what it said of log starts, gaps and truncations is not known. `opened`: segments
/// that the replay has opened; what it wrote to them is on stable media.
pub(super) fn recover<D: BlockingDisk>(
    disk: &D,
    known: &KnownPartition,
    state: Option<&CheckpointPartition>,
    opened: Option<&BTreeSet<Offset>>,
    shared: &Shared<'_>,
    report: &mut RecoveryReport,
) -> Result<PartitionLog, RecoveryError> {
    let (unsure, options) = (shared.unsure, shared.options);
    let Listed { segments: mut found, snapshots, indices } = list_files(disk, &known.folder)?;
    let fresh = CheckpointPartition::fresh(known.topic_partition);
    let state = state.unwrap_or(&fresh);
    let segments = VecDeque::new();
    let producers_from = Offset(state.flushed_offset);
    // The replay has flushed the folders that it looked at.
    let has_changed_names = opened.is_none();
    let mut recovery = Recovery {
        disk,
        known,
        state,
        unsure,
        opened,
        options,
        shared,
        report,
        segments,
        snapshots,
        indices,
        producers_from,
        has_changed_names,
    };
    recovery.remove_deleted(&mut found)?;
    match recovery.trusted(&found) {
        Ok(first) => recovery.scan_from(&found, first),
        Err(Damage { reason }) => Ok(offline(known, Some(state), reason, recovery.report)),
    }
}

/// The log of a partition that is not served.
pub(super) fn offline(
    known: &KnownPartition,
    state: Option<&CheckpointPartition>,
    reason: String,
    report: &mut RecoveryReport,
) -> PartitionLog {
    report.offline.push((known.folder.clone(), reason));
    let mut log = from_clean(known, state);
    log.failed = true;
    log
}

/// An unreplicated log that was `written` in the last life, and whose memory is lost, goes on behind everything it may have given
/// out. Its reservation says that it was: the settings may have changed since, and offsets that were shown are shown all the same.
pub(super) fn resume_at_reservation(
    log: &mut PartitionLog,
    state: Option<&CheckpointPartition>,
    unsure: bool,
    options: &RecoveryOptions,
) {
    let mut reserved = state.map_or(0, |state| state.reserved_offset);
    let may_have_reserved = log.config.durability == Durability::Written && !log.segments.is_empty();
    if unsure && reserved == 0 && may_have_reserved {
        // It stood in what cannot be read; the next one after what is there would have been no lower.
        reserved = reservation_end(log.log_start_offset, log.log_end_offset).0.min(OFFSET_MAX);
    }
    if log.failed || reserved <= log.log_end_offset.0 || planted(options.seeded_bug, SeededBug::ReuseOffset) {
        return;
    }
    let segments = std::mem::take(&mut log.segments);
    let epochs = log.epochs.clone();
    let start = log.log_start_offset;
    let empty = segments.is_empty();
    let mut resumed = PartitionLog::with_segments(
        log.topic_partition,
        log.folder.clone(),
        log.config,
        log.leader_epoch,
        segments,
        Offset(reserved),
    );
    resumed.log_start_offset = if empty { Offset(reserved) } else { start };
    resumed.epochs = epochs;
    *log = resumed;
}

/// A log for the base; `None` if there is nothing to say.
pub(super) fn describe(log: &PartitionLog) -> Option<CheckpointPartition> {
    if log.segments.is_empty() && log.log_end_offset == Offset::ZERO {
        return None;
    }
    let snapshot = log.producers.snapshot(log.log_end_offset);
    Some(CheckpointPartition {
        topic_id: log.topic_partition.topic_id.0,
        partition: log.topic_partition.partition.0,
        log_start_offset: log.log_start_offset.0,
        flushed_offset: log.log_end_offset.0,
        reserved_offset: 0,
        // The next segment begins at the end of the log.
        recovery_segment: log.log_end_offset.0,
        recovery_position: 0,
        recovery_offset: log.log_end_offset.0,
        control_sequence: 0,
        max_timestamp: -1,
        max_timestamp_offset: -1,
        epochs: log.epochs.entries().iter().map(|&(epoch, offset)| (epoch.0, offset.0)).collect(),
        producers: snapshot.iter().map(Into::into).collect(),
        segments: log.segments.iter().map(SegmentRecord::from).collect(),
        segments_end: log.log_end_offset.0,
    })
}

/// What is good of each scanned segment, with the length of its file.
type Kept = Vec<(Segment, u64)>;

struct Damage {
    reason: String,
}

struct Recovery<'a, D> {
    disk: &'a D,
    known: &'a KnownPartition,
    state: &'a CheckpointPartition,
    /// A checkpoint is missing or damaged: segments are taken for what they say of themselves.
    unsure: bool,
    /// Segments that the replay has opened, and flushed what it wrote to them.
    opened: Option<&'a BTreeSet<Offset>>,
    options: &'a RecoveryOptions,
    shared: &'a Shared<'a>,
    report: &'a mut RecoveryReport,
    segments: VecDeque<Segment>,
    /// Offsets of the producer snapshots.
    snapshots: Vec<Offset>,
    /// Base offsets of the segments with an index file.
    indices: BTreeSet<Offset>,
    /// What producers did before it is known, without the batches.
    producers_from: Offset,
    /// Names in the folder may not be on stable media.
    has_changed_names: bool,
}

impl<D: BlockingDisk> Recovery<'_, D> {
    /// Segments that lie wholly before the log start were given up. Some may still be there, or have come back in part.
    fn remove_deleted(&mut self, found: &mut Vec<(Offset, u64)>) -> Result<(), RecoveryError> {
        let recovery_segment = Offset(self.state.recovery_segment);
        let mut deleted = 0_usize;
        for (place, &(base, length)) in found.iter().enumerate() {
            let next = found.get(place.saturating_add(1)).map(|&(next, _)| next);
            let next = if recovery_segment > base {
                Some(next.map_or(recovery_segment, |next| next.min(recovery_segment)))
            } else {
                next
            };
            if next.is_none_or(|next| next.0 > self.state.log_start_offset) {
                break;
            }
            self.remove_segment(base, length)?;
            deleted = deleted.saturating_add(1);
        }
        found.drain(..deleted);
        Ok(())
    }

    /// Takes the segments before the recovery point; returns the place in `found` where the scan begins.
    fn trusted(&mut self, found: &[(Offset, u64)]) -> Result<usize, Damage> {
        let state = self.state;
        let first = found.partition_point(|&(base, _)| base.0 < state.recovery_segment);
        let trusted = found.get(..first).unwrap_or_default();
        for (place, record) in state.segments.iter().enumerate() {
            let next = state
                .segments
                .get(place.saturating_add(1))
                .map_or(state.segments_end, |next| next.base_offset);
            let there = trusted.iter().any(|&(base, _)| base.0 == record.base_offset);
            // Those before the first that is there may have gone with a log start that is not known.
            let may_have_gone = self.unsure && found.first().is_some_and(|&(base, _)| base.0 >= next);
            let is_wanted = next > state.log_start_offset && !may_have_gone;
            if record.base_offset < state.recovery_segment && !there && is_wanted {
                return Err(Damage { reason: format!("segment {} is missing", record.base_offset) });
            }
        }
        for &(base, length) in trusted {
            let record = state.segments.iter().find(|record| record.base_offset == base.0).cloned();
            let has_index = self.indices.contains(&base);
            let (record, index) = match record.or_else(|| self.read_index(base)) {
                Some(record) if has_index || record.size != length => (record, None),
                Some(record) => (record, self.missing_index(base, length)),
                None => {
                    let segment = self.read_whole(base, length)?;
                    (SegmentRecord::from(&segment), Some(segment.index))
                }
            };
            if record.size != length {
                let reason = format!("segment {base} has {length} bytes, {} were sealed", record.size);
                return Err(Damage { reason });
            }
            push_segment(&mut self.segments, &record);
            if let Some(index) = index
                && let Some(mut segment) = self.segments.pop_back()
            {
                segment.index = index;
                segment.index.loaded = true;
                self.leave_index(&mut segment);
                self.segments.push_back(segment);
            }
        }
        let there = found.get(first).is_some_and(|&(base, length)| {
            base.0 == state.recovery_segment && length >= state.recovery_position
        });
        if state.recovery_position > 0 && !there && state.recovery_offset > state.log_start_offset {
            let reason = format!("segment {} ends before the recovery point", state.recovery_segment);
            return Err(Damage { reason });
        }
        Ok(first)
    }

    /// The index of a sealed segment that has none: a death came before it was written. A start does not read much for that.
    fn missing_index(&mut self, base: Offset, length: u64) -> Option<SegmentIndex> {
        if !self.shared.may_read_for_index(length) {
            return None;
        }
        match self.read_whole(base, length) {
            Ok(segment) => Some(segment.index),
            Err(Damage { reason }) => {
                tracing::error!(folder = self.known.folder, %base, reason, "an index cannot be made");
                None
            }
        }
    }

    /// Reads a sealed segment of which nothing else tells.
    fn read_whole(&mut self, base: Offset, length: u64) -> Result<Segment, Damage> {
        let mut segment = Segment::new(base, 0, 0);
        let expected = Expected { offset: base, leader_epoch: LeaderEpoch(0), skip_crc: false };
        let interval = self.known.config.index_interval_bytes;
        let scanned = self
            .open(base)
            .and_then(|file| scan(&file, 0, expected, |header, at| segment.note_batch(header, at, interval)))
            .map_err(|error| Damage { reason: error.to_string() })?;
        self.report.bytes_scanned = self.report.bytes_scanned.saturating_add(scanned.end);
        segment.size = scanned.end;
        if scanned.end != length {
            return Err(Damage { reason: format!("segment {base} is damaged at byte {}", scanned.end) });
        }
        Ok(segment)
    }

    /// Opens the segment to read it.
    fn open(&self, base: Offset) -> Result<D::File, RecoveryError> {
        let is_known = self.opened.is_some_and(|opened| opened.contains(&base));
        self.open_as(base, if is_known { Caching::Cached } else { Caching::Buffered })
    }

    fn open_as(&self, base: Offset, caching: Caching) -> Result<D::File, RecoveryError> {
        let path = format!("{}/{}", self.known.folder, file_name(base, "log"));
        Ok(self.disk.open(Path::new(&path), Access::Write, caching)?)
    }

    /// Scans the segments from the recovery point on, cuts at the first batch that does not hold, removes what follows. Nothing is
    /// touched before it is clear that all that was on stable media is there: damage is for people to look at.
    fn scan_from(mut self, found: &[(Offset, u64)], first: usize) -> Result<PartitionLog, RecoveryError> {
        let found = found.get(first..).unwrap_or_default();
        let (mut log, kept, end_offset) = match self.scan_behind_snapshot(found)? {
            Ok(scanned) => scanned,
            Err(Damage { reason }) => return Ok(offline(self.known, Some(self.state), reason, self.report)),
        };
        let start = Offset(self.state.log_start_offset);
        if end_offset.0 < self.state.flushed_offset {
            let known = self.state.flushed_offset;
            let reason = format!("the log ends at {end_offset}, it was on stable media up to {known}");
            self.report.offline.push((self.known.folder.clone(), reason));
            log.failed = true;
            return Ok(log);
        }
        for &(base, length) in found.iter().skip(kept.len()) {
            self.remove_segment(base, length)?;
        }
        for (segment, length) in kept {
            self.take(segment, length)?;
        }
        let snapshots = std::mem::take(&mut self.snapshots);
        self.has_changed_names |= snapshots.iter().any(|&snapshot| snapshot > end_offset);
        snapshots::remove_behind(self.disk, &self.known.folder, snapshots, end_offset)?;
        if self.has_changed_names {
            self.disk_sync()?;
        }
        let mut recovered = with_segments(self.known, std::mem::take(&mut self.segments), end_offset);
        recovered.producers = log.producers;
        recovered.epochs = log.epochs;
        recovered.log_start_offset = recovered.log_start_offset.max(start);
        Ok(recovered)
    }

    /// Scans the segments, with the producers that the checkpoint knows or, where one cannot be used, the newest snapshot of what is
    /// still there. Returns epochs and producers in a log without segments, what is good of each segment, and where the log ends.
    fn scan_behind_snapshot(
        &mut self,
        found: &[(Offset, u64)],
    ) -> Result<Result<(PartitionLog, Kept, Offset), Damage>, RecoveryError> {
        let known_until = Offset(self.state.flushed_offset);
        let mut before = Offset(i64::MAX);
        loop {
            let mut log = with_segments(self.known, VecDeque::new(), Offset::ZERO);
            restore(&mut log, self.state);
            log.epochs.truncate(Offset(self.state.recovery_offset));
            self.producers_from = known_until;
            if self.unsure
                && let Some((end_offset, producers)) =
                    snapshots::newest(self.disk, &self.known.folder, &self.snapshots, known_until, before)
            {
                self.producers_from = end_offset;
                log.producers = Producers::default();
                restore_producers(&mut log.producers, &producers);
            }
            let (kept, end_offset) = match self.scan_all(found, &mut log)? {
                Ok(scanned) => scanned,
                Err(damage) => return Ok(Err(damage)),
            };
            let end_offset = end_offset.max(Offset(self.state.log_start_offset));
            if end_offset >= self.producers_from || self.producers_from == known_until {
                return Ok(Ok((log, kept, end_offset)));
            }
            // It tells of batches that are not there any more.
            before = self.producers_from;
        }
    }

    /// Scans the segments up to the first that is not the next one. Returns what is good of each, with its file's length, and
    /// where the log ends.
    fn scan_all(
        &mut self,
        found: &[(Offset, u64)],
        log: &mut PartitionLog,
    ) -> Result<Result<(Kept, Offset), Damage>, RecoveryError> {
        let mut expected = Expected {
            offset: Offset(self.state.recovery_offset),
            leader_epoch: log.epochs.latest().unwrap_or(LeaderEpoch(0)),
            skip_crc: planted(self.options.seeded_bug, SeededBug::MissCrcCheck),
        };
        let mut kept = Vec::new();
        for (place, &(base, length)) in found.iter().enumerate() {
            let at_recovery_point = base.0 == self.state.recovery_segment;
            // The segment at the recovery point, and more, may have gone with the log start.
            let is_start = place == 0 && base.0 <= self.state.log_start_offset && !at_recovery_point;
            // A log that lost its memory went on at its reservation: what is missing between need not have been there.
            if is_start || (self.unsure && !at_recovery_point) {
                expected.offset = expected.offset.max(base);
            }
            if !at_recovery_point && base != expected.offset {
                if !self.unsure {
                    break;
                }
                let reason =
                    format!("segment {base} begins before offset {}, its predecessor's end", expected.offset);
                return Ok(Err(Damage { reason }));
            }
            let from = if at_recovery_point { self.state.recovery_position } else { 0 };
            let (segment, next) = self.scan_segment(base, from, expected, log)?;
            if self.unsure && self.was_sealed_beyond(base, segment.size, length) {
                let reason = format!("segment {base} is damaged at byte {}", segment.size);
                return Ok(Err(Damage { reason }));
            }
            kept.push((segment, length));
            expected = next;
        }
        Ok(Ok((kept, expected.offset)))
    }

    /// Whether the segment, of which `good` bytes hold, was sealed with all its `length` bytes: none of them is a torn tail.
    fn was_sealed_beyond(&self, base: Offset, good: u64, length: u64) -> bool {
        good < length && self.read_index(base).is_some_and(|index| index.size == length)
    }

    fn read_index(&self, base: Offset) -> Option<SegmentRecord> {
        let path = index_path(&self.known.folder, base);
        let index = self.disk.read_file(Path::new(&path), INDEX_BYTES_MAX).ok();
        let index = index.and_then(|bytes| side_file::decode_index(&bytes).ok());
        index.map(|index| index.segment).filter(|segment| segment.base_offset == base.0)
    }

    /// Scans one segment from byte `from` on. Returns what is good of it, and what must come next.
    fn scan_segment(
        &mut self,
        base: Offset,
        from: u64,
        expected: Expected,
        log: &mut PartitionLog,
    ) -> Result<(Segment, Expected), RecoveryError> {
        let mut segment = Segment::new(base, 0, self.options.now_ms);
        if from > 0 {
            // What lies before is not read again: its largest timestamp comes from the checkpoint.
            segment.max_timestamp = self.state.max_timestamp;
            segment.max_timestamp_offset = Offset(self.state.max_timestamp_offset);
        }
        let file = self.open(base)?;
        let interval = self.known.config.index_interval_bytes;
        let now_ms = self.options.now_ms;
        let producers_from = self.producers_from;
        let scanned = scan(&file, from, expected, |header, at| {
            segment.note_batch(header, at, interval);
            log.epochs.note(header.leader_epoch, header.base_offset);
            if header.is_idempotent() && header.base_offset >= producers_from {
                log.producers.note(header, now_ms.min(header.max_timestamp.max(0)), Offset(i64::MAX));
                log.producers.forget_idle(PRODUCERS_PER_PARTITION_MAX, Offset(i64::MAX));
            }
        })?;
        let walked = scanned.end.saturating_sub(from);
        self.report.bytes_scanned = self.report.bytes_scanned.saturating_add(walked);
        segment.size = scanned.end;
        segment.index.loaded = true;
        Ok((segment, scanned.next))
    }

    /// Cuts a scanned segment whose file has `length` bytes behind its last good batch, and brings it to stable media.
    fn take(&mut self, mut segment: Segment, length: u64) -> Result<(), RecoveryError> {
        if segment.size == 0 {
            return self.remove_segment(segment.base_offset, length);
        }
        let file = self.open_as(segment.base_offset, Caching::Cached)?;
        if planted(self.options.seeded_bug, SeededBug::KeepTornTail) {
            segment.size = segment.size.max(length);
        }
        if segment.size < length {
            let cut = length.saturating_sub(segment.size);
            self.report.bytes_cut = self.report.bytes_cut.saturating_add(cut);
            file.set_length(segment.size)?;
        }
        // What was read may have been in the cache alone: from now on it counts as being on stable media.
        file.sync()?;
        segment.start = self.segments.back().map_or(0, |last| round_up(last.end(), 4096));
        self.seal(segment)
    }

    /// To be made durable with [`Self::disk_sync`].
    fn remove_segment(&mut self, base: Offset, bytes: u64) -> Result<(), RecoveryError> {
        self.report.bytes_cut = self.report.bytes_cut.saturating_add(bytes);
        self.has_changed_names = true;
        for suffix in ["log", "index"] {
            let path = format!("{}/{}", self.known.folder, file_name(base, suffix));
            match self.disk.remove(Path::new(&path)) {
                Err(error) if error.is_not_found() => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Takes the scanned segment as sealed. Its index is written when the broker serves; one that may be wrong goes.
    fn seal(&mut self, mut segment: Segment) -> Result<(), RecoveryError> {
        if self.indices.contains(&segment.base_offset) {
            let path = index_path(&self.known.folder, segment.base_offset);
            self.disk.remove(Path::new(&path))?;
            self.has_changed_names = true;
        }
        segment.written = segment.size;
        segment.synced = segment.size;
        segment.allocated = segment.size;
        segment.file = FileState::Closed { on_disk: true };
        segment.closed = true;
        segment.sealed = true;
        self.leave_index(&mut segment);
        self.segments.push_back(segment);
        Ok(())
    }

    /// Has the segment's index written when the broker serves, or now, if too many wait in memory already.
    fn leave_index(&self, segment: &mut Segment) {
        if self.shared.may_wait(segment.index.len()) {
            segment.index.due = true;
            return;
        }
        let path = index_path(&self.known.folder, segment.base_offset);
        // What is wrong has been said; it can be made again.
        let _ = write_index(self.disk, &path, &SideFile::of_index(segment, segment.index.entries()));
        segment.index.thin_out(SEALED_INDEX_INTERVAL_BYTES);
    }

    fn disk_sync(&self) -> Result<(), RecoveryError> {
        match self.disk.sync_directory(Path::new(&self.known.folder)) {
            Err(error) if error.is_not_found() => Ok(()),
            other => Ok(other?),
        }
    }
}

fn with_segments(known: &KnownPartition, segments: VecDeque<Segment>, end_offset: Offset) -> PartitionLog {
    PartitionLog::with_segments(
        known.topic_partition,
        known.folder.clone(),
        known.config,
        known.leader_epoch,
        segments,
        end_offset,
    )
}

fn restore(log: &mut PartitionLog, state: &CheckpointPartition) {
    for &(epoch, offset) in &state.epochs {
        log.epochs.note(LeaderEpoch(epoch), Offset(offset));
    }
    restore_producers(&mut log.producers, &state.producers);
    log.log_start_offset = log.log_start_offset.max(Offset(state.log_start_offset));
}

fn restore_producers(producers: &mut Producers, records: &[ProducerRecord]) {
    for producer in records {
        let batches: Vec<ProducedBatch> = producer.batches.iter().map(Into::into).collect();
        producers.restore(ProducerId(producer.producer_id), producer.last_append_ms, batches);
    }
    producers.forget_idle(PRODUCERS_PER_PARTITION_MAX, Offset(i64::MAX));
}

fn push_segment(segments: &mut VecDeque<Segment>, record: &SegmentRecord) {
    let start = segments.back().map_or(0, |last: &Segment| round_up(last.end(), 4096));
    let mut segment = Segment::new(Offset(record.base_offset), start, 0);
    segment.size = record.size;
    segment.written = record.size;
    segment.synced = record.size;
    segment.allocated = record.size;
    segment.file = FileState::Closed { on_disk: true };
    segment.closed = true;
    segment.sealed = true;
    segment.max_timestamp = record.max_timestamp;
    segment.max_timestamp_offset = Offset(record.max_timestamp_offset);
    segment.index = SegmentIndex::default();
    segments.push_back(segment);
}

/// What of a partition's folder recovery looks at.
#[derive(Default)]
struct Listed {
    /// In order, with their files' lengths.
    segments: Vec<(Offset, u64)>,
    /// Offsets of the producer snapshots.
    snapshots: Vec<Offset>,
    /// Base offsets of the segments with an index file.
    indices: BTreeSet<Offset>,
}

fn list_files<D: BlockingDisk>(disk: &D, folder: &str) -> Result<Listed, RecoveryError> {
    let mut listed = Listed::default();
    let entries = match disk.list(Path::new(folder)) {
        Err(error) if error.is_not_found() => Vec::new(),
        entries => entries?,
    };
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
        if let Some(base) = parse_file_name(&entry.name, "log") {
            let path = format!("{folder}/{}", entry.name);
            let length = disk.open(Path::new(&path), Access::Read, Caching::Cached)?.length()?;
            listed.segments.push((base, length));
        }
        listed.indices.extend(parse_file_name(&entry.name, "index"));
        listed.snapshots.extend(parse_file_name(&entry.name, SNAPSHOT_SUFFIX));
    }
    Ok(listed)
}
