//! Reads: the tail out of the arena without a copy, what lies behind it through a bounded cache of file extents.
//!
//! A read never copies records: it returns pieces that name arena memory (pinned) or cached extents (counted). Bytes behind
//! what a completed write covers come from memory only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::{Event, PartitionSlot, Purpose, ShardLog};
use crate::model::Offset;
use crate::model::batch::{BatchError, BatchHeader, HEADER_BYTES};
use crate::model::number::{index, round_up, wide};
use crate::runtime::memory::{AlignedBuffer, ArenaMemory};
use crate::storage::arena::ChunkId;
use crate::storage::operation::{Lane, Operation, OperationId, Outcome, Task};
use crate::storage::partition::segment::{FileState, IndexEntry, SegmentIndex, index_path};

/// Unit of the cache. Bytes.
const EXTENT_BYTES: u64 = 256 << 10;
/// Largest index file that is read. Unit: bytes.
const INDEX_FILE_BYTES_MAX: u64 = 64 << 20;

/// Sealed segments of a shard whose indices are in memory. What is in them can be read again.
const LOADED_INDICES_MAX: usize = 2_048;
/// Entries of a sealed segment's index beyond which it is made coarser before it learns more.
const LEARNED_ENTRIES_MAX: u64 = 4_096;

/// A place that a walk over at least so much has found is noted in the index. Unit: bytes.
const LEARNED_BYTES_MIN: u64 = 64 << 10;

/// Bytes of a reply that lie somewhere else.
#[derive(Debug, Clone)]
pub enum ReadPiece {
    /// In the arena's memory at `place`; pinned until [`ShardLog::release`].
    Arena { chunk: ChunkId, place: u64, bytes: u64 },
    /// Bytes `from..from + bytes` of a cached extent.
    Cached { buffer: Arc<AlignedBuffer>, from: u64, bytes: u64 },
}

impl ReadPiece {
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        match self {
            Self::Arena { bytes, .. } | Self::Cached { bytes, .. } => *bytes,
        }
    }
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadDone {
    pub bytes: u64,
    /// Nothing yet: the disk is being read. Try again on [`Event::ReadReady`].
    pub pending: bool,
    /// More is there than one read gives, though the reader would have taken it: the segment ends, or the cache has no room.
    pub cut: bool,
}

/// Why a read gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("no such partition here")]
    UnknownPartition,
    #[error("the offset is before the start or behind the end of the log")]
    OffsetOutOfRange,
    #[error("the partition's storage has failed")]
    Storage,
}

/// A place that a search has found, or the news that the disk is being read for it.
pub(super) enum Search<T> {
    Found(T),
    Pending,
    Missing,
    Failed,
}

/// A walk over batch headers: up to where, and the end offset of the last batch before, with the latest timestamp of all.
struct Walk {
    at: u64,
    last: Option<(Offset, i64)>,
}

impl Walk {
    /// Goes on over `bytes`, which begin where it stands, to the first batch that is wanted, or the first whose header is not whole.
    fn over(
        &mut self,
        bytes: &[u8],
        wanted: &impl Fn(&BatchHeader) -> bool,
    ) -> Result<Option<BatchHeader>, BatchError> {
        let mut rest = bytes;
        while rest.len() >= HEADER_BYTES {
            let header = BatchHeader::parse(rest)?;
            if let Some(found) = self.past(header, wanted) {
                return Ok(Some(found));
            }
            rest = rest.get(header.size_bytes..).unwrap_or_default();
        }
        Ok(None)
    }

    /// Past the batch at which it stands, unless that is wanted.
    fn past(&mut self, header: BatchHeader, wanted: &impl Fn(&BatchHeader) -> bool) -> Option<BatchHeader> {
        if wanted(&header) {
            return Some(header);
        }
        let latest = self.last.map_or(header.max_timestamp, |(_, latest)| header.max_timestamp.max(latest));
        self.last = Some((header.end_offset(), latest));
        self.at += wide(header.size_bytes);
        None
    }
}

type ExtentKey = (PartitionSlot, i64, u64);

/// Whether an extent must be there for a read to go on, or would be good to have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Now,
    Ahead,
}

#[derive(Debug)]
enum ExtentState {
    /// By this operation: a completion for an extent that was forgotten meanwhile is not it.
    Loading(OperationId),
    Ready {
        buffer: Arc<AlignedBuffer>,
        valid_bytes: u64,
    },
    Failed,
}

