//! What is known of producers after a start whose checkpoint cannot be used.

use super::*;
use crate::storage::partition::producers::{Producers, Verdict};
use crate::storage::partition::segment::snapshot_path;
use crate::storage::side_file::encode_producers;

/// A batch of one record of this producer.
fn produced(producer_id: i64, base_sequence: i32, base_offset: i64) -> BatchHeader {
    let mut header = BatchHeader::parse(&batch(base_offset, 1, 1, 0)).unwrap();
    header.producer_id = ProducerId(producer_id);
    header.producer_epoch = ProducerEpoch(0);
    header.base_sequence = base_sequence;
    header.crc = crc_of(&header.encode(), &[]);
    header
}

fn is_known(producers: &Producers, batch: &BatchHeader) -> bool {
    matches!(producers.check(batch), Ok(Verdict::Duplicate(found)) if found.base_offset == batch.base_offset)
}

/// A log whose records before 1000 were given up, with the snapshots that there were. Its last batches are of producer 3.
struct Story {
    directory: Directory,
    gone: [BatchHeader; 2],
    there: BatchHeader,
}

impl Story {
    fn new() -> Self {
        let directory = Directory::new(Durability::Synced);
        let gone = [produced(1, 7, 880), produced(2, 0, 990)];
        let there = produced(3, 5, 1000);
        directory.put_segment(1000, &there.encode());
        let story = Self { directory, gone, there };
        story.put_snapshot(900, &gone[..1]);
        story.put_snapshot(1000, &gone);
        story
    }

    fn put_snapshot(&self, end_offset: i64, batches: &[BatchHeader]) {
        let mut producers = Producers::default();
        for batch in batches {
            producers.note(batch, 5, Offset(0));
        }
        let bytes = encode_producers(Offset(end_offset), &producers.snapshot(Offset(i64::MAX)));
        self.directory.put(&snapshot_path(FOLDER, Offset(end_offset)), &bytes);
    }

    fn has_snapshot(&self, end_offset: i64) -> bool {
        let path = snapshot_path(FOLDER, Offset(end_offset));
        self.directory.disk.open(Path::new(&path), Access::Read, Caching::Buffered).is_ok()
    }

    /// Whether the batches that are gone, and the one that is there, are known.
    fn start(&mut self) -> ([bool; 2], bool) {
        let recovered = self.directory.start().unwrap();
        assert_eq!(recovered.report.offline, []);
        let log = &recovered.logs[0];
        assert_eq!(log.log_end_offset, Offset(1001));
        let known = self.gone.map(|batch| is_known(&log.producers, &batch));
        (known, is_known(&log.producers, &self.there))
    }
}

#[test]
fn the_newest_sound_snapshot_knows_the_producers_whose_batches_are_gone() {
    for (damaged, expected) in [
        (&[][..], [true, true]),
        (&[1000][..], [true, false]),
        (&[900][..], [true, true]),
        (&[900, 1000][..], [false, false]),
    ] {
        let mut story = Story::new();
        for &end_offset in damaged {
            story.directory.damage(&snapshot_path(FOLDER, Offset(end_offset)));
        }
        assert_eq!(story.start(), (expected, true), "{damaged:?} damaged");
    }
}

#[test]
fn a_snapshot_under_another_ones_name_or_of_the_time_after_its_offset_is_not_used() {
    let mut story = Story::new();
    let bytes = story.directory.get(&snapshot_path(FOLDER, Offset(1000)));
    story.directory.put(&snapshot_path(FOLDER, Offset(999)), &bytes);
    story.put_snapshot(1000, &[produced(1, 7, 1000)]);
    assert_eq!(story.start(), ([true, false], true));
}

/// The log was cut there, or its end is lost: the snapshot knows of batches that are not in it.
#[test]
fn a_snapshot_from_behind_the_end_is_not_used_and_goes() {
    let mut story = Story::new();
    story.put_snapshot(1002, &[produced(1, 9, 1001)]);
    assert_eq!(story.start(), ([true, true], true));
    assert_eq!([900, 1000, 1002].map(|end_offset| story.has_snapshot(end_offset)), [true, true, false]);
}

#[test]
fn what_a_sound_checkpoint_says_of_producers_is_newer_than_a_snapshot() {
    let mut story = Story::new();
    let state = CheckpointPartition {
        log_start_offset: 1000,
        flushed_offset: 1000,
        recovery_segment: 1000,
        recovery_offset: 1000,
        ..CheckpointPartition::fresh(PARTITION)
    };
    write_base_of(&story.directory.disk, LAST, 1, false, vec![state]).unwrap();
    assert_eq!(story.start(), ([false, false], true));
}
