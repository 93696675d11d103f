//! A client that makes up producer ids: the shard stays within its bound, who writes is remembered, nobody gets an error.

use ringlog::model::{Offset, PartitionIndex, TopicId, TopicPartition};
use ringlog::storage::PartitionSlot;
use ringlog::storage::checkpoint::{CheckpointFile, shard_checkpoint_path};
use ringlog::storage::recovery::{KnownPartition, RecoveryOptions, recover, write_base_of};
use ringlog::storage::shard::{AppendError, Appended};

use super::*;
use crate::batches::Sequence;

const PRODUCERS_MAX: usize = 200;

impl Shard {
    fn produce(
        &mut self,
        slot: PartitionSlot,
        producer_id: i64,
        base_sequence: i32,
    ) -> Result<Appended, AppendError> {
        let producer = Some(Sequence { producer_id, producer_epoch: 0, base_sequence });
        let (base_timestamp, max_timestamp) = (NOW_MS, NOW_MS);
        let wish =
            Wish { number: 1, record_count: 1, record_bytes: 9, base_timestamp, max_timestamp, producer };
        let bytes = build(&wish);
        let header = BatchHeader::check(&bytes).expect("a batch that was built");
        self.io.log.append(slot, &bytes, &header, self.now_ms)
    }

    /// The same, which waits for room.
    fn produce_in_time(&mut self, slot: PartitionSlot, producer_id: i64, base_sequence: i32) -> Offset {
        self.events.clear();
        let mut appended = self.produce(slot, producer_id, base_sequence);
        if appended == Err(AppendError::Busy) {
            assert!(self.rest());
            assert!(self.has_happened(Event::Room), "nobody is told that there is room");
            appended = self.produce(slot, producer_id, base_sequence);
        }
        appended.expect("an append that has waited").base_offset
    }

    fn end(&self, slot: PartitionSlot) -> Offset {
        self.io.log.partition(slot).expect("a partition").log_end_offset()
    }

    /// Producers in the newest checkpoint, per partition.
    fn checkpointed(&self) -> Vec<usize> {
        let bytes = self.disk.read_file(Path::new(&shard_checkpoint_path(0)), 1 << 30).expect("a checkpoint");
        let file = CheckpointFile::decode(&bytes).expect("a sound checkpoint");
        file.partitions.iter().map(|partition| partition.producers.len()).collect()
    }
}

fn ids(seed: u64) -> impl Iterator<Item = i64> {
    let mut random = SimRandom::new(seed);
    std::iter::from_fn(move || Some((random.number() >> 2) as i64))
}

#[test]
fn a_flood_of_made_up_producers_makes_only_itself_forgotten_and_survives_a_restart_in_bounds() {
    let mut shard = Shard::with_options(1, |options| options.producers_max = PRODUCERS_MAX);
    write_base_of(&shard.disk, 1, 1, false, Vec::new()).expect("room on the disk");
    let (quiet, flooded) = (shard.create(1), shard.create(2));
    let faithful: Vec<Offset> = (0..10).map(|id| shard.produce_in_time(quiet, id, 0)).collect();
    let made_up: Vec<i64> = ids(1).take(5_000).collect();
    let mut offsets = Vec::new();
    for (place, &id) in made_up.iter().enumerate() {
        offsets.push(shard.produce_in_time(flooded, id, 77));
        if place % 1_000 == 999 {
            assert!(shard.rest());
            shard.pass_time();
            assert!(shard.rest());
            assert_eq!(shard.checkpointed(), [10, PRODUCERS_MAX - 10]);
        }
    }
    // Behind the checkpoint.
    let last = shard.produce_in_time(flooded, made_up[4_999], 78);
    assert!(shard.rest());
    let check = |shard: &mut Shard, slots: [PartitionSlot; 2], remembered: usize| {
        let ends = slots.map(|slot| shard.end(slot));
        for (id, &offset) in (0..).zip(&faithful) {
            assert_eq!(shard.produce_in_time(slots[0], id, 0), offset);
        }
        for (&id, &offset) in made_up.iter().zip(&offsets).rev().take(remembered) {
            assert_eq!(shard.produce_in_time(slots[1], id, 77), offset);
        }
        assert_eq!(shard.produce_in_time(slots[1], made_up[4_999], 78), last);
        assert_eq!(slots.map(|slot| shard.end(slot)), ends, "a repeated batch was appended again");
    };
    check(&mut shard, [quiet, flooded], PRODUCERS_MAX - 10);

    let known = [1, 2].map(|number| KnownPartition {
        topic_partition: TopicPartition { topic_id: TopicId([number; 16]), partition: PartitionIndex(0) },
        folder: format!("t{number}-0"),
        config: LogConfig::default(),
        leader_epoch: LeaderEpoch(2),
    });
    let options = RecoveryOptions {
        directory_id: [0; 16],
        boot_id: [1; 16],
        incarnation: 2,
        shard_count: 1,
        now_ms: NOW_MS,
        knows_all_topics: true,
        threads: 1,
        gathered_bytes_max: 16 << 10,
        seeded_bug: None,
    };
    let memories: [&SimMemory; 0] = [];
    let recovered = recover(&shard.disk, &memories, &known, &options).expect("a sound disk");
    assert!(recovered.report.bytes_scanned > 0 && recovered.report.offline.is_empty());
    let mut second = Shard::with_options(2, |options| options.producers_max = PRODUCERS_MAX);
    let mut logs = recovered.logs.into_iter();
    let slots = [(); 2].map(|()| second.io.log.add_partition(logs.next().expect("two logs")));
    check(&mut second, slots, PRODUCERS_MAX - 10);
    // Forgotten: any sequence is a first one, and never an error.
    let end = second.end(slots[1]);
    assert_eq!(second.produce_in_time(slots[1], made_up[0], 5), end);
}

#[test]
fn a_producer_that_waits_for_its_acknowledgement_is_not_forgotten() {
    let mut shard = Shard::with_options(3, |options| options.producers_max = PRODUCERS_MAX);
    let slot = shard.create(1);
    let first: Vec<i64> = ids(2).take(PRODUCERS_MAX).collect();
    for &id in &first {
        shard.produce(slot, id, 0).expect("room for the producer");
    }
    assert_eq!(shard.produce(slot, -5 & i64::MAX, 0), Err(AppendError::Busy));
    for (offset, &id) in (0..).zip(&first) {
        let repeated = shard.produce(slot, id, 0).expect("known");
        assert_eq!(repeated.base_offset, Offset(offset));
    }
    let end = shard.end(slot);
    assert_eq!(shard.produce_in_time(slot, -5 & i64::MAX, 0), end);
    assert_eq!(shard.produce_in_time(slot, first[1], 0), Offset(1), "more were forgotten than had to be");
    assert_eq!(shard.produce_in_time(slot, first[0], 0), Offset(end.0 + 1), "the oldest was to be forgotten");
}
