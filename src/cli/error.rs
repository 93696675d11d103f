//! What ends a command with exit code 1: one line, with the cause and, where it is known, the remedy.

use std::io;
use std::path::PathBuf;

use crate::client;
use crate::config;

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
}
