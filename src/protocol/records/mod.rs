//! What is inside a record batch v2: records, their keys, headers and times, and the codecs they may be packed with.
//!
//! Producers build batches here ([`BatchBuilder`]), consumers and offline tools open them ([`Batch`]). The broker's data
//! path does not: it passes batches through as they are, and opens one only to find a record by its time.
//!
//! Everything read is bounded: a record by its batch, a batch by its length, and what a packed batch unpacks to by a
//! limit that the caller names. Source: KIP-98 (format), KIP-110 (zstd), Kafka's protocol guide.

mod batch;
mod builder;
mod codec;
mod cursor;
mod error;
mod record;
mod search;

pub use batch::{Batch, Batches, RecordIter};
pub use builder::{BatchBuilder, NewRecord, Stamp, stamp};
pub use codec::Codec;
pub use error::RecordsError;
pub use record::{Header, HeaderIter, Headers, Record};
pub use search::{RecordSearch, RecordSearched};

/// What this module returns.
pub type Result<T> = std::result::Result<T, RecordsError>;

#[cfg(test)]
mod tests;
