//! A disk that is full at the moment at which the commit log wants its second file.

use super::MemoryBroker;
use super::fetches::append;
use crate::script::Script;
use crate::script::batches::packed;
use ringlog::protocol::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ringlog::protocol::records::Codec;
use ringlog::runtime::sim::SimFaults;
use std::time::Duration;

/// More than the first file holds of appends of this size, less than a group more.
const PARTITIONS: i32 = 78;
const VALUE_BYTES: usize = 57_000;
const NAME: &str = "many-000000000-001";

/// How many partitions show the record that was appended to each.
fn visible(broker: &mut MemoryBroker) -> i64 {
    thread_local! { static FOUND: std::cell::Cell<i64> = const { std::cell::Cell::new(0) }; }
    Script::run(broker, |script| {
        let parts = (0..PARTITIONS).map(|partition_index| ListOffsetsPartition {
            partition_index,
            current_leader_epoch: -1,
            timestamp: -1,
        });
        let topics = vec![ListOffsetsTopic { name: NAME, partitions: parts.collect() }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
        let answer = script.ask(9, &request);
        let parts = answer.field("topics").list()[0].field("partitions").list();
        FOUND.set(parts.iter().map(|part| part.field("offset").number()).sum());
    });
    FOUND.get()
}

#[test]
fn appends_go_on_when_there_is_room_again_for_the_commit_log_to_grow() {
    fill_and_free(0);
}

#[test]
fn a_clock_that_is_set_back_does_not_put_off_what_the_log_tries_again() {
    fill_and_free(3_600_000);
}

/// The wall clock is set back by so much while the disk is full.
fn fill_and_free(set_back_ms: i64) {
    let mut broker = MemoryBroker::new("node.id=0\n");
    Script::run(&mut broker, |script| assert_eq!(script.topic("many", PARTITIONS, &[]), NAME));
    broker.disk.set_faults(SimFaults { full: true, ..SimFaults::default() });
    let records = packed(Codec::None, &[1_000], &[7; VALUE_BYTES]);
    for partition in 0..PARTITIONS {
        append(&mut broker, NAME, partition.unsigned_abs().into(), &records);
    }
    crate::script::Broker::pause(&mut broker, Duration::from_secs(20));
    let before = visible(&mut broker);
    assert!(before > 0 && before < i64::from(PARTITIONS), "{before} visible on the full disk");
    broker.set_clock_back(set_back_ms);
    broker.disk.set_faults(SimFaults::default());
    crate::script::Broker::pause(&mut broker, Duration::from_secs(5));
    assert_eq!(visible(&mut broker), i64::from(PARTITIONS));
    // More than waits for a file at most: without one, the broker would take no more.
    for partition in 0..20 {
        append(&mut broker, NAME, partition, &records);
    }
    assert_eq!(visible(&mut broker), i64::from(PARTITIONS) + 20);
}
