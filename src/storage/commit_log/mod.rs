//! The commit log: one recycled, already written stream per shard, through which small synced appends become durable.
//!
//! Lives: one per shard. Pure: it gathers frames into groups and says what to write where; the shard carries it out.
//! A group is what has gathered while the stream's depth was used up: idle adds nothing, load makes larger groups.
//!
//! Invariants: groups become durable in the order in which they were gathered; a file is written again only when no
//! partition needs a frame of it (`pins`) and the checkpoint that says so is durable; two groups never share a block.

pub mod chain;
pub mod frame;

use std::collections::VecDeque;

use self::frame::{FileHeader, FrameHeader, frame_bytes};
use super::operation::{FileId, WritePiece};
use crate::model::limits::BLOCK_BYTES;
use crate::model::number::{index, wide};
use crate::runtime::memory::AlignedBuffer;
use crate::storage::PartitionSlot;

/// Largest group: what one write to the stream carries at most. Unit: bytes.
pub const GROUP_BYTES_MAX: usize = 512 << 10;
/// Smallest commit-log file: a header and a largest group.
pub const FILE_BYTES_MIN: u64 = GROUP_BYTES_MAX as u64 + BLOCK_BYTES as u64;

const SPARE_BUFFERS_MAX: usize = 4;

/// One partition's part of a group, told to the shard when the group is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The partition's log is durable up to `end` as far as this stream is concerned. Unit: log position.
    Data { slot: PartitionSlot, end: u64 },
    /// A frame without data; `token` is the shard's.
    Control { slot: PartitionSlot, token: u64 },
}

/// A write that the stream wants.
#[derive(Debug)]
pub struct StreamWrite {
    pub file: FileId,
    pub position: u64,
    pub pieces: Vec<WritePiece>,
    pub group: u64,
    /// The use of the file that the group's frames pin (see [`CommitLog::unpin`]).
    pub file_sequence: u64,
}

#[derive(Debug)]
struct StreamFile {
    file: FileId,
    bytes: u64,
    /// Which use of a file this is; valid while used.
    file_sequence: u64,
    pins: u32,
    groups_in_flight: u32,
    /// Partitions with a pin, to find what must be flushed before the file can be used again.
    slots: Vec<PartitionSlot>,
    /// Sequence number behind the last control frame in the file.
    control_end: u64,
    /// Sequence number of the first frame.
    first_sequence: u64,
}

#[derive(Debug)]
struct Group {
    number: u64,
    file_sequence: u64,
    entries: Vec<Entry>,
    done: bool,
}

/// The stream of one shard.
#[derive(Debug)]
pub struct CommitLog {
    directory_id: [u8; 16],
    shard: u32,
    incarnation: u64,
    depth: usize,
    next_sequence: u64,
    next_file_sequence: u64,
    next_group: u64,
    free: VecDeque<StreamFile>,
    /// Oldest first; the last is being written.
    used: VecDeque<StreamFile>,
    /// Of those in `used`, and of all.
    used_file_bytes: u64,
    file_bytes: u64,
    position: u64,
    gathering: AlignedBuffer,
    gathered_bytes: usize,
    gathered_entries: Vec<Entry>,
    gathered_control_end: u64,
    /// What the group that is being gathered may have at most.
    group_bytes_max: usize,
    in_flight: VecDeque<Group>,
    /// Of all groups that were given out, padding and headers included.
    written_bytes: u64,
    spare: Vec<AlignedBuffer>,
    failed: bool,
}

impl CommitLog {
    /// A stream without files; the first frame has sequence number 1.
    #[must_use]
    pub fn new(directory_id: [u8; 16], shard: u32, incarnation: u64, depth: usize) -> Self {
        Self {
            directory_id,
            shard,
            incarnation,
            depth: depth.max(1),
            next_sequence: 1,
            next_file_sequence: 1,
            next_group: 1,
            free: VecDeque::new(),
            used: VecDeque::new(),
            used_file_bytes: 0,
            file_bytes: 0,
            position: 0,
            gathering: AlignedBuffer::zeroed(GROUP_BYTES_MAX),
            gathered_bytes: 0,
            gathered_entries: Vec::new(),
            gathered_control_end: 0,
            group_bytes_max: GROUP_BYTES_MAX,
            in_flight: VecDeque::new(),
            written_bytes: 0,
            spare: Vec::new(),
            failed: false,
        }
    }

