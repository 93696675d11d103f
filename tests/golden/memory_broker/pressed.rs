//! Replies that hold all that replies may: whom they keep waiting, and until when.

use super::MemoryBroker;
use super::fetches::append;
use super::slow_reads::{NAME, TO_DISK, broker, fetch, large};
use crate::script::Broker as _;
use crate::script::batches::packed;
use ringlog::protocol::records::Codec;
use ringlog::storage::shard::ShardOptions;
use std::time::Duration;

/// More fetches of a large batch than replies may hold.
const FETCHES: usize = 100;
const LARGE: i32 = 0;
const QUIET: i32 = 1;

fn broker_with_large_batches() -> MemoryBroker {
    let mut broker = broker("node.id=0\n", ShardOptions::default());
    for _ in 0..20 {
        append(&mut broker, NAME, 0, &large());
    }
    broker.pause(Duration::from_secs(1));
    while broker.answer_now().is_some() {}
    broker
}

fn fetch_large_batches(broker: &mut MemoryBroker) {
    for offset in 0..FETCHES {
        fetch(broker, LARGE, i64::try_from(offset % 20).expect("small"));
    }
}

fn answers(broker: &mut MemoryBroker) -> usize {
    std::iter::from_fn(|| broker.answer_now()).count()
}

/// On its connection replies leave in the order of the requests: those behind it hold what it would wait for.
#[test]
fn a_fetch_does_not_wait_for_room_that_replies_behind_it_hold() {
    let mut broker = broker_with_large_batches();
    fetch(&mut broker, QUIET, 0);
    fetch_large_batches(&mut broker);
    broker.join();
    let before = answers(&mut broker);
    append(&mut broker, NAME, 1, &packed(Codec::None, &[1_000], b"small"));
    // No time passes.
    assert_eq!(before + answers(&mut broker), FETCHES + 1);
}

#[test]
fn a_fetch_does_not_wait_for_room_that_replies_behind_anothers_fetch_hold() {
    let mut broker = broker_with_large_batches();
    fetch(&mut broker, QUIET, 0);
    fetch_large_batches(&mut broker);
    broker.join();
    fetch(&mut broker, LARGE, 0);
    assert_eq!(answers(&mut broker), FETCHES + 2, "all of both clients");
}

/// Nothing is wanting: a fetch waits for its data, whatever stands behind it.
#[test]
fn without_want_of_room_a_fetch_before_replies_waits_for_its_data() {
    let mut broker = broker_with_large_batches();
    fetch(&mut broker, QUIET, 0);
    fetch(&mut broker, LARGE, 0);
    broker.pause(Duration::from_secs(59));
    assert_eq!(answers(&mut broker), 0);
    broker.pause(Duration::from_secs(2));
    assert_eq!(answers(&mut broker), 2);
}

#[test]
fn replies_that_are_not_read_press_until_they_are() {
    let mut broker = broker_with_large_batches();
    broker.read_replies(false);
    fetch(&mut broker, LARGE, 0);
    assert!(!broker.is_pressed(), "there is room for another reply");
    fetch_large_batches(&mut broker);
    assert!(broker.is_pressed());
    broker.read_replies(true);
    assert!(!broker.is_pressed());
    assert_eq!(answers(&mut broker), FETCHES + 1);
}

/// The cache of what lies on disk has room for two pieces of files, and one partition at a time may exceed it.
#[test]
fn replies_from_the_disk_that_are_not_read_press_until_they_are() {
    let options = ShardOptions { retained_bytes: 0, read_cache_bytes: 512 << 10, ..ShardOptions::default() };
    let mut broker = broker(TO_DISK, options);
    for partition in [0, 0, 1, 0, 1] {
        append(&mut broker, NAME, partition, &large());
        broker.pause(Duration::from_secs(30));
    }
    while broker.answer_now().is_some() {}
    broker.read_replies(false);
    for offset in 0..3 {
        fetch(&mut broker, LARGE, offset);
    }
    assert!(!broker.is_pressed());
    fetch(&mut broker, QUIET, 0);
    assert!(broker.is_pressed());
    broker.read_replies(true);
    assert!(!broker.is_pressed());
    assert_eq!(answers(&mut broker), 4);
}
