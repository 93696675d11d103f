//! The simulated disk: [`BlockingDisk`] for recovery and tasks, and the pieces of which a driver makes writes in flight.
//!
//! Every call is a step at which the machine may die; from then on every call fails and changes nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::inode::Inode;
use super::names::{Change, FolderId, InodeId, Names, Node, Place, ROOT};
use super::random::SimRandom;
use super::steps::{SimSteps, Step};
use crate::model::number::wide;
use crate::runtime::disk::{BlockingDisk, DirectoryEntry, EntryKind};
use crate::runtime::file::{Access, BlockingFile, Caching};
use crate::runtime::{DiskAction, Error, Result};

/// How often blocking calls fail. Unit: of a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimFaults {
    pub read: u64,
    pub write: u64,
    pub sync: u64,
    /// Nothing that needs more space succeeds.
    pub full: bool,
}

/// A disk in memory. Cheap to clone; every clone is the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    shared: Arc<Mutex<State>>,
}

/// An open file; stays readable when its name is gone.
#[derive(Clone, Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: InodeId,
    path: PathBuf,
}

#[derive(Debug)]
struct State {
    names: Names,
    inodes: BTreeMap<InodeId, Inode>,
    next: u64,
    random: SimRandom,
    steps: SimSteps,
    faults: SimFaults,
}

/// What a step may do.
enum Go {
    On,
    /// The machine dies now: this may still happen, in part or whole.
    Perhaps,
}

