//! The floor's memory for `written`: bytes are copied in, one after another and round again, and written to the disk
//! behind, in large pieces.

use std::fs;
use std::path::Path;
use std::rc::Rc;

use crate::measure::driver::Result;
use crate::runtime::file::FileHandle;
use crate::runtime::memory::{Arena, ArenaMemory};
use crate::runtime::ring::{Ring, WritePiece};

/// What is written to the disk at once. Unit: bytes.
const PIECE_BYTES: usize = 1 << 20;

/// See the module.
pub(super) struct Memory {
    arena: Arena,
    head: usize,
    /// Of each piece: it is being written to the disk.
    busy: Vec<bool>,
}

impl Memory {
    /// Maps `bytes` (rounded up to whole pieces) of the tmpfs at `directory`, touches them, and lends them to the ring.
    pub(super) fn new(directory: &Path, bytes: usize, ring: &mut Ring) -> Result<Self> {
        let bytes = bytes.max(PIECE_BYTES).next_multiple_of(PIECE_BYTES);
        let path = directory.join(format!("ringlog-floor-{}.arena", std::process::id()));
        let (mut arena, _) = Arena::open(&path, bytes)?;
        // The name is not needed, and would outlive a floor that is killed.
        let _ = fs::remove_file(&path);
        arena.touch(0, bytes)?;
        ring.attach_arenas(0, vec![arena.mapping().clone()]);
        Ok(Self { arena, head: 0, busy: vec![false; bytes / PIECE_BYTES] })
    }

    /// Largest frame that it takes.
    pub(super) fn bytes_max(&self) -> usize {
        self.arena.len() / 2
    }

    pub(super) fn len(&self) -> usize {
        self.arena.len()
    }

    /// Copies `bytes` in and returns where they lie; pieces that are full begin to be written to `file`. `None`: the disk
    /// must catch up first.
    pub(super) fn copy(
        &mut self,
        bytes: &[u8],
        file: &Rc<FileHandle>,
        ring: &mut Ring,
        token: impl Fn(usize) -> u64,
    ) -> Option<usize> {
        let wraps = self.head + bytes.len() > self.arena.len();
        let start = if wraps { 0 } else { self.head };
        let end = start + bytes.len();
        let mut touched = start / PIECE_BYTES..end.div_ceil(PIECE_BYTES);
        if !touched.all(|piece| self.busy.get(piece) == Some(&false)) {
            return None;
        }
        self.arena.write(start, bytes);
        if wraps && !self.head.is_multiple_of(PIECE_BYTES) {
            self.write_behind(self.head / PIECE_BYTES, file, ring, &token);
        }
        self.head = end;
        for full in start / PIECE_BYTES..end / PIECE_BYTES {
            self.write_behind(full, file, ring, &token);
        }
        Some(start)
    }

    /// A piece is on the disk and may be filled again.
    pub(super) fn handle_written(&mut self, piece: usize) {
        if let Some(busy) = self.busy.get_mut(piece) {
            *busy = false;
        }
    }

    fn write_behind(
        &mut self,
        piece: usize,
        file: &Rc<FileHandle>,
        ring: &mut Ring,
        token: &impl Fn(usize) -> u64,
    ) {
        if let Some(busy) = self.busy.get_mut(piece) {
            *busy = true;
            let position = piece * PIECE_BYTES;
            let pieces = vec![WritePiece::Arena { position, len: PIECE_BYTES }];
            ring.write(file, pieces, position as u64, false, token(piece));
        }
    }
}
