//! One durable batch of records: what one flush put on disk, whole or not at all.
//!
//! ```text
//!  0  4  length of the body
//!  4  4  CRC32C of bytes 8..24 and the body, begun with the CRC32C of the file's header
//!  8  8  metadata offset of the first record
//! 16  4  number of records
//! 20  4  0
//! 24  …  body: records (`record_format`), a multiple of 8 bytes
//! ```
//! A batch is written only after the one before it is durable. So a bad batch with a good one behind it is damage, and a bad
//! batch with none behind it is one whose write was interrupted, which nobody was told of: it is cut. (That the *last*
//! batch was damaged later cannot be told from that.) The checksum begins with the file's header, so that bytes of another
//! file never pass.

use super::super::state::Record;
use super::{Fault, HEADER_BYTES, Header, array_at, record_format};
use crate::model::crc::crc32c_append;
use crate::model::image::MetadataOffset;
use std::ops::ControlFlow;

const FRAME_HEADER_BYTES: usize = 24;

/// Collects the records of one batch.
#[derive(Clone, Debug)]
pub struct FrameBuilder {
    first: MetadataOffset,
    record_count: u32,
    /// With room for the header in front.
    bytes: Vec<u8>,
}

impl FrameBuilder {
    /// An empty batch whose first record will have the offset `first`.
    #[must_use]
    pub fn new(first: MetadataOffset) -> Self {
        Self { first, record_count: 0, bytes: vec![0; FRAME_HEADER_BYTES] }
    }

    pub fn push(&mut self, record: &Record) {
        record_format::encode(record, &mut self.bytes);
        self.record_count += 1;
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Length of the records. Unit: bytes.
    #[must_use]
    pub const fn body_bytes(&self) -> usize {
        self.bytes.len() - FRAME_HEADER_BYTES
    }

    /// Adds the records of `other`, which follow on these.
    pub fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(other.bytes.get(FRAME_HEADER_BYTES..).unwrap_or_default());
        self.record_count += other.record_count;
    }

    /// The bytes to write into the file with this header.
    #[must_use]
    pub fn finish(mut self, file_crc: u32) -> Vec<u8> {
        let body_bytes = u32::try_from(self.body_bytes()).unwrap_or(u32::MAX);
        assert!(body_bytes < u32::MAX, "a batch is far smaller than 4 GiB");
        let mut header = Vec::with_capacity(FRAME_HEADER_BYTES);
        header.extend_from_slice(&body_bytes.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&self.first.0.to_le_bytes());
        header.extend_from_slice(&self.record_count.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        if let Some(place) = self.bytes.get_mut(..FRAME_HEADER_BYTES) {
            place.copy_from_slice(&header);
        }
        let crc = crc32c_append(file_crc, self.bytes.get(8..).unwrap_or_default());
        if let Some(place) = self.bytes.get_mut(4..8) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        self.bytes
    }
}

/// Where a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanEnd {
    /// Of the record that comes next.
    pub offset: MetadataOffset,
    /// The first byte after the last good batch.
    pub position: usize,
    /// Bytes after it: the traces of an interrupted write.
    pub torn_bytes: usize,
}

/// Gives every record of a log file to `visit`, with its offset, until the end or until `visit` breaks.
///
/// # Errors
/// The file is damaged or newer, or `visit` refused a record.
pub fn scan(
    file: &[u8],
    header: &Header,
    mut visit: impl FnMut(MetadataOffset, Record) -> Result<ControlFlow<()>, Fault>,
) -> Result<ScanEnd, Fault> {
    let file_crc = header.crc();
    let mut position = HEADER_BYTES;
    let mut offset = header.offset;
    while let Some(frame) = Frame::at(file, position, file_crc) {
        if frame.first != offset {
            return Err(Fault::Order { position, expected: offset.0, found: frame.first.0 });
        }
        let mut body = frame.body;
        for _ in 0..frame.record_count {
            let record = record_format::decode(&mut body, frame.end)?;
            if visit(offset, record)?.is_break() {
                return Ok(ScanEnd { offset, position, torn_bytes: 0 });
            }
            offset.0 += 1;
        }
        if !body.is_empty() {
            return Err(Fault::Record { position: frame.end });
        }
        position = frame.end;
    }
    match find_later(file, position, offset, file_crc) {
        Some(next_position) => Err(Fault::DamagedMiddle { position, next_position }),
        None => Ok(ScanEnd { offset, position, torn_bytes: file.len().saturating_sub(position) }),
    }
}

/// A good batch behind the bad one at `position`, which was to begin with `offset`.
fn find_later(file: &[u8], position: usize, offset: MetadataOffset, file_crc: u32) -> Option<usize> {
    (position..file.len()).step_by(8).skip(1).find(|&place| {
        let bytes = file.get(place..).unwrap_or_default();
        // No record is shorter than 8 bytes; checked first, since most places are no batch and sums take time.
        let skipped =
            array_at(bytes, 8).map(u64::from_le_bytes).and_then(|first| first.checked_sub(offset.0));
        skipped.is_some_and(|skipped| (1..=file.len() as u64 / 8).contains(&skipped))
            && Frame::at(file, place, file_crc).is_some()
    })
}

struct Frame<'a> {
    first: MetadataOffset,
    record_count: u32,
    body: &'a [u8],
    end: usize,
}

impl<'a> Frame<'a> {
    /// The batch at `position`; `None` if there is no whole and undamaged one.
    fn at(file: &'a [u8], position: usize, file_crc: u32) -> Option<Self> {
        let bytes = file.get(position..)?;
        let body_bytes = usize::try_from(u32::from_le_bytes(array_at(bytes, 0)?)).ok()?;
        let record_count = u32::from_le_bytes(array_at(bytes, 16)?);
        // Cheap first: the bytes behind an interrupted write are often zero.
        if record_count == 0 || !body_bytes.is_multiple_of(8) {
            return None;
        }
        let end_in_frame = FRAME_HEADER_BYTES.checked_add(body_bytes)?;
        let checked = bytes.get(8..end_in_frame)?;
        if crc32c_append(file_crc, checked) != u32::from_le_bytes(array_at(bytes, 4)?) {
            return None;
        }
        Some(Self {
            first: MetadataOffset(u64::from_le_bytes(array_at(bytes, 8)?)),
            record_count,
            body: bytes.get(FRAME_HEADER_BYTES..end_in_frame)?,
            end: position.checked_add(end_in_frame)?,
        })
    }
}

#[cfg(test)]
mod tests;
