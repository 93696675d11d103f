//! CRC32C behind one name, so that a benchmark can replace the implementation.

/// CRC32C (Castagnoli) of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// Continues `crc` over `bytes`: `crc32c_append(crc32c(a), b) == crc32c(a ++ b)`.
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(crc, bytes)
}

/// The sum of `x ++ b`, where that of `a ++ b` is `sum`, `x` is as long as `a`, and `change` is the sum of `a` exclusive-or that
/// of `x`; `b_bytes` is the length of `b`, which is not read again: the sum is linear.
#[must_use]
pub fn crc32c_changed(sum: u32, change: u32, b_bytes: usize) -> u32 {
    // Of nothing behind it, the library takes the sum to be 0.
    if b_bytes == 0 { sum ^ change } else { ::crc32c::crc32c_combine(change, sum, b_bytes) }
}
