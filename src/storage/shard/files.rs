//! Chunks, handles, commit-log files and control frames: the shard's shared supplies.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::{Event, PartitionSlot, Purpose, ShardLog};
use crate::model::Offset;
use crate::model::number::wide;
use crate::runtime::memory::ArenaMemory;
use crate::storage::arena::table::ChunkLabel;
use crate::storage::arena::{ChunkId, Class};
use crate::storage::commit_log::frame::FrameHeader;
use crate::storage::commit_log::{Entry, FILE_BYTES_MIN};
use crate::storage::operation::{ASIDE, CreateFile, FileId, Lane, Operation, RenameFolder, Task};
use crate::storage::partition::PartitionLog;
use crate::storage::partition::segment::{FileState, file_name, index_path, metadata_file};
use crate::storage::seeded_bug::{SeededBug, planted};
use crate::storage::side_file::{SEALED_INDEX_INTERVAL_BYTES, SideFile};

/// Partitions that an allocation without success sets writing.
const PRESSURE_PARTITIONS: usize = 64;
/// Largest commit-log file that is made in one go. Unit: bytes.
const COMMIT_FILE_BYTES_MAX: u64 = 64 << 20;
/// Folders of deleted partitions that are renamed by one task.
const RENAMED_TOGETHER: usize = 256;
/// Notes of chunks or files up to this number are not looked through for what is gone.
const NOTES_MIN: usize = 64;

/// What a control frame brings about when it is durable.
#[derive(Debug, Clone)]
pub(super) enum Control {
    Reserve { upto: Offset },
    Truncate,
    LogStart { remove: Vec<String> },
}

impl<M: ArenaMemory> ShardLog<M> {
    /// A chunk of `class` or of another one, if need be by giving up clean ones. Without success writing is hastened, and the
    /// append comes again.
    pub(super) fn allocate_chunk(&mut self, class: Class, label: &ChunkLabel) -> Option<(ChunkId, Class)> {
        while self.clean_bytes > self.options.retained_bytes && self.evict_one() {}
        loop {
            // Smaller ones first, largest of them first; larger ones only when all slabs are divided.
            for other in class.smaller_ones().chain(class.larger_ones()) {
                if let Some(id) = self.arena.allocate(other, label) {
                    return Some((id, other));
                }
            }
            if !self.evict_one() {
                self.relieve_pressure();
                return None;
            }
        }
    }

    /// Gives the oldest clean chunk back to the arena; false if there is none.
    fn evict_one(&mut self) -> bool {
        while let Some((slot, id)) = self.clean.pop_front() {
            let Some(partition) = self.partition_mut(slot) else { continue };
            let Some(front) = partition.tail.chunks.front().copied() else { continue };
            if front.id != id || !front.clean {
                // The chain was cut (truncation) since the chunk was noted.
                continue;
            }
            partition.tail.chunks.pop_front();
            self.clean_bytes = self.clean_bytes.saturating_sub(front.class.bytes());
            self.arena.disown(id);
            return true;
        }
        false
    }

    /// Gives back the clean chunks at the front of a partition that belong to this segment: nobody will read them.
    pub(super) fn forget_clean_chunks(&mut self, slot: PartitionSlot, segment: Offset) {
        while let Some(partition) = self.partition_mut(slot)
            && let Some(front) = partition.tail.chunks.front().copied()
            && front.clean
            && front.segment == segment
        {
            // What is noted of it among the clean ones is passed over there.
            partition.tail.chunks.pop_front();
            self.clean_bytes = self.clean_bytes.saturating_sub(front.class.bytes());
            self.arena.disown(front.id);
        }
    }

