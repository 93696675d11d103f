//! Single requests, for tests that look at one answer.

use std::time::Duration;

use ringlog::client::Connection;
use ringlog::model::{ProducerEpoch, ProducerId};
use ringlog::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use ringlog::protocol::kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use ringlog::protocol::kafka::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ringlog::protocol::kafka::{ApiKey, Records};
use ringlog::protocol::records::{BatchBuilder, Codec, NewRecord, Stamp, stamp};

/// A batch of one record whose value is so many times `filler`.
pub fn batch(filler: u8, bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(&vec![filler; bytes]), ..NewRecord::default() }).unwrap();
    builder.finish().unwrap()
}

/// The first batch of an idempotent producer.
pub fn stamped(filler: u8, bytes: usize) -> Vec<u8> {
    let mut batch = batch(filler, bytes);
    let by = Stamp { producer_id: ProducerId(1), producer_epoch: ProducerEpoch(0), base_sequence: 0 };
    stamp(&mut batch, by).unwrap();
    batch
}

/// Sends one batch that nobody is to acknowledge.
pub fn produce_unanswered(connection: &mut Connection, name: &str, index: i32, batch: &[u8]) {
    let data = PartitionProduceData { index, records: Some(Records::Inline(batch)) };
    let topic = TopicProduceData { name, partition_data: vec![data].into(), ..TopicProduceData::default() };
    let request = ProduceRequest { acks: 0, topic_data: [topic].into(), ..ProduceRequest::default() };
    let version = connection.version_up_to(ApiKey::Produce, 12).unwrap();
    connection.send_without_reply(version, &request).unwrap();
}

/// Appends one batch and waits until it is acknowledged. Returns error code and base offset.
pub fn produce(connection: &mut Connection, name: &str, index: i32, batch: &[u8]) -> (i16, i64) {
    let data = PartitionProduceData { index, records: Some(Records::Inline(batch)) };
    let topic = TopicProduceData { name, partition_data: vec![data].into(), ..TopicProduceData::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: [topic].into(),
        ..ProduceRequest::default()
    };
    let version = connection.version_up_to(ApiKey::Produce, 12).unwrap();
    let reply = connection.call(version, &request).unwrap();
    let response = reply.body::<ProduceResponse<'_>>().unwrap();
    let row = &response.responses[0].partition_responses[0];
    (row.error_code, row.base_offset)
}

/// Error code and records of each partition in the order asked for, by one fetch that waits for nothing but the disk.
pub fn fetch(
    connection: &mut Connection,
    topic: &str,
    offsets: &[(i32, i64)],
    bytes_max: i32,
) -> Vec<(i16, Vec<u8>)> {
    let partition = |&(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition,
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: bytes_max,
        ..FetchPartition::default()
    };
    let partitions = offsets.iter().map(partition).collect();
    let topics = vec![FetchTopic { topic, partitions, ..FetchTopic::default() }];
    let request = FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: bytes_max,
        topics,
        ..FetchRequest::default()
    };
    let version = connection.version_up_to(ApiKey::Fetch, 12).unwrap();
    connection.send(version, &request, Duration::ZERO).unwrap();
    let reply = connection.receive().unwrap();
    let response = reply.body::<FetchResponse<'_>>().unwrap();
    assert_eq!(response.error_code, 0);
    let rows = response.responses.iter().flat_map(|topic| &topic.partitions);
    rows.map(|row| {
        let bytes = row.records.and_then(Records::inline).unwrap_or_default();
        (row.error_code, bytes.to_vec())
    })
    .collect()
}

/// Host and port of the one broker that the metadata names, and how many partitions the topic has.
pub fn metadata(connection: &mut Connection, topic: &str) -> (String, i32, usize) {
    let topics = vec![MetadataRequestTopic { name: Some(topic), ..MetadataRequestTopic::default() }];
    let request = MetadataRequest { topics: Some(topics), ..MetadataRequest::default() };
    let version = connection.version_up_to(ApiKey::Metadata, 12).unwrap();
    let reply = connection.call(version, &request).unwrap();
    let response = reply.body::<MetadataResponse<'_>>().unwrap();
    let [broker] = &response.brokers[..] else { panic!("{:?}", response.brokers) };
    (broker.host.to_owned(), broker.port, response.topics[0].partitions.len())
}