#[derive(Debug)]
struct Extent {
    state: ExtentState,
    last_used: u64,
    /// Who asked for it has not been told yet: given up now, it would be asked for again, perhaps for ever.
    fresh: bool,
}

/// Extents of segment files, least recently used ones given up first. One per shard.
#[derive(Debug)]
pub(super) struct ExtentCache {
    extents: BTreeMap<ExtentKey, Extent>,
    bytes: u64,
    bytes_max: u64,
    clock: u64,
    fresh_count: usize,
    /// The partition whose read needs more than fits: it alone may exceed the bound, by one batch.
    exceeding: Option<PartitionSlot>,
    /// Partitions whose reads wait until something is not in use any more.
    waiting: BTreeSet<PartitionSlot>,
}

impl ExtentCache {
    pub(super) const fn new(bytes_max: u64) -> Self {
        Self {
            extents: BTreeMap::new(),
            bytes: 0,
            bytes_max,
            clock: 0,
            fresh_count: 0,
            exceeding: None,
            waiting: BTreeSet::new(),
        }
    }

    /// What it holds.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn forget(&mut self, slot: PartitionSlot) {
        let low = (slot, i64::MIN, 0);
        let high = (slot, i64::MAX, u64::MAX);
        let keys: Vec<ExtentKey> = self.extents.range(low..=high).map(|(&key, _)| key).collect();
        for key in keys {
            self.remove(key);
        }
    }

    pub(super) fn note_failed(&mut self, slot: PartitionSlot, segment: Offset) {
        self.put(slot, segment, u64::MAX, ExtentState::Failed);
    }

    fn remove(&mut self, key: ExtentKey) {
        let Some(gone) = self.extents.remove(&key) else { return };
        self.fresh_count -= usize::from(gone.fresh);
        if !matches!(gone.state, ExtentState::Failed) {
            self.bytes = self.bytes.saturating_sub(EXTENT_BYTES);
        }
    }

    fn put(&mut self, slot: PartitionSlot, segment: Offset, extent: u64, state: ExtentState) {
        let key = (slot, segment.0, extent);
        self.remove(key);
        if !matches!(state, ExtentState::Failed) {
            self.bytes += EXTENT_BYTES;
        }
        self.clock += 1;
        let fresh = matches!(state, ExtentState::Ready { .. });
        self.fresh_count += usize::from(fresh);
        self.extents.insert(key, Extent { state, last_used: self.clock, fresh });
    }

    /// Whoever asked for extents of this partition has had the chance to use them. True: some may be given up now.
    fn end_freshness(&mut self, slot: PartitionSlot) -> bool {
        if self.fresh_count == 0 {
            return false;
        }
        let before = self.fresh_count;
        for (_, extent) in self.extents.range_mut((slot, i64::MIN, 0)..=(slot, i64::MAX, u64::MAX)) {
            self.fresh_count -= usize::from(std::mem::take(&mut extent.fresh));
        }
        self.fresh_count < before
    }

    /// Makes room for one more extent; false if everything is in use.
    fn make_room(&mut self) -> bool {
        while self.bytes + EXTENT_BYTES > self.bytes_max {
            let unused = self.extents.iter().filter(|(_, found)| match &found.state {
                ExtentState::Loading(_) => false,
                ExtentState::Ready { buffer, .. } => !found.fresh && Arc::strong_count(buffer) == 1,
                ExtentState::Failed => true,
            });
            let Some((&key, _)) = unused.min_by_key(|(_, extent)| extent.last_used) else { return false };
            self.remove(key);
        }
        self.exceeding = None;
        true
    }

    /// Like [`Self::make_room`]; but one partition at a time gets what it needs even so, or a batch larger than the cache could
    /// never be read.
    fn insist_on_room(&mut self, slot: PartitionSlot) -> bool {
        if self.make_room() {
            return true;
        }
        let granted = *self.exceeding.get_or_insert(slot) == slot;
        if !granted {
            self.waiting.insert(slot);
        }
        granted
    }

    fn take_failed(&mut self, slot: PartitionSlot, segment: Offset, extent: u64) -> bool {
        for number in [extent, u64::MAX] {
            let key = (slot, segment.0, number);
            if matches!(self.extents.get(&key), Some(Extent { state: ExtentState::Failed, .. })) {
                self.remove(key);
                return true;
            }
        }
        false
    }
}