    /// The arena is full of bytes that are not yet in segments: write them. If nothing can be written and nothing is on
    /// its way, segments of partitions that hold only a partial block, flushed or not, are closed, which frees their last chunks.
    fn relieve_pressure(&mut self) {
        let slots: Vec<PartitionSlot> = self.dirty.iter().copied().collect();
        let mut started = 0;
        for &slot in &slots {
            if let Some(partition) = self.partition_mut(slot)
                && !partition.busy
                && partition.segments.iter().any(|segment| segment.size > segment.written)
            {
                partition.flush_goal = partition.end;
                self.pump(slot);
                started += 1;
            }
            if started >= PRESSURE_PARTITIONS {
                break;
            }
        }
        if self.segment_operations > 0 {
            return;
        }
        let mut closed = 0;
        let mut next = self.holders.first().copied();
        while let Some(slot) = next
            && closed < PRESSURE_PARTITIONS
        {
            next = self.holders.range((Bound::Excluded(slot), Bound::Unbounded)).next().copied();
            match self.partition_mut(slot) {
                Some(partition) if partition.tail.chunks.iter().any(|chunk| !chunk.clean) => {
                    partition.close_active();
                    self.pump(slot);
                    closed += 1;
                }
                _ => {
                    self.holders.remove(&slot);
                }
            }
        }
    }

    /// Asks for a segment's file to be opened; if too many are open, the one used longest ago is closed first.
    pub(super) fn open_segment(
        &mut self,
        slot: PartitionSlot,
        base_offset: Offset,
        allocate_bytes: u64,
        pumping: bool,
    ) {
        if self.open_count >= self.options.open_files_max && !self.close_one() {
            self.starved_of_files.push_back(slot);
            return;
        }
        let file = self.fresh_file();
        let Some(partition) = self.partition_mut(slot) else { return };
        let folder_file = metadata_file(partition.topic_partition.topic_id);
        let path = format!("{}/{}", partition.folder, file_name(base_offset, "log"));
        let prepared_path = partition.prepared_path();
        let Some(segment) = partition.segment_at(base_offset) else { return };
        let on_disk = matches!(segment.file, FileState::Closed { on_disk: true });
        segment.file = FileState::Busy(file);
        let prepared = if on_disk { None } else { partition.prepared.take() };
        // It has room for as much as it was prepared with; as much more as that is given later, if at all.
        let allocate_bytes = prepared.unwrap_or(allocate_bytes);
        let prepared = prepared.map(|_| prepared_path);
        let create = (!on_disk).then_some(CreateFile { allocate_bytes, prepared, folder_file });
        let allocated = create.as_ref().map(|_| allocate_bytes);
        self.open_count += 1;
        self.task(
            Lane::Files,
            Task::Open { file, path, create },
            Purpose::Open { slot, segment: base_offset, file, allocated, pumping },
        );
    }

    fn close_one(&mut self) -> bool {
        for _ in 0..self.open_files.len() {
            let Some((slot, base_offset, file)) = self.open_files.pop_front() else { return false };
            let Some(partition) = self.partition_mut(slot) else { continue };
            let busy = partition.busy;
            let Some(segment) = partition.segment_at(base_offset) else { continue };
            if segment.file != FileState::Open(file) {
                continue;
            }
            // What is under way may be about any segment that is not sealed.
            if busy && !segment.sealed {
                self.open_files.push_back((slot, base_offset, file));
                continue;
            }
            segment.file = FileState::Closed { on_disk: true };
            self.close_file(file);
            return true;
        }
        false
    }

    pub(super) fn close_file(&mut self, file: FileId) {
        self.open_count = self.open_count.saturating_sub(1);
        self.task(Lane::Files, Task::Close { file }, Purpose::Nothing);
    }

    /// After something was closed or became idle: goes on with partitions that wait for a handle, until one waits again.
    pub(super) fn feed_starved_of_files(&mut self) {
        while let Some(slot) = self.starved_of_files.pop_front() {
            let others = self.starved_of_files.len();
            self.pump(slot);
            self.events.push_back(Event::ReadReady(slot));
            if self.starved_of_files.len() > others {
                return;
            }
        }
    }

