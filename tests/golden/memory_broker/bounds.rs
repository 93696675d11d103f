//! Requests that name much: what they take is bounded by the broker's memory, and what is not too much is answered.

use super::MemoryBroker;
use crate::script::batches::{batch, packed};
use crate::script::{Broker as _, Script};
use ringlog::broker::connection::frames::Inbound;
use ringlog::broker::shards::FrameFate;
use ringlog::protocol::kafka::frame::encode_request;
use ringlog::protocol::kafka::header::ResponseHeader;
use ringlog::protocol::kafka::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use ringlog::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ringlog::protocol::kafka::messages::metadata::MetadataRequest;
use ringlog::protocol::kafka::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ringlog::protocol::kafka::{ApiKey, Message as _, Reader, Records, Request, Writer};
use ringlog::protocol::records::Codec;

/// Little memory: replies and requests have 5 MiB of it.
const SETTINGS: &str = "node.id=0\nmemory.bytes=16777216\n";
const TOPICS: usize = 400;
const MANY: &str = "many-000000000-001";
const CONFIGS_VERSION: i16 = 4;
const PRODUCE_VERSION: i16 = 12;
const METADATA_VERSION: i16 = 13;
const FETCH_VERSION: i16 = 12;
const INVALID_REQUEST: i16 = 42;

fn frame<'m, R: Request<'m>>(version: i16, request: &R) -> Vec<u8> {
    let mut writer = Writer::new();
    encode_request(&mut writer, version, 7, None, request).expect("a request");
    writer.encoded()[4..].to_vec()
}

#[test]
fn settings_of_more_topics_than_a_reply_holds_are_answered_in_part() {
    let mut broker = MemoryBroker::new(SETTINGS);
    Script::run(&mut broker, |script| {
        for _ in 0..TOPICS {
            script.topic("a", 1, &[]);
        }
    });
    let names: Vec<String> = (1..=TOPICS).map(|number| format!("a-000000000-{number:03}")).collect();
    let resources = names.iter().map(|name| DescribeConfigsResource {
        resource_type: 2,
        resource_name: name,
        configuration_keys: None,
    });
    let request = DescribeConfigsRequest {
        resources: resources.collect(),
        include_synonyms: true,
        include_documentation: true,
    };
    broker.send(&frame(CONFIGS_VERSION, &request));
    let reply = broker.receive().expect("an answer");
    assert!(reply.len() < 1 << 20, "{} bytes", reply.len());
    let mut reader = Reader::new(&reply);
    ResponseHeader::decode(&mut reader, ApiKey::DescribeConfigs, CONFIGS_VERSION).expect("a header");
    let reply = DescribeConfigsResponse::decode(&mut reader, CONFIGS_VERSION).expect("an answer");
    assert_eq!(reply.results.len(), names.len());
    let answered = reply.results.iter().take_while(|result| result.error_code == 0).count();
    assert!(answered >= 30, "{answered} topics");
    let (whole, refused) = reply.results.split_at(answered);
    let first = whole[0].configs.len();
    assert!(first > 10 && whole.iter().all(|result| result.configs.len() == first));
    assert!(!refused.is_empty());
    for result in refused {
        assert_eq!((result.error_code, result.configs.len()), (INVALID_REQUEST, 0));
    }
}

fn produce(broker: &mut MemoryBroker, name: &str, parts: i32, records: Option<&[u8]>) -> Option<Vec<u8>> {
    let parts = (0..parts).map(|index| PartitionProduceData { index, records: records.map(Records::Inline) });
    let topic = TopicProduceData { name, partition_data: parts.collect(), ..TopicProduceData::default() };
    let request = ProduceRequest {
        acks: 1,
        timeout_ms: 5_000,
        topic_data: [topic].into(),
        ..ProduceRequest::default()
    };
    broker.send(&frame(PRODUCE_VERSION, &request));
    broker.receive()
}

#[test]
fn a_produce_has_as_many_parts_as_there_is_memory_for() {
    let mut broker = MemoryBroker::new(SETTINGS);
    Script::run(&mut broker, |script| assert_eq!(script.topic("many", 500, &[]), MANY));
    for (parts, records) in [(500, batch(&[1_000])), (2_001, Vec::new())] {
        let reply = produce(&mut broker, MANY, parts, Some(&records)).expect("an answer");
        let mut reader = Reader::new(&reply);
        ResponseHeader::decode(&mut reader, ApiKey::Produce, PRODUCE_VERSION).expect("a header");
        let reply = ProduceResponse::decode(&mut reader, PRODUCE_VERSION).expect("an answer");
        let rows = &reply.responses[0].partition_responses;
        assert_eq!(rows.len(), usize::try_from(parts).expect("a count"));
        assert!(rows.iter().all(|row| (row.error_code == 0) != records.is_empty()));
    }
    for parts in [4_000, 100_000, 1_000_000] {
        assert!(produce(&mut broker, MANY, parts, None).is_none(), "{parts} parts");
        broker.reconnect();
    }
}

