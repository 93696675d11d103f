//! Searches by time: the first batch that may hold a record not older than a timestamp.
//!
//! A search keeps its place, and the bytes that it has begun to copy: each extent that comes from the disk takes it further,
//! whatever the cache gives up meanwhile. The index bounds where it begins; how much it does at a time the caller says.

use super::read::Search;
use super::{PartitionSlot, ReadError, ShardLog};
use crate::model::Offset;
use crate::model::batch::{BatchHeader, HEADER_BYTES};
use crate::model::number::wide;
use crate::runtime::memory::ArenaMemory;

/// Bytes of a batch that are copied for one unit of work.
const BYTES_PER_WORK: usize = 4 << 10;

/// A search that has come so far. It belongs to whoever searches, and to one partition.
#[derive(Clone, Debug)]
pub struct TimestampSearch {
    timestamp: i64,
    /// Where it goes on; `None`: at the first segment.
    place: Option<Place>,
    /// The truncations that the partition had seen: behind one, other batches may stand where it was.
    truncation_count: u64,
    /// The batch that it has found and is copying.
    found: Option<BatchHeader>,
    /// Of the batch at its place, as far as they have been read.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Base offset.
    segment: Offset,
    /// Byte of the segment at which a batch begins.
    position: u64,
}

/// What a search has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Searched {
    /// The whole first batch below the high watermark whose largest timestamp is not before the one asked for.
    Found(Vec<u8>),
    Missing,
    /// The disk is being read: it goes on after [`super::Event::ReadReady`].
    Pending,
    /// Its work is used up, and there is more to do.
    Unfinished,
}

/// Why a search does not go on now.
enum Halt {
    Done(Searched),
    Error(ReadError),
}

impl TimestampSearch {
    #[must_use]
    pub const fn new(timestamp: i64) -> Self {
        Self { timestamp, place: None, truncation_count: 0, found: None, bytes: Vec::new() }
    }

    #[must_use]
    pub const fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Whether it has copied more than a batch's header.
    #[must_use]
    pub const fn holds_much(&self) -> bool {
        self.bytes.capacity() > BYTES_PER_WORK
    }

    fn move_to(&mut self, place: Option<Place>) {
        self.place = place;
        self.found = None;
        self.bytes.clear();
        if self.holds_much() {
            self.bytes = Vec::new();
        }
    }
}

impl<M: ArenaMemory> ShardLog<M> {
    /// Goes on with a search. `work` counts down, one for a batch header or a segment that is looked at; at 0 it ends
    /// for now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn search_timestamp(
        &mut self,
        slot: PartitionSlot,
        search: &mut TimestampSearch,
        work: &mut u32,
    ) -> Result<Searched, ReadError> {
        let partition = self.partition(slot).ok_or(ReadError::UnknownPartition)?;
        if partition.failed {
            return Err(ReadError::Storage);
        }
        if search.truncation_count != partition.truncation_count {
            search.truncation_count = partition.truncation_count;
            search.move_to(None);
        }
        loop {
            let end = match self.place_search(slot, search, work) {
                Ok(end) => end,
                Err(Halt::Done(done)) => return Ok(done),
                Err(Halt::Error(error)) => return Err(error),
            };
            match self.search_segment(slot, search, end, work) {
                Ok(()) => {}
                Err(Halt::Done(done)) => return Ok(done),
                Err(Halt::Error(error)) => return Err(error),
            }
        }
    }

    /// Sees to it that the search stands in a segment that may hold what it looks for; returns the segment's visible end,
    /// as a position in it.
    fn place_search(
        &mut self,
        slot: PartitionSlot,
        search: &mut TimestampSearch,
        work: &mut u32,
    ) -> Result<u64, Halt> {
        loop {
            if *work == 0 {
                return Err(Halt::Done(Searched::Unfinished));
            }
            *work -= 1;
            let partition = self.partition(slot).ok_or(Halt::Error(ReadError::UnknownPartition))?;
            let from = search.place.map_or(Offset(i64::MIN), |place| place.segment);
            let at = partition.segments.partition_point(|segment| segment.base_offset < from);
            let visible_end = partition.high_watermark_end;
            let Some(segment) = partition.segments.get(at).filter(|segment| segment.start < visible_end)
            else {
                return Err(Halt::Done(Searched::Missing));
            };
            let base_offset = segment.base_offset;
            let end = segment.end().min(visible_end) - segment.start;
            if segment.size == 0 || segment.max_timestamp < search.timestamp {
                search.move_to(Some(Place { segment: Offset(base_offset.0 + 1), position: 0 }));
            } else if search.place.is_some_and(|place| place.segment == base_offset) {
                return Ok(end);
            } else if segment.index.loaded {
                let position = segment.index.floor_of_timestamp(search.timestamp);
                search.move_to(Some(Place { segment: base_offset, position }));
                return Ok(end);
            } else {
                let _: Search<()> = self.load_index(slot, base_offset);
                return Err(Halt::Done(Searched::Pending));
            }
        }
    }

    /// Walks over batches up to `end`; `Ok`: on to the next segment.
    fn search_segment(
        &mut self,
        slot: PartitionSlot,
        search: &mut TimestampSearch,
        end: u64,
        work: &mut u32,
    ) -> Result<(), Halt> {
        let log_start_offset = self.partition(slot).map_or(Offset::ZERO, |log| log.log_start_offset);
        while let Some(place) = search.place.filter(|place| place.position < end) {
            if let Some(header) = search.found {
                self.fill(slot, search, header.size_bytes, work)?;
                return Err(Halt::Done(Searched::Found(std::mem::take(&mut search.bytes))));
            }
            self.fill(slot, search, HEADER_BYTES, work)?;
            let header = BatchHeader::parse(&search.bytes).map_err(|_| Halt::Error(ReadError::Storage))?;
            if header.max_timestamp >= search.timestamp && header.end_offset() > log_start_offset {
                search.found = Some(header);
            } else {
                let position = place.position + wide(header.size_bytes);
                search.move_to(Some(Place { position, ..place }));
            }
        }
        let next = search.place.map(|place| Place { segment: Offset(place.segment.0 + 1), position: 0 });
        search.move_to(next);
        Ok(())
    }

    /// Copies bytes of the batch at the search's place until there are so many.
    fn fill(
        &mut self,
        slot: PartitionSlot,
        search: &mut TimestampSearch,
        needed: usize,
        work: &mut u32,
    ) -> Result<(), Halt> {
        let lost = Halt::Error(ReadError::Storage);
        let Some(place) = search.place else { return Err(lost) };
        let Some(start) =
            self.partition(slot).and_then(|log| log.segment_of_base(place.segment)).map(|found| found.start)
        else {
            return Err(lost);
        };
        let from = start + place.position;
        while search.bytes.len() < needed {
            let missing = needed - search.bytes.len();
            let wanted = missing.min(BYTES_PER_WORK);
            if *work == 0 {
                return Err(Halt::Done(Searched::Unfinished));
            }
            *work -= 1;
            let at = from + wide(search.bytes.len());
            match self.piece_for_search(slot, at, at + wide(wanted)) {
                Search::Found(piece) => {
                    let bytes = self.bytes_of(&piece);
                    let taken = bytes.get(..bytes.len().min(wanted)).unwrap_or_default();
                    search.bytes.extend_from_slice(taken);
                    let stuck = taken.is_empty();
                    self.put_back([piece]);
                    if stuck {
                        return Err(lost);
                    }
                }
                Search::Pending => return Err(Halt::Done(Searched::Pending)),
                Search::Missing | Search::Failed => return Err(lost),
            }
        }
        Ok(())
    }
}
