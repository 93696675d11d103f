//! Cutting a connection's bytes into frames. Pure: it says where frames lie, the driver owns the bytes.

use std::sync::Arc;

use crate::protocol::kafka::frame::{PREFIX_BYTES, frame_bytes};
use crate::runtime::memory::AlignedBuffer;

/// A frame of at least this many bytes is received straight into a buffer of its own. Unit: bytes.
pub const LARGE_FRAME_BYTES: usize = 32 << 10;

/// A whole frame, without its length.
#[derive(Clone, Copy, Debug)]
pub enum Inbound<'f> {
    /// It is there while it is handled.
    Small(&'f [u8]),
    /// In a buffer of its own, which others may keep.
    Large(&'f Arc<AlignedBuffer>),
}

impl<'f> Inbound<'f> {
    #[must_use]
    pub fn bytes(self) -> &'f [u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(buffer) => buffer.as_slice(),
        }
    }
}

/// What stands at the start of the bytes that have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A whole frame of `bytes`, behind its length.
    Frame { bytes: usize },
    /// Part of a frame that goes on arriving.
    Partial,
    /// Part of a frame of `bytes` that is worth a buffer of its own.
    Large { bytes: usize },
    /// A length out of bounds: the connection is closed, as Kafka closes it.
    Invalid,
}

/// Looks at the start of `bytes`. `frame_bytes_max`: `socket.request.max.bytes`.
#[must_use]
pub fn next_frame(bytes: &[u8], frame_bytes_max: usize) -> Next {
    let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() else { return Next::Partial };
    match frame_bytes(*prefix, frame_bytes_max) {
        Err(_) => Next::Invalid,
        Ok(length) if bytes.len() - PREFIX_BYTES >= length => Next::Frame { bytes: length },
        Ok(length) if length >= LARGE_FRAME_BYTES => Next::Large { bytes: length },
        Ok(_) => Next::Partial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_and_bad_lengths_refused() {
        assert_eq!(next_frame(&[0, 0], 100), Next::Partial);
        assert_eq!(next_frame(&[0, 0, 0, 2, 9], 100), Next::Partial);
        assert_eq!(next_frame(&[0, 0, 0, 2, 9, 9, 9], 100), Next::Frame { bytes: 2 });
        assert_eq!(next_frame(&[0, 0, 0, 101], 100), Next::Invalid);
        assert_eq!(next_frame(&[0xff; 4], 100), Next::Invalid);
        assert_eq!(next_frame(&[0, 1, 0, 0, 1], 1 << 20), Next::Large { bytes: 65536 });
    }
}
