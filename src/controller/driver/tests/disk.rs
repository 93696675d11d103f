//! A disk in memory that fails or ends when told to, and forgets what was not flushed.

use crate::runtime::disk::{BlockingDisk, DirectoryEntry, EntryKind};
use crate::runtime::file::{Access, BlockingFile, Caching};
use crate::runtime::{DiskAction, Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Cheap to clone; every clone is the same disk.
#[derive(Clone, Default)]
pub struct DiskFake(Arc<Mutex<Contents>>);

pub struct FileFake {
    disk: DiskFake,
    path: PathBuf,
    id: usize,
}

/// What happens at one of the operations that change something, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It fails, having done nothing or half of its work.
    Fail { at: u64 },
    /// It and everything after it fail: the process is gone.
    End { at: u64 },
    /// Every write from it on fails for want of room, until the plan is replaced.
    Full { from: u64 },
}

/// What is there after the end of the machine, of that which was not flushed.
#[derive(Clone, Copy, Debug)]
pub enum Kept {
    /// All of it: only the process ended.
    All,
    Nothing,
    /// Each sector, each length and each name, or not.
    Some {
        seed: u64,
    },
}

#[derive(Clone, Default)]
struct Contents {
    names: Volatile<BTreeMap<PathBuf, usize>>,
    directories: Volatile<BTreeSet<PathBuf>>,
    files: Vec<Volatile<Vec<u8>>>,
    plan: Option<Plan>,
    operation_count: u64,
}

#[derive(Clone, Default)]
struct Volatile<T> {
    now: T,
    durable: T,
}

impl DiskFake {
    pub fn set_plan(&self, plan: Option<Plan>) {
        self.contents().plan = plan;
    }

    pub fn operation_count(&self) -> u64 {
        self.contents().operation_count
    }

    /// Another disk with what this one holds after such an end.
    pub fn after_the_end(&self, kept: Kept) -> Self {
        let mut contents = self.contents().clone();
        let mut random = random_bits(kept);
        for file in &mut contents.files {
            file.durable = mixed(&file.durable, &file.now, &mut random);
            file.now = file.durable.clone();
        }
        let Volatile { now, durable } = &mut contents.names;
        let paths: BTreeSet<PathBuf> = now.keys().chain(durable.keys()).cloned().collect();
        for path in paths {
            if random() {
                match now.get(&path) {
                    Some(&id) => durable.insert(path, id),
                    None => durable.remove(&path),
                };
            }
        }
        *now = durable.clone();
        let Volatile { now, durable } = &mut contents.directories;
        durable.extend(now.iter().filter(|_| random()).cloned());
        *now = durable.clone();
        contents.plan = None;
        contents.operation_count = 0;
        Self(Arc::new(Mutex::new(contents)))
    }

    /// Changes a file behind the broker's back.
    pub fn edit(&self, path: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut contents = self.contents();
        let id = contents.names.now[Path::new(path)];
        let file = &mut contents.files[id];
        edit(&mut file.now);
        file.durable = file.now.clone();
    }

    pub fn names(&self) -> Vec<String> {
        self.contents().names.now.keys().map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }

    /// Counts an operation; `Err` if it is to fail.
    fn step(&self, action: DiskAction, path: &Path) -> Result<MutexGuard<'_, Contents>> {
        let mut contents = self.contents();
        let count = contents.operation_count;
        contents.operation_count += 1;
        let writes = matches!(action, DiskAction::Write | DiskAction::Open | DiskAction::CreateDirectory);
        let kind = match contents.plan {
            Some(Plan::Fail { at }) if count == at => io::ErrorKind::Other,
            Some(Plan::End { at }) if count >= at => io::ErrorKind::Other,
            Some(Plan::Full { from }) if count >= from && writes => io::ErrorKind::StorageFull,
            _ => return Ok(contents),
        };
        Err(Error::disk(action, path, io::Error::from(kind)))
    }
}

/// Where and whether each sector of 512 bytes, and the length, is the new one.
fn mixed(durable: &[u8], now: &[u8], random: &mut impl FnMut() -> bool) -> Vec<u8> {
    if durable == now {
        return now.to_vec();
    }
    let length = if random() { now.len() } else { durable.len() };
    let mut mixed = durable.to_vec();
    mixed.resize(length, 0);
    for start in (0..length).step_by(512) {
        let end = (start + 512).min(length);
        if let Some(new) = now.get(start..end).filter(|_| random()) {
            mixed[start..end].copy_from_slice(new);
        }
    }
    mixed
}

