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

/// The sum of `a ++ b` from the sums of both and the length of `b`, without reading either again.
#[must_use]
pub fn crc32c_combine(crc_a: u32, crc_b: u32, b_bytes: usize) -> u32 {
    ::crc32c::crc32c_combine(crc_a, crc_b, b_bytes)
}
