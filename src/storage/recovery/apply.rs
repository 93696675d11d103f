//! Putting replayed bytes into segment files: few handles at a time, everything on stable media at the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use super::{KnownPartition, RecoveryError, snapshots};
use crate::model::Offset;
use crate::model::batch::{BatchHeader, HEADER_BYTES};
use crate::runtime::disk::{BlockingDisk, EntryKind};
use crate::runtime::file::{Access, BlockingFile, Caching};
use crate::storage::partition::segment::{SNAPSHOT_SUFFIX, file_name, metadata_file, parse_file_name};

/// Handles open at once.
const OPEN_FILES_MAX: usize = 128;

/// The segment files that replay writes to.
pub(super) struct SegmentFiles<'a, D: BlockingDisk> {
    disk: &'a D,
    open: BTreeMap<(String, i64), D::File>,
    order: VecDeque<(String, i64)>,
    folders: BTreeSet<String>,
    /// Folders with files that cannot be read, written or flushed, and the reason.
    damaged: BTreeMap<String, String>,
    /// The disk had no room for some of them.
    lacks_room: bool,
}

/// What has become of the files.
pub(super) struct Finished {
    /// Folders with files that cannot be read, written or flushed, and the reason.
    pub(super) damaged: BTreeMap<String, String>,
    /// Some of them for want of room.
    pub(super) lacks_room: bool,
}

impl<'a, D: BlockingDisk> SegmentFiles<'a, D> {
    /// `damaged`: folders of which it is known already.
    pub(super) fn new(disk: &'a D, damaged: BTreeMap<String, String>) -> Self {
        let (open, order, folders) = (BTreeMap::new(), VecDeque::new(), BTreeSet::new());
        Self { disk, open, order, folders, damaged, lacks_room: false }
    }

    /// Whether something in the folder was found to be damaged: nothing is done to it any more.
    pub(super) fn is_damaged(&self, folder: &str) -> bool {
        self.damaged.contains_key(folder)
    }

    /// Takes note of damage in the folder, or of want of room for it; any other error is returned.
    pub(super) fn note_damage(
        &mut self,
        folder: &str,
        result: Result<(), RecoveryError>,
    ) -> Result<(), RecoveryError> {
        match result {
            Err(RecoveryError::Disk(error)) if error.is_damage() || error.is_storage_full() => {
                self.lacks_room |= error.is_storage_full();
                self.damaged.entry(folder.to_owned()).or_insert_with(|| error.to_string());
                Ok(())
            }
            other => other,
        }
    }

    /// Writes `bytes` at `position` of the segment, which is made if it is missing.
    pub(super) fn write(
        &mut self,
        known: &KnownPartition,
        segment: i64,
        position: u64,
        bytes: &[u8],
    ) -> Result<(), RecoveryError> {
        let file = self.file(known, segment)?;
        file.write_at(position, bytes)?;
        Ok(())
    }

    /// The segment's file, if there is one.
    pub(super) fn open_to_read(
        &self,
        known: &KnownPartition,
        segment: Offset,
    ) -> Result<Option<D::File>, RecoveryError> {
        let path = format!("{}/{}", known.folder, file_name(segment, "log"));
        match self.disk.open(Path::new(&path), Access::Read, Caching::Buffered) {
            Err(error) if error.is_not_found() => Ok(None),
            file => Ok(Some(file?)),
        }
    }

    /// Cuts the segment at `position`, where the log then ends at `end_offset`; later segments go, unless they were begun after the
    /// truncation (newer epoch).
    pub(super) fn truncate(
        &mut self,
        known: &KnownPartition,
        segment: i64,
        position: u64,
        leader_epoch: i32,
        end_offset: i64,
    ) -> Result<(), RecoveryError> {
        self.claim_folder(known)?;
        let folder = known.folder.as_str();
        let entries = self.disk.list(Path::new(folder))?;
        let snapshots = entries.iter().filter_map(|entry| parse_file_name(&entry.name, SNAPSHOT_SUFFIX));
        snapshots::remove_behind(self.disk, folder, snapshots, Offset(end_offset))?;
        for entry in entries {
            let Some(base) = parse_file_name(&entry.name, "log") else { continue };
            if entry.kind != EntryKind::File || base < Offset(segment) {
                continue;
            }
            let gone = base > Offset(segment) || position == 0;
            if gone {
                if self.first_epoch(known, base.0)? <= Some(leader_epoch) {
                    self.open.remove(&(folder.to_owned(), base.0));
                    self.disk.remove(Path::new(&format!("{folder}/{}", entry.name)))?;
                    let index = format!("{folder}/{}", file_name(base, "index"));
                    match self.disk.remove(Path::new(&index)) {
                        Err(error) if error.is_not_found() => {}
                        other => other?,
                    }
                }
            } else {
                let file = self.file(known, segment)?;
                if file.length()? > position {
                    file.set_length(position)?;
                }
            }
        }
        Ok(())
    }

    /// Epoch of the first batch; `None` if there is no readable one.
    fn first_epoch(&mut self, known: &KnownPartition, segment: i64) -> Result<Option<i32>, RecoveryError> {
        let mut bytes = [0; HEADER_BYTES];
        let read = self.file(known, segment)?.read_at(0, &mut bytes)?;
        Ok(bytes
            .get(..read)
            .and_then(|found| BatchHeader::parse(found).ok())
            .map(|header| header.leader_epoch.0))
    }

    /// Sees to the folder, and to the file in it that says whose it is.
    fn claim_folder(&mut self, known: &KnownPartition) -> Result<(), RecoveryError> {
        if self.folders.insert(known.folder.clone()) {
            self.disk.create_directories(Path::new(&known.folder))?;
            let (name, contents) = metadata_file(known.topic_partition.topic_id);
            let path = format!("{}/{name}", known.folder);
            match self.disk.open(Path::new(&path), Access::Read, Caching::Buffered) {
                Err(error) if error.is_not_found() => self.disk.replace_file(Path::new(&path), &contents)?,
                found => drop(found?),
            }
        }
        Ok(())
    }

    fn file(&mut self, known: &KnownPartition, segment: i64) -> Result<&D::File, RecoveryError> {
        let key = (known.folder.clone(), segment);
        if !self.open.contains_key(&key) {
            while self.open.len() >= OPEN_FILES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                if let Some(file) = self.open.remove(&oldest) {
                    self.note_damage(&oldest.0, file.sync().map_err(Into::into))?;
                }
            }
            self.claim_folder(known)?;
            let path = format!("{}/{}", known.folder, file_name(Offset(segment), "log"));
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
    pub(super) fn finish(mut self) -> Result<Finished, RecoveryError> {
        for ((folder, _), file) in std::mem::take(&mut self.open) {
            self.note_damage(&folder, file.sync().map_err(Into::into))?;
        }
        let folders = std::mem::take(&mut self.folders);
        for folder in &folders {
            let synced = self.disk.sync_directory(Path::new(folder));
            self.note_damage(folder, synced.map_err(Into::into))?;
        }
        if !folders.is_empty() {
            self.disk.sync_directory(Path::new(""))?;
        }
        Ok(Finished { damaged: self.damaged, lacks_room: self.lacks_room })
    }
}
