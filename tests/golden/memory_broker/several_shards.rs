//! What connections of one shard hold of another's memory, and what they hear of it.

use super::MemoryBroker;
use super::fetches::{append, produce_frame};
use super::slow_reads::{NAME, fetch, fetch_all, fetch_frame, large};
use crate::script::batches::packed;
use crate::script::{Broker as _, Script};
use ringlog::protocol::records::Codec;
use std::time::Duration;

/// Of both shards: each has some.
const PARTITIONS: i32 = 8;
/// More fetches of a large batch than replies may hold.
const FETCHES: usize = 100;

/// Two shards, of which the first has all connections.
fn broker_with_topic() -> MemoryBroker {
    let mut broker = MemoryBroker::of_many("node.id=0\n", 2);
    Script::run(&mut broker, |script| assert_eq!(script.topic("slow", PARTITIONS, &[]), NAME));
    broker
}

fn fetch_and_do_not_read(broker: &mut MemoryBroker, partition: i32, count: usize) {
    append(broker, NAME, u64::from(partition.unsigned_abs()), &large());
    while broker.answer_now().is_some() {}
    broker.read_replies(false);
    for _ in 0..count {
        fetch(broker, partition, 0);
    }
}

/// An owner whose readers wait says so, again and again as long as they do.
#[test]
fn replies_that_are_not_read_press_whichever_shard_has_the_memory() {
    for partition in 0..PARTITIONS {
        let mut broker = broker_with_topic();
        fetch_and_do_not_read(&mut broker, partition, FETCHES);
        for _ in 0..20 {
            broker.pause(Duration::from_millis(100));
            assert!(broker.is_pressed(), "partition {partition}");
        }
        broker.read_replies(true);
        broker.pause(Duration::from_secs(1));
        assert!(!broker.is_pressed(), "partition {partition}");
        assert_eq!(std::iter::from_fn(|| broker.answer_now()).count(), FETCHES);
    }
}

#[test]
fn a_shard_is_not_detached_while_its_clients_hold_the_memory_of_another() {
    for partition in 0..PARTITIONS {
        let mut broker = broker_with_topic();
        assert!(broker.is_detached());
        fetch_and_do_not_read(&mut broker, partition, 1);
        assert!(!broker.is_detached(), "partition {partition}");
        broker.read_replies(true);
        assert!(broker.is_detached(), "partition {partition}");
        // A client that goes away holds nothing either.
        fetch_and_do_not_read(&mut broker, partition, 3);
        assert!(!broker.is_detached(), "partition {partition}");
        broker.reconnect();
        assert!(broker.is_detached(), "partition {partition}");
    }
}

/// Each shard has something, and may not give more: what they have is the answer, since asking again would be answered the same.
#[test]
fn shards_that_may_not_give_enough_are_not_asked_again_and_again() {
    // So many that replies may hold a little more, and less than a batch.
    const HELD: usize = 19;
    let mut broker = broker_with_topic();
    let of = |number: u16| (0..PARTITIONS).find(|&partition| broker.owner_of(NAME, partition) == number);
    let pair = [of(0).expect("each has some"), of(1).expect("each has some")];
    for partition in pair {
        append(&mut broker, NAME, u64::from(partition.unsigned_abs()), &large());
    }
    while broker.answer_now().is_some() {}
    broker.read_replies(false);
    for _ in 0..HELD {
        pair.into_iter().for_each(|partition| fetch(&mut broker, partition, 0));
    }
    broker.join();
    fetch_all(&mut broker, NAME, &pair, 300_000);
    broker.read_replies(true);
    assert_eq!(std::iter::from_fn(|| broker.answer_now()).count(), 2 * HELD + 1);
}

/// No other request of the client comes that would find it out.
#[test]
fn an_error_without_an_answer_closes_the_connection_whichever_shard_has_found_it() {
    const TOO_LATE_MS: i64 = super::START_MS + 2 * 3_600_000;
    for partition in 0..u64::from(PARTITIONS.unsigned_abs()) {
        let mut broker = broker_with_topic();
        append(&mut broker, NAME, partition, &packed(Codec::None, &[1_000], b"sound"));
        assert!(!broker.is_closed());
        append(&mut broker, NAME, partition, &packed(Codec::None, &[TOO_LATE_MS], b"too late"));
        assert!(broker.is_closed(), "partition {partition}");
    }
}

/// Hundreds of requests at once over queues that hold two messages: each is answered, in order, whoever comes first.
#[test]
fn full_queues_everywhere_keep_nothing_from_being_done() {
    const SHARDS: u16 = 5;
    const REQUESTS: usize = 300;
    for seed in 0..20 {
        let mut broker = MemoryBroker::of_many_in_a_tight_mesh("node.id=0\n", SHARDS, seed);
        Script::run(&mut broker, |script| assert_eq!(script.topic("slow", PARTITIONS, &[]), NAME));
        let records = packed(Codec::None, &[1_000], b"small");
        let all: Vec<i32> = (0..PARTITIONS).collect();
        let frames: Vec<Vec<u8>> = (0..REQUESTS)
            .map(|number| match number % 3 {
                0 => produce_frame(NAME, &all, &records),
                1 => fetch_frame(NAME, &all.iter().map(|&partition| (partition, 0)).collect::<Vec<_>>(), 1),
                _ => produce_frame(NAME, &all[number % all.len()..][..1], &records),
            })
            .collect();
        broker.send_together(&frames);
        assert_eq!(std::iter::from_fn(|| broker.answer_now()).count(), REQUESTS, "seed {seed}");
        assert!(broker.refused_messages() > REQUESTS, "the queues were never full: seed {seed}");
    }
}
