//! `kill -9` under load, again and again: nothing acknowledged or shown is lost, repeated, moved or replaced.

use crate::ledger::Ledger;
use crate::load::{Producer, Random, run_until};
use crate::process::Scratch;
use crate::soak;

/// Producers 0 to 2 are idempotent.
const IDEMPOTENT: u16 = 3;
const PRODUCERS: u16 = 5;

struct Case {
    name: &'static str,
    rounds: u32,
    settings: &'static [&'static str],
    topic_configs: &'static [(&'static str, &'static str)],
    /// Batches acknowledged in a round, at least and in addition.
    batches: (u64, u64),
}

#[test]
fn twenty_kills_under_load_lose_nothing() {
    run(&Case { name: "kill", rounds: 20, settings: &[], topic_configs: &[], batches: (20, 400) });
}

#[test]
fn kills_with_a_short_deep_commit_log_and_small_segments_lose_nothing() {
    run(&Case {
        name: "kill-small",
        rounds: 5,
        settings: &[
            "commit.log.depth=4",
            "commit.log.file.bytes=1048576",
            "commit.log.bytes.max=4194304",
            "arena.bytes=8388608",
        ],
        topic_configs: &[("segment.bytes", "1048576")],
        batches: (800, 400),
    });
}

fn run(case: &Case) {
    let scratch = Scratch::new(case.name);
    let seed = std::env::var("RINGLOG_SEED")
        .map_or_else(|_| std::process::id().into(), |seed| seed.parse().expect("RINGLOG_SEED is a number"));
    println!("RINGLOG_SEED={seed}");
    let mut random = Random::new(seed);
    let mut ledger = Ledger::new(&[("synced", 3), ("written", 3)], (0..IDEMPOTENT).collect());
    let mut producers: Vec<Producer> =
        (0..PRODUCERS).map(|number| Producer::new(number, number < IDEMPOTENT, &ledger, seed)).collect();
    let mut broker = scratch.start(case.settings);
    for durability in ["synced", "written"] {
        let configs = [&[("ringlog.durability", durability)], case.topic_configs].concat();
        broker.create_topic(durability, 3, &configs);
    }
    let rounds = case.rounds * soak();
    for round in 1..=rounds {
        let shown = ledger.ends();
        let batch_count = case.batches.0 + random.below(case.batches.1);
        run_until(broker, &mut producers, &mut ledger, batch_count, |broker| broker.kill());
        broker = scratch.start(case.settings);
        // Everything again at times, else what is new or was on its way.
        let from = if round % 5 == 0 { vec![0; shown.len()] } else { shown };
        ledger.read_to_end(&mut broker.connect(), &from);
        for producer in &producers {
            ledger.check_acknowledged(&producer.acknowledged);
        }
        println!("round {round}: {} records", ledger.record_count());
    }
    for producer in &mut producers {
        producer.finish(&mut broker.connect());
    }
    ledger.read_to_end(&mut broker.connect(), &vec![0; ledger.ends().len()]);
    for producer in &producers {
        ledger.check_acknowledged(&producer.acknowledged);
    }
}
