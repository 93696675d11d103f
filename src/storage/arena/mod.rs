//! The arena: one pool of aligned chunks that holds the tails of a shard's partitions.
//!
//! Lives: one per shard. The memory outlives the process (a file on tmpfs), and a table in it says of each chunk in use
//! what it holds, so that a start after `kill -9` finds every batch that had been published.
//!
//! Invariants: a chunk is handed out again only when no partition owns it and nobody (reply, disk write) pins it;
//! a table entry's word is zero before its chunk is free; bytes are in place before the word that publishes them.

pub mod table;

use self::table::{ChunkLabel, Layout, SLAB_BYTES};
use crate::model::limits::BLOCK_BYTES;
use crate::model::number::{index, wide};
use crate::runtime::memory::ArenaMemory;

/// Size classes of chunks in bytes: slow partitions hold little, fast ones are written in few pieces.
pub const CLASS_BYTES: [u64; 4] = [4 << 10, 16 << 10, 64 << 10, 256 << 10];

const _: () = assert!(CLASS_BYTES[0] == BLOCK_BYTES as u64);
const _: () = assert!(CLASS_BYTES[3] == SLAB_BYTES);

/// A place in [`CLASS_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(u8);

impl Class {
    pub const SMALLEST: Self = Self(0);
    pub const LARGEST: Self = Self(3);

    #[must_use]
    pub fn bytes(self) -> u64 {
        CLASS_BYTES.get(usize::from(self.0)).copied().unwrap_or(SLAB_BYTES)
    }

    /// The next larger class, or the same if it is the largest.
    #[must_use]
    pub fn larger(self) -> Self {
        Self((self.0 + 1).min(Self::LARGEST.0))
    }

    /// The next smaller class, or the same if it is the smallest.
    #[must_use]
    pub const fn smaller(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// This class and all smaller ones, the largest first.
    pub fn smaller_ones(self) -> impl Iterator<Item = Self> {
        (0..=self.0).rev().map(Self)
    }

    /// All larger classes, the smallest first.
    pub fn larger_ones(self) -> impl Iterator<Item = Self> {
        (self.0 + 1..=Self::LARGEST.0).map(Self)
    }

    const fn bit(self) -> u8 {
        1 << self.0
    }

    const fn place(self) -> usize {
        self.0 as usize
    }

    /// Bit mask of a slab with all chunks of this class free.
    const fn full_mask(self) -> u64 {
        match self.0 {
            0 => u64::MAX,
            1 => 0xffff,
            2 => 0xf,
            _ => 1,
        }
    }
}

/// A chunk: the number of its first 4 KiB granule in the chunk area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub u32);

#[derive(Clone, Copy, Default)]
struct Slab {
    class: Option<Class>,
    /// A set bit is a free chunk of the slab's class.
    free: u64,
    /// Bit per class: the slab stands in that class's list of partial slabs, perhaps out of date.
    listed: u8,
}

#[derive(Clone, Copy, Default)]
struct ChunkState {
    pins: u32,
    owned: bool,
}

/// The pool and its memory. All methods are O(1) but [`ChunkArena::new`].
pub struct ChunkArena<M> {
    memory: M,
    layout: Layout,
    slabs: Vec<Slab>,
    free_slabs: Vec<u32>,
    /// Slabs of each class that may have a free chunk; entries can be stale and are checked when popped.
    partial: [Vec<u32>; 4],
    states: Vec<ChunkState>,
    free_bytes: u64,
    /// Slabs whose memory has been made present: writing to others could end the process when a tmpfs is full.
    present: Vec<bool>,
}

impl<M: ArenaMemory> ChunkArena<M> {
    /// Takes `memory` whose table is all zero (recovery has emptied it). O(chunks).
    pub fn new(memory: M) -> Self {
        let layout = Layout::of(memory.len());
        let slab_count = layout.slab_count;
        let mut free_slabs: Vec<u32> = (0..slab_count).collect();
        // Popped from the end: low addresses first, so that a small load touches little memory.
        free_slabs.reverse();
        Self {
            memory,
            layout,
            slabs: vec![Slab::default(); index(u64::from(slab_count))],
            free_slabs,
            partial: [const { Vec::new() }; 4],
            states: vec![ChunkState::default(); index(u64::from(slab_count) * layout::GRANULES_PER_SLAB)],
            free_bytes: u64::from(slab_count) * SLAB_BYTES,
            present: vec![false; index(u64::from(slab_count))],
        }
    }

    /// A chunk of `class`, owned by the caller, labelled but with nothing published. `None` when no memory is left.
    pub fn allocate(&mut self, class: Class, label: &ChunkLabel) -> Option<ChunkId> {
        let slab_number = self.slab_with_room(class)?;
        let slab = self.slabs.get_mut(index(u64::from(slab_number)))?;
        let place = slab.free.trailing_zeros();
        slab.free &= slab.free - 1;
        if slab.free != 0 {
            self.list_as_partial(slab_number, class);
        }
        let granules_per_chunk = u32::try_from(class.bytes() / CLASS_BYTES[0]).ok()?;
        let granules_per_slab = u32::try_from(layout::GRANULES_PER_SLAB).ok()?;
        let chunk = ChunkId(slab_number * granules_per_slab + place * granules_per_chunk);
        let state = self.states.get_mut(index(u64::from(chunk.0)))?;
        assert!(!state.owned, "a chunk in use was handed out");
        assert!(state.pins == 0, "a pinned chunk was handed out");
        state.owned = true;
        self.free_bytes -= class.bytes();
        let entry = self.layout.entry_position(chunk);
        self.memory.write(entry + 8, &label.encode());
        Some(chunk)
    }

