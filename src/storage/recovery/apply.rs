//! Putting replayed bytes into segment files. What frames hold is gathered first, so that each file is opened and flushed once or a
//! few times, and partitions are worked on at the same time: a file system makes one of many flushes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::chunks::{Laid, Piece, lay_over};
use super::scan::Expected;
use super::{KnownPartition, RecoveryError, RecoveryOptions, snapshots};
use crate::model::batch::{BatchHeader, HEADER_BYTES};
use crate::model::number::wide;
use crate::model::{Offset, TopicPartition};
use crate::runtime::disk::{BlockingDisk, EntryKind};
use crate::runtime::file::{Access, BlockingFile, Caching};
use crate::runtime::parallel;
use crate::storage::partition::segment::{
    SNAPSHOT_SUFFIX, file_name, index_path, metadata_file, parse_file_name,
};

/// Segments that were opened: what was written to them is on stable media, and the cache shows nothing that a failed flush has left.
pub(super) type Opened = BTreeMap<TopicPartition, BTreeSet<Offset>>;

/// The segment files that replay writes to.
pub(super) struct SegmentFiles<'a, D: BlockingDisk> {
    disk: &'a D,
    threads: usize,
    gathered_bytes_max: usize,
    /// What frames hold, and is not in the files yet.
    gathered: BTreeMap<TopicPartition, Job<'a, 'static>>,
    gathered_bytes: usize,
    /// Folders that were seen to.
    folders: BTreeSet<&'a str>,
    opened: Opened,
    /// Folders with files that cannot be read, written or flushed, and the reason.
    damaged: BTreeMap<String, String>,
    /// The disk had no room for some of them.
    lacks_room: bool,
}

/// What chunks hold of a segment.
pub(super) struct Chunks<'a, 'm> {
    pub(super) known: &'a KnownPartition,
    pub(super) segment: Offset,
    /// Up to here everything is on stable media.
    pub(super) at: u64,
    /// What begins there.
    pub(super) expected: Expected,
    pub(super) pieces: Vec<Piece<'m>>,
}

/// What became of the chunks of a segment.
pub(super) struct Applied<'a> {
    pub(super) known: &'a KnownPartition,
    pub(super) segment: Offset,
    pub(super) count: u64,
    pub(super) laid: Laid,
}

/// What has become of the files.
pub(super) struct Finished {
    pub(super) opened: Opened,
    /// Folders with files that cannot be read, written or flushed, and the reason.
    pub(super) damaged: BTreeMap<String, String>,
    /// Some of them for want of room.
    pub(super) lacks_room: bool,
}

impl<'a, D: BlockingDisk> SegmentFiles<'a, D> {
    /// `damaged`: folders of which it is known already.
    pub(super) fn new(disk: &'a D, options: &RecoveryOptions, damaged: BTreeMap<String, String>) -> Self {
        let &RecoveryOptions { threads, gathered_bytes_max, .. } = options;
        let (gathered, folders, opened) = (BTreeMap::new(), BTreeSet::new(), Opened::new());
        Self {
            disk,
            threads,
            gathered_bytes_max,
            gathered,
            gathered_bytes: 0,
            folders,
            opened,
            damaged,
            lacks_room: false,
        }
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

    /// Has `bytes` written at `position` of the segment, which is made if it is missing.
    pub(super) fn write(
        &mut self,
        known: &'a KnownPartition,
        segment: Offset,
        position: u64,
        bytes: &[u8],
    ) -> Result<(), RecoveryError> {
        let job = self.gathered.entry(known.topic_partition).or_insert_with(|| Job::new(known));
        let runs = job.segments.entry(segment).or_default();
        match runs.last_mut() {
            Some((at, run)) if at.saturating_add(wide(run.len())) == position => run.extend_from_slice(bytes),
            _ => runs.push((position, bytes.to_vec())),
        }
        self.gathered_bytes = self.gathered_bytes.saturating_add(bytes.len());
        if self.gathered_bytes > self.gathered_bytes_max {
            self.write_out(Vec::new())?;
        }
        Ok(())
    }

    /// Writes what was gathered, then lays the chunks over it, and brings both to stable media.
    pub(super) fn write_out(
        &mut self,
        chunks: Vec<Chunks<'a, '_>>,
    ) -> Result<Vec<Applied<'a>>, RecoveryError> {
        self.gathered_bytes = 0;
        let mut jobs: BTreeMap<TopicPartition, Job<'a, '_>> = std::mem::take(&mut self.gathered);
        for chunks in chunks {
            let id = chunks.known.topic_partition;
            jobs.entry(id).or_insert_with(|| Job::new(chunks.known)).chunks.push(chunks);
        }
        self.carry_out(jobs.into_values().collect())
    }

