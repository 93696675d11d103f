//! Values of the bench's arguments.

use std::time::Duration;

use clap::ValueEnum;

use crate::measure::driver::loader::Idle;
use crate::model::Durability;

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DurabilityName {
    /// Survives the loss of power
    Synced,
    /// Survives the death of the process
    Written,
}

/// What a thread does without work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum IdleName {
    /// Sleeps until something arrives
    Park,
    /// Looks again and again
    Spin,
}

impl From<DurabilityName> for Durability {
    fn from(name: DurabilityName) -> Self {
        match name {
            DurabilityName::Synced => Self::Synced,
            DurabilityName::Written => Self::Written,
        }
    }
}

impl From<IdleName> for Idle {
    fn from(name: IdleName) -> Self {
        match name {
            IdleName::Park => Self::Park,
            IdleName::Spin => Self::Spin,
        }
    }
}

/// A number of bytes, with K, M or G for powers of 1,024.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(digits) => (digits, text.chars().next_back()),
        None => (text, None),
    };
    let factor = match unit {
        Some('K') => 1 << 10,
        Some('M') => 1 << 20,
        Some('G') => 1 << 30,
        _ => 1,
    };
    let number: u64 =
        digits.parse().map_err(|_| "not a number of bytes, such as 4096, 128K or 1G".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too many bytes".to_owned())
}

/// Seconds, with a fraction.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_seconds_are_read_as_people_write_them() {
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("128K"), Ok(128 << 10));
        assert_eq!(bytes("2G"), Ok(2 << 30));
        for wrong in ["", "K", "1k", "1T", "-1", "99999999999999999999", "99999999999G"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("-1").is_err() && seconds("x").is_err() && seconds("inf").is_err());
    }
}
