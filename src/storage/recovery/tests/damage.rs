//! Damage in the segment where a log ends: what it means depends on where it lies.

use super::*;
use crate::model::number::wide;

const BATCH_BYTES: usize = HEADER_BYTES + 100;
/// Batches in each partition.
const COUNT: i64 = 8;
/// The scan begins with this one.
const RECOVERY_POINT: i64 = 2;
/// All before it was on stable media.
const FLUSHED_END: i64 = 5;

/// Two partitions with these bytes, of which the second is sound.
struct Pair {
    directory: Directory,
    known: [KnownPartition; 2],
    content: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let directory = Directory::new(Durability::Synced);
        let content = batches(0, COUNT, 100);
        let known = [0, 1].map(|number| KnownPartition {
            topic_partition: TopicPartition { partition: PartitionIndex(number), ..PARTITION },
            folder: format!("t-{number}"),
            config: LogConfig::default(),
            leader_epoch: LeaderEpoch(9),
        });
        let fresh = known.iter().map(|known| CheckpointPartition::fresh(known.topic_partition)).collect();
        write_base_of(&directory.disk, LAST, 1, false, fresh).unwrap();
        let flushed = known.iter().map(|known| CheckpointPartition {
            flushed_offset: FLUSHED_END,
            recovery_position: wide(position_of(RECOVERY_POINT)),
            recovery_offset: RECOVERY_POINT,
            ..CheckpointPartition::fresh(known.topic_partition)
        });
        let partitions = flushed.collect();
        let checkpoint =
            CheckpointFile { incarnation: LAST, shard: 0, clean: false, oldest_sequence: 1, partitions };
        directory.put(&shard_checkpoint_path(0), &checkpoint.encode());
        for known in &known {
            directory.disk.create_directories(Path::new(&known.folder)).unwrap();
            directory.put(&segment_of(known), &content);
        }
        Self { directory, known, content }
    }

    /// The same with a bit of one byte of a batch flipped in the first partition.
    fn damaged(offset: i64, place: usize) -> Self {
        let pair = Self::new();
        pair.directory.flip(&segment_of(&pair.known[0]), position_of(offset) + place);
        pair
    }

    fn start(&mut self) -> Recovered {
        let recovered =
            recover::<_, SimMemory>(&self.directory.disk, &[], &self.known, &self.directory.options(1))
                .unwrap();
        self.directory.next_incarnation += 1;
        let sound = &recovered.logs[1];
        assert_eq!((sound.has_failed(), sound.log_end_offset), (false, Offset(COUNT)));
        recovered
    }

    /// What the first partition's segment holds.
    fn segment(&self) -> Vec<u8> {
        self.directory.get(&segment_of(&self.known[0]))
    }
}

fn segment_of(known: &KnownPartition) -> String {
    format!("{}/{}", known.folder, file_name(Offset(0), "log"))
}

fn position_of(offset: i64) -> usize {
    usize::try_from(offset).unwrap() * BATCH_BYTES
}

/// Places in the length, the magic, the CRC, the timestamps and the records.
const PLACES: [usize; 5] = [9, 16, 17, 40, 120];

#[test]
fn damage_between_the_recovery_point_and_what_was_flushed_takes_the_partition_alone_offline() {
    for offset in RECOVERY_POINT..FLUSHED_END {
        for place in PLACES {
            let mut pair = Pair::damaged(offset, place);
            let damaged = pair.segment();
            // A later start finds it as well.
            for _ in 0..2 {
                let recovered = pair.start();
                assert!(recovered.logs[0].has_failed(), "byte {place} of {offset}");
                let reason = format!("the log ends at {offset}, it was on stable media up to {FLUSHED_END}");
                assert_eq!(recovered.report.offline, [(FOLDER.to_owned(), reason)]);
                assert_eq!(pair.segment(), damaged, "it is for people to look at");
            }
            pair.directory.put(&segment_of(&pair.known[0]), &pair.content);
            let recovered = pair.start();
            assert_eq!(recovered.report.offline, []);
            assert_eq!(recovered.logs[0].log_end_offset, Offset(COUNT));
        }
    }
}

#[test]
fn damage_behind_what_was_flushed_is_a_torn_tail_and_cut() {
    for offset in FLUSHED_END..COUNT {
        for place in PLACES {
            let mut pair = Pair::damaged(offset, place);
            let recovered = pair.start();
            assert_eq!(recovered.report.offline, [], "byte {place} of {offset}");
            assert_eq!(recovered.logs[0].log_end_offset, Offset(offset), "byte {place}");
            assert_eq!(pair.segment(), pair.content[..position_of(offset)]);
        }
    }
}

/// A start reads what was not flushed, not what is stored: readers find it.
#[test]
fn damage_before_the_recovery_point_is_not_looked_for() {
    for offset in 0..RECOVERY_POINT {
        let mut pair = Pair::damaged(offset, 120);
        let damaged = pair.segment();
        let recovered = pair.start();
        assert_eq!(recovered.report.offline, []);
        assert_eq!(recovered.logs[0].log_end_offset, Offset(COUNT));
        assert_eq!(pair.segment(), damaged);
    }
}
