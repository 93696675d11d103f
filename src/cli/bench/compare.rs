//! `ringlog bench compare`: the whole table, or some of its rows, with verdicts.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::arguments::seconds;
use super::verdict;
use crate::cli::{Error, print};
use crate::measure::driver::compare::{self, CompareOptions};
use crate::measure::driver::contestants::Places;
use crate::measure::table::{Row, Trial, judge, rows, select};
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::thread::Cpu;

/// Where measurements take place; also for idle and recovery.
#[derive(Debug, Args)]
pub(super) struct At {
    /// Folder on the disk to be measured, for data that are removed and results that stay
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    work: PathBuf,
    /// A tmpfs, for the memory of ringlog and of the floor
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    memory_dir: PathBuf,
    /// Apache Kafka, with libs/ and config/ [else: $KAFKA_HOME]; without it only ringlog and the floor are measured
    #[arg(long, value_name = "DIR")]
    kafka_home: Option<PathBuf>,
    /// CPU for whoever is measured
    #[arg(long, value_name = "N", default_value_t = 0)]
    broker_cpu: u16,
    /// CPU for the loader
    #[arg(long, value_name = "N", default_value_t = 1)]
    loader_cpu: u16,
}

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// Rows by the beginning of their name; none: all
    rows: Vec<String>,
    /// Print the rows and their bars, measure nothing
    #[arg(long)]
    list: bool,
    /// How often each contestant is measured; the median counts
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// The measured time of each run
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    seconds: Duration,
    /// Load before it
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "2")]
    warm_up: Duration,
    /// Load that makes Apache Kafka warm, before the first round
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    kafka_warm_up: Duration,
    #[command(flatten)]
    at: At,
}

impl At {
    pub(super) fn places(&self) -> Result<Places, Error> {
        let program = env::current_exe().map_err(|error| Error::Program { error })?;
        Ok(Places {
            program,
            work: self.work.clone(),
            memory: self.memory_dir.join(format!("ringlog-bench-{}", std::process::id())),
            kafka_home: self.kafka_home.clone().or_else(|| env::var_os("KAFKA_HOME").map(PathBuf::from)),
            broker_cpu: Cpu(self.broker_cpu),
            loader_cpu: Cpu(self.loader_cpu),
        })
    }
}

impl Compare {
    pub(super) fn run(self) -> Result<(), Error> {
        let chosen = select(&self.rows).map_err(|row| Error::NoRow { row: row.to_owned() })?;
        if self.list {
            return print(&verdict::list(&rows()));
        }
        let places = self.at.places()?;
        let work = places.work.clone();
        let options = CompareOptions {
            places,
            rounds: self.rounds,
            warm_up: self.warm_up,
            measured: self.seconds,
            kafka_warm_up: self.kafka_warm_up,
        };
        let trials = compare::run(&chosen, &options, |trial| {
            let _ = print(&verdict::trial(&chosen, trial));
        })?;
        finish(&chosen, &trials, &work)
    }
}

/// Keeps everything, and prints the table.
fn finish(chosen: &[Row], trials: &[Trial], work: &std::path::Path) -> Result<(), Error> {
    let judged = judge(chosen, trials);
    let path = work.join(format!("compare-{}.json", SystemClock.wall_ms()));
    let json = verdict::json(&judged, trials);
    fs::write(&path, format!("{json}\n")).map_err(|error| Error::WriteFile { path: path.clone(), error })?;
    print(&verdict::table(&judged, trials))?;
    print(&format!("all runs: {}\n", path.display()))
}
