//! Reads and writes the integers of records: zigzag, in groups of seven bits, least significant first.

use super::{RecordsError, Result};

/// A cursor over the records of one batch; every read is checked, nothing is copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

/// Longest form of a 32-bit integer, and of a 64-bit one. Unit: bytes.
const VARINT_BYTES_MAX: usize = 5;
const VARLONG_BYTES_MAX: usize = 10;

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let cut = RecordsError::Cut { needed: count, remaining: self.remaining() };
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(cut)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8> {
        let (&byte, rest) = self.rest.split_first().ok_or(RecordsError::Cut { needed: 1, remaining: 0 })?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<i32> {
        let raw = self.unsigned(VARINT_BYTES_MAX)?;
        let too_long = RecordsError::VarintTooLong { bytes_max: VARINT_BYTES_MAX };
        let raw = u32::try_from(raw).map_err(|_| too_long)?;
        Ok((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
    }

    #[inline]
    pub(super) fn varlong(&mut self) -> Result<i64> {
        let raw = self.unsigned(VARLONG_BYTES_MAX)?;
        Ok((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
    }

    /// The bytes behind a length; -1 is `None`.
    #[inline]
    pub(super) fn nullable(&mut self, field: &'static str) -> Result<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Ok(None),
            length => self.bytes(count(field, length)?).map(Some),
        }
    }

    #[inline]
    fn unsigned(&mut self, bytes_max: usize) -> Result<u64> {
        let mut value = 0_u64;
        for place in 0..bytes_max {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let shift = place.saturating_mul(7);
            // Of the tenth byte only one bit has room.
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(RecordsError::VarintTooLong { bytes_max })
    }
}

/// A length or count that must not be negative.
pub(super) fn count(field: &'static str, found: i32) -> Result<usize> {
    usize::try_from(found).map_err(|_| RecordsError::Length { field, found })
}

/// Appends `value`. A 32-bit integer has the same form in both widths.
pub(super) fn put_varlong(buffer: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        let [low, ..] = rest.to_le_bytes();
        buffer.push(low | 0x80);
        rest >>= 7;
    }
    let [low, ..] = rest.to_le_bytes();
    buffer.push(low);
}

/// Bytes that [`put_varlong`] appends.
pub(super) const fn varlong_bytes(value: i64) -> usize {
    let bits = 64_u32.saturating_sub(zigzag(value).leading_zeros());
    if bits == 0 { 1 } else { bits.div_ceil(7) as usize }
}

const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_length_read_back_and_take_the_bytes_that_were_counted() {
        let edges = (0..63).flat_map(|bit| {
            let power = 1_i64 << bit;
            [power - 1, power, -power, -power - 1]
        });
        for value in edges.chain([i64::MAX, i64::MIN]) {
            let mut bytes = Vec::new();
            put_varlong(&mut bytes, value);
            assert_eq!(bytes.len(), varlong_bytes(value), "{value}");
            assert_eq!(Cursor::new(&bytes).varlong(), Ok(value));
            let narrow = Cursor::new(&bytes).varint();
            assert_eq!(narrow.ok().map(i64::from), i32::try_from(value).ok().map(i64::from), "{value}");
        }
    }

    #[test]
    fn kafka_s_own_examples() {
        for (value, bytes) in [(0, &[0][..]), (-1, &[1]), (1, &[2]), (-64, &[0x7f]), (64, &[0x80, 0x01])] {
            assert_eq!(Cursor::new(bytes).varint(), Ok(value));
        }
    }

    #[test]
    fn an_integer_that_does_not_end_is_refused() {
        assert_eq!(Cursor::new(&[0x80; 20]).varint(), Err(RecordsError::VarintTooLong { bytes_max: 5 }));
        assert_eq!(Cursor::new(&[0xff; 20]).varlong(), Err(RecordsError::VarintTooLong { bytes_max: 10 }));
        assert_eq!(
            Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x10]).varint(),
            Err(RecordsError::VarintTooLong { bytes_max: 5 })
        );
        let ten = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(Cursor::new(&ten).varlong(), Err(RecordsError::VarintTooLong { bytes_max: 10 }));
        assert_eq!(Cursor::new(&[0x80]).varint(), Err(RecordsError::Cut { needed: 1, remaining: 0 }));
    }
}
