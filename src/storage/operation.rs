//! I/O as data: what the log wants done, and what it is told when it is done.
//!
//! The core never waits and never touches a file. It hands out [`Operation`]s; a driver (the shard's ring and its worker
//! threads, or the simulator) carries them out in any order and at any time, and returns each exactly once as a [`Completion`].

use crate::model::Offset;
use crate::runtime::memory::AlignedBuffer;

use super::arena::ChunkId;
use super::checkpoint::{CheckpointFile, SegmentRecord};
use super::partition::segment::SegmentIndex;
use super::side_file::SideFile;

/// Names an operation until its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// Names a file that the driver opens on [`Task::Open`] or [`Task::CreateCommitFile`] and forgets on [`Task::Close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// One piece of a gathered write; each a multiple of 4,096 bytes long.
#[derive(Debug)]
pub enum WritePiece {
    /// Bytes of the arena's memory, pinned until the completion.
    Arena { chunk: ChunkId, place: u64, bytes: u64 },
    /// The first `bytes` of a private buffer, which comes back with the completion.
    Buffer { buffer: AlignedBuffer, bytes: u64 },
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Operation {
    /// Write the pieces one after another from `position` on. `durable`: on stable media before completion (RWF_DSYNC).
    Write { id: OperationId, file: FileId, pieces: Vec<WritePiece>, position: u64, durable: bool },
    /// Bring all completed writes of the file to stable media (fdatasync).
    Sync { id: OperationId, file: FileId },
    /// Read `bytes` from `position` on into a new buffer; both multiples of 4,096. Behind the end of the file: zeros.
    Read { id: OperationId, file: FileId, position: u64, bytes: u64 },
    /// Something that may block for long: done by a worker, tasks of one [`Lane`] in order.
    Task { id: OperationId, lane: Lane, task: Task },
}

/// Ends the names of files that are about to be removed.
pub const ASIDE: &str = ".deleted";
/// Name, in a partition's folder, of the file that its next segment will be. A start removes it.
pub const PREPARED_NAME: &str = "next.log";

/// Two kinds of blocking work, so that a large delete does not delay an open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// In order within a folder ([`Task::folder`]), many folders at a time.
    Files,
    /// One after another.
    Slow,
}

/// Blocking work. Paths are relative to the data directory and have at most two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Open `path` as `file`. `create`: make the folder and the file if they are missing, `allocate_bytes` of zeros,
    /// and make their names durable before completing; `folder_file` is then written beside it if it is missing.
    Open { file: FileId, path: String, create: Option<CreateFile> },
    /// Make the file at `path`, in a folder that is there, with room for `bytes`, reading as zeros: the next segment, before its
    /// name is known. What cannot be made whole is removed.
    Prepare { path: String, bytes: u64 },
    /// Give `file` room for `bytes` in all, reading as zeros.
    Allocate { file: FileId, bytes: u64 },
    /// Cut `file` to exactly `bytes` and bring it to stable media; then write the side files (each replaced atomically), which
    /// whoever carries this out encodes. Of producer snapshots only the one before a new one is kept beside it.
    Seal { file: FileId, bytes: u64, side_files: Vec<(String, SideFile)> },
    /// Write the index file at `path` anew. Not durable: it can be made again.
    WriteIndex { path: String, contents: Box<SideFile> },
    /// Forget `file`.
    Close { file: FileId },
    /// Replace the file at `path` atomically by `file`, durable. It may be large: whoever carries this out encodes it.
    WriteCheckpoint { path: String, file: Box<CheckpointFile> },
    /// Make a commit-log file of `bytes` zeros, already written and durable, and open it as `file`.
    CreateCommitFile { file: FileId, path: String, bytes: u64 },
    /// Rename folders of the data directory, durable together. One that cannot be renamed keeps none of the others.
    RenameFolders { folders: Vec<RenameFolder> },
    /// Give each file, of one folder, its name with [`ASIDE`] behind it; missing ones are no error.
    SetAside { paths: Vec<String> },
    /// Remove files of one folder, durable; missing ones are no error.
    RemoveFiles { paths: Vec<String> },
    /// The same after a truncation to `end_offset`: producer snapshots in `folder` that describe what lay behind it go too.
    RemoveTruncated { paths: Vec<String>, folder: String, end_offset: Offset },
    /// Remove a folder and all in it; a missing one is no error.
    RemoveFolder { path: String },
    /// Remove from the partitions' `folders` the files with [`ASIDE`], and the folders of deleted partitions.
    RemoveLeftOver { folders: Vec<String> },
    /// Read and decode the index file at `path`, of at most `bytes_max`.
    ReadIndex { path: String, bytes_max: u64 },
}

impl Task {
    /// The folder that the task works in, if it is one, and named. Tasks of a folder are carried out in the order in which they
    /// were asked for; so is one that works in several, in relation to all others of its lane.
    #[must_use]
    pub fn folder(&self) -> Option<&str> {
        let path = match self {
            Self::Open { path, .. }
            | Self::Prepare { path, .. }
            | Self::WriteIndex { path, .. }
            | Self::WriteCheckpoint { path, .. }
            | Self::CreateCommitFile { path, .. }
            | Self::ReadIndex { path, .. } => path,
            Self::SetAside { paths } | Self::RemoveFiles { paths } => paths.first()?,
            Self::RemoveTruncated { folder, .. } => return Some(folder),
            Self::RemoveFolder { path } => return Some(path),
            Self::Allocate { .. }
            | Self::Seal { .. }
            | Self::Close { .. }
            | Self::RenameFolders { .. }
            | Self::RemoveLeftOver { .. } => return None,
        };
        Some(path.rsplit_once('/').map_or("", |(folder, _)| folder))
    }
}

/// How [`Task::Open`] makes what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateFile {
    pub allocate_bytes: u64,
    /// A file that [`Task::Prepare`] may have made: then it is this one, under its new name.
    pub prepared: Option<String>,
    /// Name and content of a file that every partition folder has.
    pub folder_file: (String, Vec<u8>),
}

/// A folder `from` that is to be `to`. Nothing happens unless `folder_file` is in it: without that it is another's, perhaps of
/// another shard, or missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameFolder {
    pub from: String,
    pub to: String,
    pub folder_file: (String, Vec<u8>),
}

/// Why an operation did not happen. The text is for the log; decisions look at the kind alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("no space left on the device")]
    NoSpace,
    #[error("the file does not exist")]
    NotFound,
    #[error("input/output error")]
    Io,
}

/// What an operation gave.
#[derive(Debug)]
pub enum Outcome {
    Done,
    /// Of a read: the bytes asked for.
    Buffer(AlignedBuffer),
    /// Of [`Task::ReadIndex`]: the segment that the index says it is of, and what is kept of it in memory.
    Index(Box<(SegmentRecord, SegmentIndex)>),
    Failed(Fault),
}

/// The end of an operation; `pieces` are those of a write.
#[derive(Debug)]
pub struct Completion {
    pub id: OperationId,
    pub outcome: Outcome,
    pub pieces: Vec<WritePiece>,
}
