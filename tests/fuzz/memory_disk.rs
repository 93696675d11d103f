//! A disk of a few small files in memory, for what reads files; nothing on it fails but what would make it large.

#![allow(dead_code, reason = "some targets need files alone")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use ringlog::runtime::disk::{BlockingDisk, DirectoryEntry, EntryKind};
use ringlog::runtime::file::{Access, BlockingFile, Caching};
use ringlog::runtime::{DiskAction, Error, Result};

/// Larger files are refused. Unit: bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Clone, Debug, Default)]
pub struct MemoryFile {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl MemoryFile {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(Mutex::new(bytes)) }
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().expect("one thread")
    }
}

fn failed(action: DiskAction, path: &Path, kind: io::ErrorKind) -> Error {
    Error::Disk { action, path: path.to_owned(), source: io::Error::from(kind) }
}

fn place(action: DiskAction, end: Option<u64>) -> Result<usize> {
    end.filter(|&end| end <= FILE_BYTES_MAX)
        .map(|end| end as usize)
        .ok_or_else(|| failed(action, Path::new(""), io::ErrorKind::FileTooLarge))
}

impl BlockingFile for MemoryFile {
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> Result<usize> {
        let content = self.bytes();
        let rest = usize::try_from(position).ok().and_then(|from| content.get(from..)).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> Result<()> {
        let end = place(DiskAction::Write, position.checked_add(bytes.len() as u64))?;
        let mut content = self.bytes();
        let length = content.len().max(end);
        content.resize(length, 0);
        content[end - bytes.len()..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn set_length(&self, bytes: u64) -> Result<()> {
        let length = place(DiskAction::Resize, Some(bytes))?;
        self.bytes().resize(length, 0);
        Ok(())
    }

    fn allocate(&self, position: u64, bytes: u64) -> Result<()> {
        let end = place(DiskAction::Allocate, position.checked_add(bytes))?;
        let mut content = self.bytes();
        let length = content.len().max(end);
        content.resize(length, 0);
        Ok(())
    }

    fn length(&self) -> Result<u64> {
        Ok(self.bytes().len() as u64)
    }
}

#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    names: Arc<Mutex<Names>>,
}

#[derive(Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, MemoryFile>,
    folders: BTreeSet<PathBuf>,
}

impl MemoryDisk {
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        let path = PathBuf::from(path);
        let mut names = self.names();
        names.folders.extend(path.parent().map(Path::to_owned));
        names.files.insert(path, MemoryFile::new(bytes));
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().expect("one thread")
    }
}

impl BlockingDisk for MemoryDisk {
    type File = MemoryFile;

    fn list(&self, directory: &Path) -> Result<Vec<DirectoryEntry>> {
        let names = self.names();
        if directory != Path::new("") && !names.folders.contains(directory) {
            return Err(failed(DiskAction::List, directory, io::ErrorKind::NotFound));
        }
        let inside = |path: &&PathBuf| path.parent() == Some(directory);
        let entry = |path: &PathBuf, kind| DirectoryEntry {
            name: path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned()),
            kind,
        };
        let files = names.files.keys().filter(inside).map(|path| entry(path, EntryKind::File));
        let folders = names.folders.iter().filter(inside).map(|path| entry(path, EntryKind::Directory));
        let mut found: Vec<_> = files.chain(folders).filter(|entry| !entry.name.is_empty()).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn open(&self, path: &Path, access: Access, _: Caching) -> Result<MemoryFile> {
        let mut names = self.names();
        match (names.files.get(path).cloned(), access) {
            (Some(_), Access::CreateNew) => Err(failed(DiskAction::Open, path, io::ErrorKind::AlreadyExists)),
            (Some(file), _) => Ok(file),
            (None, Access::Read | Access::Write) => {
                Err(failed(DiskAction::Open, path, io::ErrorKind::NotFound))
            }
            (None, Access::Create | Access::CreateNew) => {
                Ok(names.files.entry(path.to_owned()).or_default().clone())
            }
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut names = self.names();
        if let Some(file) = names.files.remove(from) {
            names.files.insert(to.to_owned(), file);
        } else if names.folders.remove(from) {
            names.folders.insert(to.to_owned());
            let inside: Vec<_> = names.files.keys().filter(|path| path.starts_with(from)).cloned().collect();
            for path in inside {
                let below = path.strip_prefix(from).expect("it is inside").to_owned();
                let file = names.files.remove(&path).expect("it was listed");
                names.files.insert(to.join(below), file);
            }
        } else {
            return Err(failed(DiskAction::Rename, from, io::ErrorKind::NotFound));
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let removed = self.names().files.remove(path);
        removed.map(drop).ok_or_else(|| failed(DiskAction::Remove, path, io::ErrorKind::NotFound))
    }

    fn create_directories(&self, path: &Path) -> Result<()> {
        self.names().folders.insert(path.to_owned());
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> Result<()> {
        let mut names = self.names();
        names.folders.remove(path);
        names.files.retain(|file, _| !file.starts_with(path));
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> Result<()> {
        if path != Path::new("") && !self.names().folders.contains(path) {
            return Err(failed(DiskAction::Sync, path, io::ErrorKind::NotFound));
        }
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64> {
        Ok(FILE_BYTES_MAX)
    }
}
