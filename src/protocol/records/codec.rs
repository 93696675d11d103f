//! The five codecs of record batches, and their limits.
//!
//! ```text
//! none    records as they are
//! gzip    RFC 1952, one or more members
//! snappy  blocks of the raw format in the frame of Java's snappy library: magic 82 "SNAPPY" 00, two i32, then of each
//!         block its i32 length and bytes; or one raw block without a frame, as librdkafka writes it
//! lz4     the LZ4 frame format, with independent blocks (Java reads no others)
//! zstd    one or more frames
//! ```

use std::fmt;
use std::io::{Cursor, ErrorKind, Read, Write};
use std::str::FromStr;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{RecordsError, Result};

/// How a batch's records are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Codec {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Kafka's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec that a batch's attributes name.
    ///
    /// # Errors
    /// `UnknownCodec`.
    pub fn from_attributes(attributes: i16) -> Result<Self> {
        let found = attributes & 0x07;
        Self::ALL
            .into_iter()
            .find(|codec| codec.attributes() == found)
            .ok_or(RecordsError::UnknownCodec { found })
    }

    /// Its bits in a batch's attributes.
    #[must_use]
    pub const fn attributes(self) -> i16 {
        self as i16
    }

    /// Appends `plain`, packed, to `packed`.
    ///
    /// # Errors
    /// `PackFailed`.
    pub fn pack(self, plain: &[u8], packed: &mut Vec<u8>) -> Result<()> {
        let failed = RecordsError::PackFailed { codec: self, bytes: plain.len() };
        let done = match self {
            Self::None => packed.write_all(plain).ok(),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(packed, flate2::Compression::default());
                encoder.write_all(plain).and_then(|()| encoder.finish()).ok().map(drop)
            }
            Self::Snappy => pack_snappy(plain, packed),
            Self::Lz4 => {
                let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
                let mut encoder = FrameEncoder::with_frame_info(info, packed);
                encoder.write_all(plain).ok().and_then(|()| encoder.finish().ok()).map(drop)
            }
            Self::Zstd => zstd::stream::Encoder::new(packed, zstd::DEFAULT_COMPRESSION_LEVEL)
                .and_then(|mut encoder| encoder.write_all(plain).and_then(|()| encoder.finish()))
                .ok()
                .map(drop),
        };
        done.ok_or(failed)
    }

    /// Replaces the content of `plain` by what `packed` unpacks to, at most `bytes_max` bytes. Beside `plain`, lz4 takes
    /// up to 24 MiB meanwhile, and zstd the window that its frame names: 8 to 128 MiB, by `bytes_max`.
    ///
    /// # Errors
    /// `Broken`, `TooLarge`.
    pub fn unpack(self, packed: &[u8], plain: &mut Vec<u8>, bytes_max: usize) -> Result<()> {
        plain.clear();
        match self {
            Self::None => self.copy(packed, plain, bytes_max),
            Self::Gzip => self.copy(MultiGzDecoder::new(packed), plain, bytes_max),
            Self::Snappy => unpack_snappy(packed, plain, bytes_max),
            Self::Lz4 => self.copy(FrameDecoder::new(packed), plain, bytes_max),
            Self::Zstd => {
                let broken = RecordsError::Broken { codec: self };
                let mut decoder = zstd::stream::Decoder::with_buffer(packed).map_err(|_| broken)?;
                decoder.window_log_max(zstd_window(bytes_max)).map_err(|_| broken)?;
                self.copy(decoder, plain, bytes_max)
            }
        }
    }

    /// What `packed` unpacks to, to be read bit by bit, with the memory that [`Self::unpack`] names. A snappy block is
    /// unpacked whole; one that exceeds `bytes_max` is an error of kind `FileTooLarge`.
    ///
    /// # Errors
    /// `Broken`.
    pub fn reader(self, packed: Vec<u8>, bytes_max: usize) -> Result<Box<dyn Read + Send>> {
        let packed = Cursor::new(packed);
        Ok(match self {
            Self::None => Box::new(packed),
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Snappy => Box::new(SnappyReader { packed, bytes_max, plain: Cursor::default() }),
            Self::Lz4 => Box::new(FrameDecoder::new(packed)),
            Self::Zstd => {
                let broken = RecordsError::Broken { codec: self };
                let mut decoder = zstd::stream::Decoder::with_buffer(packed).map_err(|_| broken)?;
                decoder.window_log_max(zstd_window(bytes_max)).map_err(|_| broken)?;
                Box::new(decoder)
            }
        })
    }

    /// Reads to the end, or to one byte over the limit.
    fn copy(self, reader: impl Read, plain: &mut Vec<u8>, bytes_max: usize) -> Result<()> {
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        reader.take(limit).read_to_end(plain).map_err(|_| RecordsError::Broken { codec: self })?;
        if plain.len() > bytes_max {
            return Err(RecordsError::TooLarge { codec: self, bytes_max });
        }
        Ok(())
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is none of Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected none, gzip, snappy, lz4 or zstd")]
pub struct UnknownName;

impl FromStr for Codec {
    type Err = UnknownName;

    fn from_str(text: &str) -> std::result::Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|codec| codec.name() == text).ok_or(UnknownName)
    }
}

