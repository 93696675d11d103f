//! Fetches that wait on many partitions: what an append to one of them costs, and when they are answered.

use super::MemoryBroker;
use crate::script::batches::{batch, packed};
use crate::script::{Broker as _, Script};
use ringlog::protocol::kafka::frame::encode_request;
use ringlog::protocol::kafka::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ringlog::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ringlog::protocol::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringlog::protocol::kafka::{Records, Request, Writer};
use ringlog::protocol::records::Codec;
use std::time::Duration;

const PARTITIONS: u64 = 1_000;
/// What a script makes of `many` when the clock stands at its start.
const NAME: &str = "many-000000000-001";
/// Topics have names in it.
const VERSION: i16 = 12;

pub fn frame<'m, R: Request<'m>>(request: &R) -> Vec<u8> {
    let mut writer = Writer::new();
    encode_request(&mut writer, VERSION, 7, Some("fetches"), request).expect("a small request");
    writer.encoded()[4..].to_vec()
}

/// An append that is not answered.
pub fn append(broker: &mut MemoryBroker, name: &str, partition: u64, records: &[u8]) {
    let partition_data =
        vec![PartitionProduceData { index: number(partition), records: Some(Records::Inline(records)) }];
    let topic =
        TopicProduceData { name, partition_data: partition_data.into(), ..TopicProduceData::default() };
    broker.send(&frame(&ProduceRequest {
        timeout_ms: 5_000,
        topic_data: [topic].into(),
        ..ProduceRequest::default()
    }));
}

/// An append of the same to each of these partitions, which is answered; to be sent.
pub fn produce_frame(name: &str, partitions: &[i32], records: &[u8]) -> Vec<u8> {
    let part = |&index: &i32| PartitionProduceData { index, records: Some(Records::Inline(records)) };
    let partition_data: Vec<_> = partitions.iter().map(part).collect();
    let topic =
        TopicProduceData { name, partition_data: partition_data.into(), ..TopicProduceData::default() };
    frame(&ProduceRequest {
        acks: -1,
        timeout_ms: 5_000,
        topic_data: [topic].into(),
        ..ProduceRequest::default()
    })
}

/// Waits up to a minute for `bytes_min` of all partitions from their starts on, with so much of each.
fn fetch(broker: &mut MemoryBroker, bytes_min: usize, partition_bytes_max: usize) {
    let partitions = (0..PARTITIONS).map(|partition| FetchPartition {
        partition: number(partition),
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: i32::try_from(partition_bytes_max).expect("a size"),
        ..FetchPartition::default()
    });
    let topics = vec![FetchTopic { topic: NAME, partitions: partitions.collect(), ..FetchTopic::default() }];
    let min_bytes = i32::try_from(bytes_min).expect("a size");
    broker.send(&frame(&FetchRequest {
        max_wait_ms: 60_000,
        min_bytes,
        max_bytes: 1 << 20,
        topics,
        ..FetchRequest::default()
    }));
}

fn number(partition: u64) -> i32 {
    i32::try_from(partition).expect("a small number")
}

fn broker_with_topic() -> MemoryBroker {
    let mut broker = MemoryBroker::new("node.id=0\n");
    Script::run(&mut broker, |script| assert_eq!(script.topic("many", number(PARTITIONS), &[]), NAME));
    broker
}

#[test]
fn an_append_costs_a_look_at_its_partition_and_not_at_all_that_a_fetch_waits_on() {
    let mut broker = broker_with_topic();
    let records = batch(&[1_000]);
    fetch(&mut broker, records.len() * 500, 1 << 20);
    let before = broker.fetch_looks();
    for partition in 0..499 {
        append(&mut broker, NAME, partition * 2, &records);
        assert_eq!(broker.answer_now(), None, "after {partition} appends");
    }
    assert_eq!(broker.fetch_looks(), before + 499, "one look for an append");
    append(&mut broker, NAME, 998, &records);
    let answer = broker.answer_now().expect("there are enough bytes now");
    assert!(answer.len() > records.len() * 500, "{} bytes", answer.len());
    assert_eq!(broker.fetch_looks(), before + 500 + PARTITIONS, "all are read once for the answer");
}

