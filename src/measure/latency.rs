//! Latencies of one run: a histogram, from which percentiles are read. Unit: nanoseconds.

use hdrhistogram::Histogram;

/// Counts latencies from 1 ns to a minute, to three digits; longer ones count as a minute.
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

/// What is reported of a histogram. Unit: nanoseconds; zero when nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    pub count: u64,
    pub min: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub p99_99: u64,
    pub max: u64,
}

/// Unit: nanoseconds.
const LONGEST: u64 = 60_000_000_000;

impl Default for Latencies {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "these bounds and three digits are what the library takes")]
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3).expect("constant bounds");
        Self { histogram }
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, nanoseconds: u64) {
        self.histogram.saturating_record(nanoseconds.max(1));
    }

    /// What has been counted so far.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        if self.histogram.is_empty() {
            return Percentiles::default();
        }
        let at = |quantile| self.histogram.value_at_quantile(quantile);
        Percentiles {
            count: self.histogram.len(),
            min: self.histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: self.histogram.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_three_digits_and_long_ones_saturate() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentiles(), Percentiles::default());
        (1..=100_000).for_each(|microseconds| latencies.record(microseconds * 1_000));
        let found = latencies.percentiles();
        let near = |value: u64, expected: u64| value.abs_diff(expected) <= expected / 500;
        assert_eq!(found.count, 100_000);
        assert!(near(found.p50, 50_000_000) && near(found.p90, 90_000_000), "{found:?}");
        assert!(near(found.p99_99, 99_990_000) && near(found.max, 100_000_000), "{found:?}");
        latencies.record(u64::MAX);
        assert!(near(latencies.percentiles().max, LONGEST));
    }
}
