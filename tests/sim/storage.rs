//! Storage under fire: the shipped log on a simulated disk, killed at any step, checked against what it promised.
//!
//! Each seed is a story of several lives: appends, reads, truncations and deletions on a few shards, ended by the death of
//! the process, the loss of power, the loss of the arena, or a clean stop. `RINGLOG_SIM_SEED=n` runs that seed alone,
//! `RINGLOG_SIM_COUNT=n` so many (with a seed: from that one on); `RINGLOG_SIM_FAILURES=n` goes on until so many have failed.
//! A failure prints the command that replays it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a test: numbers are small, and a panic is a failure that names its seed"
)]

mod actions;
mod batches;
mod check;
mod clients;
mod failure;
mod io;
mod model;
mod plan;
mod scripts;
mod world;

use ringlog::storage::seeded_bug::SeededBug;

use failure::{failures, number_from, report, seeds_wanted};

/// Seeds of one run of the tests.
const SEEDS: u64 = 2000;
/// Beyond the first ones: what these stories found is mended. Bytes of another segment were shown (21,543); what a cache showed
/// after a failed flush was believed at the next start (31,404); a commit log of which nothing is needed was taken for damaged (5,686).
const REMEMBERED: [u64; 3] = [21_543, 31_404, 5_686];
/// Failures after which a run ends, unless the environment wishes otherwise.
const FAILURES_MAX: usize = 8;

#[test]
fn acknowledged_data_survives_whatever_is_killed_and_whenever() {
    let (first, count) = seeds_wanted(SEEDS);
    let failures_max = number_from("RINGLOG_SIM_FAILURES").and_then(|wish| usize::try_from(wish).ok());
    let found = failures(first, count, failures_max.unwrap_or(FAILURES_MAX), None);
    let texts: Vec<String> = found.iter().map(report).collect();
    assert!(found.is_empty(), "\n{}", texts.join("\n"));
}

#[test]
fn what_was_found_once_stays_mended() {
    let found: Vec<String> = REMEMBERED
        .iter()
        .flat_map(|&seed| failures(seed, 1, 1, None))
        .map(|failed| report(&failed))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// A simulation that cannot fail proves nothing: each of these mistakes is planted, and must be found.
#[test]
fn every_planted_bug_is_found() {
    let bugs = [
        SeededBug::SkipFlush,
        SeededBug::AcknowledgeBeforeCompletion,
        SeededBug::MissCrcCheck,
        SeededBug::KeepTornTail,
        SeededBug::RecycleEarly,
        SeededBug::ScanBeforeReplay,
        SeededBug::ReuseOffset,
        SeededBug::ForgetTruncation,
        SeededBug::ReplyToDuplicateEarly,
        SeededBug::PublishBeforeBytes,
        SeededBug::FreeChunkEarly,
        SeededBug::ForgetHeld,
    ];
    let mut missed = Vec::new();
    for bug in bugs {
        println!("{bug:?}:");
        if failures(1, SEEDS, 1, Some(bug)).is_empty() {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}
