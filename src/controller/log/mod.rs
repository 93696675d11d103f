//! The bytes of the metadata log and its snapshots.
//!
//! Pure: slices in, slices out. A file is a [`Header`] and then, in a log, one [`frame`] per durable batch of records; in a
//! snapshot, the records that make the state. Both hold records in the same form ([`record_format`]), which is versioned
//! per kind of record, so that a new field never changes what old files mean.
//!
//! Nothing read is trusted: lengths are bounded, every byte is under a CRC32C, archives are checked before access.

pub mod frame;
pub mod header;
pub mod record_format;
pub mod snapshot;

pub use frame::{FrameBuilder, ScanEnd, scan};
pub use header::{FileKind, HEADER_BYTES, Header};

use super::state::Inconsistent;

/// What is wrong with the bytes of a file. Positions are bytes from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("format version {found}, this Ringlog knows {supported}")]
    NewerFile { found: u32, supported: u32 },
    #[error("a record of kind {kind} and version {version}, which this Ringlog does not know")]
    NewerRecord { kind: u16, version: u16 },
    #[error("its header is damaged")]
    Header,
    #[error("it has {found} bytes, its header says {expected}")]
    Length { expected: u64, found: u64 },
    #[error("its checksum does not match")]
    Checksum,
    #[error("the bytes at {position} are damaged, but good ones follow at {next_position}")]
    DamagedMiddle { position: usize, next_position: usize },
    #[error("the batch at {position} begins with record {found}, after record {expected} was to come")]
    Order { position: usize, expected: u64, found: u64 },
    #[error("a record before byte {position} is not what its kind says")]
    Record { position: usize },
    #[error("record {offset} cannot follow the ones before it: {source}")]
    Inconsistent { offset: u64, source: Inconsistent },
}

impl Fault {
    /// A newer Ringlog wrote the file: nothing is damaged.
    #[must_use]
    pub const fn is_newer_format(&self) -> bool {
        matches!(self, Self::NewerFile { .. } | Self::NewerRecord { .. })
    }
}

/// The `N` bytes of `bytes` from `position` on.
fn array_at<const N: usize>(bytes: &[u8], position: usize) -> Option<[u8; N]> {
    bytes.get(position..)?.first_chunk().copied()
}
