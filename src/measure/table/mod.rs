//! The rows that the broker is judged by: what is loaded, which figure counts, and the bar against the floor, against
//! Apache Kafka or against another row. Pure: rows in, runs in, verdicts out.

mod judge;
mod rows;

use std::time::Duration;

use super::figures::Outcome;
use super::workload::{Kind, Workload};
use crate::model::Durability;

pub use judge::{Comparison, Figures, Judged, ROUNDS_MIN, Rival, judge};
pub use rows::{rows, select};

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contestant {
    Ringlog,
    Floor,
    Kafka,
}

/// Who sleeps and who looks again and again while there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idling {
    /// Broker and loader sleep.
    BothPark,
    /// The broker sleeps, the loader spins: what is measured is the broker's waking up alone.
    BrokerParks,
    /// Both spin.
    BothSpin,
}

/// Which figure of a run counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Microseconds of the broker's processor per GB of batches: less is better.
    CpuPerGb,
    /// The same for fetching alone, out of a run that produces at a rate and one that also fetches.
    CpuPerGbFetched,
    /// Requests per second of the broker's processor: more is better.
    RequestsPerCpuSecond,
    /// Requests per second of the clock: more is better.
    RequestsPerSecond,
    /// Median and 90th percentile, in nanoseconds: less is better.
    Latency,
}

/// What a ratio must reach. Unit: 1/1000 of the other's figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    AtMost(u64),
    AtLeast(u64),
    /// The median of the rounds.
    LatencyAtMost {
        median: u64,
        p90: Option<u64>,
    },
    /// Both in four of five rounds.
    LatencyInMostRounds {
        median: u64,
        p90: u64,
    },
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: &'static str,
    pub title: &'static str,
    pub workload: Workload,
    pub durability: Durability,
    pub idling: Idling,
    pub figure: Figure,
    /// Of the broker, so that memory and commit log go round several times within a run.
    pub settings: Vec<(&'static str, &'static str)>,
    pub floor: Option<Bar>,
    pub kafka: Option<Bar>,
    /// Another row of ours.
    pub own: Option<(&'static str, Bar)>,
    /// What must be over before anything counts, such as the making of a file per partition.
    pub warm_up_min: Duration,
}

/// Cycles that a run must go through to count. Unit: 1/10.
const CYCLES_MIN: u64 = 30;
impl Row {
    /// How often a run of ours must fill the commit log or the memory, so that what is done behind is in its figures; `None`: no
    /// cycle is asked for, since data are only read, or since the latency is that of a copy into memory, which at such rates is
    /// never full. Unit: 1/10.
    #[must_use]
    pub fn cycles_min(&self) -> Option<u64> {
        let is_copy = self.figure == Figure::Latency && self.durability == Durability::Written;
        (self.workload.kind != Kind::Fetch && !is_copy).then_some(CYCLES_MIN)
    }
}

/// One contestant's runs for one row in one round: one, or for [`Figure::CpuPerGbFetched`] two.
#[derive(Clone, Debug)]
pub struct Trial {
    pub row: &'static str,
    pub round: u32,
    pub who: Contestant,
    pub runs: Vec<(Workload, Outcome)>,
    /// How often the commit log, or for what does not go through it the memory, was filled during the measured time.
    /// Unit: 1/10. Of ours only.
    pub cycles: Option<u64>,
}

impl Trial {
    /// It counts for nothing.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.runs.iter().any(|(_, outcome)| outcome.is_void())
    }
}

impl Contestant {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ringlog => "ringlog",
            Self::Floor => "floor",
            Self::Kafka => "kafka",
        }
    }
}
