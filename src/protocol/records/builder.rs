//! Building batches.

use super::cursor::{put_varlong, varlong_bytes};
use super::{Codec, Header, RecordsError, Result};
use crate::model::batch::{self, BatchHeader, HEADER_BYTES};
use crate::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// A record to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header<'a>],
}

/// Who numbers a batch (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the batch's first record.
    pub base_sequence: i32,
}

impl Stamp {
    /// Of a batch that is not idempotent.
    pub const NONE: Self =
        Self { producer_id: ProducerId::NONE, producer_epoch: ProducerEpoch::NONE, base_sequence: -1 };
}

/// Collects records for one partition until they are [`finish`](BatchBuilder::finish)ed into a batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    record_count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch to be packed with `codec`.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self { codec, bytes: vec![0; HEADER_BYTES], record_count: 0, base_timestamp: 0, max_timestamp: -1 }
    }

    /// Size so far, not packed yet. Unit: bytes.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    #[must_use]
    pub const fn record_count(&self) -> i32 {
        self.record_count
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// How much [`size_bytes`](Self::size_bytes) would grow by `record`. Unit: bytes.
    #[must_use]
    pub fn growth_bytes(&self, record: &NewRecord<'_>) -> usize {
        let body = self.body_bytes(record);
        varlong_bytes(wide(body)).saturating_add(body)
    }

    /// Appends a record; the builder is as before if that fails.
    ///
    /// # Errors
    /// `TooLong`: a field, or the batch with it, has more bytes than the format can say.
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<()> {
        let body = self.body_bytes(record);
        let grown = self.size_bytes().saturating_add(self.growth_bytes(record));
        within("a batch", grown)?;
        let next_count = self
            .record_count
            .checked_add(1)
            .ok_or(RecordsError::TooLong { what: "records", found: grown })?;
        if self.is_empty() {
            self.base_timestamp = record.timestamp;
        }
        self.bytes.reserve(grown.saturating_sub(self.size_bytes()));
        put_varlong(&mut self.bytes, wide(body));
        self.bytes.push(0);
        put_varlong(&mut self.bytes, record.timestamp.wrapping_sub(self.base_timestamp));
        put_varlong(&mut self.bytes, i64::from(self.record_count));
        self.put_nullable(record.key);
        self.put_nullable(record.value);
        put_varlong(&mut self.bytes, wide(record.headers.len()));
        for header in record.headers {
            self.put_nullable(Some(header.key));
            self.put_nullable(header.value);
        }
        debug_assert_eq!(self.bytes.len(), grown);
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.record_count = next_count;
        Ok(())
    }

    /// The batch, packed, with offsets from 0 and without a [`Stamp`]; its CRC holds.
    ///
    /// # Errors
    /// `PackFailed`; `TooLong` if packing made it too large.
    pub fn finish(self) -> Result<Vec<u8>> {
        let mut bytes = match self.codec {
            Codec::None => self.bytes,
            codec => {
                let mut packed = vec![0; HEADER_BYTES];
                codec.pack(self.bytes.get(HEADER_BYTES..).unwrap_or_default(), &mut packed)?;
                packed
            }
        };
        within("a batch", bytes.len())?;
        let header = BatchHeader {
            base_offset: Offset::ZERO,
            size_bytes: bytes.len(),
            leader_epoch: LeaderEpoch::NONE,
            crc: 0,
            attributes: self.codec.attributes(),
            last_offset_delta: self.record_count.saturating_sub(1),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: Stamp::NONE.producer_id,
            producer_epoch: Stamp::NONE.producer_epoch,
            base_sequence: Stamp::NONE.base_sequence,
            record_count: self.record_count,
        };
        seal(&mut bytes, header);
        Ok(bytes)
    }

    /// Bytes of a record behind its length.
    fn body_bytes(&self, record: &NewRecord<'_>) -> usize {
        let headers = record
            .headers
            .iter()
            .map(|header| nullable_bytes(Some(header.key)).saturating_add(nullable_bytes(header.value)));
        let delta = record.timestamp.wrapping_sub(if self.is_empty() {
            record.timestamp
        } else {
            self.base_timestamp
        });
        let fixed = varlong_bytes(delta)
            .saturating_add(varlong_bytes(i64::from(self.record_count)))
            .saturating_add(1);
        fixed
            .saturating_add(nullable_bytes(record.key))
            .saturating_add(nullable_bytes(record.value))
            .saturating_add(varlong_bytes(wide(record.headers.len())))
            .saturating_add(headers.fold(0, usize::saturating_add))
    }

    fn put_nullable(&mut self, value: Option<&[u8]>) {
        put_varlong(&mut self.bytes, value.map_or(-1, |value| wide(value.len())));
        self.bytes.extend_from_slice(value.unwrap_or_default());
    }
}

/// Numbers a finished batch, again if need be; its CRC holds afterwards.
///
/// # Errors
/// [`BatchError`](crate::model::batch::BatchError), if `bytes` do not begin with a batch's header.
pub fn stamp(bytes: &mut [u8], stamp: Stamp) -> Result<()> {
    let header = BatchHeader::parse(bytes)?;
    let header = BatchHeader {
        producer_id: stamp.producer_id,
        producer_epoch: stamp.producer_epoch,
        base_sequence: stamp.base_sequence,
        ..header
    };
    seal(bytes, header);
    Ok(())
}

/// Writes `header` over the first bytes of the batch, with the CRC of what it covers.
fn seal(bytes: &mut [u8], header: BatchHeader) {
    if let Some((place, records)) = bytes.split_first_chunk_mut::<HEADER_BYTES>() {
        *place = header.encode();
        *place = BatchHeader { crc: batch::crc_of(place, records), ..header }.encode();
    }
}

fn nullable_bytes(value: Option<&[u8]>) -> usize {
    value.map_or(1, |value| varlong_bytes(wide(value.len())).saturating_add(value.len()))
}

fn within(what: &'static str, found: usize) -> Result<()> {
    i32::try_from(found).map(|_| ()).map_err(|_| RecordsError::TooLong { what, found })
}

fn wide(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
