//! What is counted, and when: nothing while the broker warms up, then the measured time, then what is still to come.

use std::time::Duration;

use crate::measure::driver::Result;
use crate::measure::driver::host::{Counters, Watched};
use crate::measure::figures::Outcome;
use crate::measure::latency::Latencies;
use crate::measure::workload::Workload;
use crate::runtime::clock::{Clock, SystemClock};

/// Where in a run we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    WarmUp,
    Measured,
    /// Nothing is sent any more but what was due before.
    Draining,
}

/// See the module. Unit of times: nanoseconds of the clock.
pub(super) struct Counts {
    watched: Watched,
    warm_up: u64,
    measured: u64,
    bytes_max: u64,
    phase: Phase,
    phase_start: u64,
    phase_end: u64,
    /// Of the measured time.
    window: std::ops::Range<u64>,
    counters: Option<Counters>,
    outcome: Outcome,
    latency: Latencies,
    acknowledged: Latencies,
}

impl Counts {
    pub(super) fn new(workload: &Workload, watched: Watched) -> Self {
        Self {
            watched,
            warm_up: nanoseconds(workload.warm_up),
            measured: nanoseconds(workload.measured),
            bytes_max: workload.bytes_max.unwrap_or(u64::MAX),
            phase: Phase::WarmUp,
            phase_start: 0,
            phase_end: 0,
            window: u64::MAX..u64::MAX,
            counters: None,
            outcome: Outcome::default(),
            latency: Latencies::default(),
            acknowledged: Latencies::default(),
        }
    }

    pub(super) fn start(&mut self, now: u64) {
        self.phase_start = now;
        self.phase_end = now.saturating_add(self.warm_up);
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Goes on to the next phase when it is time.
    pub(super) fn handle_time(&mut self, now: u64) -> Result<()> {
        let full = self.phase == Phase::Measured && self.outcome.bytes >= self.bytes_max;
        if now < self.phase_end && !full {
            return Ok(());
        }
        match self.phase {
            Phase::WarmUp => {
                let counters = Counters::read(self.watched)?;
                self.phase_start = counters.at().nanoseconds();
                self.phase_end = self.phase_start.saturating_add(self.measured);
                self.window = self.phase_start..u64::MAX;
                self.counters = Some(counters);
                self.phase = Phase::Measured;
            }
            Phase::Measured => {
                let counters = Counters::read(self.watched)?;
                if let Some(before) = &self.counters {
                    counters.fill(before, &mut self.outcome);
                }
                self.phase_start = SystemClock.now().nanoseconds();
                self.phase_end = u64::MAX;
                self.window.end = counters.at().nanoseconds();
                self.phase = Phase::Draining;
            }
            Phase::Draining => {}
        }
        Ok(())
    }

    /// How long the phase goes on at most.
    pub(super) fn wait(&self, now: u64) -> Duration {
        const LONGEST: Duration = Duration::from_millis(100);
        Duration::from_nanos(self.phase_end.saturating_sub(now)).min(LONGEST)
    }

    /// How long it has been draining.
    pub(super) fn draining(&self, now: u64) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.phase_start))
    }

    /// A request of the measured time has its answer, then or later.
    pub(super) fn record_latency(&mut self, intended: u64, now: u64) {
        if self.window.contains(&intended) {
            self.latency.record(now.saturating_sub(intended));
        }
    }

    pub(super) fn record_acknowledged(&mut self, intended: u64, now: u64) {
        if self.window.contains(&intended) {
            self.acknowledged.record(now.saturating_sub(intended));
        }
    }

    /// A request was answered.
    pub(super) fn add_request(&mut self, bytes: u64, records: u64) {
        if self.phase == Phase::Measured {
            self.outcome.requests += 1;
            self.add_bytes(bytes, records);
        }
    }

    pub(super) fn add_bytes(&mut self, bytes: u64, records: u64) {
        if self.phase == Phase::Measured {
            self.outcome.bytes += bytes;
            self.outcome.records += records;
        }
    }

    pub(super) fn into_outcome(self, unanswered: u64) -> Outcome {
        let (latency, acknowledged) = (self.latency.percentiles(), self.acknowledged.percentiles());
        Outcome { latency, acknowledged, unanswered, ..self.outcome }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
