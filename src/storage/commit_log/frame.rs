//! Frames and file headers of the commit log: fixed-size rkyv archives, read where they lie.
//!
//! ```text
//! file:   one header block of 4096 bytes, then groups
//! group:  frames one after another, each on a multiple of 8; zeros up to the next multiple of 4096
//! frame:  header (an archived FrameHeader), then `body_bytes` bytes, then zeros up to a multiple of 8
//! ```
//! The CRC of a frame covers its header (with the CRC field zero) and its body.

use rkyv::{Archive, Serialize};

use crate::model::crc;
use crate::model::limits::{BLOCK_BYTES, OFFSET_MAX, SEGMENT_BYTES_MAX};

/// What a frame says.
pub mod kind {
    /// The body is whole record batches, to stand at `position` of `segment`.
    pub const DATA: u32 = 1;
    /// The partition's log ends at `base_offset`, at `position` of `segment`; what stood behind is gone.
    pub const TRUNCATE: u32 = 2;
    /// The partition's log starts at `base_offset` (DeleteRecords, retention).
    pub const LOG_START: u32 = 3;
    /// Offsets below `base_offset` may have been given out.
    pub const RESERVE: u32 = 4;
    /// In a file of held frames alone ([`crate::storage::recovery`]): bytes that stood in the arena.
    pub const HELD_CHUNK: u32 = 5;
    /// Likewise: the partition is not served, and the memory of its last life was found, or not.
    pub const HELD_ARENA_FOUND: u32 = 6;
    pub const HELD_ARENA_LOST: u32 = 7;
    /// Likewise: the last frame.
    pub const HELD_END: u32 = 8;
}

/// Alignment of frames in a group.
pub const FRAME_ALIGN: usize = 8;
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"RLF\x01");
const FILE_MAGIC: u64 = u64::from_le_bytes(*b"RLCOMLG\x01");

/// A frame's header. All offsets and positions as in the partition's log.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub magic: u32,
    pub crc: u32,
    /// The stream's incarnation: the start of the broker that wrote it.
    pub incarnation: u64,
    /// Log sequence number: one more than the frame before, across files.
    pub sequence: u64,
    pub topic_id: [u8; 16],
    pub partition: i32,
    pub leader_epoch: i32,
    pub base_offset: i64,
    /// Offset behind the last record of the body.
    pub end_offset: i64,
    /// Base offset of the segment.
    pub segment: i64,
    /// Byte position in the segment.
    pub position: u64,
    pub kind: u32,
    pub body_bytes: u32,
}

/// Bytes of an archived [`FrameHeader`].
pub const FRAME_HEADER_BYTES: usize = size_of::<ArchivedFrameHeader>();
const _: () = assert!(FRAME_HEADER_BYTES.is_multiple_of(FRAME_ALIGN));

/// The first block of a commit-log file.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    pub magic: u64,
    pub incarnation: u64,
    /// Grows with each use of a file in the stream: the order in which files are read.
    pub file_sequence: u64,
    /// Sequence number of the first frame.
    pub first_sequence: u64,
    pub directory_id: [u8; 16],
    pub shard: u32,
    pub crc: u32,
}

const FILE_HEADER_BYTES: usize = size_of::<ArchivedFileHeader>();
const _: () = assert!(FILE_HEADER_BYTES <= BLOCK_BYTES);

impl FrameHeader {
    /// A header whose magic is set and whose CRC is not yet.
    #[must_use]
    pub const fn blank() -> Self {
        Self {
            magic: FRAME_MAGIC,
            crc: 0,
            incarnation: 0,
            sequence: 0,
            topic_id: [0; 16],
            partition: 0,
            leader_epoch: 0,
            base_offset: 0,
            end_offset: 0,
            segment: 0,
            position: 0,
            kind: 0,
            body_bytes: 0,
        }
    }

    /// The archived header with its CRC over itself and the parts of the body.
    #[must_use]
    pub fn encode(mut self, body: [&[u8]; 2]) -> [u8; FRAME_HEADER_BYTES] {
        self.crc = 0;
        let bare = archive_frame(&self);
        self.crc = body.iter().fold(crc::crc32c(&bare), |sum, part| crc::crc32c_append(sum, part));
        archive_frame(&self)
    }

    /// The frame at the start of `bytes`, which begin on a multiple of [`FRAME_ALIGN`], and its body; `None` unless magic, length and
    /// CRC hold and the numbers are possible.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let header = bytes.get(..FRAME_HEADER_BYTES)?;
        let archived = rkyv::access::<ArchivedFrameHeader, rkyv::rancor::Failure>(header).ok()?;
        let found = Self::from_archived(archived);
        if found.magic != FRAME_MAGIC {
            return None;
        }
        let body_end = FRAME_HEADER_BYTES.checked_add(usize::try_from(found.body_bytes).ok()?)?;
        let body = bytes.get(FRAME_HEADER_BYTES..body_end)?;
        let bare = archive_frame(&Self { crc: 0, ..found });
        let holds = crc::crc32c_append(crc::crc32c(&bare), body) == found.crc;
        (holds && found.is_possible()).then_some((found, body))
    }

    /// What a checksum covers may still be wrong; sums with it must not overflow.
    fn is_possible(&self) -> bool {
        let offsets = [self.base_offset, self.end_offset, self.segment];
        offsets.iter().all(|offset| (0..=OFFSET_MAX).contains(offset)) && self.position <= SEGMENT_BYTES_MAX
    }

    const fn from_archived(a: &ArchivedFrameHeader) -> Self {
        Self {
            magic: a.magic.to_native(),
            crc: a.crc.to_native(),
            incarnation: a.incarnation.to_native(),
            sequence: a.sequence.to_native(),
            topic_id: a.topic_id,
            partition: a.partition.to_native(),
            leader_epoch: a.leader_epoch.to_native(),
            base_offset: a.base_offset.to_native(),
            end_offset: a.end_offset.to_native(),
            segment: a.segment.to_native(),
            position: a.position.to_native(),
            kind: a.kind.to_native(),
            body_bytes: a.body_bytes.to_native(),
        }
    }
}

