//! Heap buffers aligned for direct I/O, and the pool that keeps them.
//!
//! A buffer owns its bytes, all of which are initialised; it moves between threads freely. A pool lives on one
//! shard and counts every buffer that it made until that buffer is freed, wherever that happens.

#![expect(unsafe_code, reason = "aligned allocation")]

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::model::limits::BLOCK_BYTES;

/// A buffer that begins on a 4,096-byte boundary; its capacity is a multiple of that.
/// Invariant: `len <= capacity`, and all `capacity` bytes are initialised.
#[derive(Debug)]
pub struct AlignedBuffer {
    start: NonNull<u8>,
    capacity: usize,
    len: usize,
    /// Where its capacity is counted; decremented when the buffer is freed.
    account: Option<Account>,
}

// SAFETY: the buffer owns its bytes, as a `Vec<u8>` does.
unsafe impl Send for AlignedBuffer {}
// SAFETY: `&AlignedBuffer` gives only shared access to the bytes.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// An empty buffer with room for `bytes`, rounded up to whole blocks; its bytes are zero.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let capacity = bytes.max(1).next_multiple_of(BLOCK_BYTES);
        let layout = Self::layout(capacity);
        // SAFETY: the layout has a size above zero.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { std::alloc::handle_alloc_error(layout) };
        Self { start, capacity, len: 0, account: None }
    }

    /// A buffer of `bytes` zeros.
    #[must_use]
    pub fn zeroed(bytes: usize) -> Self {
        let mut buffer = Self::with_capacity(bytes);
        buffer.set_len(bytes);
        buffer
    }

    /// Bytes in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// No byte is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Declares the first `len` bytes in use, whatever they hold (zeroes, or what was there before).
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity, "{len} bytes do not fit into {}", self.capacity);
        self.len = len;
    }

    /// The bytes in use.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `len <= capacity` bytes from `start` are owned and initialised.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The bytes in use.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Appends `bytes`; that they fit is asserted.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let from = self.len;
        assert!(bytes.len() <= self.capacity - from, "{} more bytes do not fit", bytes.len());
        self.len = from + bytes.len();
        let (_, target) = self.as_mut_slice().split_at_mut(from);
        target.copy_from_slice(bytes);
    }

    /// Appends zeroes up to the next multiple of `unit`; that they fit is asserted.
    pub fn pad_to_multiple_of(&mut self, unit: usize) {
        let from = self.len;
        self.set_len(from.next_multiple_of(unit));
        let (_, target) = self.as_mut_slice().split_at_mut(from);
        target.fill(0);
    }

    /// Pointer to `position`, from which `len` bytes lie inside the capacity (asserted).
    pub(in crate::runtime) fn range(&self, position: usize, len: usize) -> NonNull<u8> {
        assert!(len <= self.capacity, "{len} bytes exceed the buffer's {}", self.capacity);
        assert!(position <= self.capacity - len, "range {position}+{len} leaves the buffer");
        // SAFETY: position <= capacity.
        unsafe { self.start.add(position) }
    }

    fn layout(capacity: usize) -> Layout {
        match Layout::from_size_align(capacity, BLOCK_BYTES) {
            Ok(layout) => layout,
            Err(_) => panic!("a buffer of {capacity} bytes exceeds the address space"),
        }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated by `with_capacity` with this very layout, freed once.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), Self::layout(self.capacity)) }
        if let Some(account) = &self.account {
            account.give(self.capacity);
        }
    }
}

/// Sizes that the pool keeps: 4 KiB, 8 KiB … 1 MiB. Larger buffers are made and freed each time.
const CLASS_COUNT: usize = 9;

/// What the buffers in use of several pools take together. Clones are the same account.
#[derive(Clone, Debug, Default)]
pub struct Account(Arc<AtomicUsize>);

