//! Write-behind and direct writes: how a partition's bytes get from its chunks into its segment files.
//!
//! One operation per partition at a time. What is written next: everything if it must become durable now (a direct append,
//! a flush round, a closed segment), else full blocks once enough have gathered.

use super::{PartitionSlot, Purpose, ShardLog};
use crate::model::Offset;
use crate::model::limits::BLOCK_BYTES;
use crate::model::number::{round_down, round_up, wide};
use crate::runtime::memory::{AlignedBuffer, ArenaMemory};
use crate::storage::arena::ChunkId;
use crate::storage::operation::{FileId, Lane, Operation, Task, WritePiece};
use crate::storage::partition::PartitionLog;
use crate::storage::partition::segment::{FileState, Segment, index_path, snapshot_path};
use crate::storage::seeded_bug::{SeededBug, planted};
use crate::storage::side_file::{SEALED_INDEX_INTERVAL_BYTES, SideFile};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Largest single write to a segment. Unit: bytes.
const WRITE_BYTES_MAX: u64 = 4 << 20;
/// Full blocks that are worth a write of their own. Unit: bytes.
const WRITE_BEHIND_BYTES: u64 = 512 << 10;
/// Room first given to a segment file; doubled with use. Unit: bytes.
const ALLOCATE_BYTES_MIN: u64 = 64 << 10;
/// Room given at once at most. Unit: bytes.
const ALLOCATE_BYTES_MAX: u64 = 32 << 20;

/// The next step for a partition's segments.
enum Step {
    Open {
        segment: Offset,
        allocate: u64,
    },
    Allocate {
        segment: Offset,
        file: FileId,
        bytes: u64,
    },
    Write {
        segment: Offset,
        file: FileId,
        from: u64,
        to: u64,
        durable: bool,
    },
    Sync {
        segment: Offset,
        file: FileId,
        synced: u64,
    },
    Seal {
        segment: Offset,
        file: FileId,
    },
    /// An empty closed segment: nothing to do for it.
    Nothing,
}

impl<M: ArenaMemory> ShardLog<M> {
    /// Starts the partition's next segment operation, if one is due and none is under way.
    pub(super) fn pump(&mut self, slot: PartitionSlot) {
        let Some(partition) = self.partition(slot) else { return };
        if partition.busy || partition.failed || partition.is_stalled() || partition.is_held() {
            return;
        }
        match next_step(partition) {
            Step::Nothing => {}
            Step::Open { segment, allocate } => {
                self.set_busy(slot);
                let waiting = self.starved_of_files.len();
                self.open_segment(slot, segment, allocate, true);
                if self.starved_of_files.len() > waiting {
                    self.clear_busy(slot);
                }
            }
            Step::Allocate { segment, file, bytes } => {
                self.set_busy(slot);
                let purpose = Purpose::Allocate { slot, segment, bytes };
                self.task(Lane::Files, Task::Allocate { file, bytes }, purpose);
            }
            Step::Write { segment, file, from, to, durable } => {
                self.set_busy(slot);
                self.start_write(slot, segment, file, from, to, durable);
                self.prepare_next_segment(slot);
            }
            Step::Sync { segment, synced, .. } if planted(self.options.seeded_bug, SeededBug::SkipFlush) => {
                self.end_sync(slot, segment, synced, None);
            }
            Step::Sync { segment, file, synced } => {
                self.set_busy(slot);
                let id = self.issue(Purpose::SegmentSync { slot, segment, synced });
                self.operations.push_back(Operation::Sync { id, file });
            }
            Step::Seal { segment, file } => {
                self.set_busy(slot);
                self.start_seal(slot, segment, file);
            }
        }
    }

    /// Has the file of the next segment made while the active one still has room: when it is needed, it only has to be renamed.
    fn prepare_next_segment(&mut self, slot: PartitionSlot) {
        let (now_ms, closing) = (self.now_ms, self.closing);
        let Some(partition) = self.partition_mut(slot) else { return };
        let allocated = partition.active_ref().map_or(0, |active| active.allocated);
        if closing || partition.prepared.is_some() || allocated == 0 || !partition.is_roll_near(now_ms) {
            return;
        }
        let bytes = allocation(0, allocated).min(round_up(partition.config.segment_bytes, BLOCK));
        partition.prepared = Some(bytes);
        let path = partition.prepared_path();
        // Without success it is made when it is needed, and whatever is wrong is told then.
        self.task(Lane::Files, Task::Prepare { path, bytes }, Purpose::Nothing);
    }

