//! Putting into the segments what the streams and the arenas have of them, and putting aside what cannot be put there.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::{Applied, Chunks, Finished, Opened, SegmentFiles};
use super::chunks::Piece;
use super::frames::GROUPS_IN_FLIGHT_MAX;
use super::held::{HeldWriter, for_each_held};
use super::hindsight::Hindsight;
use super::scan::Expected;
use super::streams::{Stream, StreamEnd};
use super::{KnownPartition, RecoveryError, RecoveryOptions};
use crate::model::number::index;
use crate::model::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use crate::runtime::disk::BlockingDisk;
use crate::runtime::memory::ArenaMemory;
use crate::storage::arena::ChunkId;
use crate::storage::arena::table::{self, ChunkLabel, Layout};
use crate::storage::checkpoint::CheckpointPartition;
use crate::storage::commit_log::frame::{FrameHeader, kind};

/// What chunks hold of each segment.
type Pieces<'m> = BTreeMap<(TopicPartition, Offset), Vec<Piece<'m>>>;

pub(super) type States = BTreeMap<TopicPartition, CheckpointPartition>;

/// What the last life left beside its segments.
pub(super) struct Sources<'a, M> {
    /// Of the last life.
    pub(super) incarnation: Option<u64>,
    /// With the number of the first frame that is needed.
    pub(super) streams: Vec<(Stream, u64)>,
    pub(super) arenas: Vec<&'a M>,
}

/// A replay under way.
pub(super) struct Replay<'a, D: BlockingDisk> {
    disk: &'a D,
    by_id: &'a BTreeMap<TopicPartition, &'a KnownPartition>,
    states: &'a mut States,
    /// States that frames have changed, as they were before.
    originals: BTreeMap<TopicPartition, Option<CheckpointPartition>>,
    files: SegmentFiles<'a, D>,
    pub(super) frames_applied: u64,
    pub(super) chunks_applied: u64,
    damaged_streams: u32,
    /// Partitions of which chunks have the end and nobody has what comes before it.
    with_gaps: BTreeSet<TopicPartition>,
}

/// What a replay has come to.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) frames_applied: u64,
    pub(super) chunks_applied: u64,
    pub(super) damaged_streams: u32,
    pub(super) opened: Opened,
    /// Folders whose partitions lack something, with the reasons. Their states are as before.
    pub(super) damaged: BTreeMap<String, String>,
    /// Some of them because the disk is full.
    pub(super) lacks_room: bool,
    /// Partitions of which more is known than whether the last life's memory was found: whether that of the last life that served
    /// them, or a part of it, is lost.
    pub(super) memory_lost: BTreeMap<TopicPartition, bool>,
}

impl<'a, D: BlockingDisk> Replay<'a, D> {
    /// Nothing is done to the folders in `damaged`.
    pub(super) fn new(
        disk: &'a D,
        by_id: &'a BTreeMap<TopicPartition, &'a KnownPartition>,
        states: &'a mut States,
        damaged: BTreeMap<String, String>,
        options: &RecoveryOptions,
    ) -> Self {
        let files = SegmentFiles::new(disk, options, damaged);
        Self {
            disk,
            by_id,
            states,
            originals: BTreeMap::new(),
            files,
            frames_applied: 0,
            chunks_applied: 0,
            damaged_streams: 0,
            with_gaps: BTreeSet::new(),
        }
    }

