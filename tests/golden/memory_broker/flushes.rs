//! How many flushes acknowledgements cost.

use super::MemoryBroker;
use crate::script::batches::stamped;
use crate::script::{Broker as _, Script};
use ringlog::protocol::kafka::frame::encode_request;
use ringlog::protocol::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringlog::protocol::kafka::{Records, Writer};

const NAME: &str = "orders-000000000-001";

fn produce(sequence: i32) -> Vec<u8> {
    let batch = stamped(1, 7, 0, sequence);
    let data = PartitionProduceData { index: 0, records: Some(Records::Inline(&batch)) };
    let topic =
        TopicProduceData { name: NAME, partition_data: vec![data].into(), ..TopicProduceData::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 5_000,
        topic_data: [topic].into(),
        ..ProduceRequest::default()
    };
    let mut writer = Writer::new();
    encode_request(&mut writer, 9, sequence, None, &request).expect("a small request");
    writer.encoded()[4..].to_vec()
}

#[test]
fn five_idempotent_batches_that_came_together_share_one_flush() {
    let mut broker = MemoryBroker::new("node.id=0\n");
    Script::run(&mut broker, |script| assert_eq!(script.topic("orders", 1, &[]), NAME));
    let before = broker.durable_writes();
    broker.send_together(&[0, 1, 2, 3, 4].map(produce));
    assert_eq!(broker.durable_writes(), before + 1);
    check_acknowledged(&mut broker);
}

#[test]
fn five_idempotent_batches_in_flight_share_one_flush_behind_the_first() {
    let mut broker = MemoryBroker::new("node.id=0\n");
    Script::run(&mut broker, |script| assert_eq!(script.topic("orders", 1, &[]), NAME));
    let before = broker.durable_writes();
    broker.hold_durable_writes(true);
    broker.send(&produce(0));
    assert_eq!(broker.durable_writes(), before + 1, "the first is written at once, alone");
    for sequence in 1..5 {
        broker.send(&produce(sequence));
    }
    assert_eq!(broker.answer_now(), None, "nothing is on stable media yet");
    assert_eq!(broker.durable_writes(), before + 1, "the others gather");
    broker.hold_durable_writes(false);
    assert_eq!(broker.durable_writes(), before + 2, "the four that waited are one write");
    check_acknowledged(&mut broker);
}

/// All five, in order, and nothing else.
fn check_acknowledged(broker: &mut MemoryBroker) {
    for sequence in 0..5_u8 {
        let answer = broker.answer_now().expect("acknowledged");
        assert_eq!(answer[..4], [0, 0, 0, sequence], "in order");
        let error_and_offset = [[0, 0].as_slice(), &[0, 0, 0, 0, 0, 0, 0, sequence]].concat();
        assert!(answer.windows(10).any(|part| part == error_and_offset), "{answer:?}");
    }
    assert_eq!(broker.answer_now(), None);
}
