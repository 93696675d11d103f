//! What an acknowledgement promises.

/// A topic's durability: what has been reached when a produce request is acknowledged, and what the high watermark waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On stable media: survives the loss of power. The default.
    #[default]
    Synced,
    /// In memory that outlives the process: survives the death of the process, not of the machine.
    Written,
}

impl Durability {
    /// The value of `ringlog.durability`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Written => "written",
        }
    }
}
