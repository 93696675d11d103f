//! How often something took how long, in buckets whose bounds are fixed: what was recorded in several places can be added up.

/// Buckets with an upper bound; what is longer is in one more.
pub const BUCKETS: usize = 52;

/// Durations from a microsecond to a minute, two buckets to each doubling. Unit: µs. 432 bytes; recording one is an addition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS + 1],
    sum_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS + 1], sum_us: 0 }
    }
}

impl Histogram {
    /// One that took so long. Unit: µs.
    pub fn record(&mut self, us: u64) {
        if let Some(count) = self.counts.get_mut(place_of(us)) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Adds what another has recorded.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long they took together. Unit: µs.
    #[must_use]
    pub const fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// Each bucket's inclusive upper bound (µs; `None`: it has none) and how many are in it and in none before.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = (0..BUCKETS).map(|place| Some(bound_of(place))).chain([None]);
        bounds.zip(self.counts)
    }
}

/// 1, 2, then 3 and 4, 6 and 8, 12 and 16 …
const fn bound_of(place: usize) -> u64 {
    let doubling = place / 2;
    match place {
        0 => 1,
        1 => 2,
        _ if place.is_multiple_of(2) => 3 << (doubling - 1),
        _ => 2 << doubling,
    }
}

const fn place_of(us: u64) -> usize {
    if us <= 2 {
        return if us <= 1 { 0 } else { 1 };
    }
    let doubling = (us - 1).ilog2();
    let is_in_upper_half = us > 3 << (doubling - 1);
    let place = 2 * doubling as usize + is_in_upper_half as usize;
    if place < BUCKETS { place } else { BUCKETS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let bounds: Vec<u64> = (0..BUCKETS).map(bound_of).collect();
        assert!(bounds.is_sorted_by(|one, next| one < next));
        assert_eq!((bounds[..8].to_vec(), bounds[BUCKETS - 1]), (vec![1, 2, 3, 4, 6, 8, 12, 16], 1 << 26));
        let naive = |us: u64| bounds.iter().position(|&bound| us <= bound).unwrap_or(BUCKETS);
        for us in (0..10_000).chain(bounds.iter().flat_map(|&bound| [bound - 1, bound, bound + 1])) {
            assert_eq!(place_of(us), naive(us), "{us}");
        }
        assert_eq!(place_of(u64::MAX), BUCKETS);
    }

    #[test]
    fn what_is_recorded_is_counted_once_and_added_up() {
        let mut one = Histogram::default();
        [0, 1, 5, u64::MAX].into_iter().for_each(|us| one.record(us));
        let mut both = Histogram::default();
        both.record(6);
        both.add(&one);
        assert_eq!((both.count(), both.sum_us()), (5, u64::MAX));
        let filled: Vec<_> = both.buckets().filter(|&(_, count)| count > 0).collect();
        assert_eq!(filled, [(Some(1), 2), (Some(6), 2), (None, 1)]);
    }
}