    /// Removes the file of the next segment, if it was prepared.
    pub(super) fn give_up_prepared(&mut self, slot: PartitionSlot) {
        let Some(partition) = self.partition_mut(slot) else { return };
        if partition.prepared.take().is_some() {
            let paths = vec![partition.prepared_path()];
            self.task(Lane::Files, Task::RemoveFiles { paths }, Purpose::Nothing);
        }
    }

    fn set_busy(&mut self, slot: PartitionSlot) {
        if let Some(partition) = self.partition_mut(slot) {
            assert!(!partition.busy, "two segment operations of one partition at once");
            partition.busy = true;
            self.segment_operations += 1;
        }
    }

    /// The partition's operation has ended.
    pub(super) fn clear_busy(&mut self, slot: PartitionSlot) {
        if let Some(partition) = self.partition_mut(slot)
            && partition.busy
        {
            partition.busy = false;
            self.segment_operations = self.segment_operations.saturating_sub(1);
        }
    }

    /// Writes the segment's bytes `from..to`: whole blocks out of the chunks, a partial last block from a private copy,
    /// because appends go on in that block while the device reads it.
    fn start_write(
        &mut self,
        slot: PartitionSlot,
        segment: Offset,
        file: FileId,
        from: u64,
        to: u64,
        durable: bool,
    ) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        let Some(start) = partition.segment_at(segment).map(|found| found.start) else { return };
        let whole_end = round_down(to, BLOCK);
        let mut pieces = Vec::new();
        let mut at = from;
        for chunk in partition.tail.chunks_from(start + from) {
            if at >= whole_end {
                break;
            }
            let inside = start + at - chunk.start;
            let bytes = (chunk.class.bytes() - inside).min(whole_end - at);
            self.arena.pin(chunk.id);
            let place = self.arena.place_of(chunk.id) + inside;
            pieces.push(WritePiece::Arena { chunk: chunk.id, place, bytes });
            at += bytes;
        }
        assert!(at >= whole_end || from >= whole_end, "bytes to be written are not in memory");
        if to > whole_end {
            let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
            if let Some(chunk) = partition.tail.chunks_from(start + whole_end).next() {
                let tail = self.arena.read(chunk.id, start + whole_end - chunk.start, to - whole_end);
                if let Some(target) = block.as_mut_slice().get_mut(..tail.len()) {
                    target.copy_from_slice(tail);
                }
            }
            pieces.push(WritePiece::Buffer { buffer: block, bytes: BLOCK });
        }
        let clean = chunks_within(partition, start, to, segment);
        let mut purpose = Purpose::SegmentWrite { slot, segment, written: to, durable, clean };
        if planted(self.options.seeded_bug, SeededBug::FreeChunkEarly)
            && let Purpose::SegmentWrite { clean, .. } = &mut purpose
        {
            let early = std::mem::take(clean);
            self.note_chunks_clean(slot, &early);
        }
        let durable = durable && !planted(self.options.seeded_bug, SeededBug::SkipFlush);
        let id = self.issue(purpose);
        self.operations.push_back(Operation::Write { id, file, pieces, position: from, durable });
    }

    /// Notes that these chunks of the partition stand in the segment file.
    pub(super) fn note_chunks_clean(&mut self, slot: PartitionSlot, ids: &[ChunkId]) {
        for &id in ids {
            let Some(partition) = self.partition_mut(slot) else { return };
            let Some(place) = partition.tail.chunks.iter().position(|chunk| chunk.id == id) else { continue };
            let Some(chunk) = partition.tail.chunks.get_mut(place) else { continue };
            if chunk.clean {
                continue;
            }
            chunk.clean = true;
            let chunk = *chunk;
            let segment_end =
                partition.segment_at(chunk.segment).map_or(chunk.start, |segment| segment.end());
            let valid_bytes = segment_end.min(chunk.capacity_end()) - chunk.start;
            self.note_clean(slot, id, valid_bytes, chunk.class);
        }
    }

    fn start_seal(&mut self, slot: PartitionSlot, base_offset: Offset, file: FileId) {
        let Some(partition) = self.partition_mut(slot) else { return };
        let folder = partition.folder.clone();
        let flushed_offset = partition.flushed_offset;
        let Some(segment) = partition.segment_at(base_offset) else { return };
        let bytes = segment.size;
        let index = SideFile::of_index(segment, segment.index.entries());
        segment.index.thin_out(SEALED_INDEX_INTERVAL_BYTES);
        let mut side_files = vec![(index_path(&folder, base_offset), index)];
        if !partition.producers.is_empty() {
            let snapshot = partition.producers.snapshot(flushed_offset);
            let path = snapshot_path(&folder, flushed_offset);
            side_files.push((path, SideFile::of_producers(flushed_offset, &snapshot)));
        }
        let purpose = Purpose::Seal { slot, segment: base_offset };
        self.task(Lane::Files, Task::Seal { file, bytes, side_files }, purpose);
    }
}

