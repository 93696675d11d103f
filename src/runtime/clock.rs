//! Time: a monotonic clock for deadlines, and the wall clock for timestamps that people and clients see.
//!
//! Cores take `now` as a parameter; only drivers hold a [`Clock`], which the simulator replaces.

#![expect(unsafe_code, reason = "clock_gettime")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time on a clock that never goes back. Unit: nanoseconds since some start; comparable within one run of
/// the machine only, so it is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The point `nanoseconds` after the clock's start.
    #[must_use]
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the clock's start.
    #[must_use]
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }

    /// The point `duration` later; the last one there is, if that is too late.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long `earlier` is ago; nothing, if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What tells the time.
pub trait Clock {
    /// Now, for deadlines and durations.
    fn now(&self) -> Monotonic;
    /// Now, as Kafka's timestamps count it: milliseconds since 1970 (UTC). May jump, also backwards.
    fn wall_ms(&self) -> i64;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Monotonic {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is writable memory of the type asked for. This clock always exists.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
        Monotonic(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
    }

    fn wall_ms(&self) -> i64 {
        let milliseconds = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()),
            Err(before) => i64::try_from(before.duration().as_millis()).map(i64::saturating_neg),
        };
        milliseconds.unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_goes_forward_as_fast_as_time_does() {
        let begin = SystemClock.now();
        std::thread::sleep(Duration::from_millis(20));
        let passed = SystemClock.now().since(begin);
        assert!(passed >= Duration::from_millis(20) && passed < Duration::from_secs(20), "{passed:?}");
        assert_eq!(begin.since(begin.plus(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(begin.plus(Duration::from_secs(1)).since(begin), Duration::from_secs(1));
        assert_eq!(begin.plus(Duration::MAX), Monotonic::from_nanoseconds(u64::MAX));
    }

    #[test]
    fn the_wall_clock_says_this_century() {
        assert!((1_700_000_000_000..4_100_000_000_000).contains(&SystemClock.wall_ms()));
    }
}
