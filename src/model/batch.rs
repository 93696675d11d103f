//! Record batch v2 (magic 2, KIP-98): the header, its checks, and the few fields that a broker writes.
//!
//! ```text
//! byte  size  field
//!    0     8  base_offset              assigned by the broker, not in the CRC
//!    8     4  batch_length             bytes behind this field
//!   12     4  partition_leader_epoch   assigned by the broker, not in the CRC
//!   16     1  magic                    2
//!   17     4  crc                      CRC32C of everything from byte 21 on
//!   21     2  attributes               bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon
//!   23     4  last_offset_delta
//!   27     8  base_timestamp           ms
//!   35     8  max_timestamp            ms
//!   43     8  producer_id
//!   51     2  producer_epoch
//!   53     4  base_sequence
//!   57     4  record_count
//!   61     -  records                  possibly compressed; the broker does not look
//! ```

use super::crc;
use super::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// Bytes before what `batch_length` counts.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// First byte that the CRC covers.
pub const CRC_START: usize = 21;
/// First byte of the records.
pub const RECORDS_START: usize = HEADER_BYTES;

const CODEC_MASK: i16 = 0x07;
const TIMESTAMP_TYPE_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;

/// A batch's header, decoded. Cheap to make (61 bytes), owns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Size of the whole batch in bytes, `LOG_OVERHEAD_BYTES` included; at least [`HEADER_BYTES`].
    pub size_bytes: usize,
    pub leader_epoch: LeaderEpoch,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub record_count: i32,
}

/// Why bytes are not a valid batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("a batch header needs {HEADER_BYTES} bytes, {found} are there")]
    HeaderCut { found: usize },
    #[error("batch length {found} is out of bounds")]
    LengthOutOfBounds { found: i32 },
    #[error("the batch says {expected} bytes, {found} are there")]
    BodyCut { expected: usize, found: usize },
    #[error("magic {found} is not supported, 2 is")]
    Magic { found: i8 },
    #[error("CRC {found:#010x} does not match {expected:#010x}")]
    Crc { expected: u32, found: u32 },
    #[error("record count {record_count} does not agree with last offset delta {last_offset_delta}")]
    Counts { record_count: i32, last_offset_delta: i32 },
}

impl BatchHeader {
    /// Decodes the header at the start of `bytes`. Checks magic and that the length is at least a header's; not that the
    /// body is there, not the CRC, not the counts.
    ///
    /// # Errors
    /// `HeaderCut`, `LengthOutOfBounds`, `Magic`.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let cut = BatchError::HeaderCut { found: bytes.len() };
        // The magic stands at the same place in every version: say it is old before saying it is short.
        let magic = bytes.get(16).ok_or(cut)?.cast_signed();
        if magic != 2 {
            return Err(BatchError::Magic { found: magic });
        }
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(cut)?;
        let length = i32_at(header, 8);
        let size_bytes = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(LOG_OVERHEAD_BYTES))
            .filter(|&size| size >= HEADER_BYTES)
            .ok_or(BatchError::LengthOutOfBounds { found: length })?;
        Ok(Self {
            base_offset: Offset(i64_at(header, 0)),
            size_bytes,
            leader_epoch: LeaderEpoch(i32_at(header, 12)),
            crc: i32_at(header, 17).cast_unsigned(),
            attributes: i16_at(header, 21),
            last_offset_delta: i32_at(header, 23),
            base_timestamp: i64_at(header, 27),
            max_timestamp: i64_at(header, 35),
            producer_id: ProducerId(i64_at(header, 43)),
            producer_epoch: ProducerEpoch(i16_at(header, 51)),
            base_sequence: i32_at(header, 53),
            record_count: i32_at(header, 57),
        })
    }

    /// Decodes and checks the batch at the start of `bytes` in full: body present, CRC, counts.
    ///
    /// # Errors
    /// Any [`BatchError`].
    pub fn check(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = Self::parse(bytes)?;
        let body = bytes
            .get(CRC_START..header.size_bytes)
            .ok_or(BatchError::BodyCut { expected: header.size_bytes, found: bytes.len() })?;
        let found = crc::crc32c(body);
        if found != header.crc {
            return Err(BatchError::Crc { expected: header.crc, found });
        }
        header.check_counts()?;
        Ok(header)
    }

    /// The header's bytes, with `crc` as it is; `size_bytes` beyond what an `i32` can say is cut to that.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        if let Some(prefix) = bytes.first_chunk_mut() {
            *prefix = assigned_prefix(self.base_offset, self.size_bytes, self.leader_epoch);
        }
        put(&mut bytes, 16, &[2]);
        put(&mut bytes, 17, &self.crc.to_be_bytes());
        put(&mut bytes, 21, &self.attributes.to_be_bytes());
        put(&mut bytes, 23, &self.last_offset_delta.to_be_bytes());
        put(&mut bytes, 27, &self.base_timestamp.to_be_bytes());
        put(&mut bytes, 35, &self.max_timestamp.to_be_bytes());
        put(&mut bytes, 43, &self.producer_id.0.to_be_bytes());
        put(&mut bytes, 51, &self.producer_epoch.0.to_be_bytes());
        put(&mut bytes, 53, &self.base_sequence.to_be_bytes());
        put(&mut bytes, 57, &self.record_count.to_be_bytes());
        bytes
    }

    /// A batch as a producer may send it: at least one record, offsets dense. (Compaction makes sparse ones, on disk only.)
    ///
    /// # Errors
    /// `Counts`.
    pub fn check_dense(&self) -> Result<(), BatchError> {
        if self.record_count < 1 || self.last_offset_delta != self.record_count - 1 {
            return Err(self.counts_error());
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), BatchError> {
        if self.last_offset_delta < 0
            || self.record_count < 0
            || self.record_count.saturating_sub(1) > self.last_offset_delta
        {
            return Err(self.counts_error());
        }
        Ok(())
    }

    const fn counts_error(&self) -> BatchError {
        BatchError::Counts { record_count: self.record_count, last_offset_delta: self.last_offset_delta }
    }

    /// The offset behind the batch's last.
    #[must_use]
    pub const fn end_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta as i64 + 1)
    }

    /// The sequence number of the last record; wraps from `i32::MAX` to 0 (KIP-98).
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        sequence_plus(self.base_sequence, self.last_offset_delta)
    }

    /// Bits 0-2 of the attributes: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; 5 to 7 name nothing.
    #[must_use]
    pub const fn codec(&self) -> i16 {
        self.attributes & CODEC_MASK
    }

    #[must_use]
    pub const fn is_log_append_time(&self) -> bool {
        self.attributes & TIMESTAMP_TYPE_BIT != 0
    }

    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    #[must_use]
    pub const fn is_idempotent(&self) -> bool {
        self.producer_id.0 >= 0
    }
}

