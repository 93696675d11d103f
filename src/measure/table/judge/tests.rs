use std::time::Duration;

use super::*;
use crate::measure::cpu::CpuTime;
use crate::measure::figures::Outcome;
use crate::measure::latency::Percentiles;
use crate::measure::table::rows;
use crate::measure::workload::{Kind, Workload};

/// A second in which the broker's processor was busy for `busy_ms`, and a GB and a thousand requests passed.
fn outcome(busy_ms: u64) -> Outcome {
    let cpu = CpuTime { idle: Duration::from_millis(1_000 - busy_ms), ..CpuTime::default() };
    Outcome {
        elapsed: Duration::from_secs(1),
        bytes: 1_000_000_000,
        requests: 1_000,
        broker_cpu: Some(cpu),
        ..Outcome::default()
    }
}

fn trial(row: &'static str, round: u32, who: Contestant, outcomes: &[Outcome]) -> Trial {
    let runs = outcomes.iter().map(|&outcome| (Workload::new(Kind::Produce), outcome)).collect();
    Trial { row, round, who, runs, cycles: Some(u64::from(round) * 10) }
}

fn judged(name: &'static str, trials: &[Trial]) -> Judged {
    judge(&rows(), trials).into_iter().find(|judged| judged.name == name).unwrap()
}

#[test]
fn the_median_of_the_rounds_is_held_against_the_rivals() {
    use Contestant::{Floor, Kafka, Ringlog};
    let name = "produce-written";
    let mut trials = Vec::new();
    for (round, (ours, floor)) in (1..).zip([(200, 100), (190, 100), (900, 95), (210, 110), (10, 90)]) {
        trials.push(trial(name, round, Ringlog, &[outcome(ours)]));
        trials.push(trial(name, round, Floor, &[outcome(floor)]));
    }
    for round in 1..=3 {
        trials.push(trial(name, round, Kafka, &[outcome(999)]));
    }
    let found = judged(name, &trials);
    assert_eq!(found.ours, Some(Figures { main: 200_000, p90: None }));
    let [floor, kafka] = found.comparisons.as_slice() else { panic!("{found:?}") };
    assert_eq!((floor.rival, floor.ratio.main, floor.is_reached), (Rival::Floor, 2_000, true));
    assert_eq!((kafka.rival, kafka.ratio.main, kafka.is_reached), (Rival::Kafka, 200, true));
    assert!(!kafka.is_thin);
    // Of the same with one round less of the rival nothing is said.
    trials.pop();
    assert!(judged(name, &trials).comparisons[1].is_thin);
    assert_eq!(found.cycles, Some(10));

    // A run that was robbed of its processor is not looked at.
    let mut stolen = outcome(1);
    stolen.loader_cpu = Some(CpuTime { steal: Duration::from_millis(20), ..CpuTime::default() });
    let with_void = [trial(name, 1, Ringlog, &[stolen]), trial(name, 2, Ringlog, &[outcome(300)])];
    let found = judged(name, &with_void);
    assert_eq!((found.ours.unwrap().main, found.void_count, found.comparisons.len()), (300_000, 1, 0));
    assert_eq!(judged("small-written", &with_void).ours, None);
}

#[test]
fn fetching_costs_what_is_needed_more_than_for_producing_alone() {
    let name = "fetch-tail";
    let trials = [trial(name, 1, Contestant::Ringlog, &[outcome(300), outcome(380)])];
    assert_eq!(judged(name, &trials).ours.unwrap().main, 80_000);
}

#[test]
fn a_latency_counts_when_four_of_five_rounds_reach_the_bar() {
    let name = "latency-1k-synced-spin";
    let with = |p50, p90| {
        let mut outcome = outcome(1);
        outcome.latency = Percentiles { p50, p90, ..Percentiles::default() };
        outcome
    };
    let verdict = |missed: u32| {
        let mut trials = Vec::new();
        for round in 1..=5 {
            let p90 = if round <= missed { 201 } else { 200 };
            trials.push(trial(name, round, Contestant::Ringlog, &[with(75, p90)]));
            trials.push(trial(name, round, Contestant::Floor, &[with(50, 100)]));
        }
        judged(name, &trials).comparisons[0]
    };
    assert_eq!((verdict(1).is_reached, verdict(1).rounds), (true, Some((4, 5))));
    assert_eq!((verdict(2).is_reached, verdict(2).rounds), (false, Some((3, 5))));
    assert_eq!(verdict(0).ratio, Figures { main: 1_500, p90: Some(2_000) });
}

#[test]
fn a_row_of_ours_can_be_the_rival() {
    let trials = [
        trial("partitions-1", 1, Contestant::Ringlog, &[Outcome { requests: 1_000, ..outcome(500) }]),
        trial("partitions-1000", 1, Contestant::Ringlog, &[Outcome { requests: 799, ..outcome(500) }]),
    ];
    let found = judged("partitions-1000", &trials);
    assert_eq!(found.comparisons[0].rival, Rival::Row("partitions-1"));
    assert_eq!((found.comparisons[0].ratio.main, found.comparisons[0].is_reached), (799, false));
}

#[test]
fn a_run_that_did_not_go_round_often_enough_is_not_judged() {
    let with_cycles = |name, cycles| {
        let mut ours = trial(name, 1, Contestant::Ringlog, &[outcome(100)]);
        ours.cycles = cycles;
        judged(name, &[ours, trial(name, 1, Contestant::Floor, &[outcome(100)])])
    };
    for (cycles, is_short) in [(Some(30), false), (Some(29), true), (None, true)] {
        let found = with_cycles("small-synced", cycles);
        assert_eq!((found.cycles_min, found.is_short()), (Some(30), is_short), "{cycles:?}");
        assert_eq!(with_cycles("latency-1k-synced-spin", cycles).is_short(), is_short);
        assert!(!with_cycles("latency-1k-written-spin", cycles).is_short());
        assert!(!with_cycles("fetch-recent", cycles).is_short());
    }
    assert!(!judged("small-synced", &[]).is_short(), "there is nothing to judge");
}