#[test]
fn of_each_partition_counts_what_the_fetch_takes_of_it() {
    let mut broker = broker_with_topic();
    let records = batch(&[1_000]);
    fetch(&mut broker, records.len() * 3, records.len() + 1);
    for _ in 0..20 {
        append(&mut broker, NAME, 1, &records);
    }
    append(&mut broker, NAME, 2, &records);
    assert_eq!(broker.answer_now(), None, "one partition gives no more than its limit");
    append(&mut broker, NAME, 3, &records);
    append(&mut broker, NAME, 4, &records);
    assert!(broker.answer_now().is_some(), "three batches of as many partitions");
}

#[test]
fn a_fetch_that_has_not_enough_is_answered_at_its_deadline_with_what_there_is() {
    let mut broker = broker_with_topic();
    let records = batch(&[1_000]);
    fetch(&mut broker, records.len() * 10, 1 << 20);
    append(&mut broker, NAME, 1, &records);
    broker.pause(Duration::from_secs(59));
    assert_eq!(broker.answer_now(), None);
    broker.pause(Duration::from_secs(2));
    assert!(broker.answer_now().is_some_and(|answer| answer.len() > records.len()));
}

#[test]
fn a_fetch_that_unread_replies_kept_from_its_data_is_answered_when_they_are_read() {
    const FETCHES: usize = 100;
    let mut broker = broker_with_topic();
    // Small records would be copied into the replies: of the arena's memory, of which there is less than for all, they hold
    // nothing.
    let records = packed(Codec::None, &[1_000; 10], &[7; 50_000]);
    append(&mut broker, NAME, 1, &records);
    broker.read_replies(false);
    for _ in 0..FETCHES {
        fetch(&mut broker, 1, 1 << 20);
    }
    assert_eq!(broker.answer_now(), None);
    // No time passes, and nothing is appended.
    broker.read_replies(true);
    for number in 0..FETCHES {
        let answer = broker.answer_now().unwrap_or_else(|| panic!("fetch {number} is still waiting"));
        assert!(answer.len() > records.len(), "fetch {number}: {} bytes", answer.len());
    }
}

// Work that grew with the square of their number would take minutes here.
#[test]
fn a_fetch_of_partitions_that_are_not_there_is_answered_at_once_however_many_they_are() {
    const UNKNOWN: i32 = 200_000;
    let mut broker = broker_with_topic();
    let partitions =
        (0..UNKNOWN).map(|number| FetchPartition { partition: 1_000 + number, ..FetchPartition::default() });
    let topics = vec![FetchTopic { topic: NAME, partitions: partitions.collect(), ..FetchTopic::default() }];
    broker.send(&frame(&FetchRequest {
        max_wait_ms: 60_000,
        min_bytes: 1,
        topics,
        ..FetchRequest::default()
    }));
    let answer = broker.answer_now().expect("nothing to wait for");
    assert!(answer.len() > 200_000 * 10, "{} bytes", answer.len());
}

