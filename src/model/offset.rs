//! Record offsets.

use std::fmt;

/// The number of a record in its partition's log.
///
/// Unit: records; the first is 0. Upper ends (`log_end_offset`, `high_watermark`, `flushed_offset`) are exclusive,
/// the lower end (`log_start_offset`) is inclusive. A negative value never names a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    /// The first offset of every log.
    pub const ZERO: Self = Self(0);

    /// The offset `record_count` records later; saturates at the largest offset.
    #[must_use]
    pub const fn plus(self, record_count: i64) -> Self {
        Self(self.0.saturating_add(record_count))
    }

    /// Records from `earlier` (inclusive) to `self` (exclusive); negative if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