impl<M: ArenaMemory> ShardLog<M> {
    /// Batches from the one that holds `offset` on, at most `bytes_max` bytes (the last one may be cut, as Kafka's), below the
    /// high watermark. `whole_first`: the first batch comes whole even if it is larger; otherwise nothing comes then.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(
        &mut self,
        slot: PartitionSlot,
        offset: Offset,
        bytes_max: u64,
        whole_first: bool,
        pieces: &mut Vec<ReadPiece>,
    ) -> Result<ReadDone, ReadError> {
        const EMPTY: ReadDone = ReadDone { bytes: 0, pending: false, cut: false };
        let partition = self.partition(slot).ok_or(ReadError::UnknownPartition)?;
        if partition.failed {
            return Err(ReadError::Storage);
        }
        if offset < partition.log_start_offset || offset > partition.log_end_offset {
            return Err(ReadError::OffsetOutOfRange);
        }
        if offset >= partition.high_watermark || (bytes_max == 0 && !whole_first) {
            return Ok(EMPTY);
        }
        let visible_end = partition.high_watermark_end;
        let (at, first_bytes, segment_end) = match self.locate(slot, offset) {
            Search::Found(found) => found,
            Search::Pending => return Ok(ReadDone { pending: true, ..EMPTY }),
            Search::Missing => return Ok(EMPTY),
            Search::Failed => return Err(ReadError::Storage),
        };
        if !whole_first && bytes_max < first_bytes {
            return Ok(EMPTY);
        }
        let wanted = if whole_first { bytes_max.max(first_bytes) } else { bytes_max };
        let wanted_end = visible_end.min(at.saturating_add(wanted));
        let mut done = self.collect(slot, at, segment_end.min(wanted_end), at + first_bytes, pieces)?;
        done.cut |= segment_end < wanted_end && at.saturating_add(done.bytes) == segment_end;
        Ok(done)
    }

    /// Pieces for log positions `at..end`, fewer if the rest is on disk and not yet cached, but at least up to `needed`.
    fn collect(
        &mut self,
        slot: PartitionSlot,
        at: u64,
        end: u64,
        needed: u64,
        pieces: &mut Vec<ReadPiece>,
    ) -> Result<ReadDone, ReadError> {
        let before = pieces.len();
        let mut position = at;
        let mut cut = false;
        while position < end {
            let wanted = if position < needed || position == at { Wanted::Now } else { Wanted::Ahead };
            match self.piece_at(slot, position, end, wanted) {
                Search::Found(piece) => {
                    position += match &piece {
                        ReadPiece::Arena { bytes, .. } | ReadPiece::Cached { bytes, .. } => *bytes,
                    };
                    pieces.push(piece);
                }
                Search::Pending if position > at && position >= needed => break,
                Search::Missing if position > at && position >= needed => {
                    cut = true;
                    break;
                }
                missing => {
                    let partial = pieces.split_off(before);
                    self.give_back(partial);
                    return match missing {
                        Search::Pending => Ok(ReadDone { bytes: 0, pending: true, cut: false }),
                        _ => Err(ReadError::Storage),
                    };
                }
            }
        }
        Ok(ReadDone { bytes: position.saturating_sub(at), pending: false, cut })
    }

    /// One piece that begins at log position `at`.
    fn piece_at(&mut self, slot: PartitionSlot, at: u64, end: u64, wanted: Wanted) -> Search<ReadPiece> {
        let Some(partition) = self.partitions.get(slot) else {
            return Search::Failed;
        };
        if let Some(place) = partition.tail.place_of(at)
            && let Some(chunk) = partition.tail.chunks.get(place)
        {
            let inside = at - chunk.start;
            let bytes = (chunk.class.bytes() - inside).min(end - at);
            self.arena.pin(chunk.id);
            let place = self.arena.place_of(chunk.id) + inside;
            return Search::Found(ReadPiece::Arena { chunk: chunk.id, place, bytes });
        }
        match self.extent_at(slot, at, wanted) {
            Search::Found((buffer, from, valid)) => {
                let bytes = valid.min(end - at);
                Search::Found(ReadPiece::Cached { buffer, from, bytes })
            }
            Search::Pending => Search::Pending,
            Search::Missing => Search::Missing,
            Search::Failed => Search::Failed,
        }
    }

    /// The cached extent that holds log position `at`: buffer, place in it, valid bytes from there. Asks the disk if need be.
    fn extent_at(
        &mut self,
        slot: PartitionSlot,
        at: u64,
        wanted: Wanted,
    ) -> Search<(Arc<AlignedBuffer>, u64, u64)> {
        let Some(partition) = self.partition(slot) else { return Search::Failed };
        let behind = partition.segments.partition_point(|segment| segment.start <= at);
        let Some(segment) = behind.checked_sub(1).and_then(|place| partition.segments.get(place)) else {
            return Search::Failed;
        };
        let base_offset = segment.base_offset;
        let position = at - segment.start;
        let (extent, from) = (position / EXTENT_BYTES, position % EXTENT_BYTES);
        let written = segment.written;
        let more = (extent + 1) * EXTENT_BYTES < written;
        if self.cache.take_failed(slot, base_offset, extent) {
            return Search::Failed;
        }
        self.cache.clock += 1;
        let clock = self.cache.clock;
        if let Some(found) = self.cache.extents.get_mut(&(slot, base_offset.0, extent)) {
            found.last_used = clock;
            match &found.state {
                ExtentState::Loading(_) => return Search::Pending,
                ExtentState::Ready { buffer, valid_bytes } if from < *valid_bytes => {
                    let found = (Arc::clone(buffer), from, valid_bytes - from);
                    // The next one is fetched ahead of a sequential reader.
                    if more && !self.cache.extents.contains_key(&(slot, base_offset.0, extent + 1)) {
                        let _: Search<()> = self.load_extent(slot, base_offset, extent + 1, Wanted::Ahead);
                    }
                    return Search::Found(found);
                }
                // It was read before the file had these bytes.
                _ => {}
            }
        }
        self.load_extent(slot, base_offset, extent, wanted)
    }

    fn load_extent<T>(
        &mut self,
        slot: PartitionSlot,
        base_offset: Offset,
        extent: u64,
        wanted: Wanted,
    ) -> Search<T> {
        let Some(segment) = self.partition_mut(slot).and_then(|log| log.segment_at(base_offset)) else {
            return Search::Failed;
        };
        let written = segment.written;
        let file = match segment.file {
            FileState::Open(file) => file,
            FileState::Busy(_) => return Search::Pending,
            FileState::Closed { on_disk: true } => {
                self.open_segment(slot, base_offset, 0, false);
                return Search::Pending;
            }
            FileState::Closed { on_disk: false } => return Search::Failed,
        };
        let position = extent * EXTENT_BYTES;
        let valid_bytes = written.saturating_sub(position).min(EXTENT_BYTES);
        if valid_bytes == 0 {
            return Search::Failed;
        }
        match wanted {
            Wanted::Now if !self.cache.insist_on_room(slot) => return Search::Pending,
            // Nobody will be told when there is.
            Wanted::Ahead if !self.cache.make_room() => return Search::Missing,
            _ => {}
        }
        let id = self.issue(Purpose::Extent { slot, segment: base_offset, extent, valid_bytes });
        self.cache.put(slot, base_offset, extent, ExtentState::Loading(id));
        let bytes = round_up(valid_bytes, 4096);
        self.operations.push_back(Operation::Read { id, file, position, bytes });
        Search::Pending
    }

    pub(super) fn end_extent(
        &mut self,
        id: OperationId,
        slot: PartitionSlot,
        segment: Offset,
        extent: u64,
        valid_bytes: u64,
        outcome: Outcome,
    ) {
        let key = (slot, segment.0, extent);
        // A truncation or deletion has forgotten it meanwhile.
        let waited_for =
            self.cache.extents.get(&key).is_some_and(
                |extent| matches!(extent.state, ExtentState::Loading(operation) if operation == id),
            );
        if waited_for {
            let state = match outcome {
                Outcome::Buffer(buffer) if wide(buffer.len()) >= valid_bytes => {
                    ExtentState::Ready { buffer: Arc::new(buffer), valid_bytes }
                }
                _ => ExtentState::Failed,
            };
            self.cache.put(slot, segment, extent, state);
        }
        self.events.push_back(Event::ReadReady(slot));
        self.wake_waiting_reads();
    }

    /// The pieces of a reply are not needed any more.
    pub fn release(&mut self, pieces: impl IntoIterator<Item = ReadPiece>) {
        self.give_back(pieces);
        self.wake_waiting_reads();
        self.proceed_truncations();
        self.note_room();
    }

    /// The pieces of a read whose reply is not given now. Nobody is woken: nothing was in use that was not before, and who waits
    /// for room would find none, and come back here.
    pub fn put_back(&mut self, pieces: impl IntoIterator<Item = ReadPiece>) {
        self.give_back(pieces);
    }

    fn give_back(&mut self, pieces: impl IntoIterator<Item = ReadPiece>) {
        for piece in pieces {
            if let ReadPiece::Arena { chunk, .. } = piece {
                self.arena.unpin(chunk);
            }
        }
    }

    /// Whether reads wait until extents that are in use are not any more.
    #[must_use]
    pub fn has_waiting_reads(&self) -> bool {
        !self.cache.waiting.is_empty()
    }

    /// Extents that were in use may not be any more: who waited for room tries again.
    fn wake_waiting_reads(&mut self) {
        while let Some(slot) = self.cache.waiting.pop_first() {
            self.events.push_back(Event::ReadReady(slot));
        }
    }

    /// The bytes of a piece, for those who cannot name memory by place.
    #[must_use]
    pub fn bytes_of<'a>(&'a self, piece: &'a ReadPiece) -> &'a [u8] {
        match piece {
            ReadPiece::Arena { chunk, place, bytes } => {
                self.arena.read(*chunk, place - self.arena.place_of(*chunk), *bytes)
            }
            ReadPiece::Cached { buffer, from, bytes } => {
                buffer.as_slice().get(index(*from)..index(from + bytes)).unwrap_or_default()
            }
        }
    }

    /// Log position of the batch that holds `offset`, or of the first one behind it (offsets that a lost memory took with it
    /// are in no batch), its size, and the end of its segment.
    fn locate(&mut self, slot: PartitionSlot, offset: Offset) -> Search<(u64, u64, u64)> {
        let Some(partition) = self.partition(slot) else { return Search::Failed };
        let behind = partition.segments.partition_point(|segment| segment.base_offset <= offset);
        for place in behind.saturating_sub(1)..partition.segments.len() {
            match self.locate_in_segment(slot, place, offset) {
                Search::Missing => {}
                other => return other,
            }
        }
        Search::Missing
    }

    fn locate_in_segment(
        &mut self,
        slot: PartitionSlot,
        place: usize,
        offset: Offset,
    ) -> Search<(u64, u64, u64)> {
        let segment = self.partition(slot).and_then(|partition| partition.segments.get(place));
        let Some(segment) = segment else { return Search::Failed };
        let (base_offset, start, end) = (segment.base_offset, segment.start, segment.end());
        if start < end && !segment.index.loaded {
            return self.load_index(slot, base_offset);
        }
        let from = start + segment.index.floor_of_offset(offset);
        let found = self.walk(slot, base_offset, from..end, |header| offset < header.end_offset());
        match found {
            Search::Found((at, header)) => match self.check_next(slot, at, end, &header) {
                Search::Found(()) => Search::Found((at, wide(header.size_bytes), end)),
                Search::Pending => Search::Pending,
                _ => Search::Failed,
            },
            Search::Pending => Search::Pending,
            Search::Missing => Search::Missing,
            Search::Failed => Search::Failed,
        }
    }

    /// A batch that is larger than the topic takes may have a damaged length, and would be read whole: where it ends, the next
    /// one must begin, or the segment end.
    fn check_next(&mut self, slot: PartitionSlot, at: u64, end: u64, header: &BatchHeader) -> Search<()> {
        let next = at.saturating_add(wide(header.size_bytes));
        let bytes_max = self.partition(slot).map_or(0, |partition| partition.config.batch_bytes_max);
        if header.size_bytes <= bytes_max || next == end {
            return Search::Found(());
        }
        match self.header_at(slot, next) {
            Search::Found(behind) if behind.base_offset >= header.end_offset() => Search::Found(()),
            Search::Pending => Search::Pending,
            _ => Search::Failed,
        }
    }

    /// Walks over the batches of a segment that begin in `range` (log positions) to the first that is `wanted`. A batch that goes
    /// beyond the range's end, the segment's, is damaged.
    fn walk(
        &mut self,
        slot: PartitionSlot,
        base_offset: Offset,
        range: Range<u64>,
        wanted: impl Fn(&BatchHeader) -> bool,
    ) -> Search<(u64, BatchHeader)> {
        let mut walk = Walk { at: range.start, last: None };
        while walk.at < range.end {
            let before = walk.at;
            // Most headers lie whole in a piece.
            let found = match self.piece_at(slot, walk.at, range.end, Wanted::Now) {
                Search::Found(piece) => {
                    let found = walk.over(self.bytes_of(&piece), &wanted);
                    self.give_back([piece]);
                    found
                }
                Search::Pending => {
                    self.learn_from_walk(slot, base_offset, &walk);
                    return Search::Pending;
                }
                Search::Missing | Search::Failed => return Search::Failed,
            };
            let found = match found {
                Ok(None) if walk.at == before => match self.header_at(slot, walk.at) {
                    Search::Found(header) => walk.past(header, &wanted),
                    Search::Pending => {
                        self.learn_from_walk(slot, base_offset, &walk);
                        return Search::Pending;
                    }
                    Search::Missing | Search::Failed => return Search::Failed,
                },
                Ok(found) => found,
                Err(_) => return Search::Failed,
            };
            if let Some(header) = found {
                if walk.at.saturating_add(wide(header.size_bytes)) > range.end {
                    return Search::Failed;
                }
                if walk.at - range.start >= LEARNED_BYTES_MIN {
                    self.learn_from_walk(slot, base_offset, &walk);
                }
                return Search::Found((walk.at, header));
            }
        }
        if walk.at > range.end {
            return Search::Failed;
        }
        self.learn_the_end(slot, base_offset, &walk);
        Search::Missing
    }

    /// A walk has come to the end of a segment: a search that goes on in the next one need not read this one's end again,
    /// for which a small cache would give up what it has just read of the next.
    fn learn_the_end(&mut self, slot: PartitionSlot, base_offset: Offset, walk: &Walk) {
        let segment = self.partition_mut(slot).and_then(|log| log.segment_at(base_offset));
        if segment.is_some_and(|segment| segment.closed && walk.at == segment.end()) {
            self.learn_from_walk(slot, base_offset, walk);
        }
    }

    /// The walk goes on later, when more has been read: at log position `at`, from the batch behind its last. The last may lie in
    /// an extent that a small cache gives up for the one that holds this batch: neither would stay, and the walk have no end.
    fn learn_from_walk(&mut self, slot: PartitionSlot, base_offset: Offset, walk: &Walk) {
        let Some((end_offset, latest)) = walk.last else { return };
        let Some(segment) = self.partition_mut(slot).and_then(|log| log.segment_at(base_offset)) else {
            return;
        };
        let position = walk.at - segment.start;
        let before = segment.index.entry_before(position).map_or(i64::MIN, |entry| entry.max_timestamp);
        if segment.sealed && segment.index.len() >= LEARNED_ENTRIES_MAX {
            segment.index.thin_out(segment.size / (LEARNED_ENTRIES_MAX / 4));
        }
        segment.index.learn(IndexEntry { offset: end_offset, position, max_timestamp: latest.max(before) });
    }

    /// The header of the batch at log position `at`.
    fn header_at(&mut self, slot: PartitionSlot, at: u64) -> Search<BatchHeader> {
        let mut bytes = [0; HEADER_BYTES];
        match self.copy_at(slot, at, &mut bytes) {
            Search::Found(()) => BatchHeader::parse(&bytes).map_or(Search::Failed, Search::Found),
            Search::Pending => Search::Pending,
            Search::Missing => Search::Missing,
            Search::Failed => Search::Failed,
        }
    }

    /// One piece of `at..end` for a search, which holds one at a time.
    pub(super) fn piece_for_search(&mut self, slot: PartitionSlot, at: u64, end: u64) -> Search<ReadPiece> {
        self.piece_at(slot, at, end, Wanted::Now)
    }

    /// What waited for reads of this partition has been tried again.
    pub(super) fn end_freshness(&mut self, slot: PartitionSlot) {
        if self.cache.end_freshness(slot) {
            self.wake_waiting_reads();
        }
    }

    /// Copies bytes from log position `at` on into `target`.
    fn copy_at(&mut self, slot: PartitionSlot, at: u64, target: &mut [u8]) -> Search<()> {
        // Held until the end: what is in use is not given up for the next piece, or neither would ever be there.
        let mut held = Vec::new();
        let found = self.copy_pieces(slot, at, target, &mut held);
        self.give_back(held);
        found
    }

    fn copy_pieces(
        &mut self,
        slot: PartitionSlot,
        at: u64,
        target: &mut [u8],
        held: &mut Vec<ReadPiece>,
    ) -> Search<()> {
        let end = at + wide(target.len());
        let mut position = at;
        let mut rest = target;
        while !rest.is_empty() {
            let piece = match self.piece_at(slot, position, end, Wanted::Now) {
                Search::Found(piece) => piece,
                Search::Pending => return Search::Pending,
                Search::Missing => return Search::Missing,
                Search::Failed => return Search::Failed,
            };
            let bytes = self.bytes_of(&piece);
            let take = bytes.len().min(rest.len());
            let (now, later) = rest.split_at_mut(take);
            if let Some(source) = bytes.get(..take) {
                now.copy_from_slice(source);
            }
            held.push(piece);
            if take == 0 {
                return Search::Failed;
            }
            position += wide(take);
            rest = later;
        }
        Search::Found(())
    }

    pub(super) fn load_index<T>(&mut self, slot: PartitionSlot, base_offset: Offset) -> Search<T> {
        let Some(partition) = self.partition_mut(slot) else { return Search::Failed };
        let path = index_path(&partition.folder, base_offset);
        let Some(segment) = partition.segment_at(base_offset) else { return Search::Failed };
        if !segment.index_coming {
            segment.index_coming = true;
            self.task(
                Lane::Files,
                Task::ReadIndex { path, bytes_max: INDEX_FILE_BYTES_MAX },
                Purpose::Index { slot, segment: base_offset },
            );
        }
        Search::Pending
    }

    pub(super) fn end_index(&mut self, slot: PartitionSlot, base_offset: Offset, outcome: Outcome) {
        if let Some(segment) = self.partition_mut(slot).and_then(|log| log.segment_at(base_offset)) {
            segment.index_coming = false;
            let found = match outcome {
                Outcome::Index(found) => Some(*found),
                _ => None,
            };
            let agrees = found
                .filter(|(of, _)| of.base_offset == base_offset.0 && of.size == segment.size)
                .map(|(_, index)| index);
            // Without an index the segment is walked from its start: slower, and as true.
            segment.index = agrees.unwrap_or_else(|| SegmentIndex::complete(VecDeque::new()));
        }
        self.note_index(slot, base_offset);
        self.events.push_back(Event::ReadReady(slot));
    }

    /// A sealed segment's index is in memory; the one that has been there longest goes if they are too many.
    pub(super) fn note_index(&mut self, slot: PartitionSlot, base_offset: Offset) {
        self.loaded_indices.push_back((slot, base_offset));
        if self.loaded_indices.len() > LOADED_INDICES_MAX
            && let Some((slot, base_offset)) = self.loaded_indices.pop_front()
            && let Some(segment) = self.partition_mut(slot).and_then(|log| log.segment_at(base_offset))
            && segment.sealed
        {
            segment.index = SegmentIndex::default();
        }
    }

    /// Where a truncation to `offset` cuts: segment (base offset), byte position, and the new end, which is `offset` or the base of
    /// the batch that holds it. `None`: the disk is being read for it. A log start beyond `offset` counts as the place itself.
    pub(super) fn locate_for_truncation(
        &mut self,
        slot: PartitionSlot,
        offset: Offset,
    ) -> Option<(Offset, u64, Offset)> {
        let first = self.partition(slot)?.segments.front().map(|segment| segment.base_offset);
        let offset = first.map_or(offset, |first| offset.max(first));
        match self.locate(slot, offset) {
            Search::Found((at, _, _)) => {
                let header = match self.header_at(slot, at) {
                    Search::Found(header) => header,
                    _ => return None,
                };
                if header.base_offset > offset {
                    // Between two batches lie offsets without records: the second one's segment goes.
                    return Some((offset, 0, offset));
                }
                let partition = self.partition(slot)?;
                let behind = partition.segments.partition_point(|segment| segment.start <= at);
                let segment = behind.checked_sub(1).and_then(|place| partition.segments.get(place))?;
                Some((segment.base_offset, at - segment.start, header.base_offset))
            }
            // Nothing but offsets without records lies behind.
            Search::Missing => Some((offset, 0, offset)),
            Search::Pending => None,
            Search::Failed => {
                self.fail_partition(slot);
                None
            }
        }
    }
}