fn random_bits(kept: Kept) -> impl FnMut() -> bool {
    let mut state = match kept {
        Kept::Some { seed } => seed,
        _ => 0,
    };
    move || match kept {
        Kept::All => true,
        Kept::Nothing => false,
        Kept::Some { .. } => {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 63 == 1
        }
    }
}

fn not_found(action: DiskAction, path: &Path) -> Error {
    Error::disk(action, path, io::Error::from(io::ErrorKind::NotFound))
}

impl BlockingDisk for DiskFake {
    type File = FileFake;

    fn list(&self, directory: &Path) -> Result<Vec<DirectoryEntry>> {
        let contents = self.contents();
        if !directory.as_os_str().is_empty() && !contents.directories.now.contains(directory) {
            return Err(not_found(DiskAction::List, directory));
        }
        let below = contents.names.now.keys().filter(|path| path.parent() == Some(directory));
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok(below.map(|path| DirectoryEntry { name: name(path), kind: EntryKind::File }).collect())
    }

    fn open(&self, path: &Path, access: Access, _: Caching) -> Result<FileFake> {
        let known = self.contents().names.now.get(path).copied();
        let id = match (known, access) {
            (Some(id), Access::Read | Access::Write | Access::Create) => id,
            (None, Access::Create | Access::CreateNew) => {
                let mut contents = self.step(DiskAction::Open, path)?;
                contents.files.push(Volatile::default());
                let id = contents.files.len() - 1;
                contents.names.now.insert(path.to_owned(), id);
                id
            }
            _ => return Err(not_found(DiskAction::Open, path)),
        };
        Ok(FileFake { disk: self.clone(), path: path.to_owned(), id })
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut contents = self.step(DiskAction::Rename, from)?;
        let id = contents.names.now.remove(from).ok_or_else(|| not_found(DiskAction::Rename, from))?;
        contents.names.now.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut contents = self.step(DiskAction::Remove, path)?;
        contents.names.now.remove(path).map(drop).ok_or_else(|| not_found(DiskAction::Remove, path))
    }

    fn create_directories(&self, path: &Path) -> Result<()> {
        let mut contents = self.step(DiskAction::CreateDirectory, path)?;
        contents.directories.now.insert(path.to_owned());
        Ok(())
    }

    fn remove_directory(&self, _: &Path) -> Result<()> {
        unreachable!("the controller removes no directory")
    }

    fn sync_directory(&self, path: &Path) -> Result<()> {
        let mut contents = self.step(DiskAction::Sync, path)?;
        let Contents { names, directories, .. } = &mut *contents;
        names.durable.retain(|name, _| name.parent() != Some(path));
        let below = names.now.iter().filter(|(name, _)| name.parent() == Some(path));
        names.durable.extend(below.map(|(name, id)| (name.clone(), *id)));
        let below = directories.now.iter().filter(|name| name.parent() == Some(path));
        directories.durable.extend(below.cloned());
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64> {
        Ok(u64::MAX)
    }
}

impl BlockingFile for FileFake {
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> Result<usize> {
        let contents = self.disk.contents();
        let start = usize::try_from(position).unwrap();
        let rest = contents.files[self.id].now.get(start..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> Result<()> {
        let start = usize::try_from(position).unwrap();
        let (count, result) = match self.disk.step(DiskAction::Write, &self.path) {
            Ok(_) => (bytes.len(), Ok(())),
            // What fails may have done a part.
            Err(error) => (bytes.len() / 2, Err(error)),
        };
        let mut contents = self.disk.contents();
        let file = &mut contents.files[self.id].now;
        file.resize(file.len().max(start + count), 0);
        file[start..start + count].copy_from_slice(&bytes[..count]);
        result
    }

    fn sync(&self) -> Result<()> {
        let mut contents = self.disk.step(DiskAction::Sync, &self.path)?;
        let file = &mut contents.files[self.id];
        file.durable = file.now.clone();
        Ok(())
    }

    fn set_length(&self, bytes: u64) -> Result<()> {
        let mut contents = self.disk.step(DiskAction::Resize, &self.path)?;
        contents.files[self.id].now.resize(usize::try_from(bytes).unwrap(), 0);
        Ok(())
    }

    fn allocate(&self, _: u64, _: u64) -> Result<()> {
        unreachable!("the controller's files grow as they are written")
    }

    fn length(&self) -> Result<u64> {
        Ok(self.disk.contents().files[self.id].now.len() as u64)
    }
}
