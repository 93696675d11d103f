//! What a run of the loader found, and the figures that follow from it.

use std::time::Duration;

use super::cpu::CpuTime;
use super::latency::Percentiles;

/// A run during which the hypervisor took away more than this share of a processor counts for nothing. Unit: 1/1000.
pub const STEAL_PERMILLE_MAX: u64 = 10;

/// One run: what passed in the measured time, and what it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The measured time.
    pub elapsed: Duration,
    /// Requests answered in it: acknowledged batches, or fetches; end to end: batches that arrived.
    pub requests: u64,
    pub records: u64,
    /// Of record batches, without the frames around them.
    pub bytes: u64,
    /// From when a request was meant to be sent to its reply; end to end: to the arrival at a consumer.
    pub latency: Percentiles,
    /// End to end: to the acknowledgement.
    pub acknowledged: Percentiles,
    /// Requests at a fixed rate that were not answered when the run ended, and are in no figure.
    pub unanswered: u64,
    /// Of the broker's processor.
    pub broker_cpu: Option<CpuTime>,
    /// Of the loader's processor.
    pub loader_cpu: Option<CpuTime>,
    /// Of the broker's process alone, in user and kernel mode.
    pub process_cpu: Option<Duration>,
    /// What the broker's process has sent to disks. Unit: bytes.
    pub disk_bytes: Option<u64>,
}

impl Outcome {
    /// Time that the broker's processor was not idle. The kernel measures idle time exactly and only samples what else it
    /// does, so it is the measured time without the idle.
    #[must_use]
    pub fn broker_busy(&self) -> Option<Duration> {
        let cpu = self.broker_cpu?;
        Some(self.elapsed.saturating_sub(cpu.idle).saturating_sub(cpu.steal))
    }

    /// Microseconds of the broker's processor per GB (10⁹ bytes) of batches.
    #[must_use]
    pub fn broker_us_per_gb(&self) -> Option<u64> {
        per(self.broker_busy()?, self.bytes, 1_000_000_000)
    }

    /// Nanoseconds of the broker's processor per request.
    #[must_use]
    pub fn broker_ns_per_request(&self) -> Option<u64> {
        per(self.broker_busy()?, self.requests, 1_000)
    }

    /// Requests per second of the broker's processor.
    #[must_use]
    pub fn requests_per_broker_second(&self) -> Option<u64> {
        let busy = u64::try_from(self.broker_busy()?.as_micros()).ok()?;
        ratio(self.requests, 1_000_000, busy)
    }

    /// Requests per second of the clock.
    #[must_use]
    pub fn requests_per_second(&self) -> u64 {
        let elapsed = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX);
        ratio(self.requests, 1_000_000, elapsed).unwrap_or(0)
    }

    /// Bytes of batches per second of the clock.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        let elapsed = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX);
        ratio(self.bytes, 1_000_000, elapsed).unwrap_or(0)
    }

    /// The larger share of either processor that was stolen. Unit: 1/1000.
    #[must_use]
    pub fn steal_permille(&self) -> u64 {
        let stolen = |cpu: Option<CpuTime>| cpu.map_or(Duration::ZERO, |cpu| cpu.steal);
        let most = stolen(self.broker_cpu).max(stolen(self.loader_cpu));
        let elapsed = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX);
        ratio(u64::try_from(most.as_micros()).unwrap_or(u64::MAX), 1_000, elapsed).unwrap_or(0)
    }

    /// The run counts for nothing.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.steal_permille() > STEAL_PERMILLE_MAX
    }
}

/// `time` in microseconds times `unit`, per `count`.
fn per(time: Duration, count: u64, unit: u64) -> Option<u64> {
    ratio(u64::try_from(time.as_micros()).ok()?, unit, count)
}

/// `value * unit / count`, rounded down; `None` for a count of 0.
fn ratio(value: u64, unit: u64, count: u64) -> Option<u64> {
    let scaled = u128::from(value) * u128::from(unit);
    u64::try_from(scaled.checked_div(u128::from(count))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_follow_from_the_time_that_was_not_idle() {
        let second = Duration::from_secs(1);
        let cpu = CpuTime { busy: second, idle: 2 * second, steal: Duration::ZERO };
        let outcome = Outcome {
            elapsed: 6 * second,
            requests: 8_000,
            bytes: 2_000_000_000,
            broker_cpu: Some(cpu),
            loader_cpu: Some(CpuTime { steal: Duration::from_millis(66), ..cpu }),
            ..Outcome::default()
        };
        assert_eq!(outcome.broker_busy(), Some(4 * second));
        assert_eq!(outcome.broker_us_per_gb(), Some(2_000_000));
        assert_eq!(outcome.broker_ns_per_request(), Some(500_000));
        assert_eq!(outcome.requests_per_broker_second(), Some(2_000));
        assert_eq!(outcome.requests_per_second(), 1_333);
        assert_eq!((outcome.steal_permille(), outcome.is_void()), (11, true));
        assert_eq!(Outcome::default().broker_us_per_gb(), None);
    }
}
