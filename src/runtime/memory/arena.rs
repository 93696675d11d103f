//! The arena: memory mapped from a file on tmpfs, which survives the death of the process.
//!
//! One per shard; its file is locked while it is open, so a second process (or a second `Arena`) is refused.
//! The arena refuses to know its layout: tables, chunks and lengths are the storage room's. What it promises:
//! a byte written is there after `kill -9`, and a [`publish`](ArenaMemory::publish) becomes visible after
//! every byte written before it.
//!
//! A page that was never touched may not exist when it is first written (tmpfs full), and the machine then
//! answers with SIGBUS, which ends the process. So [`touch`](ArenaMemory::touch) comes before the first
//! use of a range: it makes the pages present, and reports a lack of room as an error.

#![expect(unsafe_code, reason = "reads and writes mapped memory")]

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::limits::BLOCK_BYTES;
use crate::runtime::memory::mapping::{Mapping, page_bytes};
use crate::runtime::{DiskAction, Error, Result};

/// Memory that keeps what was stored in it until the machine goes down: the shard's arena, or a simulated one.
///
/// Positions and lengths are bytes; a range that leaves the memory is a logic bug and is asserted.
#[expect(clippy::len_without_is_empty, reason = "an arena is never empty")]
pub trait ArenaMemory {
    /// Length of the memory. Unit: bytes.
    fn len(&self) -> usize;
    /// The `len` bytes from `position`.
    fn read(&self, position: usize, len: usize) -> &[u8];
    /// Copies `bytes` to `position`. Not atomic: a death in between leaves a part of them.
    fn write(&mut self, position: usize, bytes: &[u8]);
    /// Stores `value` (native byte order) at `position`, a multiple of 8, in one piece, after every earlier write.
    fn publish(&mut self, position: usize, value: u64);
    /// The value last published at `position`, a multiple of 8; writes made before it are visible after it.
    fn load(&self, position: usize) -> u64;
    /// Fills the range with zeroes.
    fn zero(&mut self, position: usize, len: usize);
    /// Makes the range present, so that writing it cannot fail for want of memory. Contents are kept.
    fn touch(&mut self, position: usize, len: usize) -> Result<()>;
}

/// The shard's arena. Lives: the shard's thread (it may be opened elsewhere and moved there).
#[derive(Debug)]
pub struct Arena {
    path: PathBuf,
    mapping: Arc<Mapping>,
    /// Holds the lock; fields drop in this order, so the file is unlocked after the mapping is gone.
    file: File,
}

/// What [`Arena::open`] met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArenaFound {
    /// Length of the file before it was opened; 0: there was none, and the arena is all zeroes.
    pub previous_bytes: usize,
    /// The file lies on tmpfs. If not, the kernel writes it back to a disk, which costs bandwidth.
    pub in_memory: bool,
}

impl Arena {
    /// Opens or creates the arena's file, locks it and maps all of it.
    ///
    /// `bytes` must be a positive multiple of 4,096. A file that is found keeps its length, since what it holds must be
    /// recovered first, and lies where that length says; [`reset`](Self::reset) then gives it the wanted one. Refused: a
    /// file locked by another, one of another user, a file system with too little room.
    pub fn open(path: &Path, bytes: usize) -> Result<(Self, ArenaFound)> {
        check_size(bytes)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(|source| Error::disk(DiskAction::Open, path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::ArenaLocked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(Error::disk(DiskAction::Lock, path, source)),
        }
        let metadata = measure(&file, path)?;
        let expected = effective_user();
        if metadata.uid() != expected {
            return Err(Error::ArenaForeign { path: path.to_owned(), owner: metadata.uid(), expected });
        }
        let previous_bytes = usize::try_from(metadata.len())
            .map_err(|_| Error::BadSize { what: "an arena", bytes: metadata.len() })?;
        // A length that no arena has holds nothing.
        let mapped_bytes = if check_size(previous_bytes).is_ok() { previous_bytes } else { bytes };
        let system = file_system_of(&file, path)?;
        system.check_room(path, mapped_bytes, metadata.blocks())?;
        if mapped_bytes != previous_bytes {
            resize(&file, path, mapped_bytes)?;
        }
        let mapping = Arc::new(Mapping::of_file(&file, mapped_bytes)?);
        let found = ArenaFound { previous_bytes, in_memory: system.in_memory };
        Ok((Self { path: path.to_owned(), mapping, file }, found))
    }

    /// Opens what an earlier process left at `path`, as long as it is. None: there is nothing, or nothing in it.
    pub fn open_left(path: &Path) -> Result<Option<Self>> {
        match std::fs::metadata(path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::disk(DiskAction::Measure, path, source)),
            Ok(metadata) => {
                let bytes = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
                if check_size(bytes).is_err() { Ok(None) } else { Ok(Some(Self::open(path, bytes)?.0)) }
            }
        }
    }

