//! When requests are due: at a fixed rate, or as soon as there is room. Pure: the time is a parameter.
//!
//! At a fixed rate the schedule is made beforehand, so that a broker that stalls does not slow it down: what it delays
//! is counted from when it was meant to be sent (no coordinated omission).

use std::time::Duration;

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As many as are allowed in flight; each reply brings the next request.
    Closed,
    /// So many requests per second, over all connections, whatever the broker does.
    Open { per_second: u32 },
}

/// The requests of a fixed rate, numbered from 0. Unit of times: nanoseconds of the loader's clock.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: u64,
    per_second: u64,
    given: u64,
}

impl Schedule {
    /// Request 0 is due at `start`. A rate of 0 counts as 1.
    #[must_use]
    pub fn new(start: u64, per_second: u32) -> Self {
        Self { start, per_second: u64::from(per_second.max(1)), given: 0 }
    }

    /// The number and the time of the next request, if it is due.
    pub fn poll_due(&mut self, now: u64) -> Option<(u64, u64)> {
        let due = self.next_due();
        if due > now {
            return None;
        }
        let number = self.given;
        self.given += 1;
        Some((number, due))
    }

    /// When the next request is due.
    #[must_use]
    pub fn next_due(&self) -> u64 {
        let after = u128::from(self.given) * 1_000_000_000 / u128::from(self.per_second);
        self.start.saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
    }

    /// How long until then.
    #[must_use]
    pub fn wait(&self, now: u64) -> Duration {
        Duration::from_nanos(self.next_due().saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_leaves_the_schedule_as_it_was() {
        let mut schedule = Schedule::new(500, 3);
        assert_eq!(schedule.poll_due(499), None);
        assert_eq!(schedule.poll_due(500), Some((0, 500)));
        assert_eq!(schedule.poll_due(500), None);
        assert_eq!(schedule.wait(500), Duration::from_nanos(333_333_333));
        // Two seconds late: everything that was due is due as it was planned, without drift.
        let late: Vec<_> = std::iter::from_fn(|| schedule.poll_due(2_000_000_500)).collect();
        assert_eq!(late.len(), 6);
        assert_eq!(late.last(), Some(&(6, 2_000_000_500)));
    }
}
