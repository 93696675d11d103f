//! The files of the metadata log: `metadata/<number>.log` and `metadata/<number>.snapshot`.
//!
//! Numbers rise with every file made. A log holds the records from the offset in its header up to the one where the next
//! log begins; what it holds beyond that was never acknowledged, and is not read. A log that had a failed write, or that
//! an earlier process wrote, is never written again: the state in memory goes into a snapshot, and a new log begins. (After
//! a failed flush the kernel may show bytes that are not on disk, and never try again to put them there.) The newest
//! readable snapshot and the logs from its offset on make the state; the snapshot before it, and the logs from there, are
//! kept in case it is damaged.
//!
//! Invariants: files appear whole (written beside, flushed, renamed); at most one log is written, the newest; it never
//! grows beyond [`LOG_BYTES_MAX`].

mod begin;
mod load;

pub(super) use begin::{make_first_log, remove_unfinished};
pub(super) use load::{Loaded, load};

use super::Error;
use crate::controller::log::{FileKind, FrameBuilder, HEADER_BYTES, Header, snapshot};
use crate::controller::state::State;
use crate::model::ClusterId;
use crate::model::image::MetadataOffset;
use crate::runtime;
use crate::runtime::disk::BlockingDisk;
use crate::runtime::file::{Access, BlockingFile, Caching};
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "metadata";

/// A log is not compacted before it has this length. Unit: bytes.
const COMPACTED_LOG_BYTES_MIN: u64 = 1 << 20;
/// The longest log, and the longest file that is read. Unit: bytes.
const LOG_BYTES_MAX: u64 = 256 << 20;
const FILE_BYTES_MAX: usize = 256 << 20;

const _: () = assert!(crate::model::limits::METADATA_BYTES_MAX * 2 <= LOG_BYTES_MAX);

/// See the module.
pub(super) struct Store<D: BlockingDisk> {
    disk: D,
    cluster_id: ClusterId,
    /// The log that is written; `None` after a failed write, until a new one is begun.
    open: Option<OpenLog<D::File>>,
    /// Readable ones, by number.
    snapshots: Vec<FileRef>,
    /// By number; their offsets ascend too.
    logs: Vec<FileRef>,
    /// To be removed when the next snapshot is durable.
    needless: Vec<PathBuf>,
    next_number: u64,
    /// Length of the log at which the next snapshot is due.
    compact_at_bytes: u64,
}

struct OpenLog<F> {
    file: F,
    header_crc: u32,
    end_position: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileRef {
    number: u64,
    offset: MetadataOffset,
}

impl<D: BlockingDisk> Store<D> {
    /// Makes `frame` durable at the end of the log. `state` is that of before the frame: after an earlier failure it is
    /// what a new log begins with.
    ///
    /// # Errors
    /// Whether the frame is on disk is not known; it will not be read, unless the process ends before a new log is begun.
    pub(super) fn append(&mut self, frame: FrameBuilder, state: &State) -> Result<(), runtime::Error> {
        let frame_bytes = (frame.body_bytes() + HEADER_BYTES) as u64;
        let has_room =
            |open: &OpenLog<D::File>| open.end_position.saturating_add(frame_bytes) <= LOG_BYTES_MAX;
        if !self.open.as_ref().is_some_and(has_room) {
            self.open = None;
            self.compact(state)?;
        }
        let Some(mut open) = self.open.take() else { unreachable!("a compacted store has an open log") };
        let bytes = frame.finish(open.header_crc);
        open.file.write_at(open.end_position, &bytes)?;
        open.file.sync()?;
        open.end_position += bytes.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    /// Whether the log has grown so much that [`Self::compact`] is due.
    pub(super) fn is_long(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.end_position >= self.compact_at_bytes)
    }