    /// Replays everything: what earlier starts have put aside, the streams, the arenas (the later truth).
    pub(super) fn run<M: ArenaMemory>(
        mut self,
        sources: &Sources<'_, M>,
        boot_id: &[u8; 16],
    ) -> Result<Replayed, RecoveryError> {
        let mut memory_lost = BTreeMap::new();
        if let Some(incarnation) = sources.incarnation {
            self.replay_held(incarnation, boot_id, &mut memory_lost)?;
        }
        for (stream, oldest_sequence) in &sources.streams {
            self.replay_stream(stream, *oldest_sequence)?;
        }
        let mut pieces = Pieces::new();
        for arena in &sources.arenas {
            for_each_chunk(*arena, |label, bytes| {
                add_piece(&mut pieces, label, bytes);
                Ok(())
            })?;
        }
        self.apply_pieces(pieces)?;
        let Self { by_id, states, originals, files, with_gaps, .. } = self;
        let (frames_applied, chunks_applied) = (self.frames_applied, self.chunks_applied);
        let damaged_streams = self.damaged_streams;
        memory_lost.extend(with_gaps.into_iter().map(|id| (id, true)));
        let Finished { opened, damaged, lacks_room } = files.finish()?;
        for (id, original) in originals {
            let is_damaged = by_id.get(&id).is_some_and(|known| damaged.contains_key(&known.folder));
            match original.filter(|_| is_damaged) {
                Some(original) => drop(states.insert(id, original)),
                None if is_damaged => drop(states.remove(&id)),
                None => {}
            }
        }
        Ok(Replayed {
            frames_applied,
            chunks_applied,
            damaged_streams,
            opened,
            damaged,
            lacks_room,
            memory_lost,
        })
    }

    fn replay_held(
        &mut self,
        incarnation: u64,
        boot_id: &[u8; 16],
        memory_lost: &mut BTreeMap<TopicPartition, bool>,
    ) -> Result<(), RecoveryError> {
        let mut hindsight = Hindsight::default();
        let mut chunks = Vec::new();
        let disk = self.disk;
        for_each_held(disk, incarnation, |header, _| {
            hindsight.note(id_of_frame(header), header);
            Ok(())
        })?;
        for_each_held(disk, incarnation, |header, body| match header.kind {
            kind::HELD_ARENA_FOUND | kind::HELD_ARENA_LOST => {
                // With the power went what had been written, not flushed, and therefore had no chunk any more.
                let is_lost = header.kind == kind::HELD_ARENA_LOST || body != boot_id;
                memory_lost.insert(id_of_frame(header), is_lost);
                Ok(())
            }
            kind::HELD_CHUNK => {
                chunks.push((label_of_frame(header), body.to_vec()));
                Ok(())
            }
            _ => self.replay_frame(header, body, &hindsight),
        })?;
        let mut pieces = Pieces::new();
        for (label, bytes) in &chunks {
            add_piece(&mut pieces, label, bytes);
        }
        self.apply_pieces(pieces)
    }

    /// Reads the stream twice, since what comes later decides about what came before.
    fn replay_stream(&mut self, stream: &Stream, oldest_sequence: u64) -> Result<(), RecoveryError> {
        let mut hindsight = Hindsight::default();
        let disk = self.disk;
        stream.for_each_frame(disk, oldest_sequence, |header, _| {
            hindsight.note(id_of_frame(header), header);
            Ok(())
        })?;
        let end = stream.for_each_frame(disk, oldest_sequence, |header, body| {
            self.replay_frame(header, body, &hindsight)
        })?;
        self.report_end(stream, end);
        Ok(())
    }

    /// Says what lies behind the end of a stream, if it is of the same life.
    fn report_end(&mut self, stream: &Stream, end: StreamEnd) {
        let groups = match stream.groups_behind(self.disk, end) {
            Ok(groups) => groups,
            // Nothing of it is needed.
            Err(error) => {
                tracing::warn!(%error, "what lies behind the commit log's end cannot be read");
                return;
            }
        };
        let (path, position, frame) = (stream.path(end), end.position, end.next_sequence);
        if groups > GROUPS_IN_FLIGHT_MAX {
            self.damaged_streams = self.damaged_streams.saturating_add(1);
            tracing::error!(
                path,
                position,
                frame,
                "the commit log is damaged: a frame that was durable is missing, and nothing behind it is read; what \
                 neither the segments nor the memory have of that is lost"
            );
        } else if groups > 0 {
            tracing::warn!(
                path,
                position,
                frame,
                groups,
                "the commit log ends before its last groups: they were in flight together, or the device lost one"
            );
        }
    }

