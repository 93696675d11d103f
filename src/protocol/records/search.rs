//! Looking for one record of a batch by its time, without unpacking more than it takes.
//!
//! What is packed is unpacked through a small window, a part at a time, so neither memory nor time depends on what a batch
//! unpacks to. Of a record only the fields before its key are looked at. Kafka streams likewise, but without an end.

use std::fmt;
use std::io::{ErrorKind, Read};

use super::cursor::{self, Cursor};
use super::{Codec, RecordsError, Result};
use crate::model::Offset;
use crate::model::batch::{BatchError, BatchHeader, RECORDS_START};

/// What is unpacked between two looks at it. Unit: bytes.
const WINDOW_BYTES: usize = 16 << 10;
/// Longest form of the fields of a record before its key: length, attributes, timestamp delta, offset delta.
const HEAD_BYTES_MAX: usize = 5 + 1 + 10 + 5;

/// A search under way.
pub struct RecordSearch {
    header: BatchHeader,
    codec: Codec,
    timestamp: i64,
    first_offset: Offset,
    plain: Box<dyn Read + Send>,
    /// Unpacked and not yet looked at: from `from` on.
    window: Vec<u8>,
    from: usize,
    /// Bytes of the current record that are of no interest.
    skip: usize,
    read: i32,
    previous_delta: i32,
    unpacked_bytes: usize,
    unpacked_bytes_max: usize,
    ended: bool,
}

/// What a search has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordSearched {
    Found {
        timestamp: i64,
        offset: Offset,
    },
    Missing,
    /// There is more to unpack.
    Unfinished,
}

impl RecordSearch {
    /// For the first record of `batch` that is not older than `timestamp` and not before `first_offset`. Refused is what
    /// unpacks to more than `unpacked_bytes_max` bytes before that record. Beside the window, codecs take what
    /// [`Codec::unpack`] says.
    ///
    /// # Errors
    /// `Batch`, `UnknownCodec`, `Broken`.
    pub fn new(
        batch: Vec<u8>,
        timestamp: i64,
        first_offset: Offset,
        unpacked_bytes_max: usize,
    ) -> Result<Self> {
        let header = BatchHeader::parse(&batch)?;
        let mut packed = batch;
        if packed.len() < header.size_bytes {
            return Err(BatchError::BodyCut { expected: header.size_bytes, found: packed.len() }.into());
        }
        packed.truncate(header.size_bytes);
        packed.drain(..RECORDS_START);
        let codec = Codec::from_attributes(header.attributes)?;
        Ok(Self {
            header,
            codec,
            timestamp,
            first_offset,
            plain: codec.reader(packed, unpacked_bytes_max)?,
            window: Vec::new(),
            from: 0,
            skip: 0,
            read: 0,
            previous_delta: -1,
            unpacked_bytes: 0,
            unpacked_bytes_max,
            ended: false,
        })
    }

    /// Goes on, unpacking about `bytes` at most.
    ///
    /// # Errors
    /// `Broken`, `TooLarge`, and what is wrong with a record. The search is over then.
    pub fn proceed(&mut self, bytes: usize) -> Result<RecordSearched> {
        if self.header.is_log_append_time() {
            // The broker has stamped all of them.
            let offset = self.header.base_offset.max(self.first_offset);
            return Ok(RecordSearched::Found { timestamp: self.header.max_timestamp, offset });
        }
        let until = self.unpacked_bytes.saturating_add(bytes);
        loop {
            if let Some(found) = self.look()? {
                return Ok(found);
            }
            if self.unpacked_bytes >= until {
                return Ok(RecordSearched::Unfinished);
            }
            self.unpack_more()?;
        }
    }

    /// Looks at all records whose beginning is in the window.
    fn look(&mut self) -> Result<Option<RecordSearched>> {
        loop {
            let skipped = self.skip.min(self.window.len().saturating_sub(self.from));
            self.skip = self.skip.saturating_sub(skipped);
            self.from = self.from.saturating_add(skipped);
            if self.read >= self.header.record_count {
                return Ok(Some(RecordSearched::Missing));
            }
            let rest = self.window.get(self.from..).unwrap_or_default();
            if self.ended && self.skip > 0 {
                return Err(RecordsError::Cut { needed: self.skip, remaining: 0 });
            }
            if self.skip > 0 || (rest.len() < HEAD_BYTES_MAX && !self.ended) {
                return Ok(None);
            }
            if let Some(found) = self.look_at_record()? {
                return Ok(Some(found));
            }
        }
    }

    fn look_at_record(&mut self) -> Result<Option<RecordSearched>> {
        let rest = self.window.get(self.from..).unwrap_or_default();
        let mut cursor = Cursor::new(rest);
        let length = cursor::count("the length of a record", cursor.varint()?)?;
        let behind_length = cursor.remaining();
        let _attributes = cursor.byte()?;
        let timestamp_delta = cursor.varlong()?;
        let delta = cursor.varint()?;
        let looked_at = behind_length.saturating_sub(cursor.remaining());
        let last = self.header.last_offset_delta;
        if delta <= self.previous_delta || delta > last {
            return Err(RecordsError::OffsetDelta { found: delta, previous: self.previous_delta, last });
        }
        let Some(skip) = length.checked_sub(looked_at) else {
            return Err(RecordsError::RecordSize { expected: length, found: looked_at });
        };
        self.from = self.from.saturating_add(rest.len().saturating_sub(cursor.remaining()));
        self.skip = skip;
        self.previous_delta = delta;
        self.read = self.read.saturating_add(1);
        let timestamp = self.header.base_timestamp.wrapping_add(timestamp_delta);
        let offset = self.header.base_offset.plus(i64::from(delta));
        let wanted = timestamp >= self.timestamp && offset >= self.first_offset;
        Ok(wanted.then_some(RecordSearched::Found { timestamp, offset }))
    }