#[test]
fn a_partition_that_a_fetch_names_again_counts_as_it_is_named_last() {
    let mut broker = broker_with_topic();
    let records = batch(&[1_000]);
    append(&mut broker, NAME, 7, &records);
    let named = |offset| FetchPartition {
        partition: 7,
        fetch_offset: offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let partitions = (0..1_000).map(|_| named(5)).chain([named(0)]);
    let topics = vec![FetchTopic { topic: NAME, partitions: partitions.collect(), ..FetchTopic::default() }];
    let request = FetchRequest {
        max_wait_ms: 60_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics,
        ..FetchRequest::default()
    };
    let before = broker.fetch_looks();
    broker.send(&frame(&request));
    let answer = broker.answer_now().expect("there are records");
    assert_eq!(broker.fetch_looks(), before + 1);
    assert!((records.len()..records.len() + 200).contains(&answer.len()), "{} bytes", answer.len());
}

#[test]
fn a_clock_that_is_set_back_keeps_nobody_waiting() {
    let mut broker = broker_with_topic();
    let records = batch(&[1_000]);
    fetch(&mut broker, records.len() * 10, 1 << 20);
    broker.pause(Duration::from_secs(1));
    broker.set_clock_back(3_600_000);
    broker.pause(Duration::from_secs(58));
    assert_eq!(broker.answer_now(), None);
    broker.pause(Duration::from_secs(2));
    assert!(broker.answer_now().is_some());
}

#[test]
fn a_stop_answers_a_fetch_that_waits() {
    let mut broker = broker_with_topic();
    fetch(&mut broker, 1, 1 << 20);
    assert_eq!(broker.answer_now(), None);
    broker.begin_stop();
    assert!(broker.answer_now().is_some());
}

#[test]
fn a_fetch_of_nothing_is_answered_at_once() {
    let mut broker = broker_with_topic();
    for topics in [Vec::new(), vec![FetchTopic { topic: NAME, ..FetchTopic::default() }]] {
        let request = FetchRequest {
            max_wait_ms: 60_000,
            min_bytes: 1,
            max_bytes: 1 << 20,
            topics,
            ..FetchRequest::default()
        };
        broker.send(&frame(&request));
        assert!(broker.answer_now().is_some());
    }
}

#[test]
fn closing_a_connection_costs_a_look_at_its_own_fetches() {
    let mut broker = broker_with_topic();
    let one_byte_of = |broker: &mut MemoryBroker, partition| {
        let partitions = vec![FetchPartition {
            partition,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        }];
        let topics = vec![FetchTopic { topic: NAME, partitions, ..FetchTopic::default() }];
        let (max_wait_ms, min_bytes, max_bytes) = (60_000, 1, 1 << 20);
        broker.send(&frame(&FetchRequest {
            max_wait_ms,
            min_bytes,
            max_bytes,
            topics,
            ..FetchRequest::default()
        }));
    };
    (0..500).for_each(|partition| one_byte_of(&mut broker, partition));
    broker.join();
    (0..3).for_each(|_| one_byte_of(&mut broker, 999));
    let before = broker.fetch_looks();
    broker.reconnect();
    assert_eq!(broker.fetch_looks(), before + 3);
    // Nobody is answered for the one that is gone, and the others still wait.
    append(&mut broker, NAME, 999, &batch(&[1_000]));
    assert_eq!(broker.fetch_looks(), before + 3);
    append(&mut broker, NAME, 499, &batch(&[1_000]));
    assert!(broker.fetch_looks() > before + 3);
}

#[test]
fn deleting_a_topic_costs_a_fetch_of_all_its_partitions_one_look_at_each() {
    let mut broker = broker_with_topic();
    fetch(&mut broker, 1, 1 << 20);
    broker.join();
    let before = broker.fetch_looks();
    let topics = vec![DeleteTopicState { name: Some(NAME), ..DeleteTopicState::default() }];
    let request = DeleteTopicsRequest { topics, timeout_ms: 5_000, ..DeleteTopicsRequest::default() };
    let mut writer = Writer::new();
    encode_request(&mut writer, 6, 7, None, &request).expect("a request");
    broker.send(&writer.encoded()[4..]);
    assert!(broker.answer_now().is_some());
    let looks = broker.fetch_looks() - before;
    assert!(looks <= 2 * PARTITIONS, "{looks} looks");
}

/// Whichever shard has the data, those that have none are not waited for: time stands still here.
#[test]
fn a_fetch_over_several_shards_is_answered_with_what_one_of_them_has() {
    const SHARDS: u16 = 3;
    let records = batch(&[1_000]);
    for partition in 0..u64::from(SHARDS) {
        let mut broker = MemoryBroker::of_many("node.id=0\n", SHARDS);
        Script::run(&mut broker, |script| assert_eq!(script.topic("many", number(PARTITIONS), &[]), NAME));
        append(&mut broker, NAME, partition, &records);
        while broker.answer_now().is_some() {}
        fetch(&mut broker, 1, 1 << 20);
        assert!(broker.answer_now().is_some(), "partition {partition}");
        // And when it comes while all are waited for.
        fetch(&mut broker, records.len() + 1, 1 << 20);
        assert_eq!(broker.answer_now(), None, "too little");
        append(&mut broker, NAME, partition, &records);
        assert!(broker.answer_now().is_some(), "partition {partition}, when there is enough");
    }
}