    fn carry_out(&mut self, mut jobs: Vec<Job<'a, '_>>) -> Result<Vec<Applied<'a>>, RecoveryError> {
        jobs.retain(|job| !self.is_damaged(&job.known.folder));
        let jobs = jobs.into_iter().map(|job| {
            let opened = self.opened.remove(&job.known.topic_partition).unwrap_or_default();
            let is_claimed = !self.folders.insert(&job.known.folder);
            (PartitionFiles { disk: self.disk, known: job.known, opened }, is_claimed, job)
        });
        let done = parallel::map(self.threads, jobs.collect(), |(mut files, is_claimed, job)| {
            let mut applied = Vec::new();
            let claimed = if is_claimed { Ok(()) } else { claim_folder(files.disk, files.known) };
            let result = claimed.and_then(|()| job.carry_out(&mut files, &mut applied));
            (files, applied, result)
        });
        let mut all_applied = Vec::new();
        for (files, applied, result) in done {
            self.opened.insert(files.known.topic_partition, files.opened);
            all_applied.extend(applied);
            self.note_damage(&files.known.folder, result)?;
        }
        Ok(all_applied)
    }

    /// Cuts the segment at `position`, where the log then ends at `end_offset`; later segments go, unless they were begun after the
    /// truncation (newer epoch).
    pub(super) fn truncate(
        &mut self,
        known: &'a KnownPartition,
        segment: Offset,
        position: u64,
        leader_epoch: i32,
        end_offset: Offset,
    ) -> Result<(), RecoveryError> {
        // What came before it.
        if let Some(job) = self.gathered.remove(&known.topic_partition) {
            self.carry_out(vec![job])?;
        }
        let folder = known.folder.as_str();
        if self.is_damaged(folder) {
            return Ok(());
        }
        if self.folders.insert(folder) {
            claim_folder(self.disk, known)?;
        }
        let entries = self.disk.list(Path::new(folder))?;
        let snapshots = entries.iter().filter_map(|entry| parse_file_name(&entry.name, SNAPSHOT_SUFFIX));
        snapshots::remove_behind(self.disk, folder, snapshots, end_offset)?;
        for entry in entries {
            let Some(base) = parse_file_name(&entry.name, "log") else { continue };
            if entry.kind != EntryKind::File || base < segment {
                continue;
            }
            let path = format!("{folder}/{}", entry.name);
            let file = self.disk.open(Path::new(&path), Access::Write, Caching::Buffered)?;
            if base == segment && position > 0 {
                if file.length()? > position {
                    file.set_length(position)?;
                    file.sync()?;
                }
            } else if first_epoch(&file)? <= Some(leader_epoch) {
                self.disk.remove(Path::new(&path))?;
                let index = index_path(folder, base);
                match self.disk.remove(Path::new(&index)) {
                    Err(error) if error.is_not_found() => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// Brings everything written to stable media, names included.
    pub(super) fn finish(mut self) -> Result<Finished, RecoveryError> {
        self.write_out(Vec::new())?;
        let folders = std::mem::take(&mut self.folders);
        // One that is damaged may not even be there.
        let folders: Vec<&str> = folders.into_iter().filter(|folder| !self.is_damaged(folder)).collect();
        let has_written = !folders.is_empty();
        let synced = parallel::map(self.threads, folders, |folder| {
            (folder, self.disk.sync_directory(Path::new(folder)).map_err(RecoveryError::from))
        });
        for (folder, result) in synced {
            self.note_damage(folder, result)?;
        }
        if has_written {
            self.disk.sync_directory(Path::new(""))?;
        }
        Ok(Finished { opened: self.opened, damaged: self.damaged, lacks_room: self.lacks_room })
    }
}

/// All that is written to a partition's segments.
struct Job<'a, 'm> {
    known: &'a KnownPartition,
    /// Of frames: by segment, runs of bytes and where they belong, in the order in which they came.
    segments: BTreeMap<Offset, Vec<(u64, Vec<u8>)>>,
    chunks: Vec<Chunks<'a, 'm>>,
}

impl<'a> Job<'a, '_> {
    const fn new(known: &'a KnownPartition) -> Self {
        Self { known, segments: BTreeMap::new(), chunks: Vec::new() }
    }

    fn carry_out<D: BlockingDisk>(
        self,
        files: &mut PartitionFiles<'_, D>,
        applied: &mut Vec<Applied<'a>>,
    ) -> Result<(), RecoveryError> {
        let Self { known, mut segments, chunks } = self;
        for Chunks { segment, at, expected, pieces, .. } in chunks {
            let count = wide(pieces.len());
            let mut written = files.write_all(segment, &segments.remove(&segment).unwrap_or_default())?;
            let reader = files.open(segment, Access::Read)?;
            let laid = lay_over(reader.as_ref(), at, expected, pieces, |position, bytes| {
                files.write(&mut written, segment, position, bytes)
            })?;
            sync(written)?;
            applied.push(Applied { known, segment, count, laid });
        }
        for (segment, runs) in segments {
            sync(files.write_all(segment, &runs)?)?;
        }
        Ok(())
    }
}

/// The segment files of one partition.
struct PartitionFiles<'a, D> {
    disk: &'a D,
    known: &'a KnownPartition,
    opened: BTreeSet<Offset>,
}

impl<D: BlockingDisk> PartitionFiles<'_, D> {
    /// The segment's file; `None` if it is missing and not to be made.
    fn open(&mut self, segment: Offset, access: Access) -> Result<Option<D::File>, RecoveryError> {
        let path = format!("{}/{}", self.known.folder, file_name(segment, "log"));
        let caching = if self.opened.insert(segment) { Caching::Buffered } else { Caching::Cached };
        match self.disk.open(Path::new(&path), access, caching) {
            Err(error) if error.is_not_found() => Ok(None),
            file => Ok(Some(file?)),
        }
    }

    /// Writes to the segment's file; if there is none in `written`, to one that is opened or made.
    fn write(
        &mut self,
        written: &mut Option<D::File>,
        segment: Offset,
        position: u64,
        bytes: &[u8],
    ) -> Result<(), RecoveryError> {
        if written.is_none() {
            *written = self.open(segment, Access::Create)?;
        }
        written.as_ref().map_or(Ok(()), |file| Ok(file.write_at(position, bytes)?))
    }

    fn write_all(
        &mut self,
        segment: Offset,
        runs: &[(u64, Vec<u8>)],
    ) -> Result<Option<D::File>, RecoveryError> {
        let mut written = None;
        for (position, bytes) in runs {
            self.write(&mut written, segment, *position, bytes)?;
        }
        Ok(written)
    }
}

fn sync<F: BlockingFile>(written: Option<F>) -> Result<(), RecoveryError> {
    written.map_or(Ok(()), |file| Ok(file.sync()?))
}

/// Sees to the folder, and to the file in it that says whose it is.
fn claim_folder<D: BlockingDisk>(disk: &D, known: &KnownPartition) -> Result<(), RecoveryError> {
    disk.create_directories(Path::new(&known.folder))?;
    let (name, contents) = metadata_file(known.topic_partition.topic_id);
    let path = format!("{}/{name}", known.folder);
    match disk.open(Path::new(&path), Access::Read, Caching::Buffered) {
        Err(error) if error.is_not_found() => disk.replace_file(Path::new(&path), &contents)?,
        found => drop(found?),
    }
    Ok(())
}

/// Epoch of the first batch; `None` if there is no readable one.
fn first_epoch<F: BlockingFile>(file: &F) -> Result<Option<i32>, RecoveryError> {
    let mut bytes = [0; HEADER_BYTES];
    let read = file.read_at(0, &mut bytes)?;
    let header = bytes.get(..read).and_then(|found| BatchHeader::parse(found).ok());
    Ok(header.map(|header| header.leader_epoch.0))
}
