//! The contestants in turns: each round measures every one of them once per row, so that what changes on the machine
//! meets them all. Only one runs at a time: Apache Kafka, which has to stay warm, is frozen while others are measured.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::contestants::{FloorStart, Places};
use super::host::Watched;
use super::loader::{self, Idle, LoaderOptions};
use super::process::Server;
use super::setup;
use crate::measure::driver::Result;
use crate::measure::figures::Outcome;
use crate::measure::request::Target;
use crate::measure::schedule::Pace;
use crate::measure::table::{Contestant, Figure, Idling, Row, Trial};
use crate::measure::workload::{Kind, Workload};
use crate::model::Durability;
use crate::model::limits::DIRECT_APPEND_BYTES_MIN;

/// How rows are measured.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    pub places: Places,
    pub rounds: u32,
    pub warm_up: Duration,
    pub measured: Duration,
    /// Apache Kafka is loaded for so long before the first round, with large and with small requests.
    pub kafka_warm_up: Duration,
}

/// A trial that the hypervisor spoilt is repeated so often.
const TRIES: u32 = 3;

/// Measures the rows. `note` is told of each trial as it ends.
///
/// # Errors
/// A contestant that does not serve, or answers with an error.
pub fn run(rows: &[Row], options: &CompareOptions, mut note: impl FnMut(&Trial)) -> Result<Vec<Trial>> {
    options.places.prepare()?;
    // Whoever starts and waits must not take time of the broker's processor.
    crate::runtime::thread::pin(options.places.loader_cpu)?;
    let mut compare = Compare { options, kafka: None };
    let with_kafka = rows.iter().any(|row| row.kafka.is_some());
    if let Some(home) = options.places.kafka_home.as_ref().filter(|_| with_kafka) {
        compare.kafka = Some(options.places.start_kafka(home)?);
        compare.warm_kafka()?;
    }
    let result = compare.rounds(rows, &mut note);
    drop(compare);
    options.places.clean_up();
    result
}

struct Compare<'a> {
    options: &'a CompareOptions,
    kafka: Option<Server>,
}