impl Account {
    /// Unit: bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds so many, unless the sum would exceed the maximum.
    fn reserve(&self, bytes: usize, bytes_max: usize) -> bool {
        let added = |taken: usize| taken.checked_add(bytes).filter(|&sum| sum <= bytes_max);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Aligned buffers for re-use. Lives: one shard. Bounds: those in use are counted in an account that pools of several shards share,
/// and what lies idle here has a maximum of its own.
#[derive(Debug)]
pub struct BufferPool {
    account: Account,
    idle: [Vec<AlignedBuffer>; CLASS_COUNT],
    idle_bytes: usize,
    idle_bytes_max: usize,
}

impl BufferPool {
    /// An empty pool.
    #[must_use]
    pub fn new(account: Account, idle_bytes_max: usize) -> Self {
        Self { account, idle: Default::default(), idle_bytes: 0, idle_bytes_max }
    }

    /// A buffer of length 0 with room for at least `bytes`; its old contents are not erased. None: the account's buffers would take
    /// more than `bytes_max`; come again when some have been given back.
    pub fn take(&mut self, bytes: usize, bytes_max: usize) -> Option<AlignedBuffer> {
        let class = class_of(bytes);
        let capacity = match class {
            Some(class) => BLOCK_BYTES << class,
            None => bytes.checked_next_multiple_of(BLOCK_BYTES)?,
        };
        if !self.account.reserve(capacity, bytes_max) {
            return None;
        }
        let idle = class.and_then(|class| self.idle.get_mut(class)).and_then(Vec::pop);
        let mut buffer = match idle {
            Some(buffer) => {
                self.idle_bytes -= capacity;
                buffer
            }
            None => AlignedBuffer::with_capacity(capacity),
        };
        buffer.len = 0;
        buffer.account = Some(self.account.clone());
        Some(buffer)
    }

    /// Takes a buffer back for re-use; one of another account, of no class, or more than may lie idle is freed.
    pub fn give(&mut self, mut buffer: AlignedBuffer) {
        let is_ours = self.made(&buffer);
        if let Some(list) = class_of(buffer.capacity).and_then(|class| self.idle.get_mut(class))
            && is_ours
            && self.idle_bytes + buffer.capacity <= self.idle_bytes_max
        {
            if let Some(account) = buffer.account.take() {
                account.give(buffer.capacity);
            }
            self.idle_bytes += buffer.capacity;
            list.push(buffer);
        }
    }

    /// Whether the buffer is of this pool, or of another of its account.
    #[must_use]
    pub fn made(&self, buffer: &AlignedBuffer) -> bool {
        buffer.account.as_ref().is_some_and(|account| Arc::ptr_eq(&account.0, &self.account.0))
    }

    /// What is in use of all pools of the account. Unit: bytes.
    #[must_use]
    pub fn account_bytes(&self) -> usize {
        self.account.bytes()
    }
}

/// The class whose buffers hold `bytes`; None above the largest.
fn class_of(bytes: usize) -> Option<usize> {
    (0..CLASS_COUNT).find(|class| bytes <= BLOCK_BYTES << class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_grow_by_blocks() {
        for bytes in [0, 1, 4096, 4097, 1 << 20] {
            let mut buffer = AlignedBuffer::with_capacity(bytes);
            assert_eq!(buffer.start.as_ptr().addr() % BLOCK_BYTES, 0);
            assert!(buffer.capacity() >= bytes.max(1) && buffer.capacity().is_multiple_of(BLOCK_BYTES));
            buffer.set_len(buffer.capacity());
            assert!(buffer.as_slice().iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn extending_and_padding_keep_what_was_there() {
        let mut buffer = AlignedBuffer::with_capacity(8192);
        buffer.set_len(8192);
        buffer.as_mut_slice().fill(7);
        buffer.set_len(0);
        buffer.extend_from_slice(b"abc");
        buffer.extend_from_slice(b"def");
        buffer.pad_to_multiple_of(4096);
        assert_eq!(buffer.len(), 4096);
        assert_eq!(&buffer.as_slice()[..6], b"abcdef");
        assert!(buffer.as_slice()[6..].iter().all(|byte| *byte == 0));
    }

    #[test]
    #[should_panic(expected = "do not fit")]
    fn a_buffer_is_never_overfilled() {
        AlignedBuffer::with_capacity(4096).extend_from_slice(&[0; 4097]);
    }

    #[test]
    #[should_panic(expected = "leaves the buffer")]
    fn a_range_stays_inside_the_buffer() {
        let _ = AlignedBuffer::with_capacity(4096).range(4000, 97);
    }

    #[test]
    fn a_pool_reuses_counts_and_refuses() {
        let account = Account::default();
        let (mut pool, mut other) =
            (BufferPool::new(account.clone(), 8192), BufferPool::new(account.clone(), 8192));
        let first = pool.take(5000, 64 * 1024).unwrap();
        assert_eq!((first.capacity(), account.bytes()), (8192, 8192));
        let address = first.start;
        pool.give(first);
        assert_eq!(account.bytes(), 0, "what lies idle is not in use");
        let again = pool.take(8192, 64 * 1024).unwrap();
        assert_eq!((again.start, again.len(), account.bytes()), (address, 0, 8192));
        assert!(other.take(60 * 1024, 64 * 1024).is_none(), "the bound counts what others have");
        pool.give(again);
        let large = other.take(60 * 1024, 64 * 1024).unwrap();
        assert_eq!(account.bytes(), 64 * 1024);
        std::thread::spawn(move || drop(large)).join().unwrap();
        assert_eq!(account.bytes(), 0, "a buffer freed elsewhere is counted out");
    }

    #[test]
    fn a_pool_keeps_no_foreign_or_oversized_buffer_and_no_more_than_it_may() {
        let mut pool = BufferPool::new(Account::default(), 8192);
        pool.give(AlignedBuffer::with_capacity(4096));
        let oversized = pool.take((1 << 20) + 1, 16 << 20).unwrap();
        assert_eq!(oversized.capacity(), (1 << 20) + 4096);
        pool.give(oversized);
        assert_eq!((pool.account_bytes(), pool.idle_bytes), (0, 0));
        let three: Vec<_> = (0..3).map(|_| pool.take(4096, 1 << 20).unwrap()).collect();
        three.into_iter().for_each(|buffer| pool.give(buffer));
        assert_eq!((pool.account_bytes(), pool.idle_bytes), (0, 8192));
    }
}
