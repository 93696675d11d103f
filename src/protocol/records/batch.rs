//! Opening batches: one after another out of a fetch or a segment, and the records of one.

use super::cursor::Cursor;
use super::{Codec, Record, RecordsError, Result};
use crate::model::batch::{BatchError, BatchHeader, LOG_OVERHEAD_BYTES, RECORDS_START};

/// A batch: its header, and its records as they were sent.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    pub header: BatchHeader,
    packed: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch at the start of `bytes`, checked in full (see [`BatchHeader::check`]).
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn check(bytes: &'a [u8]) -> std::result::Result<Self, BatchError> {
        Self::of(BatchHeader::check(bytes)?, bytes)
    }

    /// The same without the CRC: for bytes that were checked when they came.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn parse(bytes: &'a [u8]) -> std::result::Result<Self, BatchError> {
        Self::of(BatchHeader::parse(bytes)?, bytes)
    }

    fn of(header: BatchHeader, bytes: &'a [u8]) -> std::result::Result<Self, BatchError> {
        let cut = BatchError::BodyCut { expected: header.size_bytes, found: bytes.len() };
        let packed = bytes.get(RECORDS_START..header.size_bytes).ok_or(cut)?;
        Ok(Self { header, packed })
    }

    /// The records in order. Packed ones are unpacked into `scratch`, whose content is replaced, and are refused above
    /// `unpacked_bytes_max` bytes; plain ones are read where they lie.
    ///
    /// # Errors
    /// `UnknownCodec`, `Broken`, `TooLarge`.
    pub fn records<'b>(&self, scratch: &'b mut Vec<u8>, unpacked_bytes_max: usize) -> Result<RecordIter<'b>>
    where
        'a: 'b,
    {
        let codec = Codec::from_attributes(self.header.attributes)?;
        let bytes = match codec {
            Codec::None => self.packed,
            codec => {
                codec.unpack(self.packed, scratch, unpacked_bytes_max)?;
                scratch
            }
        };
        Ok(RecordIter {
            header: self.header,
            cursor: Cursor::new(bytes),
            read: 0,
            previous_delta: -1,
            ended: false,
        })
    }
}

/// The records of one batch, each checked. After an error there are no more.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    header: BatchHeader,
    cursor: Cursor<'a>,
    read: i32,
    previous_delta: i32,
    ended: bool,
}

impl<'a> RecordIter<'a> {
    fn read_next(&mut self) -> Result<Option<Record<'a>>> {
        if self.read >= self.header.record_count {
            let (bytes, record_count) = (self.cursor.remaining(), self.header.record_count);
            return if bytes == 0 {
                Ok(None)
            } else {
                Err(RecordsError::TrailingBytes { bytes, record_count })
            };
        }
        let (record, delta) = Record::decode(&mut self.cursor, &self.header)?;
        let last = self.header.last_offset_delta;
        if delta <= self.previous_delta || delta > last {
            return Err(RecordsError::OffsetDelta { found: delta, previous: self.previous_delta, last });
        }
        self.previous_delta = delta;
        self.read = self.read.saturating_add(1);
        Ok(Some(record))
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read_next().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// The whole batches in `bytes`, one after another, each checked. What a broker cut off at the end is left out, as a
/// fetch allows. After an error there are no more.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Batches<'a> {
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not walked over yet: once the walk has ended, those of a batch that was cut off.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether the bytes that are left end before the batch does that they begin.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        // A length stands before the magic in every version: it is believed only to say that more would have to come.
        let length = self.rest.get(8..LOG_OVERHEAD_BYTES).and_then(<[u8]>::first_chunk);
        let Some(length) = length.map(|bytes| i32::from_be_bytes(*bytes)) else { return true };
        usize::try_from(length)
            .is_ok_and(|length| length > self.rest.len().saturating_sub(LOG_OVERHEAD_BYTES))
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = std::result::Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_cut() {
            return None;
        }
        let next = Batch::check(self.rest);
        let after = next.as_ref().ok().and_then(|batch| self.rest.get(batch.header.size_bytes..));
        self.rest = after.unwrap_or_default();
        Some(next)
    }
}
