//! Carries out [`Task`]s with blocking calls, on the real disk or a simulated one.
//!
//! Runs on a worker thread; a lane's tasks one after another. It decides nothing: what failed is said, and never retried.

use std::path::Path;

use super::operation::{ASIDE, CreateFile, Fault, FileId, Outcome, RenameFolder, Task};
use super::partition::segment::{SNAPSHOT_SUFFIX, parse_file_name, snapshot_path};
use super::recovery::TRASH_PREFIX;
use super::side_file::{self, SideFile};
use crate::model::Offset;
use crate::model::limits::BLOCK_BYTES;
use crate::model::number::{index, wide};
use crate::runtime::Error;
use crate::runtime::disk::{BlockingDisk, EntryKind};
use crate::runtime::file::{Access, BlockingFile, Caching};
use crate::runtime::memory::AlignedBuffer;

/// Zeros written at once when a commit-log file is made. Unit: bytes.
const ZEROS_BYTES: usize = 256 << 10;

/// What a task gave; `opened` is the file to be known by the task's [`FileId`] from now on.
#[derive(Debug)]
pub struct TaskDone<F> {
    pub outcome: Outcome,
    pub opened: Option<F>,
}

impl Task {
    /// The open file that the task works on, to be handed to [`run_task`].
    #[must_use]
    pub const fn file(&self) -> Option<FileId> {
        match self {
            Self::Allocate { file, .. } | Self::Seal { file, .. } | Self::Close { file } => Some(*file),
            _ => None,
        }
    }

    /// The name under which the file that the task opens will be known.
    #[must_use]
    pub const fn opens(&self) -> Option<FileId> {
        match self {
            Self::Open { file, .. } | Self::CreateCommitFile { file, .. } => Some(*file),
            _ => None,
        }
    }
}

/// Carries out `task`; `file` is the open file that it names ([`Task::file`]). Closing is the caller's: it drops its handle.
pub fn run_task<D: BlockingDisk>(disk: &D, task: &Task, file: Option<&D::File>) -> TaskDone<D::File> {
    match attempt(disk, task, file) {
        Ok(done) => done,
        Err(error) => {
            tracing::debug!(%error, "a storage task failed");
            TaskDone { outcome: Outcome::Failed(fault_of(&error)), opened: None }
        }
    }
}

/// What the core is told of an error.
#[must_use]
pub fn fault_of(error: &Error) -> Fault {
    // Open files and memory come back as room on the disk does.
    if error.is_storage_full() || error.is_out_of_handles() {
        Fault::NoSpace
    } else if error.is_not_found() {
        Fault::NotFound
    } else {
        Fault::Io
    }
}

fn attempt<D: BlockingDisk>(
    disk: &D,
    task: &Task,
    file: Option<&D::File>,
) -> Result<TaskDone<D::File>, Error> {
    match task {
        Task::Open { path, create: None, .. } => {
            return opened(disk.open(Path::new(path), Access::Write, Caching::Direct)?);
        }
        Task::Open { path, create: Some(create), .. } => return opened(create_segment(disk, path, create)?),
        Task::CreateCommitFile { path, bytes, .. } => return opened(create_commit_file(disk, path, *bytes)?),
        Task::ReadIndex { path, bytes_max } => {
            let bytes = disk.read_file(Path::new(path), index(*bytes_max))?;
            return Ok(TaskDone { outcome: decoded_index(path, &bytes), opened: None });
        }
        Task::Prepare { path, bytes } => prepare_segment(disk, Path::new(path), *bytes)?,
        Task::Allocate { bytes, .. } => open_file(file)?.allocate(0, *bytes)?,
        Task::Seal { bytes, side_files, .. } => {
            let file = open_file(file)?;
            file.set_length(*bytes)?;
            file.sync()?;
            for (path, contents) in side_files {
                disk.replace_file(Path::new(path), &contents.encode())?;
                if let SideFile::Producers(newest) = contents {
                    remove_other_snapshots(disk, Path::new(path), Offset(newest.end_offset));
                }
            }
        }
        Task::WriteIndex { path, contents } => write_index(disk, path, contents)?,
        Task::Close { .. } => {}
        Task::WriteCheckpoint { path, file } => disk.replace_file(Path::new(path), &file.encode())?,
        Task::RenameFolders { folders } => rename_folders(disk, folders)?,
        Task::SetAside { paths } => {
            for path in paths {
                missing_is_fine(disk.rename(Path::new(path), Path::new(&format!("{path}{ASIDE}"))))?;
            }
        }
        Task::RemoveFiles { paths } => remove_files(disk, paths)?,
        Task::RemoveTruncated { paths, folder, end_offset } => {
            let behind = snapshots_in(disk, folder)?.into_iter().filter(|snapshot| snapshot > end_offset);
            let behind = behind.map(|snapshot| snapshot_path(folder, snapshot));
            remove_files(disk, &paths.iter().cloned().chain(behind).collect::<Vec<_>>())?;
        }
        Task::RemoveLeftOver { folders } => remove_left_over(disk, folders)?,
        Task::RemoveFolder { path } => missing_is_fine(disk.remove_directory(Path::new(path)))?,
    }
    Ok(TaskDone { outcome: Outcome::Done, opened: None })
}