impl Compare<'_> {
    fn rounds(&self, rows: &[Row], note: &mut impl FnMut(&Trial)) -> Result<Vec<Trial>> {
        let mut trials = Vec::new();
        for round in 1..=self.options.rounds {
            for row in rows {
                for who in self.contestants(row, round) {
                    let trial = self.trial(row, round, who)?;
                    note(&trial);
                    trials.push(trial);
                }
            }
        }
        Ok(trials)
    }

    /// Those that the row needs; who begins changes from round to round.
    fn contestants(&self, row: &Row, round: u32) -> Vec<Contestant> {
        let mut all = vec![Contestant::Ringlog];
        all.extend(row.floor.map(|_| Contestant::Floor));
        all.extend(self.kafka.as_ref().and(row.kafka).map(|_| Contestant::Kafka));
        let first = round as usize % all.len();
        all.rotate_left(first);
        all
    }

    fn trial(&self, row: &Row, round: u32, who: Contestant) -> Result<Trial> {
        let mut tries = 0;
        loop {
            let mut runs = Vec::new();
            let mut cycles = None;
            for workload in self.workloads(row) {
                settle_disk();
                let outcome = match who {
                    Contestant::Ringlog => {
                        let (outcome, found) = self.run_ringlog(row, &workload)?;
                        cycles = found;
                        outcome
                    }
                    Contestant::Floor => self.run_floor(row, &workload)?,
                    Contestant::Kafka => self.run_kafka(row, &workload)?,
                };
                runs.push((workload, outcome));
            }
            tries += 1;
            let trial = Trial { row: row.name, round, who, runs, cycles };
            if !trial.is_void() || tries >= TRIES {
                return Ok(trial);
            }
        }
    }

    fn workloads(&self, row: &Row) -> Vec<Workload> {
        let options = self.options;
        let timed = |kind| Workload {
            kind,
            warm_up: options.warm_up.max(row.warm_up_min),
            measured: options.measured,
            ..row.workload.clone()
        };
        match row.figure {
            Figure::CpuPerGbFetched => vec![timed(Kind::Produce), timed(Kind::EndToEnd)],
            _ => vec![timed(row.workload.kind)],
        }
    }

    fn run_ringlog(&self, row: &Row, workload: &Workload) -> Result<(Outcome, Option<u64>)> {
        let places = &self.options.places;
        let mut settings = row.settings.clone();
        if row.idling == Idling::BothSpin {
            settings.push(("shard.idle", "spin"));
        }
        let server = places.start_ringlog(&settings)?;
        let made = setup::make_topic(places.ringlog_address(), row.workload.partitions, row.durability)?;
        let outcome = self.load(&server, made.address, &made.target, row, workload, false)?;
        let commit_log_bytes = folder_bytes(&places.ringlog_data().join("commit-log"));
        let cycles = cycles(row, &outcome, commit_log_bytes);
        drop(server);
        super::process::remove(std::slice::from_ref(&places.memory));
        places.prepare()?;
        Ok((outcome, cycles))
    }

    fn run_floor(&self, row: &Row, workload: &Workload) -> Result<Outcome> {
        let places = &self.options.places;
        let start = FloorStart {
            durability: row.durability,
            spins: row.idling == Idling::BothSpin,
            is_tail: workload.kind == Kind::EndToEnd,
        };
        let server = places.start_floor(start)?;
        let address = setup::resolve(places.floor_address())?;
        self.load(&server, address, &Target::floor(), row, workload, true)
    }

    fn run_kafka(&self, row: &Row, workload: &Workload) -> Result<Outcome> {
        let Some(kafka) = &self.kafka else { return Ok(Outcome::default()) };
        kafka.resume()?;
        let outcome = self.run_kafka_resumed(kafka, row, workload);
        kafka.pause()?;
        outcome
    }

    fn run_kafka_resumed(&self, kafka: &Server, row: &Row, workload: &Workload) -> Result<Outcome> {
        let address = self.options.places.kafka_address();
        let made = setup::make_topic(address, row.workload.partitions, row.durability)?;
        let outcome = self.load(kafka, made.address, &made.target, row, workload, false);
        made.delete()?;
        // Deleted files go a second later; what goes on behind must not be measured with the others.
        std::thread::sleep(Duration::from_secs(2));
        outcome
    }

    fn load(
        &self,
        server: &Server,
        address: std::net::SocketAddr,
        target: &Target,
        row: &Row,
        workload: &Workload,
        is_floor: bool,
    ) -> Result<Outcome> {
        let places = &self.options.places;
        let options = LoaderOptions {
            address,
            idle: if row.idling == Idling::BothPark { Idle::Park } else { Idle::Spin },
            is_floor,
            watched: Watched {
                broker_cpu: Some(places.broker_cpu),
                loader_cpu: Some(places.loader_cpu),
                broker_pid: Some(server.pid()),
            },
        };
        let run = loader::run(workload, target, options)?;
        if run.is_lost { Err(super::Error::Closed) } else { Ok(run.outcome) }
    }

    fn warm_kafka(&self) -> Result<()> {
        let large = Workload { measured: self.options.kafka_warm_up / 2, ..Workload::new(Kind::EndToEnd) };
        let mut small = Workload { connections: 16, in_flight: 1, pace: Pace::Closed, ..large.clone() };
        small.shape.batch_bytes_max = 0;
        small.shape.record_bytes = 100;
        for workload in [large, small] {
            let row = Row {
                name: "warm-up",
                title: "",
                durability: Durability::Written,
                idling: Idling::BothPark,
                figure: Figure::RequestsPerSecond,
                settings: Vec::new(),
                floor: None,
                kafka: None,
                own: None,
                warm_up_min: Duration::ZERO,
                workload,
            };
            self.run_kafka(&row, &row.workload)?;
        }
        Ok(())
    }
}

/// How often the commit log was filled by what is not written behind, or else the memory by batches. Unit: 1/10.
fn cycles(row: &Row, outcome: &Outcome, commit_log_bytes: u64) -> Option<u64> {
    const DEFAULT_ARENA_BYTES: u64 = 256 << 20;
    let is_small = row.workload.shape.batch_bytes_max < DIRECT_APPEND_BYTES_MIN;
    if row.workload.kind == Kind::Fetch {
        return None;
    }
    if row.durability == Durability::Synced && is_small {
        let logged = outcome.disk_bytes?.saturating_sub(outcome.bytes);
        return logged.checked_mul(10)?.checked_div(commit_log_bytes);
    }
    let set = row.settings.iter().find(|(key, _)| *key == "arena.bytes");
    let arena_bytes = set.and_then(|(_, value)| value.parse().ok()).unwrap_or(DEFAULT_ARENA_BYTES);
    outcome.bytes.checked_mul(10)?.checked_div(arena_bytes)
}

pub(super) fn folder_bytes(folder: &std::path::Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Brings to the disk what the last contestant left in the page cache, so that the next one does not pay for it.
pub(super) fn settle_disk() {
    // Where there is no such program, the kernel does it later.
    let _ = Command::new("sync").status();
}
