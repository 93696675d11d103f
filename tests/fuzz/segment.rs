//! The walk over a segment, with which recovery scans and `ringlog inspect` prints: no file makes it panic, what it passes is
//! sound batches one after another, and it ends where the first that is not begins.

#![no_main]

mod memory_disk;

use libfuzzer_sys::fuzz_target;
use memory_disk::MemoryFile;
use ringlog::model::batch::{BatchHeader, CRC_START, HEADER_BYTES, LOG_OVERHEAD_BYTES};
use ringlog::model::crc::crc32c;
use ringlog::model::{LeaderEpoch, Offset};
use ringlog::storage::recovery::{Expected, Stop, walk};
use std::ops::ControlFlow;

fuzz_target!(|input: &[u8]| {
    let Some((&mode, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 == 1 {
        make_sound(&mut bytes, usize::from(mode >> 1));
    }
    let base_offset = BatchHeader::parse(&bytes).map_or(Offset::ZERO, |header| header.base_offset);
    let file = MemoryFile::new(bytes.clone());
    let mut next = (0, base_offset, LeaderEpoch::NONE);
    let walked = walk(&file, 0, Expected::at(base_offset), |header, at, batch| {
        assert_eq!(BatchHeader::check(batch), Ok(*header));
        assert_eq!((at, header.base_offset), (next.0, next.1));
        assert!(header.leader_epoch >= next.2 && batch.len() == header.size_bytes);
        next = (at + batch.len() as u64, header.end_offset(), header.leader_epoch);
        ControlFlow::Continue(())
    });
    let (scanned, stop) = walked.expect("memory can be read");
    assert_eq!((scanned.end, scanned.next.offset), (next.0, next.1));
    assert_eq!(stop == Stop::End, scanned.end == bytes.len() as u64);
    assert!(stop.to_string().len() < 200 && stop != Stop::Enough);

    // From any good batch on, the rest is walked over as before.
    let again = walk(&file, scanned.end, scanned.next, |_, _, _| ControlFlow::Continue(()));
    let (again, again_stop) = again.expect("memory can be read");
    assert_eq!((again.end, again_stop), (scanned.end, stop));
});

/// Random bytes never carry the right lengths and sums: gives the first `count` batches theirs, so that later ones are reached.
fn make_sound(bytes: &mut [u8], count: usize) {
    let mut rest = bytes;
    let mut offset = None;
    for _ in 0..count {
        if rest.len() < HEADER_BYTES {
            return;
        }
        let size = HEADER_BYTES + usize::from(rest[11]);
        let size = size.min(rest.len());
        let base = *offset.get_or_insert(i64::from(rest[7]));
        rest[..8].copy_from_slice(&base.to_be_bytes());
        rest[8..12].copy_from_slice(&((size - LOG_OVERHEAD_BYTES) as u32).to_be_bytes());
        rest[16] = 2;
        rest[23..26].fill(0);
        rest[57..60].fill(0);
        rest[60] = rest[60].min(rest[26].saturating_add(1));
        offset = Some(base + i64::from(rest[26]) + 1);
        let (batch, behind) = rest.split_at_mut(size);
        let sum = crc32c(&batch[CRC_START..]);
        batch[17..21].copy_from_slice(&sum.to_be_bytes());
        rest = behind;
    }
}
