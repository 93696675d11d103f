//! Why the metadata cannot be opened. The operator's fault or the machine's; each stops start-up with its sentence.

use super::super::identity::IdentityFault;
use super::super::log::Fault;
use crate::model::{BrokerId, ClusterId};
use crate::runtime;
use std::path::PathBuf;

/// Paths are relative to the data directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Disk(#[from] runtime::Error),
    #[error(
        "node.id is {configured}, but this data directory belongs to node.id {found}; set node.id={found}, or choose another data directory",
        configured = .configured.0, found = .found.0
    )]
    OtherNode { configured: BrokerId, found: BrokerId },
    #[error("{}: {source}", path.display())]
    Identity { path: PathBuf, source: IdentityFault },
    #[error(
        "meta.properties is missing, but {} holds records; restore it from a copy, or choose another data directory",
        path.display()
    )]
    IdentityMissing { path: PathBuf },
    #[error(
        "data directory of a newer format: {} has {source}; start the newer Ringlog, or choose another directory \
         (--data)",
        path.display()
    )]
    NewerFormat { path: PathBuf, source: Fault },
    #[error("{} is damaged: {source}; restore the folder from a copy", path.display())]
    Damaged { path: PathBuf, source: Fault },
    #[error("{} belongs to cluster {found}, this data directory to cluster {expected}", path.display())]
    OtherCluster { path: PathBuf, expected: ClusterId, found: ClusterId },
    #[error(
        "metadata/ has no log, though meta.properties says that there was one; restore the folder from a copy"
    )]
    NoLog,
    #[error(
        "{}: the log goes on with record {found}, but record {expected} is the next; restore the folder from a copy",
        path.display()
    )]
    Gap { path: PathBuf, expected: u64, found: u64 },
}
