//! Fetches of what lies on a disk that takes its time, and of clients that do not read: who waits is not forgotten.

use super::MemoryBroker;
use super::fetches::{append, frame};
use crate::script::batches::packed;
use crate::script::{Broker as _, Script};
use ringlog::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ringlog::protocol::records::Codec;
use ringlog::storage::shard::ShardOptions;
use std::time::Duration;

/// Segments are closed soon after they are begun, and their records leave the memory.
pub const TO_DISK: &str =
    "node.id=0\nlog.roll.ms=1\nlog.retention.check.interval.ms=100\nlog.retention.ms=-1\n";
pub const NAME: &str = "slow-000000000-001";

pub fn broker(settings: &str, options: ShardOptions) -> MemoryBroker {
    let mut broker = MemoryBroker::with_options(settings, options);
    Script::run(&mut broker, |script| assert_eq!(script.topic("slow", 2, &[]), NAME));
    broker
}

pub fn large() -> Vec<u8> {
    packed(Codec::None, &[1_000], &[7; 100_000])
}

/// A fetch of one partition that waits up to a minute for a byte.
pub fn fetch(broker: &mut MemoryBroker, partition: i32, fetch_offset: i64) {
    fetch_from(broker, NAME, partition, fetch_offset, 1);
}

/// A fetch of up to a megabyte of one partition that waits up to a minute for `min_bytes`.
pub fn fetch_from(broker: &mut MemoryBroker, topic: &str, partition: i32, fetch_offset: i64, min_bytes: i32) {
    fetch_parts(broker, topic, &[(partition, fetch_offset)], min_bytes);
}

/// The same of several partitions from their starts on.
pub fn fetch_all(broker: &mut MemoryBroker, topic: &str, partitions: &[i32], min_bytes: i32) {
    let parts: Vec<(i32, i64)> = partitions.iter().map(|&partition| (partition, 0)).collect();
    fetch_parts(broker, topic, &parts, min_bytes);
}

fn fetch_parts(broker: &mut MemoryBroker, topic: &str, parts: &[(i32, i64)], min_bytes: i32) {
    broker.send(&fetch_frame(topic, parts, min_bytes));
}

/// The same, to be sent.
pub fn fetch_frame(topic: &str, parts: &[(i32, i64)], min_bytes: i32) -> Vec<u8> {
    let part = |&(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition,
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let partitions = parts.iter().map(part).collect();
    let topics = vec![FetchTopic { topic, partitions, ..FetchTopic::default() }];
    frame(&FetchRequest {
        max_wait_ms: 60_000,
        min_bytes,
        max_bytes: 1 << 20,
        topics,
        ..FetchRequest::default()
    })
}

/// Two large batches on disk, no more in memory, and a disk that takes its time.
pub fn broker_that_reads_slowly() -> MemoryBroker {
    let options = ShardOptions { retained_bytes: 0, ..ShardOptions::default() };
    let mut broker = broker(TO_DISK, options);
    append(&mut broker, NAME, 0, &large());
    broker.pause(Duration::from_secs(30));
    // Memory is given up when somebody needs some.
    append(&mut broker, NAME, 1, &large());
    broker.pause(Duration::from_secs(1));
    while broker.answer_now().is_some() {}
    broker.hold_reads(true);
    broker
}

#[test]
fn a_stop_does_not_wait_for_the_disk_to_answer_a_fetch() {
    let mut broker = broker_that_reads_slowly();
    fetch(&mut broker, 0, 0);
    assert_eq!(broker.answer_now(), None, "it was read from memory");
    broker.begin_stop();
    assert!(broker.answer_now().is_some());
    broker.hold_reads(false);
}

#[test]
fn a_fetch_whose_disk_is_slow_is_answered_when_it_has_read() {
    let mut broker = broker_that_reads_slowly();
    fetch(&mut broker, 0, 0);
    broker.pause(Duration::from_secs(300));
    assert_eq!(broker.answer_now(), None);
    broker.hold_reads(false);
    assert!(broker.answer_now().is_some_and(|answer| answer.len() > 100_000));
}

#[test]
fn what_is_appended_while_replies_hold_too_much_wakes_a_fetch_when_they_are_read() {
    const FETCHES: usize = 100;
    let mut broker = broker("node.id=0\n", ShardOptions::default());
    for _ in 0..20 {
        append(&mut broker, NAME, 0, &large());
    }
    broker.pause(Duration::from_secs(1));
    while broker.answer_now().is_some() {}
    fetch(&mut broker, 1, 0);
    broker.join();
    broker.read_replies(false);
    for offset in 0..FETCHES {
        fetch(&mut broker, 0, i64::try_from(offset % 20).expect("small"));
    }
    let small = packed(Codec::None, &[1_000], b"small");
    append(&mut broker, NAME, 1, &small);
    // Neither does time pass, nor is anything else appended.
    broker.read_replies(true);
    let answers: Vec<_> = std::iter::from_fn(|| broker.answer_now()).collect();
    assert_eq!(answers.len(), FETCHES + 1, "some fetches are still waiting");
}

#[test]
fn what_comes_from_the_disk_costs_a_look_for_those_who_wait_for_it() {
    const AT_THE_END: u64 = 200;
    let mut broker = broker_that_reads_slowly();
    for _ in 0..AT_THE_END {
        fetch(&mut broker, 0, 1);
    }
    broker.join();
    fetch(&mut broker, 0, 0);
    let before = broker.fetch_looks();
    broker.hold_reads(false);
    assert!(broker.answer_now().is_some_and(|answer| answer.len() > 100_000));
    let looks = broker.fetch_looks() - before;
    assert!(looks < AT_THE_END / 2, "{looks} looks");
    // Those at the end are not forgotten.
    append(&mut broker, NAME, 0, &large());
    broker.pause(Duration::from_secs(1));
    let answers = std::iter::from_fn(|| broker.answer_now()).filter(|answer| answer.len() > 100_000);
    assert_eq!(answers.count(), usize::try_from(AT_THE_END).expect("a count"));
}

/// Its time is up long before the disk answers, and there is less than it asks for: that is all that it will get.
#[test]
fn a_late_fetch_of_less_than_it_asks_for_is_answered_when_the_disk_has_read() {
    let mut broker = broker_that_reads_slowly();
    fetch_from(&mut broker, NAME, 0, 0, 1 << 19);
    broker.pause(Duration::from_secs(61));
    assert_eq!(broker.answer_now(), None, "it waits for the disk");
    broker.hold_reads(false);
    assert!(broker.answer_now().is_some_and(|answer| answer.len() > 100_000));
}
