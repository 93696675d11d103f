//! Why bytes are not records, or records cannot be a batch.

use super::Codec;
use crate::model::batch::BatchError;

/// A fault of whoever made the batch; of the caller, when building one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("{needed} bytes are needed, {remaining} remain")]
    Cut { needed: usize, remaining: usize },
    #[error("a variable-length integer does not end within its {bytes_max} bytes")]
    VarintTooLong { bytes_max: usize },
    #[error("{field} of {found} is out of bounds")]
    Length { field: &'static str, found: i32 },
    #[error("a record says {expected} bytes, its fields take {found}")]
    RecordSize { expected: usize, found: usize },
    #[error("offset delta {found} does not lie above {previous} and up to {last}")]
    OffsetDelta { found: i32, previous: i32, last: i32 },
    #[error("{bytes} bytes remain after the batch's {record_count} records")]
    TrailingBytes { bytes: usize, record_count: i32 },
    #[error("codec {found} is not known")]
    UnknownCodec { found: i16 },
    #[error("what {codec} packed cannot be unpacked")]
    Broken { codec: Codec },
    #[error("what {codec} packed is larger than {bytes_max} bytes")]
    TooLarge { codec: Codec, bytes_max: usize },
    #[error("{codec} failed to pack {bytes} bytes")]
    PackFailed { codec: Codec, bytes: usize },
    #[error("{what} of {found} is more than a batch can hold")]
    TooLong { what: &'static str, found: usize },
}