/// Largest window, as a power of two, that a zstd frame may ask for: a window beyond what may come out is of no use, but
/// encoders name windows by their level, 8 MiB being what even high levels use, and 128 MiB zstd's own bound.
const fn zstd_window(bytes_max: usize) -> u32 {
    let wanted = usize::BITS.saturating_sub(bytes_max.saturating_sub(1).leading_zeros());
    if wanted < 23 {
        23
    } else if wanted > 27 {
        27
    } else {
        wanted
    }
}

/// The frame of Java's snappy library: magic, its version, and the oldest that can read it.
const SNAPPY_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const SNAPPY_FRAME: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Bytes that go into one block; Java's default.
const SNAPPY_BLOCK_BYTES: usize = 32 * 1024;

fn pack_snappy(plain: &[u8], packed: &mut Vec<u8>) -> Option<()> {
    let mut encoder = snap::raw::Encoder::new();
    packed.extend_from_slice(&SNAPPY_FRAME);
    for chunk in plain.chunks(SNAPPY_BLOCK_BYTES) {
        let block = encoder.compress_vec(chunk).ok()?;
        packed.extend_from_slice(&u32::try_from(block.len()).ok()?.to_be_bytes());
        packed.extend_from_slice(&block);
    }
    Some(())
}

fn unpack_snappy(packed: &[u8], plain: &mut Vec<u8>, bytes_max: usize) -> Result<()> {
    if !packed.starts_with(&SNAPPY_MAGIC) {
        return unpack_snappy_block(packed, plain, bytes_max);
    }
    let mut rest = packed;
    while let Some((block, after)) = next_snappy_block(rest)? {
        unpack_snappy_block(block, plain, bytes_max)?;
        rest = after;
    }
    Ok(())
}

/// The next block of a frame, and what follows it.
fn next_snappy_block(framed: &[u8]) -> Result<Option<(&[u8], &[u8])>> {
    let broken = RecordsError::Broken { codec: Codec::Snappy };
    let mut rest = framed;
    // Streams that were joined have the frame's head again in the middle.
    while rest.starts_with(&SNAPPY_MAGIC) {
        rest = rest.get(SNAPPY_FRAME.len()..).ok_or(broken)?;
    }
    if rest.is_empty() {
        return Ok(None);
    }
    let (length, behind) = rest.split_first_chunk().ok_or(broken)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| broken)?;
    behind.split_at_checked(length).ok_or(broken).map(Some)
}

/// Unpacks a block when the one before has been read.
struct SnappyReader {
    packed: Cursor<Vec<u8>>,
    bytes_max: usize,
    plain: Cursor<Vec<u8>>,
}

impl SnappyReader {
    /// False: there is no more.
    fn next_block(&mut self) -> Result<bool> {
        let at = usize::try_from(self.packed.position()).unwrap_or(usize::MAX);
        let all = self.packed.get_ref().as_slice();
        let rest = all.get(at..).unwrap_or_default();
        let next = match rest {
            [] if at > 0 => None,
            raw if !all.starts_with(&SNAPPY_MAGIC) => Some((raw, &[][..])),
            framed => next_snappy_block(framed)?,
        };
        let Some((block, after)) = next else { return Ok(false) };
        let behind = all.len().saturating_sub(after.len());
        let mut plain = std::mem::take(self.plain.get_mut());
        plain.clear();
        unpack_snappy_block(block, &mut plain, self.bytes_max)?;
        self.plain = Cursor::new(plain);
        self.packed.set_position(u64::try_from(behind).unwrap_or(u64::MAX));
        Ok(true)
    }
}

impl Read for SnappyReader {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let count = self.plain.read(target)?;
            if count > 0 || target.is_empty() {
                return Ok(count);
            }
            match self.next_block() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(RecordsError::TooLarge { .. }) => return Err(ErrorKind::FileTooLarge.into()),
                Err(_) => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }
}

/// Appends what one raw block unpacks to. It says how much that is, which is held against what the block could hold
/// at most before any memory is taken.
fn unpack_snappy_block(block: &[u8], plain: &mut Vec<u8>, bytes_max: usize) -> Result<()> {
    let broken = RecordsError::Broken { codec: Codec::Snappy };
    let length = snap::raw::decompress_len(block).map_err(|_| broken)?;
    // A copy of 64 bytes takes 3.
    if length > block.len().saturating_mul(22) {
        return Err(broken);
    }
    let start = plain.len();
    let end = start.saturating_add(length);
    if end > bytes_max {
        return Err(RecordsError::TooLarge { codec: Codec::Snappy, bytes_max });
    }
    plain.resize(end, 0);
    let target = plain.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, target).map_err(|_| broken)?;
    if written == length { Ok(()) } else { Err(broken) }
}
