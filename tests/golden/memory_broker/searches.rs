//! Many searches by time at once, over partitions whose records are on disk and a cache that holds few of them.

use super::MemoryBroker;
use crate::script::batches::{batch, packed};
use crate::script::produce::append;
use crate::script::{Broker as _, Script};
use ringlog::protocol::kafka::Writer;
use ringlog::protocol::kafka::frame::encode_request;
use ringlog::protocol::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ringlog::protocol::records::Codec;
use ringlog::storage::shard::ShardOptions;
use std::time::Duration;

const PARTITIONS: i32 = 1_000;
const VERSION: i16 = 9;
/// Segments are closed soon after they are begun, and their records leave the memory.
const SETTINGS: &str = "node.id=0\nlog.roll.ms=1\nlog.retention.check.interval.ms=100\nlog.retention.ms=-1\n";
/// A few extents of 256 KiB.
const CACHE_BYTES: u64 = 768 << 10;

/// A broker that reads from disk, through a small cache.
fn broker() -> MemoryBroker {
    let options =
        ShardOptions { read_cache_bytes: CACHE_BYTES, retained_bytes: 0, ..ShardOptions::default() };
    MemoryBroker::with_options(SETTINGS, options)
}

#[test]
fn one_request_over_a_thousand_partitions_ends() {
    let mut broker = broker();
    Script::run(&mut broker, |script| {
        let name = script.topic("many", PARTITIONS, &[]);
        for partition in 0..PARTITIONS {
            append(
                script,
                &name,
                partition,
                &packed(Codec::Zstd, &[1_000, 2_000 + i64::from(partition)], b"v"),
            );
        }
        // Several extents long, so that a search of it is interrupted by others.
        for _ in 0..40 {
            append(script, &name, 0, &packed(Codec::None, &[1_500], &[7; 30_000]));
        }
        append(script, &name, 0, &packed(Codec::Gzip, &[9_000, 9_001], &[7; 600_000]));
        script.pause(Duration::from_secs(30));
        // Memory is given up when somebody needs some.
        let other = script.topic("other", 1, &[]);
        append(script, &other, 0, &batch(&[1]));
        let asked: Vec<_> = (0..PARTITIONS)
            .map(|partition_index| ListOffsetsPartition {
                partition_index,
                current_leader_epoch: -1,
                timestamp: if partition_index == 0 { 9_001 } else { 1_500 },
            })
            .collect();
        let topics = vec![ListOffsetsTopic { name: &name, partitions: asked }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
        let answer = script.ask(VERSION, &request);
        let topic = &answer.field("topics").list()[0];
        for (place, part) in topic.field("partitions").list().iter().enumerate() {
            let wanted =
                if place == 0 { (9_001, 43) } else { (2_000 + i64::try_from(place).expect("small"), 1) };
            let found = (part.field("timestamp").number(), part.field("offset").number());
            assert_eq!(found, wanted, "partition {place}: {}", part.line());
        }
    });
    assert!(
        broker.reads() >= u64::try_from(PARTITIONS).expect("a count"),
        "{} reads: not from disk",
        broker.reads()
    );
}

#[test]
fn a_bomb_is_refused_and_holds_up_nobody() {
    let mut broker = broker();
    Script::run(&mut broker, |script| {
        let name = script.topic("bomb", 2, &[]);
        // A few hundred kilobytes of zstd or gzip that are 160 MiB.
        let zeros = vec![0; 160 << 20];
        append(script, &name, 0, &packed(Codec::Zstd, &[1_000, 2_000], &zeros));
        append(script, &name, 1, &batch(&[1_000, 2_000]));
        for (timestamp, error, offset) in [(1_000, 0, 0), (2_000, 2, -1)] {
            let parts = (0..2).map(|partition_index| ListOffsetsPartition {
                partition_index,
                current_leader_epoch: -1,
                timestamp,
            });
            let topics = vec![ListOffsetsTopic { name: &name, partitions: parts.collect() }];
            let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
            let answer = script.ask(VERSION, &request);
            let parts = answer.field("topics").list()[0].field("partitions").list();
            assert_eq!(parts[0].field("error_code").number(), error, "{}", answer.line());
            assert_eq!(parts[0].field("offset").number(), offset, "{}", answer.line());
            assert_eq!(parts[1].field("timestamp").number(), timestamp, "{}", answer.line());
        }
    });
    assert!(broker.turns() > 100, "{} turns: too much at a time", broker.turns());
}

/// What a search has copied of a batch when a turn ends is in nobody's account: there is one such search, not one for each turn.
#[test]
fn a_search_that_has_begun_to_copy_goes_on_before_another_begins() {
    const SEARCHES: i32 = 30;
    let mut broker = MemoryBroker::new("node.id=0\n");
    const NAME: &str = "large-000000000-001";
    Script::run(&mut broker, |script| {
        assert_eq!(script.topic("large", 1, &[("max.message.bytes", "8388608")]), NAME);
        // So that a turn ends in the middle of a batch.
        append(script, NAME, 0, &packed(Codec::None, &[1_000], &vec![7; 3_900_000]));
    });
    for number in 0..SEARCHES {
        broker.join();
        let partitions =
            vec![ListOffsetsPartition { partition_index: 0, current_leader_epoch: -1, timestamp: 1_000 }];
        let topics = vec![ListOffsetsTopic { name: NAME, partitions }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
        let mut writer = Writer::new();
        encode_request(&mut writer, VERSION, number, None, &request).expect("a request");
        broker.send(&writer.encoded()[4..]);
    }
    // Those of one turn leave in any order.
    let mut turns: Vec<Vec<i32>> = Vec::new();
    for _ in 0..200 {
        let answers = std::iter::from_fn(|| broker.answer_now());
        let mut numbers: Vec<i32> =
            answers.map(|answer| i32::from_be_bytes(*answer.first_chunk().expect("a number"))).collect();
        numbers.sort_unstable();
        turns.push(numbers);
        broker.pause(Duration::from_millis(1));
    }
    assert!(turns.iter().filter(|numbers| !numbers.is_empty()).count() > 3, "all in a few turns: {turns:?}");
    assert_eq!(turns.concat(), (0..SEARCHES).collect::<Vec<_>>());
}