    pub(super) fn push_control(
        &mut self,
        slot: PartitionSlot,
        frame_kind: u32,
        offset: Offset,
        control: Control,
    ) {
        let Some(partition) = self.partition(slot) else { return };
        let place = partition
            .segments
            .back()
            .map_or((partition.log_end_offset.0, 0), |last| (last.base_offset.0, last.size));
        self.push_control_at(slot, frame_kind, offset, place, control);
    }

    /// Gathers a control frame about a place: base offset of a segment and byte position in it.
    pub(super) fn push_control_at(
        &mut self,
        slot: PartitionSlot,
        frame_kind: u32,
        offset: Offset,
        (segment, position): (i64, u64),
        control: Control,
    ) {
        let token = self.next_token;
        self.next_token += 1;
        let Some(partition) = self.partition(slot) else { return };
        let header = FrameHeader {
            kind: frame_kind,
            topic_id: partition.topic_partition.topic_id.0,
            partition: partition.topic_partition.partition.0,
            leader_epoch: partition.leader_epoch.0,
            base_offset: offset.0,
            end_offset: offset.0,
            segment,
            position,
            ..FrameHeader::blank()
        };
        self.controls.insert(token, control);
        self.changed = true;
        self.commit.push(header, [&[]; 2], Entry::Control { slot, token });
    }

    /// A control frame is durable: what it announced may happen.
    pub(super) fn handle_control(&mut self, slot: PartitionSlot, token: u64) {
        let Some(control) = self.controls.remove(&token) else { return };
        match control {
            Control::Reserve { upto } => {
                if let Some(partition) = self.partition_mut(slot) {
                    partition.reserved_offset = partition.reserved_offset.max(upto);
                    partition.reserving = None;
                }
                self.advance(slot);
            }
            Control::Truncate => self.handle_truncation_durable(slot),
            Control::LogStart { remove } => {
                let delay = self.partition(slot).map_or(0, |log| log.config().file_delete_delay_ms);
                self.remove_later(slot, remove, delay);
                if self.closing {
                    self.remove_due_files();
                }
            }
        }
    }

    /// Removes files after a delay, so that readers that just found them can finish.
    pub(super) fn remove_later(&mut self, slot: PartitionSlot, paths: Vec<String>, delay_ms: i64) {
        if !paths.is_empty() {
            self.next_removal += 1;
            let when = self.now_ms.saturating_add(delay_ms);
            self.removals.insert((when, self.next_removal), (slot, paths));
        }
    }

    /// Files whose time has come get other names first: removing them takes long, and meanwhile another partition may have
    /// taken the folder's name.
    pub(super) fn remove_due_files(&mut self) {
        while let Some(entry) = self.removals.first_entry()
            && (entry.key().0 <= self.now_ms || self.closing)
        {
            let (slot, paths) = entry.remove();
            if self.partition(slot).is_some() {
                let aside = paths.iter().map(|path| format!("{path}{ASIDE}")).collect();
                self.task(Lane::Files, Task::SetAside { paths }, Purpose::SetAside { paths: aside });
            }
        }
    }

    pub(super) fn end_set_aside(&mut self, paths: Vec<String>) {
        self.remove_in_time(Task::RemoveFiles { paths });
    }

    /// Asks for one more commit-log file when the stream is more than half used, or has no file for what waits, and may grow.
    pub(super) fn grow_commit_log(&mut self) {
        let (used, capacity) = self.commit.used_and_capacity_bytes();
        let is_due = used * 2 > capacity || self.commit.lacks_file();
        if self.commit_file_coming
            || self.awaits_recovery
            || !is_due
            || capacity >= self.options.commit_bytes_max
            || self.commit_retry_ms.is_some_and(|retry_ms| self.now_ms < retry_ms)
        {
            return;
        }
        self.commit_retry_ms = None;
        let room = self.options.commit_bytes_max - capacity;
        let bytes = capacity.clamp(FILE_BYTES_MIN, COMMIT_FILE_BYTES_MAX).min(room) & !4095;
        if bytes < FILE_BYTES_MIN {
            return;
        }
        self.commit_file_coming = true;
        let number = self.next_commit_file;
        self.next_commit_file += 1;
        let file = self.fresh_file();
        let path = commit_file_path(self.options.shard, number);
        self.task(
            Lane::Slow,
            Task::CreateCommitFile { file, path, bytes },
            Purpose::CommitFile { file, bytes },
        );
    }

