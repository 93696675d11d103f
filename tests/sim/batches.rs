//! Record batches whose bytes tell which batch and which place in it they are.

use std::rc::Rc;

use ringlog::model::batch::{BatchHeader, CRC_START, HEADER_BYTES, LOG_OVERHEAD_BYTES};
use ringlog::model::{LeaderEpoch, crc};
use ringlog::storage::shard::Appended;

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Names the content; never used twice.
    pub number: u64,
    pub record_count: i32,
    pub record_bytes: usize,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer: Option<Sequence>,
}

/// A place in a producer's numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

/// A batch as a producer sends it.
pub fn build(wish: &Wish) -> Vec<u8> {
    let size = HEADER_BYTES + wish.record_bytes;
    let mut batch = Vec::with_capacity(size + 8);
    let producer =
        wish.producer.unwrap_or(Sequence { producer_id: -1, producer_epoch: -1, base_sequence: -1 });
    batch.extend_from_slice(&0i64.to_be_bytes());
    batch.extend_from_slice(&((size - LOG_OVERHEAD_BYTES) as i32).to_be_bytes());
    batch.extend_from_slice(&(-1i32).to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&[0; 4]);
    batch.extend_from_slice(&0i16.to_be_bytes());
    batch.extend_from_slice(&(wish.record_count - 1).to_be_bytes());
    batch.extend_from_slice(&wish.base_timestamp.to_be_bytes());
    batch.extend_from_slice(&wish.max_timestamp.to_be_bytes());
    batch.extend_from_slice(&producer.producer_id.to_be_bytes());
    batch.extend_from_slice(&producer.producer_epoch.to_be_bytes());
    batch.extend_from_slice(&producer.base_sequence.to_be_bytes());
    batch.extend_from_slice(&wish.record_count.to_be_bytes());
    let mut word = wish.number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while batch.len() < size {
        batch.extend_from_slice(&word.to_le_bytes());
        word = word.wrapping_add(0x0001_0001_0001_0001);
    }
    batch.truncate(size);
    let sum = crc::crc32c(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&sum.to_be_bytes());
    batch
}

/// A batch that stands, or stood, in a log.
#[derive(Clone, Debug)]
pub struct Stored {
    pub number: u64,
    pub header: BatchHeader,
    pub bytes: Rc<[u8]>,
}

/// What must be in the log of a batch that was taken so: written here a second time, by the format's own words.
pub fn as_stored(bytes: &[u8], answer: &Appended, leader_epoch: LeaderEpoch) -> Vec<u8> {
    let mut stored = bytes.to_vec();
    stored[..8].copy_from_slice(&answer.base_offset.0.to_be_bytes());
    stored[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
    if let Some(time) = answer.log_append_time {
        stored[22] |= 0x08;
        stored[35..43].copy_from_slice(&time.to_be_bytes());
        let sum = crc::crc32c(&stored[CRC_START..]);
        stored[CRC_START - 4..CRC_START].copy_from_slice(&sum.to_be_bytes());
    }
    stored
}

impl Stored {
    pub fn new(number: u64, bytes: &[u8]) -> Self {
        let header = BatchHeader::check(bytes).expect("a stored batch is sound");
        Self { number, header, bytes: bytes.into() }
    }

    pub fn base(&self) -> i64 {
        self.header.base_offset.0
    }

    pub fn end(&self) -> i64 {
        self.header.end_offset().0
    }
}
