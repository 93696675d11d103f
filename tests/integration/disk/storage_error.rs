//! A segment that the disk refuses, with an error that is not want of room: its partition takes no appends until it can be made,
//! what is there is served, the others serve on, and nothing acknowledged is lost by it.

use std::fs;
use std::process::Command;
use std::time::Instant;

use ringlog::model::TopicId;
use ringlog::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use ringlog::protocol::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use ringlog::protocol::kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};

use crate::disk::full_disk::{SmallDisk, run};
use crate::ledger::Ledger;
use crate::load::{Producer, STORAGE_ERROR};
use crate::process::{Broker, PATIENCE, Scratch, cannot};

#[test]
fn a_segment_that_cannot_be_made_keeps_appends_from_its_partition_alone_until_it_can() {
    let settings = ["arena.bytes=8388608", "log.segment.bytes=1048576"];
    let Some(disk) = SmallDisk::ext4("storage-error") else {
        return cannot("no ext4 can be mounted here: run as root, with loop devices");
    };
    let scratch = Scratch::with_data("storage-error", &disk.mounted.join("data"));
    let broker = scratch.start(&settings);
    let one = |name: &str| {
        broker.create_topic(name, 1, &[]);
        let ledger = Ledger::new(&[(name, 1)], Vec::new());
        let producer = Producer::new(0, false, &ledger, 7);
        (ledger, producer)
    };
    let ((mut refused, mut producer), (mut sound, mut other)) = (one("refused"), one("sound"));
    let mut connection = broker.connect();
    let folder = scratch.data.join("refused-0");
    let deadline = Instant::now() + PATIENCE;
    while !folder.exists() {
        assert!(Instant::now() < deadline, "no segment is made: {}", broker.said());
        producer.produce(&mut connection, 10);
    }
    // No file can be made or renamed there any more, not even by root.
    let change = |how: &str| assert!(run(Command::new("chattr").arg(how).arg(&folder)), "chattr {how}");
    change("+i");
    producer.produce_until_refused(&broker, &mut connection);
    assert_eq!(fetched_and_listed(&broker, "refused"), [0; 2]);
    assert_eq!(fetched_and_listed(&broker, "sound"), [0; 2]);
    other.produce(&mut connection, 20);
    for (ledger, producer) in [(&mut refused, &producer), (&mut sound, &other)] {
        ledger.read_to_end(&mut broker.connect(), &[0]);
        ledger.check_acknowledged(&producer.acknowledged);
    }
    change("-i");
    producer.produce_until_accepted(&broker, &mut connection, 5);
    broker.kill();
    let broker = scratch.start(&settings);
    for (ledger, producer) in [(&mut refused, &producer), (&mut sound, &other)] {
        ledger.read_to_end(&mut broker.connect(), &[0]);
        ledger.check_acknowledged(&producer.acknowledged);
    }
}

/// Kafka answers so for partitions of a log directory that has failed.
#[test]
fn a_partition_whose_log_is_damaged_has_no_leader_until_a_start_finds_it_sound() {
    let scratch = Scratch::new("no-leader");
    let broker = scratch.start(&[]);
    broker.create_topic("damaged", 2, &[]);
    let mut ledger = Ledger::new(&[("damaged", 2)], Vec::new());
    let mut producer = Producer::new(0, false, &ledger, 8);
    producer.produce(&mut broker.connect(), 20);
    broker.signal("TERM");
    assert_eq!(broker.wait().status.code(), Some(0));
    // A start after a death compares segments with what the one before found.
    scratch.start(&[]).kill();
    let segment = scratch.data.join("damaged-0/00000000000000000000.log");
    let content = fs::read(&segment).unwrap();
    fs::write(&segment, &content[..content.len() - 1]).unwrap();
    let broker = scratch.start(&[]);
    assert_eq!(described(&broker), [(5, -1, vec![], vec![0]), (0, 0, vec![0], vec![])]);
    assert_eq!(fetched_and_listed(&broker, "damaged"), [STORAGE_ERROR; 2]);
    let describe = ["topic", "describe", "damaged", "--bootstrap", &broker.address];
    let output = Command::new(env!("CARGO_BIN_EXE_ringlog")).args(describe).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("none"), "{text}");
    fs::write(&segment, &content).unwrap();
    broker.kill();
    let broker = scratch.start(&[]);
    assert_eq!(described(&broker), [(0, 0, vec![0], vec![]), (0, 0, vec![0], vec![])]);
    ledger.read_to_end(&mut broker.connect(), &[0; 2]);
    ledger.check_acknowledged(&producer.acknowledged);
}

/// Error, leader, replicas in sync and replicas offline of both partitions.
fn described(broker: &Broker) -> Vec<(i16, i32, Vec<i32>, Vec<i32>)> {
    let topics = Some(vec![MetadataRequestTopic { topic_id: TopicId::ZERO, name: Some("damaged") }]);
    let request = MetadataRequest { topics, ..MetadataRequest::default() };
    let reply = broker.connect().call(12, &request).unwrap();
    let response = reply.body::<MetadataResponse<'_>>().unwrap();
    let rows = response.topics[0].partitions.iter().map(|row| {
        assert_eq!(row.replica_nodes, [0]);
        (row.error_code, row.leader_id, row.isr_nodes.clone(), row.offline_replicas.clone())
    });
    rows.collect()
}

/// The error codes of a fetch and of a search by time.
fn fetched_and_listed(broker: &Broker, topic: &str) -> [i16; 2] {
    let mut connection = broker.connect();
    let partition = FetchPartition {
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topics = vec![FetchTopic { topic, partitions: [partition].into(), ..FetchTopic::default() }];
    let request = FetchRequest {
        max_wait_ms: 1_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics,
        ..FetchRequest::default()
    };
    let reply = connection.call(12, &request).unwrap();
    let fetched = reply.body::<FetchResponse<'_>>().unwrap().responses[0].partitions[0].error_code;
    let part = ListOffsetsPartition { partition_index: 0, current_leader_epoch: -1, timestamp: 1 };
    let topics = vec![ListOffsetsTopic { name: topic, partitions: [part].into() }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
    let reply = connection.call(8, &request).unwrap();
    let listed = reply.body::<ListOffsetsResponse<'_>>().unwrap().topics[0].partitions[0].error_code;
    [fetched, listed]
}
