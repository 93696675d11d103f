//! Completions: what each ended operation changes.

use super::{Event, PartitionSlot, Purpose, ShardLog};
use crate::model::Offset;
use crate::runtime::memory::ArenaMemory;
use crate::storage::arena::ChunkId;
use crate::storage::commit_log::Entry;
use crate::storage::operation::{Completion, Fault, FileId, Outcome, Task, WritePiece};
use crate::storage::partition::segment::FileState;

/// A commit-log file that could not be made is asked for again so much later. Unit: ms.
const COMMIT_FILE_RETRY_MS: i64 = 1_000;

impl<M: ArenaMemory> ShardLog<M> {
    /// Takes the end of an operation that was handed out.
    pub fn handle_completion(&mut self, completion: Completion) {
        let Completion { id, outcome, pieces } = completion;
        let Some(purpose) = self.in_flight.remove(&id) else { return };
        for piece in &pieces {
            if let WritePiece::Arena { chunk, .. } = piece {
                self.arena.unpin(*chunk);
            }
        }
        let fault = match &outcome {
            Outcome::Failed(fault) => Some(*fault),
            _ => None,
        };
        match purpose {
            Purpose::Group { number } => self.end_group(number, pieces, fault),
            Purpose::SegmentWrite { slot, segment, written, durable, clean } => {
                self.end_write(slot, segment, written, durable, fault);
                if fault.is_none() {
                    self.note_chunks_clean(slot, &clean);
                }
                self.after_segment_operation(slot);
            }
            Purpose::SegmentSync { slot, segment, synced } => {
                self.end_sync(slot, segment, synced, fault);
                self.after_segment_operation(slot);
            }
            Purpose::Open { slot, segment, file, allocated, pumping } => {
                self.end_open(slot, segment, file, allocated, pumping, fault);
                if pumping {
                    self.clear_busy(slot);
                }
                self.pump(slot);
                self.end_retry(slot);
                self.feed_starved_of_files();
                self.events.push_back(Event::ReadReady(slot));
            }
            Purpose::Allocate { slot, segment, bytes } => {
                self.end_allocate(slot, segment, bytes, fault);
                self.after_segment_operation(slot);
            }
            Purpose::Seal { slot, segment } => {
                self.end_seal(slot, segment, fault);
                self.after_segment_operation(slot);
            }
            Purpose::Remove { slot } => self.end_removal(slot, fault),
            Purpose::SetAside { paths } => self.end_set_aside(paths),
            Purpose::Deleted { trash } => {
                if let Some(fault) = fault {
                    tracing::warn!(
                        %fault,
                        "folders of deleted partitions keep their names; a topic that is made with such a name again can be written to after a restart"
                    );
                }
                for path in trash {
                    self.remove_in_time(Task::RemoveFolder { path });
                }
            }
            Purpose::Checkpoint(capture) => self.end_checkpoint(&capture, fault),
            Purpose::CommitFile { file, bytes } => self.end_commit_file(file, bytes, fault),
            Purpose::Extent { slot, segment, extent, valid_bytes } => {
                self.end_extent(id, slot, segment, extent, valid_bytes, outcome);
            }
            Purpose::Index { slot, segment } => self.end_index(slot, segment, outcome),
            Purpose::Removal => self.removals_under_way = self.removals_under_way.saturating_sub(1),
            Purpose::Nothing => {}
        }
        self.proceed_truncations();
        self.note_room();
    }

    fn end_group(&mut self, number: u64, pieces: Vec<WritePiece>, fault: Option<Fault>) {
        if fault.is_some() {
            let lost = self.commit.handle_failed();
            self.fail_entries(&lost);
            return;
        }
        self.commit.handle_written(number, pieces);
        self.take_durable_groups();
    }

    /// What completed groups hold is durable now.
    pub(super) fn take_durable_groups(&mut self) {
        while let Some(entries) = self.commit.poll_durable() {
            for entry in entries {
                match entry {
                    Entry::Data { slot, end } => {
                        if let Some(partition) = self.partition_mut(slot) {
                            partition.pending.handle_commit(end);
                        }
                        self.advance(slot);
                    }
                    Entry::Control { slot, token } => self.handle_control(slot, token),
                }
            }
        }
    }