    /// A stop does not wait for it: the next start finds what is left by its name.
    pub(super) fn remove_in_time(&mut self, task: Task) {
        self.removals_under_way += 1;
        self.task(Lane::Slow, task, Purpose::Removal);
    }

    /// Has removed what a clean stop had no time for, in the background.
    pub fn remove_left_over(&mut self) {
        let folders = self.partitions().map(|(_, log)| log.folder.clone()).collect();
        self.remove_in_time(Task::RemoveLeftOver { folders });
    }

    /// Removes folders of deleted partitions that the last life had no time for ([`RecoveryReport::trash`]).
    ///
    /// [`RecoveryReport::trash`]: crate::storage::recovery::RecoveryReport::trash
    pub fn remove_trash(&mut self, folders: Vec<String>) {
        for path in folders {
            self.remove_in_time(Task::RemoveFolder { path });
        }
    }

    /// Deletes partitions, each with a folder name that nothing else has; their folders go away in the background. The metadata no
    /// longer knows them: their frames and chunks are not replayed, and a folder left by a death is found by the topic id in it.
    /// The names are free for other partitions as soon as this returns.
    pub fn delete_partitions(&mut self, gone: impl IntoIterator<Item = (PartitionSlot, String)>) {
        let mut folders = Vec::new();
        for (slot, trash) in gone {
            if let Some(partition) = self.delete_partition(slot) {
                let folder_file = metadata_file(partition.topic_partition.topic_id);
                folders.push(RenameFolder { from: partition.folder, to: trash, folder_file });
            }
        }
        let partitions = &self.partitions;
        self.flush_deadlines.retain(|&(_, slot)| partitions.get(slot).is_some());
        // At once, in the lane in which files are made: before those of the next partitions of these names on this shard. Those of
        // one on another shard may be there first; the folder is theirs then. Many share what makes them durable, but not so many
        // that another partition's file waits long.
        while !folders.is_empty() {
            let rest = folders.split_off(folders.len().min(RENAMED_TOGETHER));
            let trash = folders.iter().map(|folder| folder.to.clone()).collect();
            self.task(Lane::Files, Task::RenameFolders { folders }, Purpose::Deleted { trash });
            folders = rest;
        }
        self.note_room();
    }

    /// All but its folder, and when it was to be flushed.
    fn delete_partition(&mut self, slot: PartitionSlot) -> Option<Box<PartitionLog>> {
        let mut partition = self.partitions.remove(slot)?;
        self.producer_count = self.producer_count.saturating_sub(partition.producers.len());
        if partition.busy {
            self.segment_operations = self.segment_operations.saturating_sub(1);
        }
        for mark in partition.marks.drain(..) {
            self.commit.unpin(mark.file_sequence);
        }
        for chunk in partition.tail.chunks.drain(..) {
            if chunk.clean {
                self.clean_bytes = self.clean_bytes.saturating_sub(chunk.class.bytes());
            }
            self.arena.disown(chunk.id);
        }
        for segment in &partition.segments {
            if let FileState::Open(file) = segment.file {
                self.close_file(file);
            }
        }
        self.cache.forget(slot);
        self.dirty.remove(&slot);
        self.holders.remove(&slot);
        self.without_reservation.remove(&slot);
        self.truncating.remove(&slot);
        self.stalled.remove(&slot);
        self.failed.remove(&slot);
        self.finish_round_partition(slot);
        Some(partition)
    }

