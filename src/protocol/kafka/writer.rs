//! Collects encoded bytes, and remembers where bytes that lie elsewhere belong between them.

use crate::protocol::{Error, Result};

/// Bytes that are not in the writer's buffer but belong behind its first `position` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub position: usize,
    pub bytes: usize,
}

/// What has to be sent next, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'w> {
    /// Bytes of the writer's buffer.
    Encoded(&'w [u8]),
    /// This many bytes from outside, as the next [`Records::External`](super::Records::External) promised.
    External { bytes: usize },
}

/// A reusable buffer that messages are encoded into, one frame after another.
///
/// Record bytes given by length only are not copied: they become a [`Cut`], counted in the frame's length. Cuts are in
/// ascending order of position, in the order in which the records were encoded.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
    cuts: Vec<Cut>,
    external_bytes: usize,
    /// The errors that fields called `error_code` say, and how often each.
    errors: Vec<(i16, u64)>,
}

/// Where a frame began; [`Writer::end_frame`] needs it.
#[derive(Clone, Copy, Debug)]
#[must_use = "a frame that is not ended has no length"]
pub(super) struct FrameStart {
    buffer_bytes: usize,
    cuts: usize,
    external_bytes: usize,
}

const LENGTH_BYTES: usize = 4;

impl Writer {
    /// An empty writer; allocates on first use.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer with room for `bytes` bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// A writer over `buffer`, which is emptied first.
    #[must_use]
    pub fn reuse(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { buffer, ..Self::default() }
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.cuts.clear();
        self.external_bytes = 0;
        self.errors.clear();
    }

    /// The error codes other than 0 that were encoded, and how often each.
    #[must_use]
    pub fn errors(&self) -> &[(i16, u64)] {
        &self.errors
    }