impl FileHeader {
    /// A header whose magic is set.
    #[must_use]
    pub const fn new(
        incarnation: u64,
        file_sequence: u64,
        first_sequence: u64,
        directory_id: [u8; 16],
        shard: u32,
    ) -> Self {
        Self { magic: FILE_MAGIC, incarnation, file_sequence, first_sequence, directory_id, shard, crc: 0 }
    }

    /// Writes the header block into `block`, whose other bytes become zero.
    pub fn encode_into(mut self, block: &mut [u8]) {
        self.crc = 0;
        self.crc = crc::crc32c(&archive_file(&self));
        block.fill(0);
        if let Some(target) = block.get_mut(..FILE_HEADER_BYTES) {
            target.copy_from_slice(&archive_file(&self));
        }
    }

    /// The header in a file's first block, aligned to 8; `None` unless magic and CRC hold.
    #[must_use]
    pub fn decode(block: &[u8]) -> Option<Self> {
        let bytes = block.get(..FILE_HEADER_BYTES)?;
        let a = rkyv::access::<ArchivedFileHeader, rkyv::rancor::Failure>(bytes).ok()?;
        let found = Self {
            magic: a.magic.to_native(),
            incarnation: a.incarnation.to_native(),
            file_sequence: a.file_sequence.to_native(),
            first_sequence: a.first_sequence.to_native(),
            directory_id: a.directory_id,
            shard: a.shard.to_native(),
            crc: a.crc.to_native(),
        };
        let expected = crc::crc32c(&archive_file(&Self { crc: 0, ..found }));
        (found.magic == FILE_MAGIC && found.crc == expected).then_some(found)
    }
}

/// Bytes that a frame with `body_bytes` takes in a group.
#[must_use]
pub const fn frame_bytes(body_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + body_bytes).next_multiple_of(FRAME_ALIGN)
}

fn archive_frame(header: &FrameHeader) -> [u8; FRAME_HEADER_BYTES] {
    archive(header)
}

fn archive_file(header: &FileHeader) -> [u8; FILE_HEADER_BYTES] {
    archive(header)
}

/// Archives a flat value into its exact bytes, without allocating.
fn archive<T, const N: usize>(value: &T) -> [u8; N]
where
    T: for<'a> Serialize<
        rkyv::rancor::Strategy<
            rkyv::ser::Serializer<rkyv::ser::writer::Buffer<'a>, (), ()>,
            rkyv::rancor::Failure,
        >,
    >,
{
    let mut bytes = rkyv::util::Align([0u8; N]);
    let writer = rkyv::ser::writer::Buffer::from(&mut bytes.0);
    let mut serializer = rkyv::ser::Serializer::new(writer, (), ());
    let done = rkyv::api::serialize_using::<_, rkyv::rancor::Failure>(value, &mut serializer);
    // A flat value fills its buffer exactly: only a change of the type could make this fail, and every test would see it.
    assert!(done.is_ok(), "a fixed-size header did not fit its own size");
    bytes.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(8))]
    struct Aligned([u8; 4096]);

    #[test]
    fn a_frame_reads_back_and_no_flipped_bit_passes() {
        let header = FrameHeader {
            incarnation: 5,
            sequence: 77,
            kind: kind::DATA,
            body_bytes: 11,
            position: 1 << 35,
            ..FrameHeader::blank()
        };
        let mut page = Aligned([0; 4096]);
        page.0[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode([b"hello", b" world"]));
        page.0[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + 11].copy_from_slice(b"hello world");
        let (found, body) = FrameHeader::decode(&page.0).unwrap();
        assert_eq!(body, b"hello world");
        assert_eq!(FrameHeader { crc: 0, ..found }, header);
        for bit in 0..(FRAME_HEADER_BYTES + 11) * 8 {
            page.0[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::decode(&page.0).is_none(), "bit {bit}");
            page.0[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(frame_bytes(11) % FRAME_ALIGN, 0);
    }

    #[test]
    fn numbers_that_no_log_has_are_refused_even_under_a_right_crc() {
        let decoded = |header: FrameHeader| {
            let mut page = Aligned([0; 4096]);
            page.0[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode([&[]; 2]));
            FrameHeader::decode(&page.0).map(|(found, _)| FrameHeader { crc: 0, ..found })
        };
        let good =
            FrameHeader { position: SEGMENT_BYTES_MAX, base_offset: OFFSET_MAX, ..FrameHeader::blank() };
        assert_eq!(decoded(good), Some(good));
        assert_eq!(decoded(FrameHeader { position: u64::MAX, ..good }), None);
        assert_eq!(decoded(FrameHeader { base_offset: i64::MAX, ..good }), None);
        assert_eq!(decoded(FrameHeader { end_offset: -1, ..good }), None);
        assert_eq!(decoded(FrameHeader { segment: i64::MIN, ..good }), None);
    }

    #[test]
    fn a_file_header_reads_back() {
        let mut page = Aligned([9; 4096]);
        FileHeader::new(3, 9, 1000, [4; 16], 1).encode_into(&mut page.0);
        let found = FileHeader::decode(&page.0).unwrap();
        assert_eq!(FileHeader { crc: 0, ..found }, FileHeader::new(3, 9, 1000, [4; 16], 1));
        page.0[20] ^= 1;
        assert_eq!(FileHeader::decode(&page.0), None);
        assert_eq!(FileHeader::decode(&[0; 4096]), None);
    }
}
