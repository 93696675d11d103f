//! Why bytes are not a message, or a message cannot be bytes.

/// What the codec returns.
pub type Result<T> = std::result::Result<T, Error>;

/// A fault of the peer when decoding, of the caller when encoding. Nothing is half-done after it: a decoded part is
/// dropped, a half-encoded frame is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{needed} bytes are needed, {remaining} remain")]
    Truncated { needed: usize, remaining: usize },
    #[error("length {length} is negative and does not mean null")]
    NegativeLength { length: i32 },
    #[error(
        "{count} elements of at least {element_bytes_min} bytes each do not fit into the {remaining} that remain"
    )]
    CountTooLarge { count: usize, element_bytes_min: usize, remaining: usize },
    #[error("decoding would allocate {needed} bytes more, {left} are left of its bound")]
    AllocationTooLarge { needed: usize, left: usize },
    #[error("a variable-length integer does not end within its 5 bytes, or exceeds 32 bits")]
    VarintTooLong,
    #[error("a string of {bytes} bytes is longer than the protocol's 32,767")]
    StringTooLong { bytes: usize },
    #[error("a string of {bytes} bytes is not UTF-8 from byte {valid_bytes} on")]
    NotUtf8 { bytes: usize, valid_bytes: usize },
    #[error("null where a value must be")]
    UnexpectedNull,
    #[error("field {field} cannot be null in version {version}")]
    NullNotAllowed { field: &'static str, version: i16 },
    #[error("field {field} has a value that version {version} cannot carry")]
    FieldNotInVersion { field: &'static str, version: i16 },
    #[error("tagged field {tag} says {expected} bytes, its value took {found}")]
    TaggedFieldSize { tag: u32, expected: usize, found: usize },
    #[error("{bytes} bytes remain after the message")]
    TrailingBytes { bytes: usize },
    #[error("API key {api_key} is not known")]
    UnknownApiKey { api_key: i16 },
    #[error("version {version} of API key {api_key} is not known")]
    UnknownVersion { api_key: i16, version: i16 },
    #[error("a frame of {found} bytes is out of bounds, the largest is {bytes_max}")]
    FrameSize { found: i64, bytes_max: usize },
    #[error("{length} elements or bytes are more than the protocol can count")]
    TooLong { length: usize },
}
