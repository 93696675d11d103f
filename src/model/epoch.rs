//! Epochs: each fences an older holder of the same role, and each is a type of its own.

use std::fmt;

macro_rules! epoch {
    ($(#[$doc:meta])* $name:ident, $repr:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            /// "Not known" on the wire.
            pub const NONE: Self = Self(-1);
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

epoch! {
    /// Counts the leaders a partition has had; every start of the broker is a new one. Written into each batch (KIP-101).
    LeaderEpoch, i32
}
epoch! {
    /// Counts the incarnations of one producer id; an older one is fenced (KIP-98).
    ProducerEpoch, i16
}

/// Counts the starts of this broker on its data directory, from 1; 0 before the first. Also the commit log's incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StartCount(pub u64);

impl fmt::Display for StartCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
