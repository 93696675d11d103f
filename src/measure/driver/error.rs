//! What ends a measurement.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::measure::reply::ReplyError;
use crate::measure::request::RequestError;
use crate::measure::workload::WorkloadError;
use crate::{client, protocol, runtime};

/// What this room returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Every way in which a measurement fails. One line each.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Machine(#[from] runtime::Error),
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Client(Box<client::Error>),
    #[error(transparent)]
    Reply(#[from] ReplyError),
    #[error("{address} is no address")]
    NoAddress { address: String },
    #[error("the partitions of topic {topic} got no leader within {} s", waited.as_secs())]
    NoLeader { topic: String, waited: Duration },
    #[error("the floor met what only a broker can answer: {what}")]
    FloorLimit { what: &'static str },
    #[error("the floor's file failed: {source}")]
    FloorFile { source: io::Error },
    #[error("cannot make {}: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot start {name}: {source}")]
    Start { name: &'static str, source: io::Error },
    #[error("{name} does not serve; see {}", log.display())]
    NotServing { name: &'static str, log: PathBuf },
    #[error("{name} does not end")]
    NotEnding { name: &'static str },
    #[error("{records} acknowledged records of {topic} are gone after the restart")]
    RecordsLost { topic: String, records: u64 },
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("the connection broke: {source}")]
    Connection { source: io::Error },
    #[error("the broker closed the connection")]
    Closed,
    #[error("{requests} requests are overdue: the broker cannot keep up with this rate")]
    Overdue { requests: usize },
    #[error("cannot read {}: {source}", path.display())]
    Proc { path: PathBuf, source: io::Error },
    #[error("{} does not say what is looked for in it", path.display())]
    ProcForm { path: PathBuf },
}

impl From<protocol::Error> for Error {
    fn from(error: protocol::Error) -> Self {
        Self::Request(error.into())
    }
}

impl From<client::Error> for Error {
    fn from(error: client::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

impl Error {
    /// The broker has gone.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Closed | Self::Connection { .. })
    }
}
