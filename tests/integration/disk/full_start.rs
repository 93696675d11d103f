//! A start on a full disk: what can be read is read, appends are refused until there is room, and then go on without a restart.

use std::fs::{self, OpenOptions};

use ringlog::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};

use crate::disk::full_disk::SmallDisk;
use crate::ledger::Ledger;
use crate::load::{Producer, STORAGE_ERROR};
use crate::process::{Broker, Scratch, cannot};

const SETTINGS: [&str; 4] = [
    "commit.log.file.bytes=1048576",
    "commit.log.bytes.max=4194304",
    "arena.bytes=8388608",
    "log.segment.bytes=4194304",
];

#[test]
fn a_start_on_a_full_disk_serves_and_takes_appends_when_there_is_room() {
    match SmallDisk::ext4("start-ext4") {
        Some(disk) => start_and_free(&disk, "full-start-ext4"),
        None => cannot("no ext4 can be mounted here: run as root, with loop devices"),
    }
}

#[test]
fn a_start_on_a_full_disk_on_tmpfs_serves_and_takes_appends_when_there_is_room() {
    match SmallDisk::tmpfs("start-tmpfs") {
        Some(disk) => start_and_free(&disk, "full-start-tmpfs"),
        None => cannot("no tmpfs can be mounted here: run as root"),
    }
}

fn start_and_free(disk: &SmallDisk, name: &str) {
    let scratch = Scratch::with_data(name, &disk.mounted.join("data"));
    let broker = scratch.start(&SETTINGS);
    let topics = [("synced", 2), ("written", 2), ("quiet", 1)];
    for (topic, count) in topics {
        let durability = if topic == "written" { "written" } else { "synced" };
        broker.create_topic(topic, count, &[("ringlog.durability", durability)]);
    }
    let mut ledger = Ledger::new(&topics[..2], Vec::new());
    let mut quiet = Ledger::new(&topics[2..], Vec::new());
    let (mut producer, mut other) = (Producer::new(0, false, &ledger, 6), Producer::new(0, false, &quiet, 6));
    producer.produce(&mut broker.connect(), 100);
    other.produce(&mut broker.connect(), 10);
    broker.signal("TERM");
    assert_eq!(broker.wait().status.code(), Some(0));

    // Nothing is to be recovered: all is read.
    let filler = disk.fill(0);
    let broker = scratch.start(&SETTINGS);
    ledger.read_to_end(&mut broker.connect(), &[0; 4]);
    producer.produce_until_refused(&broker, &mut broker.connect());
    ledger.read_to_end(&mut broker.connect(), &[0; 4]);
    ledger.check_acknowledged(&producer.acknowledged);
    broker.kill();
    // What is kept for a start is enough to count it, not for what memory and commit log hold.
    let reserve = OpenOptions::new().write(true).open(scratch.data.join(".reserve")).unwrap();
    reserve.set_len(128 << 10).unwrap();
    drop(reserve);
    let second_filler = disk.fill_with("second-filler", 0);
    let restart = |broker: Broker| {
        broker.kill();
        scratch.start(&SETTINGS)
    };
    let broker = (0..3).fold(scratch.start(&SETTINGS), |broker, _| restart(broker));
    assert!(broker.said().contains("the log is recovered when there is room"), "{}", broker.said());
    let codes = fetched(&broker);
    assert!(codes.iter().all(|code| [0, STORAGE_ERROR].contains(code)), "{codes:?}");
    assert!(codes.contains(&STORAGE_ERROR), "there was room for everything");
    quiet.read_to_end(&mut broker.connect(), &[0]);
    quiet.check_acknowledged(&other.acknowledged);
    other.produce_until_refused(&broker, &mut broker.connect());

    fs::remove_file(filler).unwrap();
    fs::remove_file(second_filler).unwrap();
    produce_again(&broker, &mut producer);
    produce_again(&broker, &mut other);
    let mut check = |broker: &Broker| {
        ledger.read_to_end(&mut broker.connect(), &[0; 4]);
        ledger.check_acknowledged(&producer.acknowledged);
        quiet.read_to_end(&mut broker.connect(), &[0]);
        quiet.check_acknowledged(&other.acknowledged);
    };
    check(&broker);
    check(&restart(broker));
}

/// Until nothing is refused.
fn produce_again(broker: &Broker, producer: &mut Producer) {
    let mut connection = broker.connect();
    producer.produce_until_accepted(broker, &mut connection, 50);
}

/// The error codes of a fetch of all partitions.
fn fetched(broker: &Broker) -> Vec<i16> {
    let partition = |partition| FetchPartition {
        partition,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic = |topic| FetchTopic {
        topic,
        partitions: [partition(0), partition(1)].into(),
        ..FetchTopic::default()
    };
    let topics = vec![topic("synced"), topic("written")];
    let request = FetchRequest { max_bytes: 1 << 20, topics, ..FetchRequest::default() };
    let reply = broker.connect().call(12, &request).unwrap();
    let response = reply.body::<FetchResponse<'_>>().unwrap();
    response.responses.iter().flat_map(|topic| &topic.partitions).map(|part| part.error_code).collect()
}

#[test]
fn a_first_start_on_a_full_disk_is_refused_with_cause_and_remedy() {
    let Some(disk) = SmallDisk::tmpfs("first-start") else {
        return cannot("no tmpfs can be mounted here: run as root");
    };
    let scratch = Scratch::with_data("full-first-start", &disk.mounted.join("data"));
    let filler = disk.fill(0);
    let ended = scratch.start_command(scratch.command(&SETTINGS)).err().expect("there is no room");
    assert_eq!(ended.status.code(), Some(1));
    let line = ended.said.trim_end();
    assert!(!line.contains('\n') && line.contains("the disk is full; free 8 MiB"), "{line}");
    fs::remove_file(filler).unwrap();
    scratch.start(&SETTINGS).create_topic("t", 1, &[]);
}
