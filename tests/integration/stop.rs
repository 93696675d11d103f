//! Stopping by signal, under load: exit code 0 in time, everything acknowledged there, nothing to recover.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ringlog::client::{Connection, Settings};

use crate::ledger::Ledger;
use crate::load::{Producer, run_until};
use crate::process::{Broker, PATIENCE, Scratch};
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
        assert_eq!(scratch.arenas(), [""; 0], "memory that nobody needs");
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

#[test]
fn what_was_acknowledged_as_written_survives_a_death_and_a_new_place_for_the_arena() {
    let scratch = Scratch::new("stop-moved");
    let mut ledger = Ledger::new(&[("synced", 2), ("written", 2)], vec![0]);
    let mut producers = vec![Producer::new(0, true, &ledger, 6)];
    let broker = scratch.start(&[]);
    create_topics(&broker);
    run_until(broker, &mut producers, &mut ledger, 50, Broker::kill);
    let names = scratch.arenas();
    assert!(!names.is_empty());
    let elsewhere = scratch.arena.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let setting = format!("arena.dir={}", elsewhere.display());
    let broker = scratch.start(&[&setting]);
    ledger.read_to_end(&mut broker.connect(), &vec![0; ledger.ends().len()]);
    ledger.check_acknowledged(&producers[0].acknowledged);
    assert_eq!(scratch.arenas(), [""; 0], "what was found at the old place is needed no more");
    assert!(names.iter().all(|name| elsewhere.join(name).exists()));
    broker.kill();
    names.iter().for_each(|name| std::fs::remove_file(elsewhere.join(name)).unwrap());
    let broker = scratch.start(&[]);
    assert!(broker.said().contains("the memory of the last life is gone"), "{}", broker.said());
}

/// What lies where in an arena follows from its length: it is read as long as it was.
#[test]
fn what_was_acknowledged_as_written_survives_a_death_and_another_size_of_the_arena() {
    let scratch = Scratch::new("stop-resized");
    let mut ledger = Ledger::new(&[("synced", 2), ("written", 2)], vec![0]);
    let mut producers = vec![Producer::new(0, true, &ledger, 11)];
    let mut broker = scratch.start(&["arena.bytes=16777216"]);
    create_topics(&broker);
    for arena_bytes in [33_554_432, 8_388_608, 12_582_912] {
        run_until(broker, &mut producers, &mut ledger, 50, Broker::kill);
        broker = scratch.start(&[&format!("arena.bytes={arena_bytes}")]);
        ledger.read_to_end(&mut broker.connect(), &vec![0; ledger.ends().len()]);
        ledger.check_acknowledged(&producers[0].acknowledged);
    }
}

#[test]
fn what_a_clean_stop_had_no_time_to_remove_is_removed_after_the_next_start() {
    let scratch = Scratch::new("stop-left-over");
    let broker = scratch.start(&[]);
    create_topics(&broker);
    let mut ledger = Ledger::new(&[("synced", 2), ("written", 2)], vec![0]);
    let mut producers = vec![Producer::new(0, true, &ledger, 7)];
    let ended = run_until(broker, &mut producers, &mut ledger, 50, |broker| {
        broker.signal("TERM");
        broker.wait()
    });
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    let folder = scratch.data.join(".deleted-0-synced-7");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("00000000000000000000.log"), "of a deleted topic").unwrap();
    let segment = scratch.data.join("synced-0/00000000000000000000.log.deleted");
    std::fs::write(&segment, "before the log start").unwrap();
    let broker = scratch.start(&[]);
    let begun = Instant::now();
    while folder.exists() || segment.exists() {
        assert!(begun.elapsed() < PATIENCE, "still there");
        std::thread::sleep(Duration::from_millis(10));
    }
    ledger.read_to_end(&mut broker.connect(), &vec![0; ledger.ends().len()]);
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

/// Recovery can be repeated, so it is not waited for.
#[test]
fn a_signal_during_a_start_ends_it_at_once_and_the_next_start_has_everything() {
    const STARTS: u64 = 25;
    let scratch = Scratch::new("stop-start");
    let mut ledger = Ledger::new(&[("synced", 2), ("written", 2)], vec![0]);
    let mut producers = vec![Producer::new(0, true, &ledger, 8)];
    let broker = scratch.start(&[]);
    create_topics(&broker);
    run_until(broker, &mut producers, &mut ledger, 300, Broker::kill);
    let (mut before_it_served, mut killed) = (0, 0);
    for start in 0..STARTS * u64::from(soak()) {
        let mut command = scratch.command(&[]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // What a start takes is milliseconds: each of its steps is met some time.
        thread::sleep(Duration::from_millis(start % STARTS));
        let begun = Instant::now();
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert!(begun.elapsed() < STOP_TIME_MAX, "{:?}", begun.elapsed());
        // Before its first lines, the system ends it.
        killed += u32::from(status.code().is_none());
        assert!(matches!(status.code(), None | Some(0)), "{status}");
        before_it_served += u32::from(!scratch.arenas().is_empty());
    }
    assert!(before_it_served > 0 && killed < u32::try_from(STARTS).unwrap(), "{before_it_served}, {killed}");
    let broker = scratch.start(&[]);
    ledger.read_to_end(&mut broker.connect(), &vec![0; ledger.ends().len()]);
    ledger.check_acknowledged(&producers[0].acknowledged);
}

#[test]
fn a_stop_with_many_partitions_to_seal_is_in_time() {
    let scratch = Scratch::new("stop-many");
    let broker = scratch.start(&[]);
    broker.create_topic("synced", 300, &[("ringlog.durability", "synced")]);
    broker.create_topic("written", 300, &[("ringlog.durability", "written")]);
    let mut ledger = Ledger::new(&[("synced", 300), ("written", 300)], vec![0]);
    let mut producers = vec![Producer::new(0, true, &ledger, 9)];
    let (ended, taken) = run_until(broker, &mut producers, &mut ledger, 1_000, |broker| {
        let begun = Instant::now();
        broker.signal("TERM");
        (broker.wait(), begun.elapsed())
    });
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert!(taken < STOP_TIME_MAX, "{taken:?}: {}", ended.said);
    let broker = scratch.start(&[]);
    ledger.read_to_end(&mut broker.connect(), &vec![0; ledger.ends().len()]);
    ledger.check_acknowledged(&producers[0].acknowledged);
}

/// They wait on partitions of every shard, and leave without an answer.
#[test]
fn a_stop_after_consumers_have_left_is_clean() {
    let scratch = Scratch::new("stop-left");
    let broker = scratch.start(&["shard.cores=3"]);
    create_topics(&broker);
    let settings = Settings { request_timeout: Duration::from_millis(50), ..broker.settings() };
    for _ in 0..3 {
        let mut ledger = Ledger::new(&[("synced", 2), ("written", 2)], Vec::new());
        let mut connection = Connection::open(&broker.address, &settings).unwrap();
        assert!(ledger.fetch(&mut connection, &mut [0; 4], 60_000).is_err(), "there is nothing");
    }
    broker.signal("TERM");
    let ended = broker.wait();
    assert!(ended.said.contains("everything is sealed"), "{}", ended.said);
}
