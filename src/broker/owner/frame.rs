//! The bytes of a request out of which an append takes its batches.

use std::sync::Arc;

use crate::runtime::memory::AlignedBuffer;

/// A frame, or the part of it that is needed.
#[derive(Debug)]
pub enum Frame<'f> {
    /// Of a connection of the owner's own shard: there while the message is handled, and again when it is resumed.
    Lent(&'f [u8]),
    /// Of a connection of another shard, which reads it too; the last holder frees it.
    Shared(Arc<AlignedBuffer>),
    /// A copy of what is needed of a small one.
    Copied(Vec<u8>),
}

impl Frame<'_> {
    /// The body, its last so many bytes; nothing, if it is not so long.
    #[must_use]
    pub fn body(&self, body_bytes: usize) -> &[u8] {
        let bytes = match self {
            Self::Lent(bytes) => bytes,
            Self::Shared(buffer) => buffer.as_slice(),
            Self::Copied(bytes) => bytes.as_slice(),
        };
        bytes.len().checked_sub(body_bytes).and_then(|start| bytes.get(start..)).unwrap_or_default()
    }

    /// The same without a loan.
    #[must_use]
    pub fn into_static(self) -> Frame<'static> {
        match self {
            Self::Lent(bytes) => Frame::Copied(bytes.to_vec()),
            Self::Shared(buffer) => Frame::Shared(buffer),
            Self::Copied(bytes) => Frame::Copied(bytes),
        }
    }
}
