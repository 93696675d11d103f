//! Side files: rkyv archives in an envelope with kind, format version and CRC. All can be rebuilt from the log.
//!
//! ```text
//! byte  size  field (little-endian)
//!    0     8  magic "RLSIDE\0\0"
//!    8     4  kind
//!   12     4  format version
//!   16     8  payload length
//!   24     4  CRC32C of the payload
//!   28     4  -
//!   32     -  payload: the archive
//! ```

use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

use super::checkpoint::{ProducerRecord, SegmentRecord};
use super::partition::producers::ProducedBatch;
use super::partition::segment::{IndexEntry, Segment, SegmentIndex};
use crate::model::crc;
use crate::model::limits::{OFFSET_MAX, PRODUCER_BATCHES_REMEMBERED};
use crate::model::number::wide;
use crate::model::{Offset, ProducerId};

const MAGIC: [u8; 8] = *b"RLSIDE\0\0";
const HEADER_BYTES: usize = 32;
/// Entries of a sealed segment's index that are kept in memory are so far apart at least. Unit: bytes.
pub const SEALED_INDEX_INTERVAL_BYTES: u64 = 1 << 20;
/// The format that is written; newer ones are refused.
const VERSION: u32 = 1;

/// What a side file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Index = 1,
    Producers = 2,
    Checkpoint = 3,
}

/// Why a side file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SideFileError {
    #[error("not a side file of this kind")]
    Magic,
    #[error("format version {found} is newer than {supported}")]
    Newer { found: u32, supported: u32 },
    #[error("the file is cut")]
    Cut,
    #[error("CRC {found:#010x} does not match {expected:#010x}")]
    Crc { expected: u32, found: u32 },
    #[error("the archive is not sound")]
    Archive,
    #[error("its numbers are not possible")]
    Numbers,
}

/// A sealed segment's index: what `ringlog inspect index` prints.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct IndexFile {
    pub segment: SegmentRecord,
    /// (offset, byte position, largest timestamp up to there), in order.
    pub entries: Vec<(i64, u64, i64)>,
}

/// Producer state at an offset.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ProducersFile {
    pub end_offset: i64,
    pub producers: Vec<ProducerRecord>,
}

/// Puts `payload` into an envelope.
#[must_use]
pub fn envelope(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&(kind as u32).to_le_bytes());
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&wide(payload.len()).to_le_bytes());
    bytes.extend_from_slice(&crc::crc32c(payload).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// What a file that begins with `bytes` says that it is; the rest of it may be damaged.
#[must_use]
pub fn kind_of(bytes: &[u8]) -> Option<Kind> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let kinds = [Kind::Index, Kind::Producers, Kind::Checkpoint];
    kinds.into_iter().find(|&kind| header.starts_with(&MAGIC) && u32_at(header, 8) == kind as u32)
}

/// The payload of an envelope, aligned for access.
///
/// # Errors
/// `Magic`, `Newer`, `Cut`, `Crc`.
pub fn open(kind: Kind, bytes: &[u8]) -> Result<AlignedVec, SideFileError> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(SideFileError::Cut)?;
    if !header.starts_with(&MAGIC) || u32_at(header, 8) != kind as u32 {
        return Err(SideFileError::Magic);
    }
    let version = u32_at(header, 12);
    if version > VERSION {
        return Err(SideFileError::Newer { found: version, supported: VERSION });
    }
    let length = u64::from(u32_at(header, 16)) | u64::from(u32_at(header, 20)) << 32;
    let payload = bytes.get(HEADER_BYTES..).ok_or(SideFileError::Cut)?;
    if wide(payload.len()) != length {
        return Err(SideFileError::Cut);
    }
    let expected = u32_at(header, 24);
    let found = crc::crc32c(payload);
    if found != expected {
        return Err(SideFileError::Crc { expected, found });
    }
    let mut aligned = AlignedVec::with_capacity(payload.len());
    aligned.extend_from_slice(payload);
    Ok(aligned)
}

