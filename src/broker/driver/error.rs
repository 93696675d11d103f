//! Why the broker does not start, or stops.

use std::path::PathBuf;

use crate::{controller, runtime, storage};

/// The operator reads these: each names the cause, and the remedy where there is one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    Metadata(#[from] controller::Error),
    #[error("cannot recover the log: {0}")]
    Recovery(#[from] storage::recovery::RecoveryError),
    #[error("cannot find an address for {host}: {source}")]
    UnknownHost { host: String, source: std::io::Error },
    #[error("none of the addresses in listeners can be bound")]
    NoAddress,
    #[error("no randomness from {}: {source}", path.display())]
    Random { path: PathBuf, source: std::io::Error },
    #[error("CPU {wanted} (shard.cores) is not one that this process may use")]
    CpuNotAllowed { wanted: u16 },
    #[error(
        "{count} shards (shard.cores), but memory.bytes = {memory_bytes} and arena.bytes = {arena_bytes} are enough for {count_max}; give \
         them more, or fewer shards"
    )]
    TooManyShards { count: usize, count_max: usize, memory_bytes: usize, arena_bytes: usize },
    #[error(
        "{count} spinning shards would leave the control thread no CPU; give them fewer (shard.cores), or shard.idle = park"
    )]
    NoCpuForControl { count: usize },
    #[error("cannot make the commit log {path}: {fault}")]
    CommitLog { path: String, fault: storage::operation::Fault },
    #[error(
        "the metadata log is older than the data, which tell of start {last}; put back the metadata of that time"
    )]
    MetadataLost { last: u64 },
    #[error(
        "{source}: the disk is full; free {} MiB in the file system of {}, and start again",
        needed_bytes >> 20, data.display()
    )]
    NoRoom { data: PathBuf, needed_bytes: u64, source: Box<Error> },
    #[error("cannot recover the log, whose memory is in another place or larger than now")]
    NoRoomToRecover,
    #[error("the shard's thread ended unexpectedly")]
    ShardEnded,
}

impl Error {
    /// Whether room in the file system of the data would have helped.
    pub(super) fn is_disk_full(&self) -> bool {
        let is_full =
            |error: &runtime::Error| matches!(error, runtime::Error::Disk { .. }) && error.is_storage_full();
        match self {
            Self::Runtime(error)
            | Self::Metadata(controller::Error::Disk(error))
            | Self::Recovery(storage::recovery::RecoveryError::Disk(error)) => is_full(error),
            Self::NoRoomToRecover => true,
            Self::CommitLog { fault, .. } => *fault == storage::operation::Fault::NoSpace,
            _ => false,
        }
    }
}
