//! `ringlog inspect`: what stands in the files of a data directory, without a broker.
//!
//! Files are read with the decoders of recovery, and never written. What is damaged is printed up to where it is; then one
//! line says where and why it ends there, and the exit code is 1.

mod commit_log;
mod index;
mod rows;
mod segment;
mod snapshot;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use self::rows::Rows;
use super::Error;
use crate::model::number::index as place;
use crate::runtime::file::{Access, BlockingFile as _, Caching, FileHandle};
use crate::runtime::memory::AlignedBuffer;

/// Print what stands in a file of a data directory
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Inspect {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the batches of a segment (.log), or its records too
    Segment {
        #[command(flatten)]
        target: Target,
        /// The records in the batches too
        #[arg(long)]
        records: bool,
    },
    /// Print the index of a segment (.index): offset, position and largest timestamp so far
    Index(Target),
    /// Print a file of the commit log (.clog): its header and frames
    CommitLog(Target),
    /// Print producer state (.snapshot), a checkpoint, or a log or snapshot of the metadata
    Snapshot(Target),
}

#[derive(Debug, Args)]
struct Target {
    /// The file
    file: PathBuf,
    /// One JSON object per line instead of columns
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  ringlog inspect segment ringlog-data/orders-0/00000000000000000000.log
  ringlog inspect segment orders-0/00000000000000000000.log --records --json | jq .value
  ringlog inspect index orders-0/00000000000000000000.index
  ringlog inspect commit-log ringlog-data/commit-log/0-00000000.clog
  ringlog inspect snapshot ringlog-data/checkpoints/base

The first word of a line says what it is about; lines with # name the columns. Nothing is
changed. The files of a broker that runs may change while they are read, and then end in the
middle of something.";

/// Larger files than this are not read whole. Unit: bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;

impl Inspect {
    pub(super) fn run(self) -> Result<(), Error> {
        let mut rows = Rows::new(self.is_json());
        let inspected = match &self.action {
            Action::Segment { target, records } => segment::inspect(&target.file, *records, &mut rows),
            Action::Index(target) => index::inspect(&target.file, &mut rows),
            Action::CommitLog(target) => commit_log::inspect(&target.file, &mut rows),
            Action::Snapshot(target) => snapshot::inspect(&target.file, &mut rows),
        };
        // What was found comes before what is wrong.
        match rows.finish().and(inspected) {
            // A reader that has gone (`| head`) is no error.
            Err(Error::Stdout { error }) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    pub(super) const fn is_json(&self) -> bool {
        match &self.action {
            Action::Segment { target, .. }
            | Action::Index(target)
            | Action::CommitLog(target)
            | Action::Snapshot(target) => target.json,
        }
    }
}

/// The whole file.
fn read(path: &Path) -> Result<AlignedBuffer, Error> {
    let file = FileHandle::open(path, Access::Read, Caching::Buffered)?;
    let length = file.length()?;
    if length > FILE_BYTES_MAX {
        return Err(Error::FileTooLarge { path: path.to_owned(), bytes: length, bytes_max: FILE_BYTES_MAX });
    }
    let mut content = AlignedBuffer::zeroed(place(length));
    let read = file.read_at(0, content.as_mut_slice())?;
    content.set_len(read);
    Ok(content)
}