    /// Adds an already written file of `bytes`, at least [`FILE_BYTES_MIN`].
    pub fn add_file(&mut self, file: FileId, bytes: u64) {
        assert!(bytes >= FILE_BYTES_MIN, "a commit-log file is too small");
        self.file_bytes += bytes;
        self.free.push_back(StreamFile {
            file,
            bytes,
            file_sequence: 0,
            pins: 0,
            groups_in_flight: 0,
            slots: Vec::new(),
            control_end: 0,
            first_sequence: 0,
        });
    }

    /// Whether a frame with `body_bytes` can be taken now; if not, some group must complete first.
    #[must_use]
    pub fn has_room(&self, body_bytes: usize) -> bool {
        !self.failed && self.gathered_bytes + frame_bytes(body_bytes) <= self.group_bytes_max
    }

    /// Whether the group that is being gathered, with one more frame without a body, can be written without a file being made
    /// free first.
    #[must_use]
    pub fn has_file_room(&self) -> bool {
        let group_bytes = wide((self.gathered_bytes + frame_bytes(0)).next_multiple_of(BLOCK_BYTES));
        !self.free.is_empty() || group_bytes <= self.current_room()
    }

    /// Keeps the group that is being gathered so small that it can be written without a file being made free first.
    pub fn keep_to_file_room(&mut self) {
        if self.free.is_empty() {
            self.group_bytes_max = index(self.current_room()).min(GROUP_BYTES_MAX);
        }
    }

    fn current_room(&self) -> u64 {
        self.used.back().map_or(0, |current| current.bytes.saturating_sub(self.position))
    }

