//! Record bytes as a message carries them: opaque here.

/// The batches of one partition in a Produce request or a Fetch response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Records<'a> {
    /// The bytes themselves; what decoding yields, pointing into the frame.
    Inline(&'a [u8]),
    /// Only their number: encoding leaves a [`Cut`](super::Cut), and the sender sends them from where they lie.
    External { bytes: usize },
}

impl<'a> Records<'a> {
    /// The bytes, unless they lie elsewhere. Always `Some` after decoding.
    #[must_use]
    pub const fn inline(self) -> Option<&'a [u8]> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::External { .. } => None,
        }
    }

    /// Their number.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::External { bytes } => bytes,
        }
    }
}

/// Length only: record bytes are many, and a customer's.
impl std::fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
            Self::External { bytes } => write!(f, "External({bytes} bytes)"),
        }
    }
}
