//! Layout of the arena's memory: header, table of chunks, chunk area.
//!
//! ```text
//! byte           size  field
//!    0              8  magic and format version
//!    8             16  id of the data directory that the memory belongs to
//!   24             16  boot id of the machine (all zero: unknown)
//!   40              4  shard
//!   44              4  -
//!   48              8  incarnation: the start of the broker that uses the memory
//! 4096      64 × n     one entry per 4 KiB granule; used by the chunk that begins there
//!   …                  chunk area, on a multiple of 4096
//!
//! entry: 0   8  word: 0 unused, else bit 63 set, bit 62 clean (in the segment), bits 0-31 valid bytes; published atomically
//!        8  16  topic id
//!       24   4  partition
//!       28   4  leader epoch
//!       32   8  base offset of the segment
//!       40   8  byte position in the segment of the chunk's first byte
//!       48   8  -
//!       56   8  -
//! ```
//! All integers little-endian: the memory never leaves the machine.

use super::ChunkId;
use crate::model::limits::{BLOCK_BYTES, OFFSET_MAX, SEGMENT_BYTES_MAX};
use crate::model::number::{index, wide};
use crate::model::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};

/// Unit in which the chunk area is divided among size classes.
pub const SLAB_BYTES: u64 = 256 << 10;
/// 4 KiB granules per slab.
pub const GRANULES_PER_SLAB: u64 = SLAB_BYTES / BLOCK_BYTES as u64;
/// Smallest usable arena: header, table and one slab.
pub const ARENA_BYTES_MIN: usize = 2 * BLOCK_BYTES + index(SLAB_BYTES);

/// Bytes of the header that mean something.
pub const HEADER_BYTES: usize = 56;

/// Size of an entry of the table.
pub const ENTRY_BYTES: usize = 64;
const IN_USE: u64 = 1 << 63;
const CLEAN: u64 = 1 << 62;
const MAGIC: u64 = u64::from_le_bytes(*b"RLARENA\x01");

/// What a chunk holds, as recovery needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLabel {
    pub topic_partition: TopicPartition,
    pub leader_epoch: LeaderEpoch,
    pub segment: Offset,
    /// Byte position in the segment of the chunk's first byte; a multiple of 4096.
    pub position: u64,
}

/// Whose memory this is: it is used for recovery only if all of it agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaOwner {
    pub directory_id: [u8; 16],
    pub boot_id: [u8; 16],
    pub shard: u32,
    pub incarnation: u64,
}

/// Where things lie in an arena of a given size.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub slab_count: u32,
    chunk_area: usize,
}

impl Layout {
    /// The layout of `len` bytes. Panics below [`ARENA_BYTES_MIN`], which the caller has checked.
    #[must_use]
    pub fn of(len: usize) -> Self {
        assert!(len >= ARENA_BYTES_MIN, "the arena is too small");
        let table_bytes_per_slab = index(GRANULES_PER_SLAB) * ENTRY_BYTES;
        let usable = len - 2 * BLOCK_BYTES;
        let slab_count = usable / (index(SLAB_BYTES) + table_bytes_per_slab);
        let slab_count = u32::try_from(slab_count.max(1)).unwrap_or(u32::MAX);
        let table_bytes = index(u64::from(slab_count)) * table_bytes_per_slab;
        Self { slab_count, chunk_area: BLOCK_BYTES + table_bytes }
    }

    /// Where the entry of `chunk` begins.
    #[must_use]
    pub fn entry_position(&self, chunk: ChunkId) -> usize {
        BLOCK_BYTES + index(u64::from(chunk.0)) * ENTRY_BYTES
    }

    /// Where the bytes of `chunk` begin.
    #[must_use]
    pub fn chunk_position(&self, chunk: ChunkId) -> usize {
        self.chunk_area + index(u64::from(chunk.0)) * BLOCK_BYTES
    }

    /// Header and table: what must be zero for a new user.
    #[must_use]
    pub const fn table_end(&self) -> usize {
        self.chunk_area
    }

    /// Number of entries.
    #[must_use]
    pub fn granule_count(&self) -> u32 {
        self.slab_count.saturating_mul(u32::try_from(GRANULES_PER_SLAB).unwrap_or(u32::MAX))
    }
}

/// The word of a chunk whose first `valid_bytes` are written.
#[must_use]
pub fn in_use(valid_bytes: u64) -> u64 {
    assert!(valid_bytes <= SLAB_BYTES, "more valid bytes than a chunk has");
    IN_USE | valid_bytes
}

/// The word of a chunk whose valid bytes are in the segment file too.
#[must_use]
pub fn clean(valid_bytes: u64) -> u64 {
    in_use(valid_bytes) | CLEAN
}

/// Valid bytes that recovery must apply; `None` for an entry that is unused, empty, clean or makes no sense.
#[must_use]
pub fn bytes_to_apply(word: u64) -> Option<u64> {
    let valid_bytes = word & u64::from(u32::MAX);
    (word & IN_USE != 0 && word & CLEAN == 0 && valid_bytes > 0 && valid_bytes <= SLAB_BYTES)
        .then_some(valid_bytes)
}

impl ChunkLabel {
    /// Bytes 8 to 63 of the entry.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_BYTES - 8] {
        let mut bytes = [0; ENTRY_BYTES - 8];
        let fields: [&[u8]; 5] = [
            &self.topic_partition.topic_id.0,
            &self.topic_partition.partition.0.to_le_bytes(),
            &self.leader_epoch.0.to_le_bytes(),
            &self.segment.0.to_le_bytes(),
            &self.position.to_le_bytes(),
        ];
        for (target, source) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *target = *source;
        }
        bytes
    }

    /// The counterpart of [`Self::encode`]; `bytes` are an entry's bytes 8 to 63, whatever they are.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let position = u64::from_le_bytes(field(bytes, 32)?);
        let label = Self {
            topic_partition: TopicPartition {
                topic_id: TopicId(field(bytes, 0)?),
                partition: PartitionIndex(i32::from_le_bytes(field(bytes, 16)?)),
            },
            leader_epoch: LeaderEpoch(i32::from_le_bytes(field(bytes, 20)?)),
            segment: Offset(i64::from_le_bytes(field(bytes, 24)?)),
            position,
        };
        let is_possible = position <= SEGMENT_BYTES_MAX && (0..=OFFSET_MAX).contains(&label.segment.0);
        (position.is_multiple_of(wide(BLOCK_BYTES)) && is_possible).then_some(label)
    }
}

impl ArenaOwner {
    /// The header's first bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let fields: [&[u8]; 6] = [
            &MAGIC.to_le_bytes(),
            &self.directory_id,
            &self.boot_id,
            &self.shard.to_le_bytes(),
            &[0; 4],
            &self.incarnation.to_le_bytes(),
        ];
        for (target, source) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *target = *source;
        }
        bytes
    }

    /// The owner that a header names; `None` if it is no arena of this format.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if u64::from_le_bytes(field(bytes, 0)?) != MAGIC {
            return None;
        }
        Some(Self {
            directory_id: field(bytes, 8)?,
            boot_id: field(bytes, 24)?,
            shard: u32::from_le_bytes(field(bytes, 40)?),
            incarnation: u64::from_le_bytes(field(bytes, 48)?),
        })
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
