//! One record, as it lies in its batch.
//!
//! ```text
//! field            form
//! length           varint    bytes behind this field
//! attributes       i8        no bit is in use
//! timestamp_delta  varlong   to the batch's base timestamp
//! offset_delta     varint    to the batch's base offset
//! key              varint length (-1 null), bytes
//! value            varint length (-1 null), bytes
//! headers          varint count, then of each: key (varint length, bytes), value (varint length, -1 null, bytes)
//! ```

use super::cursor::{self, Cursor};
use super::{RecordsError, Result};
use crate::model::Offset;
use crate::model::batch::BatchHeader;

/// A record; borrows from the bytes of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub offset: Offset,
    /// Milliseconds since 1970; the broker's in a batch with LogAppendTime; -1: none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// A name and a value beside a record. Names are meant to be UTF-8, but nothing on the way checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// A record's headers, checked when the record was read, decoded as they are walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: usize,
}

/// Walks [`Headers`].
#[derive(Clone, Debug)]
pub struct HeaderIter<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Headers<'a> {
    /// Their number.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// In the order in which the producer gave them; names may repeat.
    #[must_use]
    pub const fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { cursor: Cursor::new(self.bytes), left: self.count }
    }

    /// The rest of a record's bytes, which must be its headers and nothing else.
    fn decode(cursor: &mut Cursor<'a>) -> Result<Self> {
        let count = cursor::count("the number of headers", cursor.varint()?)?;
        let bytes = cursor.bytes(cursor.remaining())?;
        let mut walk = Cursor::new(bytes);
        for _ in 0..count {
            header(&mut walk)?;
        }
        match walk.remaining() {
            0 => Ok(Self { bytes, count }),
            left => Err(RecordsError::RecordSize {
                expected: bytes.len(),
                found: bytes.len().saturating_sub(left),
            }),
        }
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Header<'a>;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        header(&mut self.cursor).ok()
    }
}

fn header<'a>(cursor: &mut Cursor<'a>) -> Result<Header<'a>> {
    let length = cursor::count("the length of a header's key", cursor.varint()?)?;
    let key = cursor.bytes(length)?;
    let value = cursor.nullable("the length of a header's value")?;
    Ok(Header { key, value })
}

impl<'a> Record<'a> {
    /// Reads the next record of the batch that `header` begins; returns it and its offset delta.
    pub(super) fn decode(cursor: &mut Cursor<'a>, header: &BatchHeader) -> Result<(Self, i32)> {
        let length = cursor::count("the length of a record", cursor.varint()?)?;
        let mut inside = Cursor::new(cursor.bytes(length)?);
        let _attributes = inside.byte()?;
        let timestamp_delta = inside.varlong()?;
        let offset_delta = inside.varint()?;
        let key = inside.nullable("the length of a key")?;
        let value = inside.nullable("the length of a value")?;
        let headers = Headers::decode(&mut inside)?;
        let timestamp = if header.is_log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.wrapping_add(timestamp_delta)
        };
        let offset = header.base_offset.plus(i64::from(offset_delta));
        Ok((Self { offset, timestamp, key, value, headers }, offset_delta))
    }
}
