//! What retention leaves on the disk.

use super::MemoryBroker;
use super::fetches::append;
use crate::script::batches::batch;
use crate::script::{Broker as _, Script};
use ringlog::protocol::kafka::messages::delete_topics::DeleteTopicsRequest;
use ringlog::runtime::disk::BlockingDisk as _;
use std::path::Path;
use std::time::Duration;

/// A segment is closed after a second, and goes when it is closed.
const CONFIGS: [(&str, &str); 2] = [("segment.ms", "1000"), ("retention.bytes", "0")];
const NAME: &str = "brief-000000000-001";

/// The base offsets of the partition's segment files.
fn segments(broker: &MemoryBroker) -> Vec<i64> {
    let folder = format!("{NAME}-0");
    let names = broker.disk.list(Path::new(&folder)).expect("a folder").into_iter().map(|entry| entry.name);
    let mut bases: Vec<i64> =
        names.filter_map(|name| name.strip_suffix(".log").and_then(|base| base.parse().ok())).collect();
    bases.sort_unstable();
    bases
}

#[test]
fn the_last_segment_goes_too_when_all_its_records_are_gone() {
    let mut broker = MemoryBroker::new("node.id=0\n");
    Script::run(&mut broker, |script| assert_eq!(script.topic("brief", 1, &CONFIGS), NAME));
    for round in 1..=3 {
        append(&mut broker, NAME, 0, &batch(&[1_000]));
        broker.pause(Duration::from_secs(60));
        assert!(segments(&broker).contains(&(round - 1)), "round {round}: {:?}", segments(&broker));
        broker.pause(Duration::from_secs(1_800));
        assert!(
            segments(&broker).iter().all(|&base| base == round),
            "round {round}: {:?}",
            segments(&broker)
        );
    }
}

#[test]
fn a_stop_does_not_wait_for_what_is_being_removed() {
    let mut broker = MemoryBroker::new("node.id=0\n");
    Script::run(&mut broker, |script| assert_eq!(script.topic("brief", 1, &CONFIGS), NAME));
    append(&mut broker, NAME, 0, &batch(&[1_000]));
    broker.pause(Duration::from_secs(600));
    append(&mut broker, NAME, 0, &batch(&[1_000]));
    broker.hold_removals();
    // The first segment's file is to go now, and then all others.
    broker.pause(Duration::from_secs(600));
    Script::run(&mut broker, |script| {
        let request = DeleteTopicsRequest {
            topic_names: vec![NAME],
            timeout_ms: 30_000,
            ..DeleteTopicsRequest::default()
        };
        script.ask(5, &request);
    });
    assert!(!broker.is_at_rest());
    broker.begin_stop();
    assert!(broker.is_at_rest());
}

#[test]
fn a_segment_without_timestamps_goes_by_the_time_of_its_first_append() {
    const CONFIGS: [(&str, &str); 2] = [("segment.ms", "1000"), ("retention.ms", "1200000")];
    let mut broker = MemoryBroker::new("node.id=0\n");
    Script::run(&mut broker, |script| assert_eq!(script.topic("brief", 1, &CONFIGS), NAME));
    append(&mut broker, NAME, 0, &batch(&[-1]));
    broker.pause(Duration::from_secs(900));
    assert!(segments(&broker).contains(&0), "{:?}", segments(&broker));
    broker.pause(Duration::from_secs(900));
    assert!(!segments(&broker).contains(&0), "{:?}", segments(&broker));
}