    /// Writes `state` as a snapshot, begins a new log behind it, and removes what both make needless.
    ///
    /// # Errors
    /// Nothing is lost. If a log is still open it can be written; else the next append tries again.
    pub(super) fn compact(&mut self, state: &State) -> Result<(), runtime::Error> {
        // Should this fail, then not at every append.
        self.compact_at_bytes = self
            .open
            .as_ref()
            .map_or(0, |open| open.end_position)
            .saturating_mul(2)
            .max(COMPACTED_LOG_BYTES_MIN);
        let offset = state.image().metadata_offset();
        // A disk that takes a snapshot and then no log is not to be filled with snapshots by one try after the other.
        if self.snapshots.last().is_none_or(|newest| newest.offset < offset) {
            let snapshot = FileRef { number: self.take_number(), offset };
            let bytes = snapshot::encode(state, snapshot.number);
            write_whole(&self.disk, &path_of(FileKind::Snapshot, snapshot.number), &bytes)?;
            self.snapshots.push(snapshot);
        }
        self.begin_log(offset)?;
        self.compact_at_bytes = COMPACTED_LOG_BYTES_MIN.max(state.snapshot_bytes_max());
        self.remove_needless();
        Ok(())
    }

    fn begin_log(&mut self, offset: MetadataOffset) -> Result<(), runtime::Error> {
        // From here on the old log must not be written: the new one may be there even if making it seems to fail, and
        // ends what is read of the old one.
        self.open = None;
        let log = FileRef { number: self.take_number(), offset };
        let header = log_header(self.cluster_id, log);
        let path = path_of(FileKind::Log, log.number);
        let written = write_whole(&self.disk, &path, &header.encode());
        let opened = written.and_then(|()| self.disk.open(&path, Access::Write, Caching::Buffered));
        if opened.is_err() {
            // An empty log that stays does no harm, many do. Its removal may fail as well.
            let _ = self.disk.remove(&path);
        }
        let file = opened?;
        self.logs.push(log);
        self.open = Some(OpenLog { file, header_crc: header.crc(), end_position: HEADER_BYTES as u64 });
        Ok(())
    }

    fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Removes what the two newest snapshots make needless. What cannot be removed stays, and is tried again later.
    fn remove_needless(&mut self) {
        let kept_from = self.snapshots.len().saturating_sub(2);
        if let [oldest_kept, _] = self.snapshots.get(kept_from..).unwrap_or_default() {
            let needed = self.logs.partition_point(|log| log.offset <= oldest_kept.offset).saturating_sub(1);
            let logs = self.logs.drain(..needed).map(|file| path_of(FileKind::Log, file.number));
            let snapshots =
                self.snapshots.drain(..kept_from).map(|file| path_of(FileKind::Snapshot, file.number));
            self.needless.extend(snapshots.chain(logs));
        }
        let disk = &self.disk;
        self.needless.retain(|path| match disk.remove(path) {
            Ok(()) => false,
            Err(error) if error.is_not_found() => false,
            Err(error) => {
                tracing::warn!("an old metadata file stays for now: {error}");
                true
            }
        });
    }
}

fn log_header(cluster_id: ClusterId, log: FileRef) -> Header {
    let FileRef { number, offset } = log;
    Header { kind: FileKind::Log, cluster_id, number, offset, body_bytes: 0, body_crc: 0 }
}

/// 20 digits, so that names sort as numbers do.
fn path_of(kind: FileKind, number: u64) -> PathBuf {
    let extension = match kind {
        FileKind::Log => "log",
        FileKind::Snapshot => "snapshot",
    };
    Path::new(DIRECTORY).join(format!("{number:020}.{extension}"))
}

fn parse_name(name: &str) -> Option<(FileKind, u64)> {
    let (number, extension) = name.split_once('.')?;
    let kind = match extension {
        "log" => FileKind::Log,
        "snapshot" => FileKind::Snapshot,
        _ => return None,
    };
    let is_number = number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit());
    Some((kind, number.parse().ok().filter(|_| is_number)?))
}

/// As [`BlockingDisk::replace_file`], but leaves nothing half-written behind on a disk that is full.
fn write_whole<D: BlockingDisk>(disk: &D, path: &Path, contents: &[u8]) -> Result<(), runtime::Error> {
    let written = disk.replace_file(path, contents);
    if written.is_err() {
        let mut beside = path.as_os_str().to_owned();
        beside.push(UNFINISHED);
        // Its failure adds nothing to the first one; start-up tries again.
        let _ = disk.remove(Path::new(&beside));
    }
    written
}

/// What [`BlockingDisk::replace_file`] puts behind the name of a file that is not finished.
const UNFINISHED: &str = ".new";
