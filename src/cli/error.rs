//! What ends a command with exit code 1: one line, with the cause and, where it is known, the remedy.

use std::io;
use std::path::PathBuf;

use crate::client;
use crate::config;
use crate::controller::log::Fault;
use crate::protocol::records::RecordsError;
use crate::runtime;
use crate::storage::recovery::{RecoveryError, Stop};
use crate::storage::side_file::SideFileError;

/// Printed as it is, after `error: `.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file named on the command line cannot be read.
    #[error("{}: {error}", path.display())]
    ReadFile { path: PathBuf, error: io::Error },
    /// Settings are written in UTF-8.
    #[error("{}: not UTF-8, from byte {valid_bytes} on", path.display())]
    NotUtf8 { path: PathBuf, valid_bytes: usize },
    /// A setting in a file, or one of its pair, is wrong.
    #[error("{}: {error}", path.display())]
    SettingInFile { path: PathBuf, error: Box<config::Error> },
    /// A setting of the command line is wrong.
    #[error("{error}")]
    Setting { error: Box<config::Error> },
    /// The kernel does not say how much memory there is, from which defaults are computed.
    #[error("/proc/meminfo does not say how much memory there is: mount /proc")]
    MemoryUnknown,
    /// Something else logs in this process already.
    #[error("logging is set up already")]
    LoggingTwice,
    /// The result of the command could not be written.
    #[error("cannot write to stdout: {error}")]
    Stdout { error: io::Error },
    #[error(transparent)]
    Broker(#[from] crate::broker::driver::Error),
    #[error(transparent)]
    Admin(#[from] crate::admin::driver::Error),
    /// A result cannot be kept.
    #[error("{}: {error}", path.display())]
    WriteFile { path: PathBuf, error: io::Error },
    /// The bench starts this program again.
    #[error("cannot find out where this program lies: {error}")]
    Program { error: io::Error },
    #[error("no row begins with {row:?}; see ringlog bench compare --list")]
    NoRow { row: String },
    #[error(transparent)]
    Measure(#[from] crate::measure::driver::Error),
    /// A broker could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// What was to be sent could not be read.
    #[error("cannot read stdin: {error}")]
    Stdin { error: io::Error },
    #[error("a line of stdin is longer than {bytes_max} bytes")]
    LineTooLong { bytes_max: u64 },
    /// A file of a data directory cannot be read.
    #[error(transparent)]
    File(#[from] runtime::Error),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("{}: {bytes} bytes are more than is looked at, {bytes_max}", path.display())]
    FileTooLarge { path: PathBuf, bytes: u64, bytes_max: u64 },
    #[error("{}: the good batches end at byte {position} of {file_bytes}: {stop}", path.display())]
    SegmentEnds { path: PathBuf, position: u64, file_bytes: u64, stop: Stop },
    #[error("{}: the batch at byte {position} holds no sound records: {error}", path.display())]
    RecordsEnd { path: PathBuf, position: u64, error: RecordsError },
    #[error("{}: {error}", path.display())]
    SideFile { path: PathBuf, error: SideFileError },
    #[error("{}: entry {entry} does not follow the one before it, or leaves the segment", path.display())]
    IndexOrder { path: PathBuf, entry: usize },
    #[error("{}: does not begin with a commit log's header, or that is damaged", path.display())]
    NoCommitLog { path: PathBuf },
    #[error(
        "{}: the chain of frames breaks at byte {position}, where frame {expected} was to come: frame {later} follows at {later_position}",
        path.display()
    )]
    CommitLogBreaks { path: PathBuf, position: usize, expected: u64, later_position: usize, later: u64 },
    #[error(
        "{}: does not begin as producer state, a checkpoint or a file of the metadata does; there are also inspect segment, \
         index and commit-log",
        path.display()
    )]
    NoSnapshot { path: PathBuf },
    #[error("{}: {fault}", path.display())]
    Metadata { path: PathBuf, fault: Fault },
}