#[test]
fn a_reply_that_is_large_is_not_made_before_there_is_room_for_it() {
    let mut broker = MemoryBroker::new(SETTINGS);
    Script::run(&mut broker, |script| {
        for _ in 0..20 {
            script.topic("a", 1_000, &[]);
        }
    });
    let names: Vec<String> = (1..=20).map(|number| format!("a-000000000-{number:03}")).collect();
    let resources = names.iter().map(|name| DescribeConfigsResource {
        resource_type: 2,
        resource_name: name,
        configuration_keys: None,
    });
    let everything = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let describe = DescribeConfigsRequest {
        resources: resources.collect(),
        include_synonyms: true,
        include_documentation: true,
    };
    for request in [frame(METADATA_VERSION, &everything), frame(CONFIGS_VERSION, &describe)] {
        broker.read_replies(false);
        // Half of what requests and replies have.
        let room_bytes = broker.shard.memory().room_bytes();
        let held_bytes = broker.shard.memory().held_bytes();
        let mut taken = 0;
        while broker.shard.handle_frame(broker.connection, Inbound::Small(&request)) == FrameFate::Done {
            taken += 1;
            assert!(taken < 100, "never full");
        }
        let memory = broker.shard.memory();
        let reply_bytes = (memory.held_bytes() - held_bytes) / taken;
        assert!(taken >= 2 && memory.room_bytes() <= room_bytes, "{taken} replies");
        assert!(!memory.is_full(), "what a reply takes was not asked for");
        let before = memory.held_bytes();
        assert_eq!(
            broker.shard.handle_frame(broker.connection, Inbound::Small(&request)),
            FrameFate::NoRoom,
            "and again"
        );
        assert_eq!(broker.shard.memory().held_bytes(), before);
        assert_eq!(
            broker.shard.handle_frame_alone(broker.connection, Inbound::Small(&request)),
            FrameFate::Done
        );
        assert_eq!(broker.shard.memory().held_bytes(), before + reply_bytes);
        broker.read_replies(true);
        let replies: Vec<Vec<u8>> = std::iter::from_fn(|| broker.answer_now()).collect();
        assert_eq!(replies.len(), taken + 1, "each is answered once");
        broker.send(&request);
        assert!(broker.answer_now() == replies.last().cloned(), "there is room again");
        broker.reconnect();
    }
}

/// Each holds little while it waits; what they are given may not come to more than there is room for.
#[test]
fn many_fetches_that_end_at_once_are_not_all_answered_before_there_is_room() {
    const FETCHES: usize = 900;
    let mut broker = MemoryBroker::new(SETTINGS);
    Script::run(&mut broker, |script| {
        script.topic("many", 1, &[]);
    });
    broker.read_replies(false);
    let request = FetchRequest {
        max_wait_ms: 600_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: MANY,
            partitions: vec![FetchPartition {
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let request = frame(FETCH_VERSION, &request);
    for _ in 0..FETCHES {
        assert_eq!(broker.shard.handle_frame(broker.connection, Inbound::Small(&request)), FrameFate::Done);
    }
    let room_bytes = broker.shard.memory().room_bytes();
    broker.handle_time();
    let waiting = broker.connection;
    broker.join();
    let records = packed(Codec::None, &[1_000], &[7; 7_000]);
    assert!(records.len() * FETCHES > 2 * room_bytes, "all replies would be too much");
    let part = PartitionProduceData { index: 0, records: Some(Records::Inline(&records)) };
    let topic = TopicProduceData { name: MANY, partition_data: [part].into(), ..TopicProduceData::default() };
    let produce = ProduceRequest {
        acks: 1,
        timeout_ms: 5_000,
        topic_data: [topic].into(),
        ..ProduceRequest::default()
    };
    broker.send(&frame(PRODUCE_VERSION, &produce));
    let memory = broker.shard.memory();
    assert!(memory.held_bytes() > room_bytes / 2, "some are answered");
    assert!(memory.room_bytes() > 0, "{} bytes are held, {room_bytes} more may be", memory.held_bytes());
    // Who reads gets the rest, turn by turn.
    let mut replies = 0;
    for _ in 0..FETCHES {
        broker.read_replies(true);
        let all = std::iter::from_fn(|| broker.answer_now()).filter(|reply| reply.len() > records.len());
        replies += all.count();
        broker.handle_time();
    }
    assert_eq!(replies, FETCHES);
    assert!(!broker.shard.has_waiting(waiting));
}
