//! Record batches to load a broker with: as many records of one size as fit, of bytes that no codec or disk can shrink.

use crate::protocol::records::{BatchBuilder, Codec, NewRecord, RecordsError};

/// What a batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchShape {
    /// Size of each record's value. Unit: bytes.
    pub record_bytes: usize,
    /// The batch is filled up to this size; it holds one record at least. Unit: bytes.
    pub batch_bytes_max: usize,
}

/// A batch and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub bytes: Vec<u8>,
    pub record_count: u32,
}

/// Makes one: base offset 0, no producer, no codec, no keys, every record from `now_ms`. The same `seed` gives the same
/// bytes.
///
/// # Errors
/// `TooLong`: more than the format can say.
pub fn make(shape: BatchShape, now_ms: i64, seed: u64) -> Result<Batch, RecordsError> {
    let mut noise = Noise(seed.wrapping_mul(2).wrapping_add(1));
    let mut builder = BatchBuilder::new(Codec::None);
    loop {
        let value = noise.take(shape.record_bytes);
        let record = NewRecord { timestamp: now_ms, value: Some(&value), ..NewRecord::default() };
        let grown = builder.size_bytes().saturating_add(builder.growth_bytes(&record));
        if !builder.is_empty() && grown > shape.batch_bytes_max {
            break;
        }
        builder.push(&record)?;
    }
    let record_count = builder.record_count().unsigned_abs();
    Ok(Batch { bytes: builder.finish()?, record_count })
}

/// Bytes without a pattern, from a seed (xorshift; any odd number begins it).
struct Noise(u64);

impl Noise {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::with_capacity(count.next_multiple_of(size_of::<u64>()));
        while bytes.len() < count {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::BatchHeader;

    #[test]
    fn a_batch_is_valid_full_and_not_over_its_size() {
        for (record_bytes, batch_bytes_max) in [(1024, 128 << 10), (100, 128 << 10), (0, 4096), (100, 0)] {
            let shape = BatchShape { record_bytes, batch_bytes_max };
            let batch = make(shape, 1_700_000_000_000, 7).unwrap();
            let header = BatchHeader::check(&batch.bytes).unwrap();
            header.check_dense().unwrap();
            assert_eq!(header.size_bytes, batch.bytes.len());
            assert_eq!(header.record_count.unsigned_abs(), batch.record_count);
            let room = batch_bytes_max.saturating_sub(batch.bytes.len());
            let is_full = batch.bytes.len() <= batch_bytes_max && room < record_bytes + 20;
            assert!(batch.record_count == 1 || is_full, "{shape:?}");
            assert_eq!(make(shape, 1_700_000_000_000, 7).unwrap(), batch);
            assert!(record_bytes == 0 || make(shape, 1_700_000_000_000, 8).unwrap() != batch);
        }
    }
}
