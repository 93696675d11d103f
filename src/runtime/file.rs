//! One open file: the handle that a ring reads and writes, and that worker threads use with blocking calls.
//!
//! A handle is opened *direct* (`O_DIRECT`: positions, lengths and memory in whole 4,096-byte blocks, asserted)
//! or *buffered* (any bytes, through the page cache). Where the file system has no direct I/O a handle asked for
//! as direct is buffered instead, and says so. It refuses to know what the file holds.

#![expect(unsafe_code, reason = "fallocate, fadvise")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::model::limits::BLOCK_BYTES;
use crate::runtime::{DiskAction, Error, Result};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Must exist; writing is refused.
    Read,
    /// Must exist.
    Write,
    /// Is made, empty, when it does not exist.
    Create,
    /// Must not exist.
    CreateNew,
}

/// Whether the page cache stands between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// Any position, length and memory; the kernel caches. What it held of the file before is let go of at the open, unless
    /// it is still to be written: after a failed flush a cache shows what no device has, and the next flush succeeds.
    Buffered,
    /// The same, but what the cache holds stays: for a file that was opened as [`Buffered`](Self::Buffered) before, and of which
    /// no flush has failed since.
    Cached,
    /// Whole blocks from aligned memory, straight to the device.
    Direct,
}

/// Blocking access to one file; what recovery and worker threads use.
///
/// Errors are [`Error::Disk`]. A failed write or sync leaves unknown contents behind: it is never retried.
pub trait BlockingFile: Send {
    /// Fills `bytes` from `position`; fewer bytes mean the end of the file. Returns how many.
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> Result<usize>;
    /// Writes all of `bytes` at `position`. Not durable before [`sync`](Self::sync).
    fn write_at(&self, position: u64, bytes: &[u8]) -> Result<()>;
    /// Puts contents and length on stable media.
    fn sync(&self) -> Result<()>;
    /// Cuts the file, or extends it by a hole of zeroes.
    fn set_length(&self, bytes: u64) -> Result<()>;
    /// Reserves space for the range and extends the file over it; what was not written reads as zeroes.
    fn allocate(&self, position: u64, bytes: u64) -> Result<()>;
    /// Length of the file. Unit: bytes.
    fn length(&self) -> Result<u64>;
}

/// A file of the real disk. Closed when the last owner drops it; dropping one whose file was removed frees its
/// space and may take long, so hand it to a worker thread.
#[derive(Debug)]
pub struct FileHandle {
    file: File,
    path: PathBuf,
    direct: bool,
}

impl FileHandle {
    /// Opens `path` itself (a data directory's files are opened through [`RealDisk`](crate::runtime::disk::RealDisk)).
    pub fn open(path: &Path, access: Access, caching: Caching) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o644);
        match access {
            Access::Read => &mut options,
            Access::Write => options.write(true),
            Access::Create => options.write(true).create(true),
            Access::CreateNew => options.write(true).create_new(true),
        };
        let opened = match caching {
            Caching::Buffered | Caching::Cached => options.open(path).map(|file| (file, false)),
            Caching::Direct => match options.clone().custom_flags(libc::O_DIRECT).open(path) {
                Ok(file) => Ok((file, true)),
                // The kernel creates the file before it finds that direct I/O is missing.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => options
                    .create_new(false)
                    .create(access != Access::Read)
                    .open(path)
                    .map(|file| (file, false)),
                Err(error) => Err(error),
            },
        };
        let (file, direct) = opened.map_err(|source| Error::disk(DiskAction::Open, path, source))?;
        if caching == Caching::Buffered {
            advise(&file, libc::POSIX_FADV_DONTNEED);
        }
        if caching != Caching::Direct {
            // Who reads says how much. More would be zeros at times, of space that was allocated ahead: megabytes for each file.
            advise(&file, libc::POSIX_FADV_RANDOM);
        }
        Ok(Self { file, path: path.to_owned(), direct })
    }

    /// The path that it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads and writes bypass the page cache and must be whole aligned blocks.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    pub(in crate::runtime) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Asserts that a direct handle is used with whole blocks.
    pub(in crate::runtime) fn check_alignment(&self, position: u64, memory: usize, len: usize) {
        if self.direct {
            assert_eq!(position % BLOCK_BYTES as u64, 0, "position of a direct operation must be aligned");
            assert_eq!(memory % BLOCK_BYTES, 0, "memory of a direct operation must be aligned");
            assert_eq!(len % BLOCK_BYTES, 0, "length of a direct operation must be whole blocks");
        }
    }

    fn failed(&self, action: DiskAction) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::disk(action, &self.path, source)
    }
}