impl SimDisk {
    /// An empty disk of the machine that takes `steps`.
    #[must_use]
    pub fn new(steps: SimSteps, random: SimRandom) -> Self {
        let state = State {
            names: Names::default(),
            inodes: BTreeMap::new(),
            next: 1,
            random,
            steps,
            faults: SimFaults::default(),
        };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// What fails.
    #[must_use]
    pub fn faults(&self) -> SimFaults {
        self.state().faults
    }

    /// What fails from now on.
    pub fn set_faults(&self, faults: SimFaults) {
        self.state().faults = faults;
    }

    /// The power goes and comes back: what was not durable is there or not, in any combination.
    pub fn lose_power(&self) {
        let state = &mut *self.state();
        state.names.lose_power(&mut state.random);
        for inode in state.inodes.values_mut() {
            inode.lose_power(&mut state.random);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn step(&mut self, action: DiskAction, path: &Path) -> Result<Go> {
        let fault = match action {
            DiskAction::Read => self.faults.read,
            DiskAction::Sync => self.faults.sync,
            DiskAction::Write => self.faults.write,
            _ => 0,
        };
        match self.steps.take() {
            Step::Alive if fault > 0 && self.random.chance(fault) => Err(broken(action, path)),
            Step::Alive => Ok(Go::On),
            Step::Dying => Ok(Go::Perhaps),
            Step::Dead => Err(broken(action, path)),
        }
    }

    /// Makes the change, or perhaps not if the machine dies; then an error.
    fn change(&mut self, action: DiskAction, path: &Path, change: impl FnOnce(&mut Self)) -> Result<()> {
        match self.step(action, path)? {
            Go::On => {
                change(self);
                Ok(())
            }
            Go::Perhaps => {
                if self.random.coin() {
                    change(self);
                }
                Err(broken(action, path))
            }
        }
    }

    fn place(&self, path: &Path) -> Result<Place> {
        let mut parts = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
                _ => return Err(Error::PathEscapes { path: path.to_owned() }),
            }
        }
        let name = parts.pop().ok_or_else(|| Error::PathEscapes { path: path.to_owned() })?;
        let mut folder = ROOT;
        for part in parts {
            match self.names.get(&(folder, part)) {
                Some(Node::Folder(found)) => folder = found,
                _ => return Err(missing(DiskAction::Open, path)),
            }
        }
        Ok((folder, name))
    }

    fn folder(&self, path: &Path) -> Result<FolderId> {
        if path.as_os_str().is_empty() {
            return Ok(ROOT);
        }
        match self.names.get(&self.place(path)?) {
            Some(Node::Folder(folder)) => Ok(folder),
            _ => Err(missing(DiskAction::Open, path)),
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn check_room(&self, action: DiskAction, path: &Path) -> Result<()> {
        if self.faults.full {
            return Err(Error::disk(action, path, io::Error::from(io::ErrorKind::StorageFull)));
        }
        Ok(())
    }

    fn inode(&mut self, file: &SimFile) -> &mut Inode {
        self.inodes.entry(file.inode).or_default()
    }
}

impl BlockingDisk for SimDisk {
    type File = SimFile;

    fn list(&self, directory: &Path) -> Result<Vec<DirectoryEntry>> {
        let mut state = self.state();
        state.step(DiskAction::List, directory)?;
        let folder = state.folder(directory)?;
        let entries = state.names.list(folder).into_iter().map(|(name, node)| DirectoryEntry {
            name,
            kind: match node {
                Node::File(_) => EntryKind::File,
                Node::Folder(_) => EntryKind::Directory,
            },
        });
        Ok(entries.collect())
    }

    fn open(&self, path: &Path, access: Access, caching: Caching) -> Result<SimFile> {
        let mut state = self.state();
        let place = state.place(path)?;
        let inode = match (state.names.get(&place), access) {
            (Some(Node::File(_)), Access::CreateNew) => {
                return Err(Error::disk(
                    DiskAction::Open,
                    path,
                    io::Error::from(io::ErrorKind::AlreadyExists),
                ));
            }
            (Some(Node::File(inode)), _) => {
                state.change(DiskAction::Open, path, |_| {})?;
                inode
            }
            (None, Access::Create | Access::CreateNew) => {
                state.check_room(DiskAction::Open, path)?;
                let inode = InodeId(state.number());
                state.change(DiskAction::Open, path, |state| {
                    state.inodes.insert(inode, Inode::default());
                    state.names.change(Change::Put(place, Node::File(inode)));
                })?;
                inode
            }
            _ => return Err(missing(DiskAction::Open, path)),
        };
        if caching == Caching::Buffered {
            let state = &mut *state;
            if let Some(found) = state.inodes.get_mut(&inode) {
                found.forget_cache(&mut state.random);
            }
        }
        Ok(SimFile { disk: self.clone(), inode, path: path.to_owned() })
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.state();
        let (old, new) = (state.place(from)?, state.place(to)?);
        if state.names.get(&old).is_none() {
            return Err(missing(DiskAction::Rename, from));
        }
        if let Some(Node::Folder(folder)) = state.names.get(&new)
            && !state.names.list(folder).is_empty()
        {
            let source = io::Error::from(io::ErrorKind::DirectoryNotEmpty);
            return Err(Error::disk(DiskAction::Rename, to, source));
        }
        state.change(DiskAction::Rename, from, |state| state.names.change(Change::Rename(old, new)))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        let place = state.place(path)?;
        if !matches!(state.names.get(&place), Some(Node::File(_))) {
            return Err(missing(DiskAction::Remove, path));
        }
        state.change(DiskAction::Remove, path, |state| state.names.change(Change::Remove(place)))
    }

    fn create_directories(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        if state.folder(path).is_ok() {
            return Ok(());
        }
        state.check_room(DiskAction::CreateDirectory, path)?;
        let place = state.place(path)?;
        let folder = FolderId(state.number());
        state.change(DiskAction::CreateDirectory, path, |state| {
            state.names.change(Change::Put(place, Node::Folder(folder)));
        })
    }

    fn remove_directory(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        let place = state.place(path)?;
        let folder = state.folder(path)?;
        for (name, _) in state.names.list(folder) {
            state.change(DiskAction::Remove, path, |state| {
                state.names.change(Change::Remove((folder, name)));
            })?;
        }
        state.change(DiskAction::Remove, path, |state| state.names.change(Change::Remove(place)))
    }

    fn sync_directory(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        let folder = state.folder(path)?;
        state.change(DiskAction::Sync, path, |state| state.names.sync(folder))
    }

    fn free_bytes(&self) -> Result<u64> {
        Ok(if self.state().faults.full { 0 } else { u64::MAX })
    }
}

impl SimFile {
    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Those sectors of a write in flight that `chosen` chooses arrive on the disk. Not a step, and not durable.
    pub fn write_sectors(&self, position: u64, bytes: &[u8], chosen: impl FnMut() -> bool) {
        self.disk.state().inode(self).write(position, bytes, chosen);
    }

    /// What has arrived in this range is durable. Not a step.
    pub fn sync_range(&self, position: u64, bytes: u64) {
        self.disk.state().inode(self).sync_range(position, bytes);
    }

    /// Everything that has arrived is durable. Not a step.
    pub fn sync_all(&self) {
        self.disk.state().inode(self).sync();
    }

    /// Reads what has arrived. Not a step.
    pub fn read_sectors(&self, position: u64, bytes: &mut [u8]) -> usize {
        self.disk.state().inode(self).read(position, bytes)
    }

    /// Whether both are the same file.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.inode == other.inode
    }
}

impl BlockingFile for SimFile {
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> Result<usize> {
        let mut state = self.disk.state();
        match state.step(DiskAction::Read, &self.path)? {
            Go::On => Ok(state.inode(self).read(position, bytes)),
            Go::Perhaps => Err(broken(DiskAction::Read, &self.path)),
        }
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> Result<()> {
        let mut state = self.disk.state();
        if position + bytes.len() as u64 > state.inode(self).length() {
            state.check_room(DiskAction::Write, &self.path)?;
        }
        let step = state.step(DiskAction::Write, &self.path);
        let mut random = state.random.fork();
        let dead = step.is_err() && state.steps.are_over();
        let inode = state.inode(self);
        if !dead {
            inode.note_cached(position, wide(bytes.len()));
        }
        match step {
            Ok(Go::On) => inode.write(position, bytes, || true),
            Ok(Go::Perhaps) => {
                inode.write(position, bytes, || random.coin());
                return Err(broken(DiskAction::Write, &self.path));
            }
            Err(error) => {
                if !dead {
                    // A write that fails may have arrived in part.
                    inode.write(position, bytes, || random.coin());
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.disk.state();
        let done = state.change(DiskAction::Sync, &self.path, |state| state.inode(self).sync());
        if done.is_err() && !state.steps.are_over() {
            state.inode(self).give_up();
        }
        done
    }

    fn set_length(&self, bytes: u64) -> Result<()> {
        self.disk.state().change(DiskAction::Resize, &self.path, |state| state.inode(self).set_length(bytes))
    }

    fn allocate(&self, position: u64, bytes: u64) -> Result<()> {
        let mut state = self.disk.state();
        let end = position.saturating_add(bytes);
        if end <= state.inode(self).length() {
            return Ok(());
        }
        state.check_room(DiskAction::Allocate, &self.path)?;
        state.change(DiskAction::Allocate, &self.path, |state| state.inode(self).set_length(end))
    }

    fn length(&self) -> Result<u64> {
        let mut state = self.disk.state();
        state.step(DiskAction::Measure, &self.path)?;
        Ok(state.inode(self).length())
    }
}

fn broken(action: DiskAction, path: &Path) -> Error {
    Error::disk(action, path, io::Error::from_raw_os_error(libc::EIO))
}

fn missing(action: DiskAction, path: &Path) -> Error {
    Error::disk(action, path, io::Error::from(io::ErrorKind::NotFound))
}
