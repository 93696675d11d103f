//! The file of the next segment is there before it is needed.

use super::MemoryBroker;
use super::fetches::append;
use super::slow_reads::fetch_from;
use crate::script::batches::packed;
use crate::script::{Broker as _, Script};
use ringlog::protocol::records::Codec;
use ringlog::runtime::disk::BlockingDisk as _;
use std::path::Path;
use std::time::Duration;

const CONFIGS: [(&str, &str); 1] = [("segment.bytes", "1048576")];
const NAME: &str = "rolling-000000000-001";

fn names(broker: &MemoryBroker) -> Vec<String> {
    let folder = format!("{NAME}-0");
    let entries = broker.disk.list(Path::new(&folder)).expect("a folder");
    entries.into_iter().map(|entry| entry.name).filter(|name| name.ends_with(".log")).collect()
}

/// Appends batches of 100,000 bytes or so, each written before the next.
fn append_large(broker: &mut MemoryBroker, count: usize) {
    for _ in 0..count {
        append(broker, NAME, 0, &packed(Codec::None, &[1_000], &[7; 100_000]));
        broker.pause(Duration::from_millis(10));
    }
}

#[test]
fn the_next_segment_is_made_when_the_active_one_is_nearly_full_and_renamed_when_it_is() {
    let mut broker = MemoryBroker::new("node.id=0\n");
    Script::run(&mut broker, |script| assert_eq!(script.topic("rolling", 1, &CONFIGS), NAME));
    append_large(&mut broker, 6);
    assert_eq!(names(&broker), ["00000000000000000000.log"]);
    append_large(&mut broker, 3);
    assert_eq!(names(&broker), ["00000000000000000000.log", "next.log"]);
    let prepared = format!("{NAME}-0/next.log");
    let room = broker.disk.read_file(Path::new(&prepared), 1 << 30).expect("a file");
    assert!(room.len() >= 64 << 10 && room.iter().all(|&byte| byte == 0), "{} bytes", room.len());
    append_large(&mut broker, 2);
    broker.pause(Duration::from_secs(60));
    assert_eq!(names(&broker), ["00000000000000000000.log", "00000000000000000010.log"]);
}

#[test]
fn a_fetch_in_an_older_segment_does_not_wait_for_more_than_that_has() {
    let mut broker = MemoryBroker::new("node.id=0\n");
    Script::run(&mut broker, |script| assert_eq!(script.topic("rolling", 1, &CONFIGS), NAME));
    append_large(&mut broker, 12);
    while broker.answer_now().is_some() {}
    fetch_from(&mut broker, NAME, 0, 9, 1_000_000);
    let answer = broker.answer_now().expect("the segment ends");
    assert!((100_000..200_000).contains(&answer.len()), "{} bytes", answer.len());
    fetch_from(&mut broker, NAME, 0, 10, 1_000_000);
    assert_eq!(broker.answer_now(), None);
}