/// Chunks that lie wholly before byte `to` of the segment, or hold the end of a closed one, and are not yet clean.
fn chunks_within(partition: &PartitionLog, start: u64, to: u64, segment: Offset) -> Vec<ChunkId> {
    let closed_end = partition
        .segments
        .iter()
        .find(|candidate| candidate.base_offset == segment && candidate.closed)
        .map(Segment::end);
    partition
        .tail
        .chunks
        .iter()
        .skip_while(|chunk| chunk.clean || chunk.segment < segment)
        .take_while(|chunk| chunk.segment == segment && chunk.start < start + to)
        .filter(|chunk| chunk.capacity_end() <= start + to || closed_end == Some(start + to))
        .map(|chunk| chunk.id)
        .collect()
}

/// What the partition's oldest unfinished segment needs.
fn next_step(partition: &PartitionLog) -> Step {
    let unfinished = partition.segments.iter().rev().take_while(|segment| !segment.sealed).count();
    let first = partition.segments.len() - unfinished;
    for segment in partition.segments.range(first..) {
        if segment.size == 0 {
            continue;
        }
        let goal = partition.flush_goal.min(segment.end());
        let must_sync = segment.closed || goal > segment.synced_end();
        let step = if segment.written < segment.size && (must_sync || behind(segment) >= WRITE_BEHIND_BYTES) {
            write_step(segment, must_sync)
        } else if segment.synced < segment.size && must_sync {
            file_step(segment, |file| Step::Sync {
                segment: segment.base_offset,
                file,
                synced: segment.written,
            })
        } else if segment.closed {
            file_step(segment, |file| Step::Seal { segment: segment.base_offset, file })
        } else {
            continue;
        };
        return step;
    }
    Step::Nothing
}

fn behind(segment: &Segment) -> u64 {
    round_down(segment.size, BLOCK).saturating_sub(segment.written)
}

fn file_step(segment: &Segment, step: impl FnOnce(FileId) -> Step) -> Step {
    match segment.file {
        FileState::Open(file) => step(file),
        FileState::Busy(_) => Step::Nothing,
        FileState::Closed { .. } => {
            Step::Open { segment: segment.base_offset, allocate: allocation(segment.size, 0) }
        }
    }
}

fn write_step(segment: &Segment, must_sync: bool) -> Step {
    let from = round_down(segment.written, BLOCK);
    let wanted = if must_sync { segment.size } else { round_down(segment.size, BLOCK) };
    let to = wanted.min(from + WRITE_BYTES_MAX);
    file_step(segment, |file| {
        let base_offset = segment.base_offset;
        if round_up(to, BLOCK) > segment.allocated {
            let bytes = allocation(to, segment.allocated);
            return Step::Allocate { segment: base_offset, file, bytes };
        }
        // With the sync flag only what this write carries becomes durable: all before it must be already.
        let durable = must_sync && segment.synced == segment.written;
        Step::Write { segment: base_offset, file, from, to, durable }
    })
}

/// Room for at least `needed` bytes: twice what there is, within bounds.
fn allocation(needed: u64, allocated: u64) -> u64 {
    let growth = allocated.clamp(ALLOCATE_BYTES_MIN, ALLOCATE_BYTES_MAX);
    round_up((allocated + growth).max(needed + wide(1)), ALLOCATE_BYTES_MIN)
}
