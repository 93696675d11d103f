//! A disk that gives errors for segments, and then does not.

use std::path::Path;

use ringlog::model::batch::BatchHeader;
use ringlog::model::{Durability, Offset};
use ringlog::runtime::disk::BlockingDisk;
use ringlog::runtime::file::{Access, BlockingFile, Caching};
use ringlog::runtime::sim::SimFaults;
use ringlog::storage::PartitionSlot;
use ringlog::storage::shard::{AppendError, Event};

use super::Shard;
use crate::batches::{Wish, build};
use crate::io::RingFaults;

/// Within so many seconds it has been tried again.
const RETRY_S: usize = 40;
/// A partition's own write, not one through the commit log. Unit: bytes.
const LARGE: usize = 70_000;

impl Shard {
    fn try_append(&mut self, slot: PartitionSlot, record_bytes: usize) -> Result<(), AppendError> {
        let wish = Wish {
            number: 2,
            record_count: 1,
            record_bytes,
            base_timestamp: self.now_ms,
            max_timestamp: self.now_ms,
            producer: None,
        };
        let bytes = build(&wish);
        let header = BatchHeader::check(&bytes).expect("a batch that was built");
        self.io.log.append(slot, &bytes, &header, self.now_ms).map(drop)
    }

    fn pass_seconds(&mut self, seconds: usize) {
        for _ in 0..seconds {
            self.pass_time();
            assert!(self.rest());
        }
    }

    fn high_watermark(&self, slot: PartitionSlot) -> i64 {
        self.io.log.partition(slot).map_or(-1, |log| log.high_watermark().0)
    }

    fn flushed_offset(&self, slot: PartitionSlot) -> i64 {
        self.io.log.partition(slot).map_or(-1, |log| log.flushed_offset().0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Write,
    /// The first write to a file beside it, and so the making of the segment.
    Making,
    MakingDurable,
}

impl Refused {
    fn begin(self, shard: &mut Shard) {
        match self {
            Self::Write => shard.io.faults.write = 1000,
            Self::Making => shard.disk.set_faults(SimFaults { write: 1000, ..SimFaults::default() }),
            Self::MakingDurable => shard.disk.set_faults(SimFaults { sync: 1000, ..SimFaults::default() }),
        }
    }
}

fn mend(shard: &mut Shard) {
    shard.io.faults = RingFaults::default();
    shard.disk.set_faults(SimFaults::default());
}

#[test]
fn a_partition_returns_when_the_disk_takes_what_it_refused() {
    for seed in 1..=20 {
        for refused in [Refused::Write, Refused::Making, Refused::MakingDurable] {
            let mut shard = Shard::new(seed);
            let (broken, other) = (shard.create(1), shard.create(2));
            // The first one goes through the commit log: the file is made later.
            let direct = refused == Refused::Write;
            if direct {
                shard.append(broken, LARGE);
                shard.pass_seconds(1);
            }
            refused.begin(&mut shard);
            shard.append(broken, LARGE);
            if direct {
                assert!(shard.rest());
            } else {
                shard.pass_seconds(1);
            }
            assert_eq!(shard.high_watermark(broken), 1, "seed {seed}, {refused:?}");
            let again = shard.try_append(broken, 100);
            assert_eq!(again, Err(AppendError::Storage), "seed {seed}, {refused:?}");
            // What needs the commit log alone is served on.
            shard.append(other, 100);
            assert!(shard.rest());
            assert_eq!(shard.high_watermark(other), 1, "seed {seed}, {refused:?}");
            shard.pass_seconds(3);
            assert_eq!(shard.high_watermark(broken), 1, "seed {seed}, {refused:?}");
            mend(&mut shard);
            shard.pass_seconds(RETRY_S);
            let end = 1 + i64::from(direct);
            assert_eq!(shard.high_watermark(broken), end, "seed {seed}, {refused:?}");
            shard.append(broken, LARGE);
            shard.append(other, 100);
            shard.pass_seconds(1);
            assert_eq!(shard.high_watermark(broken), end + 1, "seed {seed}, {refused:?}");
            assert_eq!(shard.high_watermark(other), 2, "seed {seed}, {refused:?}");
            assert!(!shard.has_happened(Event::Failed(broken)) && !shard.io.log.must_begin_anew());
        }
    }
}

/// A `written` partition of 20 batches, written behind, of which the flush fails.
fn with_a_failed_flush(retained_bytes: u64, seed: u64) -> (Shard, PartitionSlot) {
    let mut shard = Shard::with_options(seed, |options| options.retained_bytes = retained_bytes);
    let (slot, other) = (shard.create_with(1, Durability::Written), shard.create(2));
    for _ in 0..20 {
        shard.append(slot, 30_000);
        assert!(shard.rest());
    }
    // A new chunk is what makes others go.
    shard.append(other, 100);
    assert!(shard.rest());
    assert_eq!((shard.flushed_offset(slot), shard.high_watermark(slot)), (0, 20));
    shard.io.faults.sync = 1000;
    shard.pass_seconds(1);
    (shard, slot)
}

#[test]
fn what_a_failed_flush_may_have_lost_is_written_again() {
    for seed in 1..=20 {
        let (mut shard, slot) = with_a_failed_flush(u64::MAX, seed);
        assert_eq!(shard.try_append(slot, 100), Err(AppendError::Storage));
        let path = Path::new("t1-0/00000000000000000000.log");
        let file = shard.disk.open(path, Access::Write, Caching::Buffered).expect("a segment");
        file.write_at(0, &vec![0; 20 * 30_000]).expect("a disk that writes");
        mend(&mut shard);
        shard.pass_seconds(RETRY_S);
        assert_eq!(shard.flushed_offset(slot), 20, "seed {seed}");
        let bytes = shard.disk.read_file(path, 1 << 30).expect("a segment");
        let mut rest = bytes.as_slice();
        for offset in 0..20 {
            let header = BatchHeader::check(rest).expect("a sound batch");
            assert_eq!(header.base_offset, Offset(offset), "seed {seed}");
            rest = &rest[header.size_bytes..];
        }
    }
}

#[test]
fn a_failed_flush_of_what_memory_has_no_more_is_for_recovery() {
    let (mut shard, slot) = with_a_failed_flush(0, 1);
    assert!(shard.has_happened(Event::Failed(slot)));
    mend(&mut shard);
    shard.pass_seconds(RETRY_S);
    assert_eq!(shard.try_append(slot, 100), Err(AppendError::Storage));
    assert_eq!(shard.flushed_offset(slot), 0, "a flush was repeated as if nothing had happened");
}

/// What they hold is put aside by recovery, which the log that begins anew goes through.
#[test]
fn partitions_that_cannot_be_written_do_not_keep_the_arena() {
    let mut shard = Shard::new(1);
    let other = shard.create(9);
    shard.io.faults.write = 1000;
    let mut refused = 0;
    for number in 1..=8 {
        let slot = shard.create_with(number, Durability::Written);
        while shard.try_append(slot, 60_000).is_ok() {
            assert!(shard.rest());
        }
        shard.pass_seconds(1);
        refused += usize::from(shard.io.log.must_begin_anew());
    }
    assert!(refused > 0, "the arena is kept: {:?}", shard.io.log.arena_bytes());
    assert_eq!(shard.try_append(other, LARGE), Err(AppendError::Busy));
}
