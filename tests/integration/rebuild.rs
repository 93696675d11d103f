//! The commit log cannot be written: everything is refused, the log begins anew when the disk lets it, nothing is lost.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::ledger::Ledger;
use crate::load::{Producer, run_until};
use crate::process::{Broker, PATIENCE, Scratch};
use crate::soak;

/// In the broker's words.
const FAILED: &str = "the log begins anew";
const REFUSED: &str = "the logs cannot be recovered";
const RENEWED: &str = "the log has begun anew";

#[test]
fn a_commit_log_that_cannot_be_written_is_begun_anew() {
    begin_anew("rebuild", 1);
}

/// A life is the broker's: the others' logs begin anew with the one that failed.
#[test]
fn with_one_commit_log_that_cannot_be_written_all_are_begun_anew() {
    begin_anew("rebuild-shards", 3);
}

fn begin_anew(name: &str, shards: usize) {
    let scratch = Scratch::new(name);
    let setting = format!("shard.cores={shards}");
    let mut ledger = Ledger::new(&[("synced", 2), ("written", 2)], vec![0, 1]);
    let mut producers: Vec<Producer> =
        (0..4).map(|number| Producer::new(number, number < 2, &ledger, 9)).collect();
    // Large appends would wait for room in their segments, and keep small ones from coming to the commit log.
    producers.iter_mut().for_each(|producer| producer.small_only = true);
    let mut broker = scratch.start(&[&setting]);
    broker.create_topic("synced", 2, &[("ringlog.durability", "synced")]);
    broker.create_topic("written", 2, &[("ringlog.durability", "written")]);
    for round in 1..=2 * usize::try_from(soak()).unwrap() {
        broker = run_until(broker, &mut producers, &mut ledger, 100, |broker| {
            let refused = broker.said().matches(REFUSED).count();
            // No file of the broker may be written beyond this any more.
            limit_file_size(&broker, "65536");
            wait_until_said(&broker, FAILED, round);
            wait_until_said(&broker, REFUSED, refused + 1);
            limit_file_size(&broker, "unlimited");
            wait_until_said(&broker, RENEWED, round * shards);
            broker
        });
        ledger.read_to_end(&mut broker.connect(), &vec![0; ledger.ends().len()]);
        for producer in &mut producers {
            producer.finish(&mut broker.connect());
        }
        ledger.read_to_end(&mut broker.connect(), &vec![0; ledger.ends().len()]);
        for producer in &producers {
            ledger.check_acknowledged(&producer.acknowledged);
        }
    }
    broker.signal("TERM");
    let ended = broker.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    let broker = scratch.start(&[&setting]);
    assert!(!broker.said().contains("recovered"), "a stop after it is clean: {}", broker.said());
    ledger.read_to_end(&mut broker.connect(), &vec![0; ledger.ends().len()]);
}

fn limit_file_size(broker: &Broker, limit: &str) {
    let pid = broker.id().to_string();
    // The soft limit alone: it can be lifted again.
    let status =
        Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={limit}:unlimited")]).status();
    assert!(status.unwrap().success(), "prlimit (util-linux) is needed");
}

fn wait_until_said(broker: &Broker, text: &str, times: usize) {
    let deadline = Instant::now() + PATIENCE;
    while broker.said().matches(text).count() < times {
        assert!(Instant::now() < deadline, "does not say {text:?}: {}", broker.said());
        thread::sleep(Duration::from_millis(5));
    }
}