/// `sequence + delta` in the sequence space of KIP-98: 0 to `i32::MAX`, then 0 again.
#[must_use]
pub const fn sequence_plus(sequence: i32, delta: i32) -> i32 {
    let sum = sequence as i64 + delta as i64;
    let space = i32::MAX as i64 + 1;
    #[expect(clippy::cast_possible_truncation, reason = "rem_euclid of 2^31 fits in 31 bits")]
    let wrapped = sum.rem_euclid(space) as i32;
    wrapped
}

/// The first 16 bytes of a stored batch: what the broker assigns, and the length between the two, which stays.
#[must_use]
pub fn assigned_prefix(base_offset: Offset, size_bytes: usize, leader_epoch: LeaderEpoch) -> [u8; 16] {
    let mut prefix = [0; 16];
    let length = i32::try_from(size_bytes.saturating_sub(LOG_OVERHEAD_BYTES)).unwrap_or(i32::MAX);
    let (offset, rest) = prefix.split_at_mut(8);
    offset.copy_from_slice(&base_offset.0.to_be_bytes());
    let (length_field, epoch_field) = rest.split_at_mut(4);
    length_field.copy_from_slice(&length.to_be_bytes());
    epoch_field.copy_from_slice(&leader_epoch.0.to_be_bytes());
    prefix
}

/// The whole header of a sound batch of `size_bytes` with LogAppendTime set, and its new CRC, without reading the records again:
/// the sum is linear, so that what changes it is the change of the header's part, carried over the records' length.
#[must_use]
pub fn with_log_append_time(
    header_bytes: &[u8; HEADER_BYTES],
    size_bytes: usize,
    append_time_ms: i64,
) -> [u8; HEADER_BYTES] {
    let mut header = *header_bytes;
    let before = u32::from_be_bytes(field(&header, 17));
    let sum_of = |header: &[u8; HEADER_BYTES]| crc::crc32c(header.split_at(CRC_START).1);
    let covered_before = sum_of(&header);
    let attributes = i16_at(&header, 21) | TIMESTAMP_TYPE_BIT;
    put(&mut header, 21, &attributes.to_be_bytes());
    put(&mut header, 35, &append_time_ms.to_be_bytes());
    let changed = covered_before ^ sum_of(&header);
    let sum = crc::crc32c_changed(before, changed, size_bytes.saturating_sub(RECORDS_START));
    put(&mut header, 17, &sum.to_be_bytes());
    header
}

/// The CRC of a batch with this header (whose own `crc` is not read) and these records.
#[must_use]
pub fn crc_of(header: &[u8; HEADER_BYTES], records: &[u8]) -> u32 {
    let (_, covered) = header.split_at(CRC_START);
    crc::crc32c_append(crc::crc32c(covered), records)
}

fn put<const N: usize>(header: &mut [u8; HEADER_BYTES], at: usize, field: &[u8; N]) {
    if let Some(target) = header.get_mut(at..at.saturating_add(N)) {
        target.copy_from_slice(field);
    }
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    header.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

fn i16_at(header: &[u8; HEADER_BYTES], at: usize) -> i16 {
    i16::from_be_bytes(field(header, at))
}

fn i32_at(header: &[u8; HEADER_BYTES], at: usize) -> i32 {
    i32::from_be_bytes(field(header, at))
}

fn i64_at(header: &[u8; HEADER_BYTES], at: usize) -> i64 {
    i64::from_be_bytes(field(header, at))
}

#[cfg(test)]
mod tests;
