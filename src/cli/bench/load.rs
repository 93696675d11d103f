//! `ringlog bench produce|fetch|end-to-end`: one run of the loader.

use std::time::Duration;

use clap::Args;

use super::arguments::{DurabilityName, IdleName, bytes, seconds};
use super::report;
use crate::cli::{Error, print};
use crate::measure::driver::host::Watched;
use crate::measure::driver::loader::{self, LoaderOptions, Run};
use crate::measure::driver::setup::{self, MadeTopic};
use crate::measure::request::Target;
use crate::measure::schedule::Pace;
use crate::measure::workload::{Kind, Workload};
use crate::runtime::thread::Cpu;

/// Arguments of every run.
#[derive(Debug, Args)]
struct Common {
    /// The broker, or with --floor the floor
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// The other end is a floor (ringlog bench floor), not a broker
    #[arg(long)]
    floor: bool,
    /// What the topic's acknowledgements promise; Apache Kafka gets flush.messages=1 for synced
    #[arg(long, value_enum, default_value = "synced")]
    durability: DurabilityName,
    /// Partitions of the topic
    #[arg(long, value_name = "N", default_value_t = 16)]
    partitions: u32,
    /// Size of a record's value
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "1K")]
    record_bytes: u64,
    /// Size up to which a batch is filled; it holds one record at least
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "128K")]
    batch_bytes: u64,
    /// Connections that produce; of fetch, that fetch
    #[arg(long, value_name = "N", default_value_t = 4)]
    connections: u32,
    /// Produce requests without a reply, per connection
    #[arg(long, value_name = "N", default_value_t = 5)]
    in_flight: u32,
    /// The measured time
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    seconds: Duration,
    /// Load before the measured time
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "1")]
    warm_up: Duration,
    /// Ends the measured time when so much has passed in it
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_bytes: Option<u64>,
    /// What the loader does while it waits
    #[arg(long, value_enum, default_value = "park")]
    idle: IdleName,
    /// CPU to run the loader on
    #[arg(long, value_name = "N")]
    loader_cpu: Option<u16>,
    /// CPU that the broker has for itself: its idle time is measured
    #[arg(long, value_name = "N")]
    broker_cpu: Option<u16>,
    /// Process of the broker: its own time is measured beside
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
    /// Do not delete the topic
    #[arg(long)]
    keep_topic: bool,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Produce {
    #[command(flatten)]
    common: Common,
    /// Requests per second, whatever the broker does; otherwise as many as it takes
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct Fetch {
    #[command(flatten)]
    common: Common,
    /// Most bytes per fetch
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "1M")]
    fetch_bytes: u64,
    /// What is written first, and then read again and again
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "32M")]
    stored_bytes: u64,
}

#[derive(Debug, Args)]
pub(super) struct EndToEnd {
    #[command(flatten)]
    common: Common,
    /// Produce requests per second, whatever the broker does; otherwise as many as it takes
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Connections that fetch
    #[arg(long, value_name = "N", default_value_t = 4)]
    consumers: u32,
    /// Most bytes per fetch
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "1M")]
    fetch_bytes: u64,
}

impl Produce {
    pub(super) const fn is_json(&self) -> bool {
        self.common.json
    }

    pub(super) fn run(self) -> Result<(), Error> {
        let workload = Workload { pace: pace(self.rate), ..self.common.workload(Kind::Produce) };
        self.common.run(&workload)
    }
}

impl Fetch {
    pub(super) const fn is_json(&self) -> bool {
        self.common.json
    }

    pub(super) fn run(self) -> Result<(), Error> {
        let workload = Workload {
            fetch_bytes: saturate(self.fetch_bytes),
            stored_bytes: self.stored_bytes,
            ..self.common.workload(Kind::Fetch)
        };
        self.common.run(&workload)
    }
}

impl EndToEnd {
    pub(super) const fn is_json(&self) -> bool {
        self.common.json
    }

    pub(super) fn run(self) -> Result<(), Error> {
        let workload = Workload {
            pace: pace(self.rate),
            consumers: self.consumers,
            fetch_bytes: saturate(self.fetch_bytes),
            ..self.common.workload(Kind::EndToEnd)
        };
        self.common.run(&workload)
    }
}

impl Common {
    fn workload(&self, kind: Kind) -> Workload {
        let mut workload = Workload::new(kind);
        workload.shape.record_bytes = usize::try_from(self.record_bytes).unwrap_or(usize::MAX);
        workload.shape.batch_bytes_max = usize::try_from(self.batch_bytes).unwrap_or(usize::MAX);
        workload.partitions = self.partitions;
        workload.connections = self.connections;
        workload.in_flight = self.in_flight;
        workload.warm_up = self.warm_up;
        workload.measured = self.seconds;
        workload.bytes_max = self.max_bytes;
        workload
    }

    fn run(&self, workload: &Workload) -> Result<(), Error> {
        workload.check().map_err(crate::measure::driver::Error::from)?;
        let made = if self.floor {
            None
        } else {
            Some(setup::make_topic(&self.bootstrap, self.partitions, self.durability.into())?)
        };
        let run = self.load(workload, made.as_ref())?;
        if let Some(made) = made.filter(|_| !self.keep_topic && !run.is_lost) {
            made.delete()?;
        }
        if run.is_lost {
            return Err(crate::measure::driver::Error::Closed.into());
        }
        print(&if self.json {
            report::json(workload, &run.outcome)
        } else {
            report::text(workload, &run.outcome)
        })
    }

    fn load(&self, workload: &Workload, made: Option<&MadeTopic>) -> Result<Run, Error> {
        let address = match made {
            Some(made) => made.address,
            None => setup::resolve(&self.bootstrap)?,
        };
        let target = made.map_or_else(Target::floor, |made| made.target.clone());
        let options = LoaderOptions {
            address,
            idle: self.idle.into(),
            is_floor: self.floor,
            watched: Watched {
                broker_cpu: self.broker_cpu.map(Cpu),
                loader_cpu: self.loader_cpu.map(Cpu),
                broker_pid: self.broker_pid,
            },
        };
        Ok(loader::run(workload, &target, options)?)
    }
}

fn pace(rate: Option<u32>) -> Pace {
    rate.map_or(Pace::Closed, |per_second| Pace::Open { per_second })
}

fn saturate(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