    fn unpack_more(&mut self) -> Result<()> {
        self.window.drain(..self.from);
        self.from = 0;
        let kept = self.window.len();
        self.window.resize(kept.saturating_add(WINDOW_BYTES), 0);
        let target = self.window.get_mut(kept..).unwrap_or_default();
        let count = loop {
            match self.plain.read(target) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(&error)),
            }
        };
        self.window.truncate(kept.saturating_add(count));
        self.ended = count == 0;
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(count);
        if self.unpacked_bytes > self.unpacked_bytes_max {
            return Err(self.too_large());
        }
        Ok(())
    }

    fn fault(&self, error: &std::io::Error) -> RecordsError {
        if error.kind() == ErrorKind::FileTooLarge {
            self.too_large()
        } else {
            RecordsError::Broken { codec: self.codec }
        }
    }

    const fn too_large(&self) -> RecordsError {
        RecordsError::TooLarge { codec: self.codec, bytes_max: self.unpacked_bytes_max }
    }
}

impl fmt::Debug for RecordSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordSearch")
            .field("base_offset", &self.header.base_offset)
            .field("timestamp", &self.timestamp)
            .field("unpacked_bytes", &self.unpacked_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::records::{BatchBuilder, NewRecord};

    fn batch(codec: Codec, times: &[i64], value: &[u8]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        for &timestamp in times {
            let record = NewRecord { timestamp, value: Some(value), ..NewRecord::default() };
            builder.push(&record).expect("it fits");
        }
        builder.finish().expect("a batch")
    }

    fn search(batch: &[u8], timestamp: i64, first: i64, step: usize, max: usize) -> Result<RecordSearched> {
        let mut search = RecordSearch::new(batch.to_vec(), timestamp, Offset(first), max)?;
        loop {
            match search.proceed(step)? {
                RecordSearched::Unfinished => {}
                done => return Ok(done),
            }
        }
    }

    #[test]
    fn finds_what_a_walk_over_the_unpacked_records_finds() {
        let times: Vec<i64> = (0..300).map(|n| 1_000 + (n * 7919) % 600).collect();
        for codec in Codec::ALL {
            for value in [&b""[..], &[7; 100], &[7; 20_000]] {
                let bytes = batch(codec, &times, value);
                for (timestamp, first) in [(0, 0), (1_001, 0), (1_599, 0), (1_200, 250), (1_600, 0), (0, 299)]
                {
                    let place =
                        times.iter().zip(0..).position(|(&time, at)| time >= timestamp && at >= first);
                    let expected = place.map_or(RecordSearched::Missing, |place| RecordSearched::Found {
                        timestamp: times[place],
                        offset: Offset(i64::try_from(place).expect("small")),
                    });
                    let found = search(&bytes, timestamp, first, 1, 64 << 20);
                    assert_eq!(found, Ok(expected), "{codec} {} {timestamp} {first}", value.len());
                }
            }
        }
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused_where_the_limit_is_and_not_before() {
        // Small on the wire, 32 MiB behind it; the second record is the one that is looked for.
        let value = vec![0; 32 << 20];
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let bytes = batch(codec, &[1, 2], &value);
            assert!(bytes.len() < 4 << 20, "{codec}: {}", bytes.len());
            let refused = search(&bytes, 2, 0, 1 << 20, 4 << 20);
            assert_eq!(refused, Err(RecordsError::TooLarge { codec, bytes_max: 4 << 20 }), "{codec}");
            let first = RecordSearched::Found { timestamp: 1, offset: Offset(0) };
            assert_eq!(search(&bytes, 1, 0, 1 << 20, 4 << 20), Ok(first), "{codec}");
        }
    }

    #[test]
    fn a_step_unpacks_no_more_than_it_may() {
        let bytes = batch(Codec::Zstd, &[1, 2], &vec![0; 32 << 20]);
        let mut search = RecordSearch::new(bytes, 2, Offset(0), 128 << 20).expect("sound");
        let mut steps = 0;
        while search.proceed(64 << 10).expect("sound") == RecordSearched::Unfinished {
            steps += 1;
            assert!(search.unpacked_bytes <= steps * (80 << 10), "{} in {steps}", search.unpacked_bytes);
            assert!(search.window.len() <= 2 * WINDOW_BYTES);
        }
        assert!(steps > 300, "{steps}");
    }

    #[test]
    fn damage_is_an_error_and_ends() {
        for codec in Codec::ALL {
            let sound = batch(codec, &[1, 2, 3, 4, 5], b"some value, some value, some value");
            for place in RECORDS_START..sound.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut bytes = sound.clone();
                    bytes[place] ^= flip;
                    let _: Result<RecordSearched> = search(&bytes, 6, 0, 64, 1 << 20);
                }
            }
            assert!(search(&sound[..sound.len() - 1], 6, 0, 64, 1 << 20).is_err(), "{codec}: cut");
        }
    }
}