impl BlockingFile for FileHandle {
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> Result<usize> {
        self.check_alignment(position, bytes.as_ptr().addr(), bytes.len());
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, position + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(DiskAction::Read)(error)),
            }
            // A direct read stops in the middle of a block only at the end of the file.
            if self.direct && !done.is_multiple_of(BLOCK_BYTES) {
                break;
            }
        }
        Ok(done)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> Result<()> {
        self.check_alignment(position, bytes.as_ptr().addr(), bytes.len());
        self.file.write_all_at(bytes, position).map_err(self.failed(DiskAction::Write))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(self.failed(DiskAction::Sync))
    }

    fn set_length(&self, bytes: u64) -> Result<()> {
        self.file.set_len(bytes).map_err(self.failed(DiskAction::Resize))
    }

    fn allocate(&self, position: u64, bytes: u64) -> Result<()> {
        let failed = self.failed(DiskAction::Allocate);
        let (Ok(start), Ok(len)) = (i64::try_from(position), i64::try_from(bytes)) else {
            return Err(failed(io::Error::from(io::ErrorKind::FileTooLarge)));
        };
        loop {
            // SAFETY: the descriptor is open; no memory is passed.
            if unsafe { libc::fallocate(self.descriptor(), 0, start, len) } == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // No reservation on this file system: a hole of zeroes has the same length and contents.
                Some(libc::EOPNOTSUPP) => {
                    let end = position.saturating_add(bytes);
                    return if self.length()? < end { self.set_length(end) } else { Ok(()) };
                }
                _ => return Err(failed(error)),
            }
        }
    }

    fn length(&self) -> Result<u64> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(self.failed(DiskAction::Measure))
    }
}

/// Tells the kernel what to expect of a file. Advice that is not taken changes nothing.
fn advise(file: &File, advice: libc::c_int) {
    // SAFETY: the descriptor is open; no memory is passed.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) };
}

/// Bytes that an unprivileged user may still write to the file system of `path`.
pub(in crate::runtime) fn free_bytes(path: &Path) -> Result<u64> {
    let failed = |source| Error::disk(DiskAction::Measure, path, source);
    let directory = File::open(path).map_err(failed)?;
    // SAFETY: a plain C struct of integers, for which all zeroes is a value.
    let mut report: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and `report` is writable memory of the type asked for.
    if unsafe { libc::fstatvfs(directory.as_raw_fd(), &raw mut report) } != 0 {
        return Err(failed(io::Error::last_os_error()));
    }
    Ok(report.f_bavail.saturating_mul(report.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the first block is in the page cache; `None` where the kernel does not say.
    fn is_cached(file: &File) -> Option<bool> {
        let mut byte = 0_u8;
        let to = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: one piece of memory of one byte, writable, that outlives the call.
        let read = unsafe { libc::preadv2(file.as_raw_fd(), &raw const to, 1, 0, libc::RWF_NOWAIT) };
        match (read, io::Error::last_os_error().raw_os_error()) {
            (1, _) => Some(true),
            (_, Some(libc::EAGAIN)) => Some(false),
            _ => None,
        }
    }

    #[test]
    fn a_buffered_open_lets_go_of_what_the_cache_held() {
        let path = std::env::temp_dir().join(format!("ringlog-file-{}", std::process::id()));
        let file = FileHandle::open(&path, Access::Create, Caching::Buffered).unwrap();
        file.write_at(0, &[1; 4096]).unwrap();
        file.sync().unwrap();
        let before = is_cached(&file.file);
        // The kernel takes it as advice: what is being looked at stays until the next time.
        let is_let_go_of = (0..1_000).any(|_| {
            let again = FileHandle::open(&path, Access::Read, Caching::Buffered).unwrap();
            is_cached(&again.file) == Some(false)
        });
        std::fs::remove_file(&path).unwrap();
        // A file system in memory keeps what it has.
        if before == Some(true) && !is_memory(path.parent().unwrap()) {
            assert!(is_let_go_of);
        }
    }

    fn is_memory(path: &Path) -> bool {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mut found: Vec<(&str, &str)> = mounts
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ').skip(1);
                Some((words.next()?, words.next()?))
            })
            .filter(|(mount, _)| path.starts_with(mount))
            .collect();
        found.sort_by_key(|(mount, _)| mount.len());
        found.last().is_some_and(|(_, kind)| ["tmpfs", "ramfs", "overlay"].contains(kind))
    }
}
