//! Operations in flight: each owns its buffers and keeps its descriptor open until the kernel has answered.

use std::ops::Range;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;

use crate::runtime::file::FileHandle;
use crate::runtime::memory::{AlignedBuffer, Mapping};
use crate::runtime::net::{Listener, Socket};
use crate::runtime::ring::gather::Gather;
use crate::runtime::ring::{OperationId, Token};

/// One part of what is sent.
#[derive(Debug)]
pub enum SendPiece {
    /// Bytes of its own.
    Owned(Vec<u8>),
    /// A part of a buffer that others read too.
    Shared(Arc<AlignedBuffer>, Range<usize>),
    /// A range of an attached arena, by its number; the caller keeps it unchanged until the completion.
    Arena { arena: usize, position: usize, len: usize },
}

/// One part of what is written to a file. Of a direct file each part is whole aligned blocks.
#[derive(Debug)]
pub enum WritePiece {
    /// A range of the ring's own arena; the caller keeps it unchanged until the completion.
    Arena { position: usize, len: usize },
    /// The buffer's bytes in use.
    Block(AlignedBuffer),
}

/// What an operation does, and all that it needs to stay alive.
pub(super) enum Kind {
    /// The standing read of the eventfd of the ring's waker, which the ring keeps open.
    Wake {
        event: RawFd,
        count: Box<[u8; 8]>,
    },
    Accept {
        listener: Rc<Listener>,
    },
    Receive {
        socket: Rc<Socket>,
        multishot: bool,
    },
    ReceiveInto {
        socket: Rc<Socket>,
        buffer: AlignedBuffer,
        from: usize,
        received: usize,
    },
    Send {
        socket: Rc<Socket>,
        pieces: Vec<SendPiece>,
        gather: Box<Gather>,
    },
    Write {
        file: Rc<FileHandle>,
        pieces: Vec<WritePiece>,
        gather: Box<Gather>,
        position: u64,
        durable: bool,
    },
    Read {
        file: Rc<FileHandle>,
        buffer: AlignedBuffer,
        len: usize,
        done: usize,
        position: u64,
    },
    Sync {
        file: Rc<FileHandle>,
    },
}

pub(super) struct Operation {
    pub(super) token: Token,
    pub(super) kind: Kind,
    /// Cancellation was asked for: it is not continued.
    pub(super) cancelled: bool,
    /// Waits for a provided buffer; not in the kernel.
    pub(super) starved: bool,
}

/// The table of operations. An id names a slot and its generation, so that a late answer finds nobody.
/// Bound: `operations_max`.
pub(super) struct Operations {
    slots: Vec<Slot>,
    free: Vec<u32>,
    operations_max: usize,
}

struct Slot {
    generation: u32,
    operation: Option<Operation>,
}

impl Operations {
    pub(super) fn new(operations_max: usize) -> Self {
        // The last index is left out: with the last generation it would be the id that names no operation.
        let operations_max = operations_max.min(u32::MAX as usize - 1);
        Self { slots: Vec::new(), free: Vec::new(), operations_max }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn operations_max(&self) -> usize {
        self.operations_max
    }

    /// Err: the table is full.
    pub(super) fn insert(&mut self, operation: Operation) -> Result<OperationId, Operation> {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.operation = Some(operation);
            return Ok(id(index, slot.generation));
        }
        match u32::try_from(self.slots.len()) {
            Ok(index) if self.slots.len() < self.operations_max => {
                self.slots.push(Slot { generation: 0, operation: Some(operation) });
                Ok(id(index, 0))
            }
            _ => Err(operation),
        }
    }

    pub(super) fn get_mut(&mut self, id: OperationId) -> Option<&mut Operation> {
        let (index, generation) = parts(id);
        let slot = self.slots.get_mut(index as usize)?;
        if slot.generation == generation { slot.operation.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, id: OperationId) -> Option<Operation> {
        let (index, generation) = parts(id);
        let slot = self.slots.get_mut(index as usize)?;
        if slot.generation != generation {
            return None;
        }
        let operation = slot.operation.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        Some(operation)
    }
}

fn id(index: u32, generation: u32) -> OperationId {
    OperationId(u64::from(generation) << 32 | u64::from(index))
}

fn parts(id: OperationId) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = id.0.to_be_bytes();
    (u32::from_be_bytes([e, f, g, h]), u32::from_be_bytes([a, b, c, d]))
}

/// The memory of a piece. Pieces of the arena need it attached; ranges are asserted.
pub(super) fn gather_sends(gather: &mut Gather, pieces: &[SendPiece], arenas: &[Arc<Mapping>]) {
    for piece in pieces {
        match piece {
            SendPiece::Owned(bytes) => {
                gather.push(std::ptr::NonNull::from(bytes.as_slice()).cast(), bytes.len())
            }
            SendPiece::Shared(buffer, range) => {
                assert!(range.end <= buffer.len(), "a sent range lies inside the bytes in use");
                gather.push(buffer.range(range.start, range.len()), range.len());
            }
            SendPiece::Arena { arena, position, len } => {
                let arena = arenas.get(*arena).map(Arc::as_ref);
                gather.push(attached(arena).range(*position, *len), *len);
            }
        }
    }
}

/// As [`gather_sends`], for what is written to `file` at `position`; alignment is asserted.
pub(super) fn gather_writes(
    gather: &mut Gather,
    pieces: &[WritePiece],
    arena: Option<&Mapping>,
    file: &FileHandle,
    position: u64,
) {
    for piece in pieces {
        let (start, len) = match piece {
            WritePiece::Arena { position, len } => (attached(arena).range(*position, *len), *len),
            WritePiece::Block(buffer) => (buffer.range(0, buffer.len()), buffer.len()),
        };
        file.check_alignment(position, start.as_ptr().addr(), len);
        gather.push(start, len);
    }
}

fn attached(arena: Option<&Mapping>) -> &Mapping {
    match arena {
        Some(arena) => arena,
        None => panic!("a piece of the arena was given to a ring that has none attached"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(token: Token) -> Operation {
        let kind = Kind::Wake { event: -1, count: Box::default() };
        Operation { token, kind, cancelled: false, starved: false }
    }

    #[test]
    fn a_late_answer_finds_nobody() {
        let mut operations = Operations::new(10);
        let first = operations.insert(operation(1)).ok().unwrap();
        assert_eq!(operations.remove(first).unwrap().token, 1);
        let second = operations.insert(operation(2)).ok().unwrap();
        assert_ne!(first, second, "the slot is used again under another generation");
        assert!(operations.get_mut(first).is_none() && operations.remove(first).is_none());
        assert_eq!(operations.get_mut(second).unwrap().token, 2);
        assert_eq!(operations.len(), 1);
    }

    #[test]
    fn a_full_table_gives_the_operation_back() {
        let mut operations = Operations::new(2);
        let first = operations.insert(operation(1)).ok().unwrap();
        operations.insert(operation(2)).ok().unwrap();
        assert_eq!(operations.insert(operation(3)).err().unwrap().token, 3);
        operations.remove(first).unwrap();
        assert!(operations.insert(operation(4)).is_ok());
    }
}