/// What is written beside a sealed segment. It may be large: whoever writes it encodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SideFile {
    Index(IndexFile),
    Producers(ProducersFile),
}

impl SideFile {
    /// The index of a segment.
    pub fn of_index<'e>(segment: &Segment, entries: impl Iterator<Item = &'e IndexEntry>) -> Self {
        let entries = entries.map(|entry| (entry.offset.0, entry.position, entry.max_timestamp)).collect();
        Self::Index(IndexFile { segment: segment.into(), entries })
    }

    /// Producer state when the log ended at `end_offset`.
    #[must_use]
    pub fn of_producers(end_offset: Offset, snapshot: &[(ProducerId, i64, Vec<ProducedBatch>)]) -> Self {
        let producers = snapshot.iter().map(Into::into).collect();
        Self::Producers(ProducersFile { end_offset: end_offset.0, producers })
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, archived) = match self {
            Self::Index(file) => (Kind::Index, rkyv::to_bytes::<rkyv::rancor::Error>(file)),
            Self::Producers(file) => (Kind::Producers, rkyv::to_bytes::<rkyv::rancor::Error>(file)),
        };
        assert!(archived.is_ok(), "a side file could not be serialised");
        envelope(kind, &archived.unwrap_or_default())
    }
}

impl ProducersFile {
    fn is_possible(&self) -> bool {
        let end_offsets =
            |producer: &ProducerRecord| producer.batches.iter().map(|batch| batch.end_offset).max();
        (0..=OFFSET_MAX).contains(&self.end_offset)
            && self.producers.iter().all(|producer| {
                producer.batches.len() <= PRODUCER_BATCHES_REMEMBERED
                    && end_offsets(producer).is_none_or(|last| last <= self.end_offset)
            })
    }
}

impl IndexFile {
    /// The index to be kept in memory.
    #[must_use]
    pub fn into_index(self) -> SegmentIndex {
        let entries = self.entries.into_iter().map(|(offset, position, max_timestamp)| IndexEntry {
            offset: Offset(offset),
            position,
            max_timestamp,
        });
        let mut index = SegmentIndex::complete(entries.collect());
        index.thin_out(SEALED_INDEX_INTERVAL_BYTES);
        index
    }
}

/// The index file of a segment.
#[must_use]
pub fn encode_index(base_offset: Offset, segment: &Segment, entries: &[IndexEntry]) -> Vec<u8> {
    debug_assert_eq!(base_offset, segment.base_offset);
    SideFile::of_index(segment, entries.iter()).encode()
}

/// Reads an index file.
///
/// # Errors
/// [`SideFileError`].
pub fn decode_index(bytes: &[u8]) -> Result<IndexFile, SideFileError> {
    let payload = open(Kind::Index, bytes)?;
    let file = rkyv::from_bytes::<IndexFile, rkyv::rancor::Error>(&payload);
    let file = file.map_err(|_| SideFileError::Archive)?;
    if file.segment.is_possible() { Ok(file) } else { Err(SideFileError::Numbers) }
}

/// A producer snapshot file.
#[must_use]
pub fn encode_producers(end_offset: Offset, snapshot: &[(ProducerId, i64, Vec<ProducedBatch>)]) -> Vec<u8> {
    SideFile::of_producers(end_offset, snapshot).encode()
}

/// Reads a producer snapshot file.
///
/// # Errors
/// [`SideFileError`].
pub fn decode_producers(bytes: &[u8]) -> Result<ProducersFile, SideFileError> {
    let payload = open(Kind::Producers, bytes)?;
    let file = rkyv::from_bytes::<ProducersFile, rkyv::rancor::Error>(&payload);
    let file = file.map_err(|_| SideFileError::Archive)?;
    if file.is_possible() { Ok(file) } else { Err(SideFileError::Numbers) }
}

fn u32_at(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    header.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