    /// Gathers a frame, whose body comes in two parts. `header`'s magic, CRC, incarnation, sequence and length are filled in
    /// here. The caller has asked [`Self::has_room`].
    pub fn push(&mut self, mut header: FrameHeader, body: [&[u8]; 2], entry: Entry) {
        let body_bytes = body.iter().map(|part| part.len()).sum();
        assert!(self.has_room(body_bytes), "a frame was pushed without room");
        header.incarnation = self.incarnation;
        header.sequence = self.next_sequence;
        header.body_bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX);
        self.next_sequence += 1;
        let encoded = header.encode(body);
        let at = self.gathered_bytes;
        let end = at + frame_bytes(body_bytes);
        let Some(target) = self.gathering.as_mut_slice().get_mut(at..end) else { return };
        let (head, rest) = target.split_at_mut(encoded.len());
        head.copy_from_slice(&encoded);
        let (data, padding) = rest.split_at_mut(body_bytes);
        let (first, second) = data.split_at_mut(body[0].len());
        first.copy_from_slice(body[0]);
        second.copy_from_slice(body[1]);
        padding.fill(0);
        self.gathered_bytes = end;
        self.gathered_entries.push(entry);
        if matches!(entry, Entry::Control { .. }) {
            self.gathered_control_end = self.next_sequence;
        }
    }

    /// The next write, if there is something to write, the depth allows it, and there is a file with room.
    pub fn poll_write(&mut self) -> Option<StreamWrite> {
        if self.failed || self.gathered_bytes == 0 || self.in_flight.len() >= self.depth {
            return None;
        }
        let group_bytes = self.gathered_bytes.next_multiple_of(BLOCK_BYTES);
        let header = self.file_with_room(wide(group_bytes))?;
        let sequence_count = wide(self.gathered_entries.len());
        let first_sequence = self.next_sequence - sequence_count;
        let file = self.used.back_mut()?;
        let mut pieces = Vec::with_capacity(2);
        let mut position = self.position;
        if let Some(mut block) = header {
            FileHeader::new(
                self.incarnation,
                file.file_sequence,
                first_sequence,
                self.directory_id,
                self.shard,
            )
            .encode_into(block.as_mut_slice());
            file.first_sequence = first_sequence;
            pieces.push(WritePiece::Buffer { buffer: block, bytes: wide(BLOCK_BYTES) });
            position = 0;
        }
        let fresh = self.spare.pop().unwrap_or_else(|| AlignedBuffer::zeroed(GROUP_BYTES_MAX));
        let mut buffer = std::mem::replace(&mut self.gathering, fresh);
        if let Some(padding) = buffer.as_mut_slice().get_mut(self.gathered_bytes..group_bytes) {
            padding.fill(0);
        }
        pieces.push(WritePiece::Buffer { buffer, bytes: wide(group_bytes) });
        let bytes = pieces_bytes(&pieces);
        self.position = position + bytes;
        self.written_bytes += bytes;
        self.gathered_bytes = 0;
        self.group_bytes_max = GROUP_BYTES_MAX;
        file.groups_in_flight += 1;
        if self.gathered_control_end > 0 {
            file.control_end = self.gathered_control_end;
            self.gathered_control_end = 0;
        }
        let number = self.next_group;
        self.next_group += 1;
        let entries = std::mem::take(&mut self.gathered_entries);
        let file_sequence = file.file_sequence;
        let write = StreamWrite { file: file.file, position, pieces, group: number, file_sequence };
        self.in_flight.push_back(Group { number, file_sequence, entries, done: false });
        Some(write)
    }

    /// Whether a group waits that has room in no file.
    #[must_use]
    pub fn lacks_file(&self) -> bool {
        let group_bytes = wide(self.gathered_bytes.next_multiple_of(BLOCK_BYTES));
        let has_room = self.used.back().is_some_and(|current| self.position + group_bytes <= current.bytes);
        !self.failed && self.gathered_bytes > 0 && !has_room && self.free.is_empty()
    }

    /// Groups that were given out to be written.
    #[must_use]
    pub const fn group_count(&self) -> u64 {
        self.next_group - 1
    }

    /// Frames that were gathered.
    #[must_use]
    pub const fn frame_count(&self) -> u64 {
        self.next_sequence - 1
    }

    /// Bytes of the groups that were given out to be written.
    #[must_use]
    pub const fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// The entries of the group last given out by [`Self::poll_write`], for the shard to pin the file with.
    #[must_use]
    pub fn newest_entries(&self) -> &[Entry] {
        self.in_flight.back().map_or(&[], |group| &group.entries)
    }

    /// Makes sure that the current file has room for `bytes`; `Some(Some(block))`: a new file begins, with this header block.
    #[expect(clippy::option_option, reason = "outer: no room anywhere; inner: whether a header is due")]
    fn file_with_room(&mut self, bytes: u64) -> Option<Option<AlignedBuffer>> {
        if let Some(current) = self.used.back()
            && self.position + bytes <= current.bytes
        {
            return Some(None);
        }
        let mut fresh = self.free.pop_front()?;
        fresh.file_sequence = self.next_file_sequence;
        fresh.control_end = 0;
        fresh.slots.clear();
        assert!(fresh.pins == 0, "a commit-log file that is still needed was to be written again");
        self.next_file_sequence += 1;
        self.position = 0;
        self.used_file_bytes += fresh.bytes;
        self.used.push_back(fresh);
        Some(Some(AlignedBuffer::zeroed(BLOCK_BYTES)))
    }

    /// A group's write has completed; gives its buffers back to be used again.
    pub fn handle_written(&mut self, group: u64, pieces: Vec<WritePiece>) {
        for piece in pieces {
            if let WritePiece::Buffer { buffer, .. } = piece
                && buffer.len() == GROUP_BYTES_MAX
                && self.spare.len() < SPARE_BUFFERS_MAX
            {
                self.spare.push(buffer);
            }
        }
        if let Some(found) = self.in_flight.iter_mut().find(|candidate| candidate.number == group) {
            found.done = true;
        }
    }

    /// A group's write has failed. Nothing behind it in the stream counts any more, and nothing more is taken.
    /// Returns all entries that will never be durable through this stream.
    pub fn handle_failed(&mut self) -> Vec<Entry> {
        self.failed = true;
        self.gathered_bytes = 0;
        let mut lost: Vec<Entry> = Vec::new();
        for group in self.in_flight.drain(..) {
            lost.extend(group.entries);
        }
        lost.append(&mut self.gathered_entries);
        lost
    }

    /// The entries of the oldest group if it is complete: they are durable, and so is all before them.
    pub fn poll_durable(&mut self) -> Option<Vec<Entry>> {
        if !self.in_flight.front()?.done {
            return None;
        }
        let group = self.in_flight.pop_front()?;
        if let Some(file) = self.used_file(group.file_sequence) {
            file.groups_in_flight -= 1;
        }
        Some(group.entries)
    }

    /// `slot` needs the frames of this use of a file until [`Self::unpin`].
    pub fn pin(&mut self, file_sequence: u64, slot: PartitionSlot) {
        if let Some(file) = self.used_file(file_sequence) {
            file.pins += 1;
            file.slots.push(slot);
        }
    }

    /// A partition needs the frames of this use of a file no more, and a durable checkpoint says so.
    pub fn unpin(&mut self, file_sequence: u64) {
        if let Some(file) = self.used_file(file_sequence) {
            assert!(file.pins > 0, "a commit-log file was unpinned more often than pinned");
            file.pins -= 1;
        }
    }

    /// The oldest use of a file that the stream itself needs: the one being written, one with a group in flight, or one with a
    /// control frame that is not in the checkpoint (`control_sequence`: those before it are).
    #[must_use]
    pub fn oldest_needed_file(&self, control_sequence: u64) -> u64 {
        let last = self.used.len().saturating_sub(1);
        self.used
            .iter()
            .enumerate()
            .find(|(place, file)| {
                *place == last || file.groups_in_flight > 0 || file.control_end > control_sequence
            })
            .map_or(self.next_file_sequence, |(_, file)| file.file_sequence)
    }

    /// Sequence number of the first frame in this use of a file; if there is no such use yet, of the frame that it will begin
    /// with: the first that has been gathered, if any has.
    #[must_use]
    pub fn first_sequence_of(&self, file_sequence: u64) -> u64 {
        self.used
            .iter()
            .find(|file| file.file_sequence >= file_sequence)
            .map_or(self.next_sequence - wide(self.gathered_entries.len()), |file| file.first_sequence)
    }

    /// Makes files free of which a durable checkpoint says that uses before `oldest_needed` are void.
    pub fn recycle(&mut self, oldest_needed: u64) {
        while self.used.len() > 1 {
            let Some(oldest) = self.used.front() else { return };
            if oldest.file_sequence >= oldest_needed || oldest.pins > 0 || oldest.groups_in_flight > 0 {
                return;
            }
            if let Some(file) = self.used.pop_front() {
                self.used_file_bytes -= file.bytes;
                self.free.push_back(file);
            }
        }
    }

    fn used_file(&mut self, file_sequence: u64) -> Option<&mut StreamFile> {
        let first = self.used.front()?.file_sequence;
        self.used.get_mut(index(file_sequence.checked_sub(first)?))
    }

    /// Partitions that pin the oldest files, to be flushed first.
    pub fn slots_of_oldest(&self) -> impl Iterator<Item = PartitionSlot> {
        self.used.front().into_iter().flat_map(|file| file.slots.iter().copied())
    }

    /// Sequence number that the next frame will have: control frames below it have been pushed.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Bytes of files that hold something still needed, and of all files.
    #[must_use]
    pub fn used_and_capacity_bytes(&self) -> (u64, u64) {
        let rest = self.used.back().map_or(0, |file| file.bytes - self.position.min(file.bytes));
        (self.used_file_bytes - rest, self.file_bytes)
    }

    /// Whether nothing is gathered or in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.gathered_bytes == 0 && self.in_flight.is_empty()
    }

    /// Whether a write of the stream has failed.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.failed
    }
}

fn pieces_bytes(pieces: &[WritePiece]) -> u64 {
    pieces
        .iter()
        .map(|piece| match piece {
            WritePiece::Arena { bytes, .. } | WritePiece::Buffer { bytes, .. } => *bytes,
        })
        .sum()
}

#[cfg(test)]
mod tests;
