//! One mmap, unmapped when its last owner goes. Shared between an arena and the ring that sends out of it.
//!
//! It refuses to hand out references: only this room turns a position into a pointer, after a bounds check.

#![expect(unsafe_code, reason = "mmap and pointers into it")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use crate::runtime::{Error, Result};

/// A mapped region of memory; `munmap` on drop. Bounds: a whole number of pages, at least one.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the region is plain memory owned by this value; no thread-bound state. Whoever reads or writes
// through the pointers that `range` gives answers for the order of accesses (see there).
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` offers no access to the bytes but by raw pointer.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Private zeroed memory, taken from the machine page by page as it is first written.
    pub fn anonymous(bytes: usize) -> Result<Self> {
        Self::map(bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// The first `bytes` of `file`, shared with every other mapping of it. The file must be that long.
    pub(crate) fn of_file(file: &File, bytes: usize) -> Result<Self> {
        Self::map(bytes, libc::MAP_SHARED, file.as_raw_fd())
    }

    /// Length of the region. Unit: bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Pointer to `position`, of which `len` bytes lie inside the region (asserted).
    ///
    /// Whoever writes through it must be the region's one writer (`&mut Arena`, or the kernel by an operation
    /// that was given the range), and the pointer must not outlive the mapping.
    pub(in crate::runtime) fn range(&self, position: usize, len: usize) -> NonNull<u8> {
        assert!(len <= self.len, "range of {len} bytes is longer than the mapping of {}", self.len);
        assert!(position <= self.len - len, "range {position}+{len} leaves the mapping of {}", self.len);
        // SAFETY: position <= self.len, so the result stays inside the mapping or one past its end.
        unsafe { self.start.add(position) }
    }

    fn map(bytes: usize, flags: libc::c_int, descriptor: libc::c_int) -> Result<Self> {
        if bytes == 0 {
            return Err(Error::BadSize { what: "a mapping", bytes: 0 });
        }
        // SAFETY: no address is asked for, so no existing mapping can be replaced; the result is checked.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, descriptor, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(Error::Map { bytes, source: io::Error::last_os_error() });
        }
        match NonNull::new(start.cast::<u8>()) {
            Some(start) => Ok(Self { start, len: bytes }),
            None => Err(Error::Map { bytes, source: io::Error::from(io::ErrorKind::AddrNotAvailable) }),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the region that `map` obtained; nobody can hold a pointer that outlives `self`.
        let outcome = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(outcome, 0, "munmap of an own mapping cannot fail");
    }
}

/// The machine's page, which `madvise` and registered rings are aligned to. Unit: bytes.
pub(in crate::runtime) fn page_bytes() -> usize {
    // SAFETY: reads a constant of the system; touches no memory of ours.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(4096)
}