    fn end_write(
        &mut self,
        slot: PartitionSlot,
        base_offset: Offset,
        written: u64,
        durable: bool,
        fault: Option<Fault>,
    ) {
        if let Some(fault) = fault {
            return self.end_faulty(slot, fault);
        }
        let Some(partition) = self.partition_mut(slot) else { return };
        let Some(segment) = partition.segment_at(base_offset) else { return };
        segment.written = segment.written.max(written.min(segment.size));
        if durable {
            segment.synced = segment.written;
            self.note_segment_synced(slot);
        }
    }

    pub(super) fn end_sync(
        &mut self,
        slot: PartitionSlot,
        base_offset: Offset,
        synced: u64,
        fault: Option<Fault>,
    ) {
        if let Some(fault) = fault {
            return self.end_faulty_flush(slot, base_offset, fault);
        }
        let Some(partition) = self.partition_mut(slot) else { return };
        let Some(segment) = partition.segment_at(base_offset) else { return };
        segment.synced = segment.synced.max(synced.min(segment.size));
        self.note_segment_synced(slot);
    }

    /// The segments reach further: so may acknowledgements, rounds and the commit log's recycling.
    pub(super) fn note_segment_synced(&mut self, slot: PartitionSlot) {
        let Some(partition) = self.partition_mut(slot) else { return };
        let end = partition.segment_synced_end();
        partition.pending.handle_segment(end);
        if end >= partition.end {
            partition.dirty = false;
            partition.unflushed_since_ms = None;
            self.dirty.remove(&slot);
        }
        self.advance(slot);
        self.note_round_progress(slot);
    }

    fn end_open(
        &mut self,
        slot: PartitionSlot,
        base_offset: Offset,
        file: FileId,
        allocated: Option<u64>,
        pumping: bool,
        fault: Option<Fault>,
    ) {
        let Some(segment) = self.partition_mut(slot).and_then(|log| log.segment_at(base_offset)) else {
            match fault {
                None => self.close_file(file),
                Some(_) => self.open_count = self.open_count.saturating_sub(1),
            }
            return;
        };
        match fault {
            None => {
                segment.file = FileState::Open(file);
                if let Some(bytes) = allocated {
                    segment.allocated = bytes;
                }
                self.note_open(slot, base_offset, file);
            }
            Some(fault) => {
                segment.file = FileState::Closed { on_disk: allocated.is_none() };
                self.open_count = self.open_count.saturating_sub(1);
                if pumping {
                    self.end_faulty(slot, fault);
                } else {
                    // A file that was there is not: reads of it fail, the rest is served.
                    self.cache.note_failed(slot, base_offset);
                }
            }
        }
    }

    fn end_allocate(&mut self, slot: PartitionSlot, base_offset: Offset, bytes: u64, fault: Option<Fault>) {
        if let Some(fault) = fault {
            return self.end_faulty(slot, fault);
        }
        if let Some(segment) = self.partition_mut(slot).and_then(|log| log.segment_at(base_offset)) {
            segment.allocated = bytes;
        }
    }

    fn end_seal(&mut self, slot: PartitionSlot, base_offset: Offset, fault: Option<Fault>) {
        if let Some(fault) = fault {
            return self.end_faulty(slot, fault);
        }
        if let Some(segment) = self.partition_mut(slot).and_then(|log| log.segment_at(base_offset)) {
            segment.sealed = true;
            segment.allocated = segment.size;
        }
        self.note_index(slot, base_offset);
        // A segment that was closed after its last write has chunks that no write has found to be complete.
        let partition = self.partition(slot);
        let chunks = partition.into_iter().flat_map(|partition| &partition.tail.chunks);
        let held = chunks.filter(|chunk| chunk.segment == base_offset && !chunk.clean);
        let ids: Vec<ChunkId> = held.map(|chunk| chunk.id).collect();
        self.note_chunks_clean(slot, &ids);
    }

    fn after_segment_operation(&mut self, slot: PartitionSlot) {
        self.clear_busy(slot);
        self.pump(slot);
        self.end_retry(slot);
        self.feed_starved_of_files();
    }

    fn end_commit_file(&mut self, file: FileId, bytes: u64, fault: Option<Fault>) {
        self.commit_file_coming = false;
        match fault {
            None => self.commit.add_file(file, bytes),
            Some(_) => {
                // Under the same name again, when there may be room.
                self.next_commit_file -= 1;
                self.commit_retry_ms = Some(self.now_ms.saturating_add(COMMIT_FILE_RETRY_MS));
            }
        }
    }
}