    fn replay_frame(
        &mut self,
        header: &FrameHeader,
        body: &[u8],
        hindsight: &Hindsight,
    ) -> Result<(), RecoveryError> {
        let Some(known) = self.by_id.get(&id_of_frame(header)).copied() else { return Ok(()) };
        if self.files.is_damaged(&known.folder) {
            return Ok(());
        }
        self.frames_applied = self.frames_applied.saturating_add(1);
        tracing::trace!(folder = known.folder, ?header, "a frame is replayed");
        let done = self.apply_frame(known, header, body, hindsight);
        self.files.note_damage(&known.folder, done)
    }

    fn apply_frame(
        &mut self,
        known: &'a KnownPartition,
        header: &FrameHeader,
        body: &[u8],
        hindsight: &Hindsight,
    ) -> Result<(), RecoveryError> {
        let id = known.topic_partition;
        let covered = self.states.get(&id).is_some_and(|state| header.sequence < state.control_sequence);
        match header.kind {
            kind::DATA => {
                let end = header.position.saturating_add(u64::from(header.body_bytes));
                let flushed = self.states.get(&id).is_some_and(|state| {
                    (header.segment, end) <= (state.recovery_segment, state.recovery_position)
                });
                if !flushed && !hindsight.is_gone(id, header) {
                    self.files.write(known, Offset(header.segment), header.position, body)?;
                }
            }
            kind::TRUNCATE if !covered => {
                if !hindsight.is_done(id, header) {
                    let (segment, end_offset) = (Offset(header.segment), Offset(header.base_offset));
                    let (position, leader_epoch) = (header.position, header.leader_epoch);
                    self.files.truncate(known, segment, position, leader_epoch, end_offset)?;
                }
                self.keep_original(id);
                if let Some(state) = self.states.get_mut(&id) {
                    state.truncate(header.base_offset, header.segment, header.position);
                }
            }
            kind::LOG_START if !covered => {
                let state = self.changing(id);
                state.log_start_offset = state.log_start_offset.max(header.base_offset);
            }
            kind::RESERVE if !covered => {
                let state = self.changing(id);
                state.reserved_offset = state.reserved_offset.max(header.base_offset);
            }
            _ => {}
        }
        Ok(())
    }

    fn keep_original(&mut self, id: TopicPartition) {
        let states = &self.states;
        self.originals.entry(id).or_insert_with(|| states.get(&id).cloned());
    }

    fn changing(&mut self, id: TopicPartition) -> &mut CheckpointPartition {
        self.keep_original(id);
        self.states.entry(id).or_insert_with(|| CheckpointPartition::fresh(id))
    }

    /// Writes what frames hold, and what chunks hold and their segments lack, into the segments, as far as it is sound.
    fn apply_pieces(&mut self, pieces: Pieces<'_>) -> Result<(), RecoveryError> {
        let mut chunks = Vec::new();
        for ((id, segment), pieces) in pieces {
            let Some(known) = self.by_id.get(&id).copied() else { continue };
            let (at, expected) = match self.states.get(&id) {
                // It is on stable media, whole.
                Some(state) if segment.0 < state.recovery_segment => continue,
                Some(state) if segment.0 == state.recovery_segment => {
                    (state.recovery_position, Expected::at(Offset(state.recovery_offset)))
                }
                _ => (0, Expected::at(segment)),
            };
            chunks.push(Chunks { known, segment, at, expected, pieces });
        }
        for Applied { known, segment, count, laid } in self.files.write_out(chunks)? {
            let folder = known.folder.as_str();
            tracing::trace!(folder, %segment, count, ?laid, "chunks are applied");
            if laid.kept > 0 || laid.refused > 0 {
                let (kept, refused, end) = (laid.kept, laid.refused, laid.end);
                tracing::warn!(
                    folder, %segment, kept, refused, end,
                    "bytes of the memory are no sound batches: the file keeps its own, what lies behind the end is refused"
                );
            }
            if laid.has_gap {
                self.with_gaps.insert(known.topic_partition);
            }
            self.chunks_applied = self.chunks_applied.saturating_add(count);
        }
        Ok(())
    }
}

