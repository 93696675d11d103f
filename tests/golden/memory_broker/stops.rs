//! What a stop waits for.

use super::MemoryBroker;
use ringlog::protocol::kafka::Writer;
use ringlog::protocol::kafka::frame::encode_request;
use ringlog::protocol::kafka::messages::create_topics::{CreatableTopic, CreateTopicsRequest};

/// The controller may have made the topic for good: nobody shall have to guess.
#[test]
fn a_stop_waits_for_the_answer_to_a_change_under_way() {
    let mut broker = MemoryBroker::new("node.id=0\n");
    let topic = CreatableTopic {
        name: "orders",
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    let mut writer = Writer::new();
    encode_request(&mut writer, 7, 1, None, &request).expect("a small request");
    broker.hand_over(&writer.encoded()[4..]);
    broker.shard.begin_stop();
    broker.shard.begin_close();
    assert!(!broker.is_at_rest(), "the answer is still to come");
    broker.settle();
    assert!(broker.answer_now().is_some() && broker.is_at_rest());
}
