//! The tail of a partition: the chain of arena chunks that hold its newest bytes.
//!
//! Chunks follow one another without a gap inside a segment; a segment begins in a fresh chunk. The front ones may
//! already be in the segment file (clean) and stay as a cache until the arena wants them back.

use std::collections::VecDeque;

use crate::model::Offset;
use crate::storage::arena::{ChunkId, Class};

/// One chunk of the chain.
#[derive(Clone, Copy, Debug)]
pub struct TailChunk {
    pub id: ChunkId,
    pub class: Class,
    /// Log position of its first byte, a multiple of 4,096.
    pub start: u64,
    /// Base offset of its segment.
    pub segment: Offset,
    /// All of it is in the segment file.
    pub clean: bool,
}

impl TailChunk {
    /// Log position behind what it can hold.
    #[must_use]
    pub fn capacity_end(&self) -> u64 {
        self.start + self.class.bytes()
    }
}

/// The chain. Starts empty: nothing is held for a partition that nobody appends to.
#[derive(Debug)]
pub struct Tail {
    pub chunks: VecDeque<TailChunk>,
    /// Class of the next chunk.
    pub next_class: Class,
    /// When the last chunk was taken, ms.
    pub last_taken_ms: i64,
}

impl Default for Tail {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), next_class: Class::SMALLEST, last_taken_ms: 0 }
    }
}

/// A chunk filled faster than this is followed by a larger one. Unit: ms.
const FAST_MS: i64 = 200;
/// A chunk that lasted longer than this is followed by a smaller one. Unit: ms.
const SLOW_MS: i64 = 5_000;

impl Tail {
    /// First log position that is in memory; `None` if nothing is.
    #[must_use]
    pub fn floor(&self) -> Option<u64> {
        self.chunks.front().map(|chunk| chunk.start)
    }

    /// Log position up to which the last chunk has room, if that chunk belongs to `segment`.
    #[must_use]
    pub fn capacity_end(&self, segment: Offset) -> Option<u64> {
        self.chunks.back().filter(|last| last.segment == segment).map(TailChunk::capacity_end)
    }

    /// The class for the next chunk, of which at least `wanted_bytes` will be filled now; adapts to the traffic.
    pub fn choose_class(&mut self, wanted_bytes: u64, now_ms: i64) -> Class {
        let lasted_ms = now_ms.saturating_sub(self.last_taken_ms);
        if lasted_ms < FAST_MS {
            self.next_class = self.next_class.larger();
        } else if lasted_ms > SLOW_MS {
            self.next_class = self.next_class.smaller();
        }
        self.last_taken_ms = now_ms;
        let mut class = self.next_class;
        while class < Class::LARGEST && class.bytes() < wanted_bytes {
            class = class.larger();
        }
        class
    }

    /// Place in the chain of the chunk that holds log position `at`.
    #[must_use]
    pub fn place_of(&self, at: u64) -> Option<usize> {
        let behind = self.chunks.partition_point(|chunk| chunk.start <= at);
        let place = behind.checked_sub(1)?;
        self.chunks.get(place).filter(|chunk| at < chunk.capacity_end()).map(|_| place)
    }

    /// The chunks from the one that holds `at` on.
    pub fn chunks_from(&self, at: u64) -> impl Iterator<Item = &TailChunk> {
        let place = self.place_of(at).unwrap_or(self.chunks.len());
        self.chunks.range(place..)
    }
}