    /// Hands the stream's next group to the driver, if there is one.
    pub(super) fn poll_commit_write(&mut self) {
        let Some(write) = self.commit.poll_write() else {
            if self.commit.lacks_file() {
                self.grow_commit_log();
            }
            return;
        };
        let entries: Vec<Entry> = self.commit.newest_entries().to_vec();
        for entry in entries {
            if let Entry::Data { slot, end } = entry {
                self.mark(slot, write.file_sequence, end);
            }
        }
        let id = self.issue(Purpose::Group { number: write.group });
        self.operations.push_back(Operation::Write {
            id,
            file: write.file,
            pieces: write.pieces,
            position: write.position,
            durable: true,
        });
        if planted(self.options.seeded_bug, SeededBug::AcknowledgeBeforeCompletion) {
            self.commit.handle_written(write.group, Vec::new());
            self.take_durable_groups();
        }
        self.grow_commit_log();
        self.reserve_what_waits();
    }

    /// The partition has frames in this use of a commit-log file.
    fn mark(&mut self, slot: PartitionSlot, file_sequence: u64, end: u64) {
        let Some(partition) = self.partition_mut(slot) else { return };
        if partition.failed {
            return;
        }
        // The frame may be one of bytes that were truncated before it was handed out.
        let end = end.min(partition.end);
        match partition.marks.back_mut() {
            Some(last) if last.file_sequence == file_sequence => last.end = last.end.max(end),
            _ => {
                partition.marks.push_back(crate::storage::partition::Mark { file_sequence, end });
                self.commit.pin(file_sequence, slot);
            }
        }
    }

    /// Forgets notes of chunks that are not there any more. The cost is that of the notes that were taken since the last time.
    fn sweep_clean(&mut self) {
        let chunks = self.partitions.iter().flat_map(|(_, log)| &log.tail.chunks);
        let live: BTreeSet<ChunkId> = chunks.filter(|chunk| chunk.clean).map(|chunk| chunk.id).collect();
        let partitions = &self.partitions;
        self.clean.retain(|&(slot, id)| live.contains(&id) && partitions.get(slot).is_some());
        self.clean_swept = self.clean.len();
    }

    /// The same for open files.
    pub(super) fn note_open(&mut self, slot: PartitionSlot, base_offset: Offset, file: FileId) {
        self.open_files.push_back((slot, base_offset, file));
        if self.open_files.len() > self.open_count * 2 + NOTES_MIN {
            let partitions = &mut self.partitions;
            self.open_files.retain(|&(slot, base_offset, file)| {
                let segment = partitions.get_mut(slot).and_then(|log| log.segment_at(base_offset));
                segment.is_some_and(|segment| segment.file == FileState::Open(file))
            });
        }
    }

    /// Marks a chunk as standing in its segment file too.
    pub(super) fn note_clean(&mut self, slot: PartitionSlot, id: ChunkId, valid_bytes: u64, class: Class) {
        self.arena.publish_clean(id, valid_bytes);
        self.clean.push_back((slot, id));
        self.clean_bytes += class.bytes();
        if self.clean.len() > self.clean_swept * 2 + NOTES_MIN {
            self.sweep_clean();
        }
        debug_assert!(self.clean_bytes <= self.arena.capacity_bytes() + wide(1));
    }
}

/// Path of a commit-log file, relative to the data directory.
#[must_use]
pub fn commit_file_path(shard: u32, number: u64) -> String {
    format!("commit-log/{shard}-{number:08}.clog")
}

/// The index files of what recovery has scanned. In memory their segments keep what closed ones do.
pub(super) fn take_due_indices(log: &mut PartitionLog) -> Vec<(String, SideFile)> {
    let mut indices = Vec::new();
    for segment in log.segments.iter_mut().filter(|segment| segment.index.due) {
        let path = index_path(&log.folder, segment.base_offset);
        indices.push((path, SideFile::of_index(segment, segment.index.entries())));
        segment.index.due = false;
        segment.index.thin_out(SEALED_INDEX_INTERVAL_BYTES);
    }
    indices
}
