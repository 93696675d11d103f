//! A partition whose segment cannot be written, or not be read: it says so, and the others serve on.

use super::MemoryBroker;
use super::fetches::append;
use crate::script::batches::packed;
use crate::script::{Broker as _, Script};
use ringlog::model::TopicId;
use ringlog::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ringlog::protocol::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ringlog::protocol::kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ringlog::protocol::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringlog::protocol::kafka::{Records, Request};
use ringlog::protocol::records::Codec;
use ringlog::storage::shard::ShardOptions;
use std::time::Duration;

const NAME: &str = "two-000000000-001";
const SOUND: [i64; 2] = [0, 0];
/// KAFKA_STORAGE_ERROR for partition 0.
const FAILED: [i64; 2] = [56, 0];

/// The error codes of both partitions, from the answer to a request of them.
fn errors<'m, R: Request<'m>>(
    script: &mut Script<'_>,
    version: i16,
    request: &R,
    lists: [&str; 2],
) -> [i64; 2] {
    let answer = script.ask(version, request);
    let parts = answer.field(lists[0]).list()[0].field(lists[1]).list();
    let index = if lists[1] == "partition_responses" { "index" } else { "partition_index" };
    let mut errors = [-1; 2];
    for part in parts {
        errors[usize::try_from(part.field(index).number()).expect("an index")] =
            part.field("error_code").number();
    }
    errors
}

fn produced(script: &mut Script<'_>) -> [i64; 2] {
    let records = packed(Codec::None, &[1_000], b"value");
    let data = (0..2).map(|index| PartitionProduceData { index, records: Some(Records::Inline(&records)) });
    let topic =
        TopicProduceData { name: NAME, partition_data: data.collect(), ..TopicProduceData::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 5_000,
        topic_data: [topic].into(),
        ..ProduceRequest::default()
    };
    errors(script, 9, &request, ["responses", "partition_responses"])
}

/// From the logs' starts on.
fn fetched(script: &mut Script<'_>) -> [i64; 2] {
    let partitions = (0..2).map(|partition| FetchPartition {
        partition,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    });
    let topics = vec![FetchTopic { topic: NAME, partitions: partitions.collect(), ..FetchTopic::default() }];
    let request = FetchRequest {
        max_wait_ms: 1_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics,
        ..FetchRequest::default()
    };
    errors(script, 12, &request, ["responses", "partitions"])
}

/// By time: that is looked up in the records.
fn listed(script: &mut Script<'_>) -> [i64; 2] {
    let parts = (0..2).map(|partition_index| ListOffsetsPartition {
        partition_index,
        current_leader_epoch: -1,
        timestamp: 1_000,
    });
    let topics = vec![ListOffsetsTopic { name: NAME, partitions: parts.collect() }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
    errors(script, 9, &request, ["topics", "partitions"])
}

/// The errors of both partitions in the metadata: 5 would be LEADER_NOT_AVAILABLE.
fn described(script: &mut Script<'_>) -> [i64; 2] {
    let topics = Some(vec![MetadataRequestTopic { topic_id: TopicId::ZERO, name: Some(NAME) }]);
    let request = MetadataRequest { topics, ..MetadataRequest::default() };
    errors(script, 9, &request, ["topics", "partitions"])
}

fn broker() -> MemoryBroker {
    // Nothing of what is in segments stays in memory.
    let options = ShardOptions { retained_bytes: 0, read_cache_bytes: 1 << 20, ..ShardOptions::default() };
    let mut broker = MemoryBroker::with_options("node.id=0\n", options);
    Script::run(&mut broker, |script| assert_eq!(script.topic("two", 2, &[("segment.ms", "1000")]), NAME));
    broker
}

#[test]
fn a_partition_whose_segment_cannot_be_written_refuses_appends_until_it_can_and_the_other_serves_on() {
    let mut broker = broker();
    Script::run(&mut broker, |script| assert_eq!(produced(script), SOUND));
    broker.fail(Some(&format!("{NAME}-0")));
    // Until the segments are flushed.
    broker.pause(Duration::from_secs(20));
    for _ in 0..2 {
        Script::run(&mut broker, |script| {
            assert_eq!(produced(script), FAILED);
            // All that it has is in memory.
            assert_eq!(fetched(script), SOUND);
            assert_eq!(listed(script), SOUND);
            // It is tried again: the partition has its leader.
            assert_eq!(described(script), SOUND);
        });
    }
    broker.fail(None);
    broker.pause(Duration::from_secs(60));
    Script::run(&mut broker, |script| assert_eq!(produced(script), SOUND));
}

#[test]
fn a_partition_whose_segment_cannot_be_read_says_so_to_its_readers() {
    let mut broker = broker();
    let records = packed(Codec::None, &[1_000; 4], &[7; 50_000]);
    for partition in [0, 1, 0, 1] {
        append(&mut broker, NAME, partition, &records);
        broker.pause(Duration::from_secs(400));
    }
    broker.fail(Some(&format!("{NAME}-0")));
    let before = broker.reads();
    Script::run(&mut broker, |script| {
        assert_eq!(fetched(script), FAILED);
        assert_eq!(listed(script), FAILED);
    });
    assert!(broker.reads() > before, "the other was read from the disk");
}