    fn slab_with_room(&mut self, class: Class) -> Option<u32> {
        let partial = self.partial.get_mut(class.place())?;
        while let Some(candidate) = partial.pop() {
            let slab = self.slabs.get_mut(index(u64::from(candidate)))?;
            slab.listed &= !class.bit();
            if slab.class == Some(class) && slab.free != 0 {
                return Some(candidate);
            }
        }
        let fresh = self.present_slab()?;
        let slab = self.slabs.get_mut(index(u64::from(fresh)))?;
        slab.class = Some(class);
        slab.free = class.full_mask();
        Some(fresh)
    }

    /// A free slab whose memory is there. `None`: there is none, or the machine has no memory for another one.
    fn present_slab(&mut self) -> Option<u32> {
        let fresh = self.free_slabs.pop()?;
        let present = self.present.get_mut(index(u64::from(fresh)))?;
        if !*present {
            let granules = u32::try_from(layout::GRANULES_PER_SLAB).ok()?;
            let first = ChunkId(fresh * granules);
            let entries = self.layout.entry_position(first);
            let touched =
                self.memory.touch(self.layout.chunk_position(first), index(SLAB_BYTES)).and_then(|()| {
                    self.memory.touch(entries, index(layout::GRANULES_PER_SLAB) * layout::ENTRY_BYTES)
                });
            if touched.is_err() {
                self.free_slabs.push(fresh);
                return None;
            }
            *present = true;
        }
        Some(fresh)
    }

    fn list_as_partial(&mut self, slab_number: u32, class: Class) {
        let Some(slab) = self.slabs.get_mut(index(u64::from(slab_number))) else { return };
        let Some(list) = self.partial.get_mut(class.place()) else { return };
        if slab.listed & class.bit() == 0 {
            slab.listed |= class.bit();
            list.push(slab_number);
        }
    }

    /// Copies `bytes` into the chunk at `at`; they are not yet published.
    pub fn write(&mut self, chunk: ChunkId, at: u64, bytes: &[u8]) {
        let position = self.layout.chunk_position(chunk) + index(at);
        self.memory.write(position, bytes);
    }

    /// From this moment the first `valid_bytes` of the chunk are `written`: they survive the death of the process.
    pub fn publish(&mut self, chunk: ChunkId, valid_bytes: u64) {
        self.memory.publish(self.layout.entry_position(chunk), table::in_use(valid_bytes));
    }

    /// The chunk's bytes are in the segment file: recovery need not apply them.
    pub fn publish_clean(&mut self, chunk: ChunkId, valid_bytes: u64) {
        self.memory.publish(self.layout.entry_position(chunk), table::clean(valid_bytes));
    }

    /// Bytes `at..at + len` of the chunk.
    #[must_use]
    pub fn read(&self, chunk: ChunkId, at: u64, len: u64) -> &[u8] {
        self.memory.read(self.layout.chunk_position(chunk) + index(at), index(len))
    }

    /// Place of the chunk's first byte in the arena's memory, for operations that name memory by place.
    #[must_use]
    pub fn place_of(&self, chunk: ChunkId) -> u64 {
        wide(self.layout.chunk_position(chunk))
    }

    /// The owner gives the chunk up. It is free now, or when its last pin goes.
    pub fn disown(&mut self, chunk: ChunkId) {
        // Not in use any more, even while a reply still reads it: a start must not bring it back.
        self.memory.publish(self.layout.entry_position(chunk), 0);
        if let Some(state) = self.states.get_mut(index(u64::from(chunk.0))) {
            assert!(state.owned, "a chunk was given up twice");
            state.owned = false;
            if state.pins == 0 {
                self.free(chunk);
            }
        }
    }

    /// One more reader or writer of the chunk's bytes outside this shard's code.
    pub fn pin(&mut self, chunk: ChunkId) {
        if let Some(state) = self.states.get_mut(index(u64::from(chunk.0))) {
            state.pins += 1;
        }
    }

    /// The counterpart of [`Self::pin`].
    pub fn unpin(&mut self, chunk: ChunkId) {
        if let Some(state) = self.states.get_mut(index(u64::from(chunk.0))) {
            assert!(state.pins > 0, "a chunk was unpinned more often than pinned");
            state.pins -= 1;
            if state.pins == 0 && !state.owned {
                self.free(chunk);
            }
        }
    }

    fn free(&mut self, chunk: ChunkId) {
        let granule = u64::from(chunk.0);
        let slab_number = granule / layout::GRANULES_PER_SLAB;
        let Some(slab) = self.slabs.get_mut(index(slab_number)) else { return };
        let Some(class) = slab.class else { return };
        let place = (granule % layout::GRANULES_PER_SLAB) / (class.bytes() / CLASS_BYTES[0]);
        slab.free |= 1 << place;
        self.free_bytes += class.bytes();
        let Ok(slab_number) = u32::try_from(slab_number) else { return };
        if slab.free == class.full_mask() {
            slab.class = None;
            slab.free = 0;
            self.free_slabs.push(slab_number);
        } else {
            self.list_as_partial(slab_number, class);
        }
    }

    /// Bytes in no chunk.
    #[must_use]
    pub const fn free_bytes(&self) -> u64 {
        self.free_bytes
    }

    /// Bytes of all chunks, free or not.
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        wide(self.slabs.len()) * SLAB_BYTES
    }

    /// The memory, to be given to the next user of it.
    pub fn into_memory(self) -> M {
        self.memory
    }

    /// The memory, for what stands beside the chunks.
    pub const fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }
}

use self::table as layout;

#[cfg(test)]
mod tests;
