//! Stopping by signal, under load: exit code 0 in time, everything acknowledged there, nothing to recover.

use std::time::{Duration, Instant};

use crate::ledger::Ledger;
use crate::load::{Producer, run_until};
use crate::process::{Broker, Scratch};
use crate::soak;

/// The promise; a start that has to recover says so in these words.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
const RECOVERED: &str = "recovered";

fn create_topics(broker: &Broker) {
    broker.create_topic("synced", 2, &[("ringlog.durability", "synced")]);
    broker.create_topic("written", 2, &[("ringlog.durability", "written")]);
}

#[test]
fn a_stop_under_load_is_clean_in_time_and_complete() {
    let scratch = Scratch::new("stop");
    let mut ledger = Ledger::new(&[("synced", 2), ("written", 2)], vec![0, 1]);
    let mut producers: Vec<Producer> =
        (0..3).map(|number| Producer::new(number, number < 2, &ledger, 3)).collect();
    let mut broker = scratch.start(&[]);
    create_topics(&broker);
    for round in 0..4 * soak() {
        let signal = if round % 2 == 0 { "TERM" } else { "INT" };
        let ended = run_until(broker, &mut producers, &mut ledger, 150, |broker| {
            let begun = Instant::now();
            broker.signal(signal);
            let ended = broker.wait();
            let taken = begun.elapsed();
            assert!(taken < STOP_TIME_MAX, "{taken:?}: {}", ended.said);
            ended
        });
        assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
        broker = scratch.start(&[]);
        assert!(!broker.said().contains(RECOVERED), "{}", broker.said());
        ledger.read_to_end(&mut broker.connect(), &vec![0; ledger.ends().len()]);
        for producer in &producers {
            ledger.check_acknowledged(&producer.acknowledged);
        }
    }
}

#[test]
fn a_restart_after_death_says_that_it_recovered() {
    let scratch = Scratch::new("stop-killed");
    let mut ledger = Ledger::new(&[("synced", 2), ("written", 2)], vec![0]);
    let mut producers = vec![Producer::new(0, true, &ledger, 4)];
    let broker = scratch.start(&[]);
    create_topics(&broker);
    run_until(broker, &mut producers, &mut ledger, 50, Broker::kill);
    let broker = scratch.start(&[]);
    assert!(broker.said().contains(RECOVERED), "{}", broker.said());
}

/// The first signal finds so much to write that the second one comes before the end.
#[test]
fn a_second_signal_ends_at_once_and_the_next_start_recovers() {
    let scratch = Scratch::new("stop-twice");
    let mut ledger = Ledger::new(&[("synced", 2), ("written", 2)], vec![0, 1]);
    let mut producers: Vec<Producer> =
        (0..3).map(|number| Producer::new(number, number < 2, &ledger, 5)).collect();
    let mut ended_at_once = false;
    let mut broker = scratch.start(&[]);
    create_topics(&broker);
    for _ in 0..20 {
        let ended = run_until(broker, &mut producers, &mut ledger, 150, |broker| {
            broker.signal_twice("TERM");
            broker.wait()
        });
        let code = ended.status.code();
        assert!(matches!(code, Some(0 | 143)), "{code:?}: {}", ended.said);
        ended_at_once |= code == Some(143);
        broker = scratch.start(&[]);
        ledger.read_to_end(&mut broker.connect(), &vec![0; ledger.ends().len()]);
        for producer in &producers {
            ledger.check_acknowledged(&producer.acknowledged);
        }
        if ended_at_once {
            return;
        }
    }
    panic!("never caught in the middle of its stop");
}