    /// A field called `error_code` says this.
    #[inline]
    pub(super) fn note_error(&mut self, code: i16) {
        if code != 0 {
            match self.errors.iter_mut().find(|(noted, _)| *noted == code) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => self.errors.push((code, 1)),
            }
        }
    }

    /// The bytes encoded so far, without those from outside.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.buffer
    }

    /// Bytes that it has room for without allocating.
    #[must_use]
    pub const fn room_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Where bytes from outside belong.
    #[must_use]
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// Bytes to be sent in all, those from outside included.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.buffer.len().saturating_add(self.external_bytes)
    }

    /// The buffer and the cuts.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Vec<Cut>) {
        (self.buffer, self.cuts)
    }

    /// What to send, in order; empty pieces are left out.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut from = 0;
        let before_cuts = self.cuts.iter().flat_map(move |cut| {
            let encoded = self.buffer.get(from..cut.position).unwrap_or_default();
            from = cut.position;
            [Piece::Encoded(encoded), Piece::External { bytes: cut.bytes }]
        });
        let last_cut = self.cuts.last().map_or(0, |cut| cut.position);
        let tail = Piece::Encoded(self.buffer.get(last_cut..).unwrap_or_default());
        before_cuts.chain([tail]).filter(|piece| *piece != Piece::Encoded(&[]))
    }

    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// An unsigned integer in groups of seven bits, least significant first.
    #[inline]
    pub(super) fn put_varint(&mut self, value: u32) {
        let mut rest = value;
        while rest >= 0x80 {
            let [low, ..] = rest.to_le_bytes();
            self.buffer.push(low | 0x80);
            rest >>= 7;
        }
        let [low, ..] = rest.to_le_bytes();
        self.buffer.push(low);
    }

    /// The length of a string, bytes or array in flexible versions: one more, so that 0 is null.
    #[inline]
    pub(super) fn put_compact_length(&mut self, length: usize) -> Result<()> {
        let too_long = Error::TooLong { length };
        let counted = i32::try_from(length).map_err(|_| too_long)?;
        self.put_varint(counted.unsigned_abs().saturating_add(1));
        Ok(())
    }

    /// `bytes` bytes that lie elsewhere belong here.
    pub(super) fn put_external(&mut self, bytes: usize) {
        if bytes > 0 {
            self.cuts.push(Cut { position: self.buffer.len(), bytes });
            self.external_bytes = self.external_bytes.saturating_add(bytes);
        }
    }

    /// A tagged field: tag, size, and the value that `value` writes. The value is moved behind its size afterwards:
    /// tagged fields are few and small, and a second walk over every message to know sizes ahead would cost more.
    pub(super) fn put_tagged(&mut self, tag: u32, value: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.put_varint(tag);
        let start = self.buffer.len();
        value(self)?;
        let size = self.buffer.len().saturating_sub(start);
        let too_long = Error::TooLong { length: size };
        self.put_varint(u32::try_from(size).map_err(|_| too_long)?);
        if let Some(section) = self.buffer.get_mut(start..) {
            section.rotate_left(size);
        }
        Ok(())
    }

    /// Begins a frame: room for its length.
    pub(super) fn begin_frame(&mut self) -> FrameStart {
        let start = FrameStart {
            buffer_bytes: self.buffer.len(),
            cuts: self.cuts.len(),
            external_bytes: self.external_bytes,
        };
        self.put(&[0; LENGTH_BYTES]);
        start
    }

    /// Ends a frame: writes its length, which counts bytes from outside and not itself.
    pub(super) fn end_frame(&mut self, start: FrameStart) -> Result<()> {
        let from_outside = self.external_bytes.saturating_sub(start.external_bytes);
        let encoded = self.buffer.len().saturating_sub(start.buffer_bytes.saturating_add(LENGTH_BYTES));
        let length = encoded.saturating_add(from_outside);
        let prefix = i32::try_from(length).map_err(|_| Error::TooLong { length })?.to_be_bytes();
        let place = self.buffer.get_mut(start.buffer_bytes..).and_then(<[u8]>::first_chunk_mut);
        if let Some(place) = place {
            *place = prefix;
        }
        Ok(())
    }

    /// Takes back everything since `start`.
    pub(super) fn abandon_frame(&mut self, start: FrameStart) {
        self.buffer.truncate(start.buffer_bytes);
        self.cuts.truncate(start.cuts);
        self.external_bytes = start.external_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_their_shortest_form() {
        let cases: [(u32, &[u8]); 5] = [
            (0, &[0]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (300, &[0xac, 0x02]),
            (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ];
        for (value, bytes) in cases {
            let mut writer = Writer::new();
            writer.put_varint(value);
            assert_eq!(writer.encoded(), bytes);
        }
    }

    #[test]
    fn a_tagged_value_stands_behind_its_size() -> Result<()> {
        let mut writer = Writer::new();
        writer.put(&[0xaa]);
        writer.put_tagged(3, |writer| {
            writer.put(&[1; 200]);
            Ok(())
        })?;
        let expected = [&[0xaa, 3, 0xc8, 0x01][..], &[1; 200]].concat();
        assert_eq!(writer.encoded(), expected);
        Ok(())
    }

    #[test]
    fn pieces_alternate_and_a_frame_counts_bytes_from_outside() -> Result<()> {
        let mut writer = Writer::new();
        let start = writer.begin_frame();
        writer.put(&[1, 2]);
        writer.put_external(5);
        writer.put_external(0);
        writer.put_external(6);
        writer.put(&[3]);
        writer.end_frame(start)?;
        let pieces: Vec<_> = writer.pieces().collect();
        assert_eq!(
            pieces,
            [
                Piece::Encoded(&[0, 0, 0, 14, 1, 2]),
                Piece::External { bytes: 5 },
                Piece::External { bytes: 6 },
                Piece::Encoded(&[3]),
            ]
        );
        assert_eq!(writer.total_bytes(), 18);
        Ok(())
    }

    #[test]
    fn an_abandoned_frame_leaves_nothing() {
        let mut writer = Writer::new();
        writer.put(&[9]);
        let start = writer.begin_frame();
        writer.put_external(5);
        writer.abandon_frame(start);
        assert_eq!((writer.encoded(), writer.cuts(), writer.total_bytes()), (&[9][..], &[][..], 1));
    }
}
