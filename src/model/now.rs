//! The time, as cores are told it.

/// Both clocks at one moment. Unit: ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Of a clock that never goes back: for deadlines. Comparable within one run of the machine only.
    pub steady_ms: i64,
    /// Since 1970 (UTC): for timestamps. May jump, also backwards.
    pub wall_ms: i64,
}
