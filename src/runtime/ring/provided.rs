//! Provided buffers: memory that the kernel picks from when bytes arrive, so that an idle connection holds none.
//!
//! One group per ring. A buffer goes kernel -> completion -> [`Received`] -> back to the kernel when that is dropped.
//! Shared with the kernel: a ring of entries, of which only we write, and the tail that publishes them.

#![expect(unsafe_code, reason = "the buffer ring is memory shared with the kernel")]

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::runtime::memory::Mapping;
use crate::runtime::{Error, Result};

/// The ring's one buffer group.
pub(super) const GROUP: u16 = 0;

/// Largest count that the kernel takes.
const COUNT_MAX: u16 = 1 << 15;

pub(super) struct ProvidedBuffers {
    entries: Mapping,
    data: Mapping,
    count: u16,
    buffer_bytes: u32,
    tail: Cell<u16>,
    /// Buffers that a [`Received`] holds.
    held: Cell<u16>,
}

impl ProvidedBuffers {
    /// Maps the buffers and fills the entries; not yet known to any kernel ring.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> Result<Rc<Self>> {
        if !count.is_power_of_two() || count > COUNT_MAX {
            return Err(Error::BadCount { what: "provided buffers", count: u64::from(count) });
        }
        if buffer_bytes == 0 {
            return Err(Error::BadSize { what: "a provided buffer", bytes: 0 });
        }
        let entries = Mapping::anonymous(usize::from(count) * size_of::<BufRingEntry>())?;
        let data = Mapping::anonymous(usize::from(count) * buffer_bytes as usize)?;
        let (tail, held) = (Cell::new(0), Cell::new(0));
        let buffers = Self { entries, data, count, buffer_bytes, tail, held };
        for id in 0..count {
            buffers.give(id);
        }
        Ok(Rc::new(buffers))
    }

    /// Tells the kernel of the buffers.
    ///
    /// # Safety
    ///
    /// `self` must stay alive until the group is unregistered and every operation that may pick from it is over.
    pub(super) unsafe fn register(&self, ring: &io_uring::Submitter<'_>) -> std::io::Result<()> {
        let start = self.entries.range(0, 0).as_ptr().expose_provenance() as u64;
        // SAFETY: `entries` is page-aligned memory of `count` entries; the caller keeps it alive.
        unsafe { ring.register_buf_ring_with_flags(start, self.count, GROUP, 0) }
    }

    /// Buffers that the kernel may pick, or has picked for completions that were not looked at yet.
    pub(super) fn available(&self) -> u16 {
        self.count - self.held.get()
    }

    /// Wraps what the kernel put into buffer `id`. None: it names no buffer, or more bytes than one holds.
    pub(super) fn received(self: &Rc<Self>, id: u16, len: usize) -> Option<Received> {
        if id >= self.count || len > self.buffer_bytes as usize {
            return None;
        }
        self.held.set(self.held.get() + 1);
        Some(Received { buffer: Some((Rc::clone(self), id)), len })
    }

    fn give(&self, id: u16) {
        let tail = self.tail.get();
        let slot = usize::from(tail & (self.count - 1)) * size_of::<BufRingEntry>();
        let entry = self.entries.range(slot, size_of::<BufRingEntry>()).cast::<BufRingEntry>();
        let data = self.data.range(self.start_of(id), self.buffer_bytes as usize);
        // SAFETY: inside the mapping (checked by `range`) and aligned (the mapping begins on a page, entries are
        // 16 bytes). The kernel does not read this entry before the tail below says that it is filled.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(data.as_ptr().expose_provenance() as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(id);
        let tail = tail.wrapping_add(1);
        self.tail.set(tail);
        // SAFETY: the tail lies in the first entry's unused field, two aligned bytes that `set_*` never touch and
        // that only this thread writes.
        let shared = unsafe {
            let first = self.entries.range(0, size_of::<BufRingEntry>()).cast::<BufRingEntry>();
            AtomicU16::from_ptr(BufRingEntry::tail(first.as_ptr()).cast_mut())
        };
        shared.store(tail, Ordering::Release);
    }

    fn start_of(&self, id: u16) -> usize {
        usize::from(id) * self.buffer_bytes as usize
    }
}

/// Bytes that arrived, in a provided buffer; the buffer goes back to the kernel when this is dropped, so do not
/// keep it. Empty: the peer has finished sending.
pub struct Received {
    buffer: Option<(Rc<ProvidedBuffers>, u16)>,
    len: usize,
}

impl Received {
    pub(super) fn end() -> Self {
        Self { buffer: None, len: 0 }
    }
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Some((buffers, id)) = &self.buffer else { return &[] };
        let start = buffers.data.range(buffers.start_of(*id), self.len);
        // SAFETY: `len` bytes inside the mapping, which `buffers` keeps alive; mapped memory is initialised. The
        // kernel writes the buffer only after it was given back, which needs this value to be dropped.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len) }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some((buffers, id)) = self.buffer.take() {
            buffers.held.set(buffers.held.get() - 1);
            buffers.give(id);
        }
    }
}

impl std::fmt::Debug for Received {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Received").field("len", &self.len).finish_non_exhaustive()
    }
}