    /// Removes the file of an arena that is not needed any more; its memory goes with the last mapping. None is no error.
    pub fn remove(path: &Path) -> Result<()> {
        match std::fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::disk(DiskAction::Remove, path, source))
            }
            _ => Ok(()),
        }
    }

    /// Forgets all contents and gives the arena a new length (see [`open`](Self::open) for its bounds).
    ///
    /// Asserts that no ring has the memory attached yet: it is mapped anew. After an error from the machine
    /// the arena must not be used any more.
    pub fn reset(&mut self, bytes: usize) -> Result<()> {
        check_size(bytes)?;
        assert_eq!(Arc::strong_count(&self.mapping), 1, "an attached arena cannot be reset");
        let metadata = measure(&self.file, &self.path)?;
        file_system_of(&self.file, &self.path)?.check_room(&self.path, bytes, metadata.blocks())?;
        resize(&self.file, &self.path, 0)?;
        resize(&self.file, &self.path, bytes)?;
        self.mapping = Arc::new(Mapping::of_file(&self.file, bytes)?);
        Ok(())
    }

    /// The memory itself, for a ring that sends and writes out of it.
    #[must_use]
    pub fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// The arena's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn cell(&self, position: usize) -> &AtomicU64 {
        assert_eq!(position % 8, 0, "a published value must be aligned");
        let cell = self.mapping.range(position, 8).cast::<u64>();
        // SAFETY: inside the mapping (checked by `range`), aligned (asserted; the mapping begins on a page),
        // alive as long as `self`; plain writes to it need `&mut self` and so cannot overlap this borrow.
        unsafe { AtomicU64::from_ptr(cell.as_ptr()) }
    }
}

impl ArenaMemory for Arena {
    fn len(&self) -> usize {
        self.mapping.len()
    }

    fn read(&self, position: usize, len: usize) -> &[u8] {
        let start = self.mapping.range(position, len);
        // SAFETY: inside the mapping; the only writers are methods on `&mut self`, excluded by this borrow
        // (the file is locked and owner-only; operations in flight only read the arena).
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    fn write(&mut self, position: usize, bytes: &[u8]) {
        let start = self.mapping.range(position, bytes.len());
        // SAFETY: the target is inside the mapping and exclusively borrowed, so `bytes` cannot overlap it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), bytes.len()) }
    }

    fn publish(&mut self, position: usize, value: u64) {
        self.cell(position).store(value, Ordering::Release);
    }

    fn load(&self, position: usize) -> u64 {
        self.cell(position).load(Ordering::Acquire)
    }

    fn zero(&mut self, position: usize, len: usize) {
        let start = self.mapping.range(position, len);
        // SAFETY: inside the mapping and exclusively borrowed.
        unsafe { std::ptr::write_bytes(start.as_ptr(), 0, len) }
    }

    fn touch(&mut self, position: usize, len: usize) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        let offset_in_page = position % page_bytes();
        let start = self.mapping.range(position - offset_in_page, len + offset_in_page);
        // SAFETY: the range lies inside our mapping; populating changes no contents.
        let outcome =
            unsafe { libc::madvise(start.as_ptr().cast(), len + offset_in_page, libc::MADV_POPULATE_WRITE) };
        if outcome == 0 {
            Ok(())
        } else {
            Err(Error::ArenaFull { position, len, source: io::Error::last_os_error() })
        }
    }
}

struct FileSystem {
    in_memory: bool,
    /// Unit: bytes. None: the file system states no limit (tmpfs without a size).
    free_bytes: Option<u64>,
}

impl FileSystem {
    /// Refuses when what is missing of `wanted_bytes` exceeds what is free. Blocks are of 512 bytes.
    fn check_room(&self, path: &Path, wanted_bytes: usize, present_blocks: u64) -> Result<()> {
        let needed_bytes = (wanted_bytes as u64).saturating_sub(present_blocks.saturating_mul(512));
        match self.free_bytes {
            Some(free_bytes) if free_bytes < needed_bytes => {
                Err(Error::ArenaNoRoom { path: path.to_owned(), needed_bytes, free_bytes })
            }
            _ => Ok(()),
        }
    }
}

fn file_system_of(file: &File, path: &Path) -> Result<FileSystem> {
    // SAFETY: a plain C struct of integers, for which all zeroes is a value.
    let mut report: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and `report` is writable memory of the type asked for.
    if unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut report) } != 0 {
        return Err(Error::disk(DiskAction::Measure, path, io::Error::last_os_error()));
    }
    let block_bytes = u64::try_from(report.f_bsize).unwrap_or(0);
    let free_bytes = (report.f_blocks != 0).then(|| report.f_bavail.saturating_mul(block_bytes));
    Ok(FileSystem { in_memory: report.f_type == libc::TMPFS_MAGIC, free_bytes })
}

fn check_size(bytes: usize) -> Result<()> {
    if bytes == 0 || !bytes.is_multiple_of(BLOCK_BYTES) {
        return Err(Error::BadSize { what: "an arena", bytes: bytes as u64 });
    }
    Ok(())
}

fn measure(file: &File, path: &Path) -> Result<Metadata> {
    file.metadata().map_err(|source| Error::disk(DiskAction::Measure, path, source))
}

fn resize(file: &File, path: &Path, bytes: usize) -> Result<()> {
    file.set_len(bytes as u64).map_err(|source| Error::disk(DiskAction::Resize, path, source))
}

fn effective_user() -> u32 {
    // SAFETY: has no arguments, cannot fail, touches no memory.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests;