/// Writes the index file at `path` in one step, not durably.
pub(super) fn write_index<D: BlockingDisk>(disk: &D, path: &str, contents: &SideFile) -> Result<(), Error> {
    let beside = format!("{path}.new");
    let file = disk.open(Path::new(&beside), Access::Create, Caching::Buffered)?;
    let written = file.set_length(0).and_then(|()| file.write_at(0, &contents.encode()));
    let done = written.and_then(|()| disk.rename(Path::new(&beside), Path::new(path)));
    if let Err(error) = &done {
        tracing::warn!(path, %error, "an index cannot be written: reads of its segment take longer");
        let _ = disk.remove(Path::new(&beside));
    }
    done
}

fn decoded_index(path: &str, bytes: &[u8]) -> Outcome {
    match side_file::decode_index(bytes) {
        Ok(file) => Outcome::Index(Box::new((file.segment.clone(), file.into_index()))),
        Err(error) => {
            tracing::warn!(path, %error, "an index is not used");
            Outcome::Failed(Fault::Io)
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "closes the arms of a match of results")]
fn opened<F>(file: F) -> Result<TaskDone<F>, Error> {
    Ok(TaskDone { outcome: Outcome::Done, opened: Some(file) })
}

fn open_file<F>(file: Option<&F>) -> Result<&F, Error> {
    file.ok_or(Error::BadCount { what: "the open files that a task names", count: 0 })
}

fn create_segment<D: BlockingDisk>(disk: &D, path: &str, create: &CreateFile) -> Result<D::File, Error> {
    let path = Path::new(path);
    let folder = path.parent().unwrap_or(Path::new(""));
    if let Some(prepared) = &create.prepared {
        match disk.rename(Path::new(prepared), path) {
            // It could not be made, then.
            Err(error) if error.is_not_found() => {}
            renamed => {
                renamed?;
                let file = disk.open(path, Access::Write, Caching::Direct)?;
                disk.sync_directory(folder)?;
                return Ok(file);
            }
        }
    }
    disk.create_directories(folder)?;
    let (name, contents) = &create.folder_file;
    let beside = folder.join(name);
    match disk.read_file(&beside, contents.len() + 1) {
        Err(error) if error.is_not_found() => disk.replace_file(&beside, contents)?,
        found => {
            if found? != *contents {
                return Err(Error::AnotherTopic { path: beside });
            }
        }
    }
    let file = disk.open(path, Access::Create, Caching::Direct)?;
    file.allocate(0, create.allocate_bytes)?;
    disk.sync_directory(folder)?;
    disk.sync_directory(Path::new(""))?;
    Ok(file)
}

fn prepare_segment<D: BlockingDisk>(disk: &D, path: &Path, bytes: u64) -> Result<(), Error> {
    let file = disk.open(path, Access::Create, Caching::Direct)?;
    let made = file.allocate(0, bytes).and_then(|()| file.sync());
    if made.is_err() {
        missing_is_fine(disk.remove(path))?;
    }
    made
}

/// Made under another name, so that a file with the right name is whole.
fn create_commit_file<D: BlockingDisk>(disk: &D, path: &str, bytes: u64) -> Result<D::File, Error> {
    let beside = format!("{path}.new");
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    disk.create_directories(folder)?;
    let file = disk.open(Path::new(&beside), Access::Create, Caching::Direct)?;
    file.set_length(0)?;
    file.allocate(0, bytes)?;
    let zeros = AlignedBuffer::zeroed(ZEROS_BYTES);
    let mut position = 0;
    while position < bytes {
        let take = wide(ZEROS_BYTES).min(bytes - position);
        let take = take.next_multiple_of(wide(BLOCK_BYTES));
        file.write_at(position, zeros.as_slice().get(..index(take)).unwrap_or_default())?;
        position += take;
    }
    file.sync()?;
    disk.rename(Path::new(&beside), Path::new(path))?;
    disk.sync_directory(folder)?;
    Ok(file)
}

/// The first error, after all have been tried.
fn rename_folders<D: BlockingDisk>(disk: &D, folders: &[RenameFolder]) -> Result<(), Error> {
    let mut outcome = Ok(());
    for folder in folders {
        let renamed = rename_folder(disk, folder);
        outcome = outcome.and(renamed);
    }
    disk.sync_directory(Path::new(""))?;
    outcome
}

fn rename_folder<D: BlockingDisk>(disk: &D, folder: &RenameFolder) -> Result<(), Error> {
    let RenameFolder { from, to, folder_file: (name, contents) } = folder;
    let found = match disk.read_file(&Path::new(from).join(name), contents.len() + 1) {
        Err(error) if error.is_not_found() => None,
        found => Some(found?),
    };
    if found.as_ref() == Some(contents) {
        missing_is_fine(disk.rename(Path::new(from), Path::new(to)))?;
    }
    Ok(())
}

/// Durable when it returns: a file that came back would bring truncated records back once their frame has been recycled.
fn remove_files<D: BlockingDisk>(disk: &D, paths: &[String]) -> Result<(), Error> {
    let mut folders: Vec<&Path> = Vec::new();
    for path in paths {
        let path = Path::new(path);
        missing_is_fine(disk.remove(path))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        if folders.last() != Some(&folder) {
            folders.push(folder);
        }
    }
    for folder in folders {
        missing_is_fine(disk.sync_directory(folder))?;
    }
    Ok(())
}

/// Of the producer snapshots beside `newest` the one before it is kept, in case `newest` is damaged. What cannot be removed stays
/// until the next seal: it harms nobody.
fn remove_other_snapshots<D: BlockingDisk>(disk: &D, newest: &Path, end_offset: Offset) {
    let folder = newest.parent().unwrap_or(Path::new("")).to_string_lossy();
    let removed = snapshots_in(disk, &folder).and_then(|mut found| {
        let before = found.iter().copied().filter(|&snapshot| snapshot < end_offset).max();
        found.retain(|&snapshot| snapshot != end_offset && Some(snapshot) != before);
        let path_of = |snapshot| snapshot_path(&folder, snapshot);
        found.into_iter().try_for_each(|snapshot| missing_is_fine(disk.remove(Path::new(&path_of(snapshot)))))
    });
    if let Err(error) = removed {
        tracing::warn!(%error, "old producer snapshots stay for now");
    }
}

/// The offsets of a partition's producer snapshots, ascending. None, if there is no such folder.
fn snapshots_in<D: BlockingDisk>(disk: &D, folder: &str) -> Result<Vec<Offset>, Error> {
    let entries = match disk.list(Path::new(folder)) {
        Err(error) if error.is_not_found() => Vec::new(),
        entries => entries?,
    };
    Ok(entries.iter().filter_map(|entry| parse_file_name(&entry.name, SNAPSHOT_SUFFIX)).collect())
}

/// What a clean stop had no time to remove. What another removal takes meanwhile is no error.
fn remove_left_over<D: BlockingDisk>(disk: &D, folders: &[String]) -> Result<(), Error> {
    for entry in disk.list(Path::new(""))? {
        if entry.kind == EntryKind::Directory && entry.name.starts_with(TRASH_PREFIX) {
            missing_is_fine(disk.remove_directory(Path::new(&entry.name)))?;
        }
    }
    for folder in folders {
        let entries = match disk.list(Path::new(folder)) {
            // Nothing was ever appended to it.
            Err(error) if error.is_not_found() => continue,
            entries => entries?,
        };
        for entry in entries.iter().filter(|entry| entry.name.ends_with(ASIDE)) {
            missing_is_fine(disk.remove(&Path::new(folder).join(&entry.name)))?;
        }
    }
    Ok(())
}

fn missing_is_fine(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::sim::{SimDisk, SimRandom, SimSteps};
    use crate::storage::partition::segment::{IndexEntry, Segment};
    use crate::storage::side_file::SideFile;

    #[test]
    fn an_index_comes_back_decoded_and_a_damaged_one_not_at_all() {
        let disk = SimDisk::new(SimSteps::default(), SimRandom::new(1));
        let mut segment = Segment::new(Offset(100), 0, 0);
        segment.size = 5 << 20;
        let entries = [(100, 0), (101, 4096), (200, 2 << 20)].map(|(offset, position)| IndexEntry {
            offset: Offset(offset),
            position,
            max_timestamp: offset,
        });
        let mut bytes = SideFile::of_index(&segment, entries.iter()).encode();
        let read = |bytes: &[u8]| {
            disk.replace_file(Path::new("index"), bytes).unwrap();
            let task = Task::ReadIndex { path: "index".to_owned(), bytes_max: 1 << 20 };
            run_task(&disk, &task, None).outcome
        };
        let Outcome::Index(found) = read(&bytes) else { panic!("the index is sound") };
        assert_eq!((found.0.base_offset, found.0.size), (100, 5 << 20));
        // What is kept in memory: entries that lie close together are thinned out.
        assert_eq!(found.1.entries().map(|entry| entry.offset.0).collect::<Vec<_>>(), [100, 200]);
        *bytes.last_mut().unwrap() ^= 1;
        assert!(matches!(read(&bytes), Outcome::Failed(Fault::Io)));
    }

    fn names(disk: &SimDisk, folder: &str) -> Vec<String> {
        disk.list(Path::new(folder)).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn a_seal_leaves_the_newest_producer_snapshot_and_the_one_before_and_a_truncation_none_behind_the_end() {
        let disk = SimDisk::new(SimSteps::default(), SimRandom::new(1));
        disk.create_directories(Path::new("t-0")).unwrap();
        let file = disk.open(Path::new("t-0/segment"), Access::Create, Caching::Buffered).unwrap();
        let snapshot_at = |end_offset| {
            let contents = SideFile::of_producers(Offset(end_offset), &[]);
            (snapshot_path("t-0", Offset(end_offset)), contents)
        };
        let seal = |side_files| {
            let task = Task::Seal { file: FileId(1), bytes: 0, side_files };
            assert!(matches!(run_task(&disk, &task, Some(&file)).outcome, Outcome::Done));
        };
        for end_offset in [10, 20, 30, 40] {
            seal(vec![snapshot_at(end_offset)]);
        }
        assert_eq!(
            names(&disk, "t-0"),
            ["00000000000000000030.snapshot", "00000000000000000040.snapshot", "segment"]
        );
        // Sealed again, after a failure; and one that has no producers.
        seal(vec![snapshot_at(40)]);
        seal(Vec::new());
        assert_eq!(names(&disk, "t-0").len(), 3);
        let (paths, folder) = (vec!["t-0/segment".to_owned()], "t-0".to_owned());
        let task = Task::RemoveTruncated { paths, folder, end_offset: Offset(30) };
        assert!(matches!(run_task(&disk, &task, None).outcome, Outcome::Done));
        assert_eq!(names(&disk, "t-0"), ["00000000000000000030.snapshot"]);
    }
}