/// Puts aside, for the start after that of `incarnation`, what the sources have of the `damaged` partitions, and says of all
/// that are not served whether the memory of the life that did was lost.
pub(super) fn hold<D: BlockingDisk, M: ArenaMemory>(
    disk: &D,
    incarnation: u64,
    sources: &Sources<'_, M>,
    damaged: &BTreeSet<TopicPartition>,
    not_served: &BTreeMap<TopicPartition, bool>,
    boot_id: &[u8; 16],
) -> Result<(), RecoveryError> {
    if not_served.is_empty() {
        return Ok(());
    }
    let mut held = HeldWriter::begin(disk, incarnation)?;
    if let Some(before) = sources.incarnation {
        for_each_held(disk, before, |header, body| {
            let is_mark = matches!(header.kind, kind::HELD_ARENA_FOUND | kind::HELD_ARENA_LOST);
            let wanted = !is_mark && damaged.contains(&id_of_frame(header));
            if wanted { held.push(header, body) } else { Ok(()) }
        })?;
    }
    for (stream, oldest_sequence) in &sources.streams {
        stream.for_each_frame(disk, *oldest_sequence, |header, body| {
            if damaged.contains(&id_of_frame(header)) { held.push(header, body) } else { Ok(()) }
        })?;
    }
    for arena in &sources.arenas {
        for_each_chunk(*arena, |label, bytes| {
            let id = label.topic_partition;
            if !damaged.contains(&id) {
                return Ok(());
            }
            let header = FrameHeader {
                topic_id: id.topic_id.0,
                partition: id.partition.0,
                leader_epoch: label.leader_epoch.0,
                segment: label.segment.0,
                position: label.position,
                kind: kind::HELD_CHUNK,
                ..FrameHeader::blank()
            };
            held.push(&header, bytes)
        })?;
    }
    for (&id, &lost) in not_served {
        held.push_mark(id, lost, boot_id)?;
    }
    held.finish()
}

/// Shows each chunk whose bytes its segment may lack.
fn for_each_chunk<'m, M: ArenaMemory>(
    arena: &'m M,
    mut visit: impl FnMut(&ChunkLabel, &'m [u8]) -> Result<(), RecoveryError>,
) -> Result<(), RecoveryError> {
    let layout = Layout::of(arena.len());
    for number in 0..layout.granule_count() {
        let chunk = ChunkId(number);
        let entry = layout.entry_position(chunk);
        let Some(bytes) = table::bytes_to_apply(arena.load(entry)) else { continue };
        let Some(label) = ChunkLabel::decode(arena.read(entry.saturating_add(8), 56)) else { continue };
        let from = layout.chunk_position(chunk);
        if from.saturating_add(index(bytes)) <= arena.len() {
            visit(&label, arena.read(from, index(bytes)))?;
        }
    }
    Ok(())
}

fn add_piece<'m>(pieces: &mut Pieces<'m>, label: &ChunkLabel, bytes: &'m [u8]) {
    let piece = Piece { position: label.position, bytes };
    pieces.entry((label.topic_partition, label.segment)).or_default().push(piece);
}

fn label_of_frame(header: &FrameHeader) -> ChunkLabel {
    ChunkLabel {
        topic_partition: id_of_frame(header),
        leader_epoch: LeaderEpoch(header.leader_epoch),
        segment: Offset(header.segment),
        position: header.position,
    }
}

fn id_of_frame(header: &FrameHeader) -> TopicPartition {
    TopicPartition { topic_id: TopicId(header.topic_id), partition: PartitionIndex(header.partition) }
}
