//! The first 64 bytes of every file of the metadata log. Their place and checksum are the same in every version, so that
//! a file of a newer version is told from a damaged one.
//!
//! ```text
//!  0  8  magic: "RINGMLOG" or "RINGMSNP"
//!  8  4  format version
//! 12  4  CRC32C of bytes 0..12 and 16..64
//! 16 16  cluster id
//! 32  8  number of the file in its directory
//! 40  8  metadata offset: of the first record that a log holds; of the state that a snapshot holds
//! 48  8  snapshot: bytes that follow the header; log: 0
//! 56  4  snapshot: CRC32C of them; log: 0
//! 60  4  0
//! ```
//! All numbers are little-endian.

use super::{Fault, array_at};
use crate::model::ClusterId;
use crate::model::crc::{crc32c, crc32c_append};
use crate::model::image::MetadataOffset;

/// Unit: bytes.
pub const HEADER_BYTES: usize = 64;

/// What this Ringlog writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Log,
    Snapshot,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: FileKind,
    pub cluster_id: ClusterId,
    pub number: u64,
    pub offset: MetadataOffset,
    pub body_bytes: u64,
    pub body_crc: u32,
}

impl Header {
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut rest = bytes.as_mut_slice();
        let fields: [&[u8]; 8] = [
            self.kind.magic(),
            &FORMAT_VERSION.to_le_bytes(),
            &[0; 4],
            &self.cluster_id.0,
            &self.number.to_le_bytes(),
            &self.offset.0.to_le_bytes(),
            &self.body_bytes.to_le_bytes(),
            &self.body_crc.to_le_bytes(),
        ];
        for field in fields {
            if let Some(place) = rest.split_off_mut(..field.len()) {
                place.copy_from_slice(field);
            }
        }
        let crc = checksum(&bytes).to_le_bytes();
        if let Some(place) = bytes.get_mut(12..16) {
            place.copy_from_slice(&crc);
        }
        bytes
    }

    /// Its checksum: what the checksums of the batches behind it begin with.
    #[must_use]
    pub fn crc(&self) -> u32 {
        checksum(&self.encode())
    }

    /// Reads the header at the start of `bytes`, which must be of `kind`.
    ///
    /// # Errors
    /// [`Fault::Header`], or [`Fault::NewerFile`] if the header is sound.
    pub fn parse(bytes: &[u8], kind: FileKind) -> Result<Self, Fault> {
        let bytes: [u8; HEADER_BYTES] = array_at(bytes, 0).ok_or(Fault::Header)?;
        let sound = bytes.starts_with(kind.magic()) && u32_at(&bytes, 12)? == checksum(&bytes);
        if !sound {
            return Err(Fault::Header);
        }
        let found = u32_at(&bytes, 8)?;
        if found != FORMAT_VERSION {
            return Err(Fault::NewerFile { found, supported: FORMAT_VERSION });
        }
        Ok(Self {
            kind,
            cluster_id: ClusterId(array_at(&bytes, 16).ok_or(Fault::Header)?),
            number: u64_at(&bytes, 32)?,
            offset: MetadataOffset(u64_at(&bytes, 40)?),
            body_bytes: u64_at(&bytes, 48)?,
            body_crc: u32_at(&bytes, 56)?,
        })
    }
}

impl FileKind {
    /// What a file that begins with `bytes` says that it is; the rest of its header may be damaged.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        [Self::Log, Self::Snapshot].into_iter().find(|kind| bytes.starts_with(kind.magic()))
    }

    const fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Log => b"RINGMLOG",
            Self::Snapshot => b"RINGMSNP",
        }
    }
}

fn checksum(bytes: &[u8; HEADER_BYTES]) -> u32 {
    let before = bytes.get(..12).unwrap_or_default();
    let after = bytes.get(16..).unwrap_or_default();
    crc32c_append(crc32c(before), after)
}

fn u32_at(bytes: &[u8], position: usize) -> Result<u32, Fault> {
    array_at(bytes, position).map(u32::from_le_bytes).ok_or(Fault::Header)
}

fn u64_at(bytes: &[u8], position: usize) -> Result<u64, Fault> {
    array_at(bytes, position).map(u64::from_le_bytes).ok_or(Fault::Header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            kind: FileKind::Snapshot,
            cluster_id: ClusterId([7; 16]),
            number: 3,
            offset: MetadataOffset(12),
            body_bytes: 99,
            body_crc: 0xabcd,
        }
    }

    #[test]
    fn a_header_reads_back_and_no_bit_of_it_may_change() {
        let bytes = header().encode();
        assert_eq!(Header::parse(&bytes, FileKind::Snapshot), Ok(header()));
        assert_eq!(Header::parse(&bytes, FileKind::Log), Err(Fault::Header));
        assert_eq!(Header::parse(&bytes[..63], FileKind::Snapshot), Err(Fault::Header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::parse(&damaged, FileKind::Snapshot), Err(Fault::Header), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let crc = checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let newer = Fault::NewerFile { found: 2, supported: 1 };
        assert_eq!(Header::parse(&bytes, FileKind::Snapshot), Err(newer));
    }
}
