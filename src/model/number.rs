//! Conversions between sizes that are lossless on every target we build for, so that casts need no excuse elsewhere.

const _: () = assert!(size_of::<usize>() == 8);

/// A byte count or place from a 64-bit field, as an index.
#[must_use]
pub const fn index(value: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits, asserted above")]
    let index = value as usize;
    index
}

/// A length as a 64-bit field.
#[must_use]
pub const fn wide(value: usize) -> u64 {
    value as u64
}

/// `value` rounded down to a multiple of `step`, a power of two.
#[must_use]
pub const fn round_down(value: u64, step: u64) -> u64 {
    value & !(step - 1)
}

/// `value` rounded up to a multiple of `step`, a power of two; saturates.
#[must_use]
pub const fn round_up(value: u64, step: u64) -> u64 {
    round_down(value.saturating_add(step - 1), step)
}
