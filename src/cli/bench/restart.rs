//! `ringlog bench idle|recovery`: starting, doing nothing, coming back.

use std::time::Duration;

use clap::Args;

use super::arguments::{bytes, seconds};
use super::compare::At;
use crate::cli::{Error, print};
use crate::measure::driver::restart::{self, IdleFigures, RecoveryOptions};

#[derive(Debug, Args)]
pub(super) struct Idle {
    /// How long it is watched
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    seconds: Duration,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
pub(super) struct Recovery {
    /// Partitions of two topics together
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    partitions: u32,
    /// What is stored before the load that is killed; the table's row wants 10G
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "1G")]
    stored_bytes: u64,
    /// Load in whose middle the broker is killed
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    seconds: Duration,
    #[command(flatten)]
    at: At,
}

impl Idle {
    pub(super) fn run(self) -> Result<(), Error> {
        let (ringlog, kafka) = restart::idle(&self.at.places()?, self.seconds)?;
        print(&line("ringlog", &ringlog))?;
        kafka.map_or(Ok(()), |kafka| print(&line("kafka", &kafka)))?;
        let starts = [Some(ringlog.first_start), ringlog.second_start];
        let fast = starts.iter().flatten().all(|start| *start <= Duration::from_millis(50));
        let small = ringlog.resident_bytes <= 48 << 20;
        let quiet = ringlog.cpu_per_million <= 5_000;
        let word = |reached| if reached { "pass" } else { "MISS" };
        print(&format!(
            "ready within 50 ms: {}; at most 48 MiB: {}; at most 0.5 % of a core: {}\n",
            word(fast),
            word(small),
            word(quiet)
        ))
    }
}

impl Recovery {
    pub(super) fn run(self) -> Result<(), Error> {
        let options = RecoveryOptions {
            partitions: self.partitions,
            stored_bytes: self.stored_bytes,
            loaded: self.seconds,
        };
        let found = restart::recovery(&self.at.places()?, options)?;
        let word = if found.ready_after <= Duration::from_secs(1) { "pass" } else { "MISS" };
        print(&format!(
            "{} records, {} MB on disk, files of commit log {} MB and arena {} MB: all acknowledged records are there\n\
             recovered: {}\n\
             ready {} ms after exec; at most 1 s: {word}\n",
            found.records,
            found.disk_bytes / 1_000_000,
            found.commit_log_bytes / 1_000_000,
            found.arena_bytes / 1_000_000,
            found.found,
            found.ready_after.as_millis(),
        ))
    }
}

fn line(name: &str, found: &IdleFigures) -> String {
    let second = found.second_start.map(|start| format!(", again after {} ms", start.as_millis()));
    format!(
        "{name:<8} ready {} ms after exec{}; {} KiB in RAM; {}.{:04} % of a core\n",
        found.first_start.as_millis(),
        second.unwrap_or_default(),
        found.resident_bytes / 1024,
        found.cpu_per_million / 10_000,
        found.cpu_per_million % 10_000,
    )
}
