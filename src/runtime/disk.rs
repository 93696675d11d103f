//! The data directory with blocking calls, for recovery and worker threads; the shard's own reads and writes go
//! through its ring. [`BlockingDisk`] is what the storage room codes against; a simulated disk implements it too.
//!
//! Paths are relative to the root and may not leave it (no absolute path, no `..`); the empty path is the root.
//! A name made, renamed or removed is durable after [`sync_directory`](BlockingDisk::sync_directory) of its parent.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::model::limits::BLOCK_BYTES;
use crate::runtime::file::{Access, BlockingFile, Caching, FileHandle};
use crate::runtime::memory::AlignedBuffer;
use crate::runtime::{DiskAction, Error, Result};

/// A directory tree of files, seen from its root. Cheap to clone; every clone is the same disk.
pub trait BlockingDisk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: BlockingFile;

    /// What a directory holds, sorted by name.
    fn list(&self, directory: &Path) -> Result<Vec<DirectoryEntry>>;
    /// Opens a file; see [`Access`] and [`Caching`].
    fn open(&self, path: &Path, access: Access, caching: Caching) -> Result<Self::File>;
    /// Gives a file or directory another name, replacing a file of that name, in one step.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<()>;
    /// Makes a directory and its missing parents.
    fn create_directories(&self, path: &Path) -> Result<()>;
    /// Removes a directory and all below it. The root is refused.
    fn remove_directory(&self, path: &Path) -> Result<()>;
    /// Puts the names in a directory on stable media.
    fn sync_directory(&self, path: &Path) -> Result<()>;
    /// Bytes that an unprivileged user may still write.
    fn free_bytes(&self) -> Result<u64>;

    /// The whole file, which must not be longer than `bytes_max`.
    fn read_file(&self, path: &Path, bytes_max: usize) -> Result<Vec<u8>> {
        let file = self.open(path, Access::Read, Caching::Buffered)?;
        let length = file.length()?;
        let Some(bytes) = usize::try_from(length).ok().filter(|bytes| *bytes <= bytes_max) else {
            return Err(Error::disk(DiskAction::Read, path, io::Error::from(io::ErrorKind::FileTooLarge)));
        };
        let mut contents = vec![0; bytes];
        let read = file.read_at(0, &mut contents)?;
        contents.truncate(read);
        Ok(contents)
    }

    /// Replaces `path` by a file with `contents`, durably and in one step: written beside it, flushed, renamed.
    fn replace_file(&self, path: &Path, contents: &[u8]) -> Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let file = self.open(&beside, Access::Create, Caching::Buffered)?;
        let written = file.set_length(0).and_then(|()| file.write_at(0, contents)).and_then(|()| file.sync());
        if let Err(error) = written {
            // It holds room that a full disk has for something else. If it cannot be removed, the next one is written over it.
            let _ = self.remove(&beside);
            return Err(error);
        }
        self.rename(&beside, path)?;
        self.sync_directory(path.parent().unwrap_or(Path::new("")))
    }
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name; what is not Unicode in it is replaced by U+FFFD, which no file of ours contains.
    pub name: String,
    pub kind: EntryKind,
}

/// What a name stands for; a symbolic link stands for what it points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    /// Neither, or a link to nothing.
    Other,
}

/// The real disk below a data directory.
#[derive(Debug, Clone)]
pub struct RealDisk {
    root: Arc<Path>,
    direct: bool,
}

impl RealDisk {
    /// Makes the directory if it is missing, and tries whether direct I/O of 4,096-byte blocks works there.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(|source| Error::disk(DiskAction::CreateDirectory, root, source))?;
        let root = root.canonicalize().map_err(|source| Error::disk(DiskAction::Open, root, source))?;
        let direct = try_direct(&root)?;
        Ok(Self { root: root.into(), direct })
    }

    /// The data directory, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Files asked for as direct are opened so; else they are buffered, and start-up should warn.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        if path.components().all(|component| matches!(component, Component::Normal(_))) {
            Ok(self.root.join(path))
        } else {
            Err(Error::PathEscapes { path: path.to_owned() })
        }
    }

    fn resolve_below_root(&self, path: &Path) -> Result<PathBuf> {
        if path.as_os_str().is_empty() {
            return Err(Error::PathEscapes { path: path.to_owned() });
        }
        self.resolve(path)
    }
}

