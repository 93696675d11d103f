//! Reads a frame's bytes from front to back: every read is checked, nothing is copied, and the memory that decoding
//! may allocate has a bound.

use crate::model::limits::DECODE_ALLOCATION_BYTES_MAX;
use crate::protocol::{Error, Result};

/// A cursor over one frame.
///
/// What it hands out points into the frame. Only arrays allocate: the count that the wire claims is held against the
/// bytes that remain, with the fewest bytes that an element can take, and then against the reader's allocation bound,
/// before anything is reserved.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    allocation_left: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, allocating at most [`DECODE_ALLOCATION_BYTES_MAX`] for them.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::with_allocation_max(bytes, DECODE_ALLOCATION_BYTES_MAX)
    }

    /// Reads `bytes`, allocating at most `allocation_bytes_max` for them.
    #[must_use]
    pub fn with_allocation_max(bytes: &'a [u8], allocation_bytes_max: usize) -> Self {
        Self { rest: bytes, allocation_left: allocation_bytes_max }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Bytes that decoding may still allocate.
    #[must_use]
    pub fn allocation_left(&self) -> usize {
        self.allocation_left
    }

    /// The end of a message that must fill its frame.
    ///
    /// # Errors
    /// `TrailingBytes`. Kafka's broker does not insist on it for requests.
    pub fn expect_end(&self) -> Result<()> {
        match self.remaining() {
            0 => Ok(()),
            bytes => Err(Error::TrailingBytes { bytes }),
        }
    }

    /// The next `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let cut = Error::Truncated { needed: count, remaining: self.remaining() };
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(cut)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let cut = Error::Truncated { needed: N, remaining: self.remaining() };
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(cut)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// An unsigned integer in groups of seven bits, least significant first.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u32> {
        let [first] = self.array()?;
        if first < 0x80 {
            return Ok(u32::from(first));
        }
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let [byte] = self.array()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::VarintTooLong)
    }

    /// A length in front of a string, bytes or array; `None` is null. `fixed` reads the form of inflexible versions.
    #[inline]
    pub(super) fn length(
        &mut self,
        flexible: bool,
        fixed: impl FnOnce(&mut Self) -> Result<i32>,
    ) -> Result<Option<usize>> {
        if flexible {
            return Ok(self.varint()?.checked_sub(1).map(widen));
        }
        match fixed(self)? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| Error::NegativeLength { length }),
        }
    }

    /// Room for `count` elements, each at least `element_bytes_min` bytes on the wire.
    pub(super) fn reserve<T>(&mut self, count: usize, element_bytes_min: usize) -> Result<Vec<T>> {
        let remaining = self.remaining();
        if count.saturating_mul(element_bytes_min.max(1)) > remaining {
            return Err(Error::CountTooLarge { count, element_bytes_min, remaining });
        }
        let needed = count.saturating_mul(size_of::<T>());
        let too_large = Error::AllocationTooLarge { needed, left: self.allocation_left };
        self.allocation_left = self.allocation_left.checked_sub(needed).ok_or(too_large)?;
        Ok(Vec::with_capacity(count))
    }

    /// The tagged section. `known` decodes the value of a tag and says `true`, or reads nothing and says `false`; what
    /// it does not know is skipped.
    pub(super) fn tagged_fields(
        &mut self,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool>,
    ) -> Result<()> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let expected = widen(self.varint()?);
            let before = self.remaining();
            if expected > before {
                return Err(Error::Truncated { needed: expected, remaining: before });
            }
            if known(self, tag)? {
                let found = before.saturating_sub(self.remaining());
                if found != expected {
                    return Err(Error::TaggedFieldSize { tag, expected, found });
                }
            } else {
                self.bytes(expected)?;
            }
        }
        Ok(())
    }
}

/// `usize` holds every `u32` on the machines this runs on.
#[inline]
fn widen(value: u32) -> usize {
    const _: () = assert!(usize::BITS >= u32::BITS);
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_of_every_length_are_read_and_longer_ones_refused() {
        let cases: [(&[u8], u32); 6] = [
            (&[0], 0),
            (&[0x7f], 127),
            (&[0x80, 0x01], 128),
            (&[0xff, 0xff, 0x7f], 0x1f_ffff),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], u32::MAX),
            (&[0x80, 0x00], 0),
        ];
        for (bytes, value) in cases {
            assert_eq!(Reader::new(bytes).varint(), Ok(value));
        }
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x10]).varint(), Err(Error::VarintTooLong));
        assert_eq!(Reader::new(&[0x80; 9]).varint(), Err(Error::VarintTooLong));
        assert_eq!(Reader::new(&[0x80]).varint(), Err(Error::Truncated { needed: 1, remaining: 0 }));
    }

    #[test]
    fn a_count_beyond_the_bytes_or_the_bound_is_refused_before_allocating() {
        let bytes = [0; 100];
        let mut reader = Reader::with_allocation_max(&bytes, 200);
        assert!(matches!(reader.reserve::<u64>(26, 4), Err(Error::CountTooLarge { count: 26, .. })));
        assert!(matches!(reader.reserve::<u64>(usize::MAX, 0), Err(Error::CountTooLarge { .. })));
        assert!(reader.reserve::<u64>(25, 4).is_ok());
        assert_eq!(reader.allocation_left(), 0);
        assert_eq!(
            reader.reserve::<u64>(1, 4),
            Err(Error::AllocationTooLarge { needed: 8, left: 0 }),
            "the bound is over the whole frame"
        );
    }

    #[test]
    fn an_unknown_tag_is_skipped_and_a_known_one_must_fill_its_size() {
        let bytes = [2, 9, 3, 1, 2, 3, 0, 1, 7, 0xee];
        let mut reader = Reader::new(&bytes);
        let mut seen = Vec::new();
        let result = reader.tagged_fields(|reader, tag| {
            if tag == 0 {
                seen.push(reader.array::<1>()?);
            }
            Ok(tag == 0)
        });
        assert_eq!((result, seen, reader.remaining()), (Ok(()), vec![[7]], 1));

        let short = [1, 0, 2, 7, 8];
        let result = Reader::new(&short).tagged_fields(|reader, _| reader.array::<1>().map(|_| true));
        assert_eq!(result, Err(Error::TaggedFieldSize { tag: 0, expected: 2, found: 1 }));
    }
}
