//! Putting replayed bytes into segment files: few handles at a time, everything on stable media at the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use super::RecoveryError;
use crate::model::Offset;
use crate::model::batch::{BatchHeader, HEADER_BYTES};
use crate::runtime::disk::{BlockingDisk, EntryKind};
use crate::runtime::file::{Access, BlockingFile, Caching};
use crate::storage::partition::segment::{file_name, parse_file_name};

/// Handles open at once.
const OPEN_FILES_MAX: usize = 128;

/// The segment files that replay writes to.
pub(super) struct SegmentFiles<'a, D: BlockingDisk> {
    disk: &'a D,
    open: BTreeMap<(String, i64), D::File>,
    order: VecDeque<(String, i64)>,
    folders: BTreeSet<String>,
}

impl<'a, D: BlockingDisk> SegmentFiles<'a, D> {
    pub(super) fn new(disk: &'a D) -> Self {
        Self { disk, open: BTreeMap::new(), order: VecDeque::new(), folders: BTreeSet::new() }
    }

    /// Writes `bytes` at `position` of the segment, which is made if it is missing.
    pub(super) fn write(
        &mut self,
        folder: &str,
        segment: i64,
        position: u64,
        bytes: &[u8],
    ) -> Result<(), RecoveryError> {
        let file = self.file(folder, segment)?;
        file.write_at(position, bytes)?;
        Ok(())
    }

    /// Cuts the segment at `position`; later segments go, unless they were begun after the truncation (newer epoch).
    pub(super) fn truncate(
        &mut self,
        folder: &str,
        segment: i64,
        position: u64,
        leader_epoch: i32,
    ) -> Result<(), RecoveryError> {
        if !self.folders.contains(folder) {
            self.disk.create_directories(Path::new(folder))?;
        }
        self.folders.insert(folder.to_owned());
        for entry in self.disk.list(Path::new(folder))? {
            let Some(base) = parse_file_name(&entry.name, "log") else { continue };
            if entry.kind != EntryKind::File || base < Offset(segment) {
                continue;
            }
            let gone = base > Offset(segment) || position == 0;
            if gone {
                if self.first_epoch(folder, base.0)? <= Some(leader_epoch) {
                    self.open.remove(&(folder.to_owned(), base.0));
                    self.disk.remove(Path::new(&format!("{folder}/{}", entry.name)))?;
                }
            } else {
                let file = self.file(folder, segment)?;
                if file.length()? > position {
                    file.set_length(position)?;
                }
            }
        }
        Ok(())
    }

    /// Epoch of the first batch; `None` if there is no readable one.
    fn first_epoch(&mut self, folder: &str, segment: i64) -> Result<Option<i32>, RecoveryError> {
        let mut bytes = [0; HEADER_BYTES];
        let read = self.file(folder, segment)?.read_at(0, &mut bytes)?;
        Ok(bytes
            .get(..read)
            .and_then(|found| BatchHeader::parse(found).ok())
            .map(|header| header.leader_epoch.0))
    }

    fn file(&mut self, folder: &str, segment: i64) -> Result<&D::File, RecoveryError> {
        let key = (folder.to_owned(), segment);
        if !self.open.contains_key(&key) {
            if self.open.len() >= OPEN_FILES_MAX
                && let Some(oldest) = self.order.pop_front()
                && let Some(file) = self.open.remove(&oldest)
            {
                file.sync()?;
            }
            if self.folders.insert(folder.to_owned()) {
                self.disk.create_directories(Path::new(folder))?;
            }
            let path = format!("{folder}/{}", file_name(Offset(segment), "log"));
            let file = self.disk.open(Path::new(&path), Access::Create, Caching::Buffered)?;
            self.open.insert(key.clone(), file);
            self.order.push_back(key.clone());
        }
        self.open.get(&key).ok_or(RecoveryError::Disk(crate::runtime::Error::BadCount {
            what: "open segment files",
            count: 0,
        }))
    }

    /// Brings everything written to stable media, names included.
    pub(super) fn finish(self) -> Result<(), RecoveryError> {
        for file in self.open.values() {
            file.sync()?;
        }
        for folder in &self.folders {
            self.disk.sync_directory(Path::new(folder))?;
        }
        if !self.folders.is_empty() {
            self.disk.sync_directory(Path::new(""))?;
        }
        Ok(())
    }
}
