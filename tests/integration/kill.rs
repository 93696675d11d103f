//! `kill -9` under load, again and again: nothing acknowledged or shown is lost, repeated, moved or replaced.

use crate::ledger::Ledger;
use crate::load::{Producer, Random, run_until, seed};
use crate::process::Scratch;
use crate::soak;

/// Producers 0 to 2 are idempotent.
const IDEMPOTENT: u16 = 3;
const PRODUCERS: u16 = 5;

struct Case<'a> {
    name: &'a str,
    rounds: u32,
    settings: &'a [&'a str],
    /// How many shards there are after each start, in turns; none: as many as the broker chooses.
    shards: &'a [u32],
    topic_configs: &'a [(&'a str, &'a str)],
    /// Batches acknowledged in a round, at least and in addition.
    batches: (u64, u64),
}

#[test]
fn twenty_kills_under_load_lose_nothing() {
    run(&Case {
        name: "kill",
        rounds: 20,
        settings: &[],
        shards: &[],
        topic_configs: &[],
        batches: (20, 400),
    });
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
        shards: &[],
        topic_configs: &[("segment.bytes", "1048576")],
        batches: (800, 400),
    });
}

/// And every third time it is stopped, after which nothing is recovered.
#[test]
fn deaths_and_stops_with_another_number_of_shards_each_time_lose_nothing() {
    run(&Case {
        name: "kill-shards",
        rounds: 12,
        settings: &[],
        shards: &[1, 3, 2, 4, 1, 2, 2],
        topic_configs: &[],
        batches: (50, 400),
    });
}

/// For `scripts/soak`, which runs it with one seed after another.
#[test]
fn kills_with_random_settings_lose_nothing() {
    let mut random = Random::new(seed());
    let mut pick = |choices: &[u64]| choices[random.place(choices.len())];
    let arena_bytes = pick(&[8 << 20, 16 << 20, 64 << 20]);
    let file_bytes = pick(&[1 << 20, 2 << 20, 4 << 20]);
    // Who spins leaves the control thread a CPU.
    let (idle, shards) = if pick(&[0, 0, 1]) == 0 { ("park", pick(&[1, 2, 3, 4])) } else { ("spin", 1) };
    let settings = [
        format!("commit.log.depth={}", pick(&[1, 2, 4, 8])),
        format!("commit.log.file.bytes={file_bytes}"),
        format!("commit.log.bytes.max={}", file_bytes * pick(&[4, 8, 64])),
        format!("arena.bytes={arena_bytes}"),
        format!("shard.idle={idle}"),
        format!("shard.cores={shards}"),
    ];
    let segment_bytes = pick(&[1 << 20, 4 << 20, 1 << 30]).to_string();
    let index_bytes = pick(&[1, 4096]).to_string();
    println!("{settings:?}, segment.bytes={segment_bytes}, index.interval.bytes={index_bytes}");
    run(&Case {
        name: "kill-random",
        rounds: 2,
        settings: &settings.each_ref().map(String::as_str),
        shards: &[],
        topic_configs: &[("segment.bytes", &segment_bytes), ("index.interval.bytes", &index_bytes)],
        batches: (20, 800),
    });
}

fn run(case: &Case<'_>) {
    let scratch = Scratch::new(case.name);
    let seed = seed();
    let mut random = Random::new(seed);
    let mut ledger = Ledger::new(&[("synced", 3), ("written", 3)], (0..IDEMPOTENT).collect());
    let mut producers: Vec<Producer> =
        (0..PRODUCERS).map(|number| Producer::new(number, number < IDEMPOTENT, &ledger, seed)).collect();
    let start = |round: u32| {
        let turn = case.shards.len().checked_sub(1).map(|last| round as usize % (last + 1));
        let shards = turn.map(|turn| format!("shard.cores={}", case.shards[turn]));
        let settings: Vec<&str> = case.settings.iter().copied().chain(shards.as_deref()).collect();
        scratch.start(&settings)
    };
    let mut broker = start(0);
    for durability in ["synced", "written"] {
        let configs = [&[("ringlog.durability", durability)], case.topic_configs].concat();
        broker.create_topic(durability, 3, &configs);
    }
    let rounds = case.rounds * soak();
    for round in 1..=rounds {
        let shown = ledger.ends();
        let batch_count = case.batches.0 + random.below(case.batches.1);
        let is_stopped = !case.shards.is_empty() && round % 3 == 0;
        run_until(broker, &mut producers, &mut ledger, batch_count, |broker| {
            if !is_stopped {
                return broker.kill();
            }
            broker.signal("TERM");
            let ended = broker.wait();
            assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
            assert!(ended.said.contains("everything is sealed"), "{}", ended.said);
        });
        broker = start(round);
        assert!(!is_stopped || !broker.said().contains("recovered"), "{}", broker.said());
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