impl BlockingDisk for RealDisk {
    type File = FileHandle;

    fn list(&self, directory: &Path) -> Result<Vec<DirectoryEntry>> {
        let path = self.resolve(directory)?;
        let failed = |source| Error::disk(DiskAction::List, &path, source);
        let mut entries = Vec::new();
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(DirectoryEntry { name, kind: kind_of(&entry).map_err(failed)? });
        }
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }

    fn open(&self, path: &Path, access: Access, caching: Caching) -> Result<FileHandle> {
        let caching = if caching == Caching::Direct && !self.direct { Caching::Buffered } else { caching };
        FileHandle::open(&self.resolve_below_root(path)?, access, caching)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (self.resolve_below_root(from)?, self.resolve_below_root(to)?);
        fs::rename(&from, to).map_err(|source| Error::disk(DiskAction::Rename, &from, source))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let path = self.resolve_below_root(path)?;
        fs::remove_file(&path).map_err(|source| Error::disk(DiskAction::Remove, &path, source))
    }

    fn create_directories(&self, path: &Path) -> Result<()> {
        let path = self.resolve(path)?;
        fs::create_dir_all(&path).map_err(|source| Error::disk(DiskAction::CreateDirectory, &path, source))
    }

    fn remove_directory(&self, path: &Path) -> Result<()> {
        let path = self.resolve_below_root(path)?;
        fs::remove_dir_all(&path).map_err(|source| Error::disk(DiskAction::Remove, &path, source))
    }

    fn sync_directory(&self, path: &Path) -> Result<()> {
        let path = self.resolve(path)?;
        let synced = fs::File::open(&path).and_then(|directory| directory.sync_all());
        synced.map_err(|source| Error::disk(DiskAction::Sync, &path, source))
    }

    fn free_bytes(&self) -> Result<u64> {
        super::file::free_bytes(&self.root)
    }
}

fn kind_of(entry: &fs::DirEntry) -> io::Result<EntryKind> {
    let mut kind = entry.file_type()?;
    if kind.is_symlink() {
        match fs::metadata(entry.path()) {
            Ok(metadata) => kind = metadata.file_type(),
            Err(_) => return Ok(EntryKind::Other),
        }
    }
    Ok(if kind.is_file() {
        EntryKind::File
    } else if kind.is_dir() {
        EntryKind::Directory
    } else {
        EntryKind::Other
    })
}

/// Writes and reads one block directly: some file systems accept the flag and refuse the operation, and some
/// devices need larger blocks. The trial is the answer.
fn try_direct(directory: &Path) -> Result<bool> {
    let path = directory.join(".direct-trial");
    let file = FileHandle::open(&path, Access::Create, Caching::Direct)?;
    let works = file.is_direct() && direct_block_round_trips(&file)?;
    drop(file);
    fs::remove_file(&path).map_err(|source| Error::disk(DiskAction::Remove, &path, source))?;
    Ok(works)
}

fn direct_block_round_trips(file: &FileHandle) -> Result<bool> {
    let mut buffer = AlignedBuffer::with_capacity(BLOCK_BYTES);
    buffer.set_len(BLOCK_BYTES);
    buffer.as_mut_slice().fill(0x5a);
    let outcome = file.write_at(0, buffer.as_slice()).and_then(|()| file.read_at(0, buffer.as_mut_slice()));
    match outcome {
        Ok(count) => Ok(count == BLOCK_BYTES && buffer.as_slice().iter().all(|byte| *byte == 0x5a)),
        Err(Error::Disk { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => Ok(false),
        // Nothing can be tried on a full disk. It took the flag, as few do that then refuse.
        Err(error) if error.is_storage_full() => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
