//! The floor's stream for `synced`: what has gathered while the last write was under way goes to the disk as one durable
//! write, over blocks that were written before.

use std::rc::Rc;
use std::sync::Arc;

use crate::model::limits::BLOCK_BYTES;
use crate::runtime::file::FileHandle;
use crate::runtime::memory::AlignedBuffer;
use crate::runtime::ring::{Ring, Token, WritePiece};

/// Small frames are gathered in buffers of this size. Unit: bytes.
const BUFFER_BYTES: usize = 1 << 20;
/// Buffers kept for large frames.
const SPARE_MAX: usize = 256;

/// A frame that waits for its write.
#[derive(Clone, Debug)]
pub(super) struct Waiting<T> {
    /// Whom to answer.
    pub(super) whom: T,
    /// Which of the group's buffers it lies in, and where.
    pub(super) buffer: usize,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// See the module. `T` names whom to answer.
pub(super) struct Stream<T> {
    position: u64,
    file_bytes: u64,
    gathering: Vec<AlignedBuffer>,
    /// The last of `gathering` takes more small frames.
    is_open: bool,
    waiting: Vec<Waiting<T>>,
    in_flight: Option<Vec<Waiting<T>>>,
    spare: Vec<AlignedBuffer>,
}

impl<T> Stream<T> {
    pub(super) const fn new(file_bytes: u64) -> Self {
        Self {
            position: 0,
            file_bytes,
            gathering: Vec::new(),
            is_open: false,
            waiting: Vec::new(),
            in_flight: None,
            spare: Vec::new(),
        }
    }

    /// A buffer of `bytes`, with arbitrary contents.
    pub(super) fn take_buffer(&mut self, bytes: usize) -> AlignedBuffer {
        let fitting = self.spare.pop().filter(|spare| spare.capacity() >= bytes);
        let mut buffer = fitting.unwrap_or_else(|| AlignedBuffer::with_capacity(bytes));
        buffer.set_len(bytes);
        buffer
    }

    /// Takes a buffer back.
    pub(super) fn give_buffer(&mut self, buffer: AlignedBuffer) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(buffer);
        }
    }

    /// A small frame: copied behind the others.
    pub(super) fn add_small(&mut self, whom: T, bytes: &[u8]) {
        let fits = |buffer: &AlignedBuffer| buffer.capacity() - buffer.len() >= bytes.len();
        if !self.is_open || !self.gathering.last().is_some_and(fits) {
            let mut buffer = self.take_buffer(BUFFER_BYTES.max(bytes.len()));
            buffer.set_len(0);
            self.gathering.push(buffer);
            self.is_open = true;
        }
        let place = self.gathering.len() - 1;
        if let Some(buffer) = self.gathering.last_mut() {
            let start = buffer.len();
            buffer.extend_from_slice(bytes);
            self.waiting.push(Waiting { whom, buffer: place, start, len: bytes.len() });
        }
    }

    /// A large frame, in the buffer that it was received into, from `start` on.
    pub(super) fn add_large(&mut self, whom: T, buffer: AlignedBuffer, start: usize) {
        let len = buffer.len() - start;
        self.gathering.push(buffer);
        self.is_open = false;
        self.waiting.push(Waiting { whom, buffer: self.gathering.len() - 1, start, len });
    }

    /// Writes what has gathered, unless a write is under way.
    pub(super) fn flush(&mut self, file: &Rc<FileHandle>, ring: &mut Ring, token: Token) {
        if self.in_flight.is_some() || self.gathering.is_empty() {
            return;
        }
        self.is_open = false;
        let mut bytes = 0;
        let mut pieces = Vec::with_capacity(self.gathering.len());
        for mut buffer in self.gathering.drain(..) {
            buffer.set_len(buffer.len().next_multiple_of(BLOCK_BYTES));
            bytes += buffer.len() as u64;
            pieces.push(WritePiece::Block(buffer));
        }
        if self.position + bytes > self.file_bytes {
            self.position = 0;
        }
        self.in_flight = Some(std::mem::take(&mut self.waiting));
        ring.write(file, pieces, self.position, true, token);
        self.position += bytes;
    }

    /// The write is over. Returns the frames that are durable now; their bytes lie in the second part's buffers, if
    /// `keep` asks for them.
    pub(super) fn handle_written(
        &mut self,
        pieces: Vec<WritePiece>,
        keep: bool,
    ) -> (Vec<Waiting<T>>, Vec<Arc<AlignedBuffer>>) {
        let mut kept = Vec::new();
        for piece in pieces {
            match piece {
                WritePiece::Block(buffer) if keep => kept.push(Arc::new(buffer)),
                WritePiece::Block(buffer) => self.give_buffer(buffer),
                WritePiece::Arena { .. } => {}
            }
        }
        (self.in_flight.take().unwrap_or_default(), kept)
    }
}
