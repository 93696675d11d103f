//! Chance from a seed: the same seed gives the same run, everywhere.

/// A generator of random numbers (SplitMix64). Not for secrets.
#[derive(Clone, Debug)]
pub struct SimRandom {
    state: u64,
}

impl SimRandom {
    /// The generator of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Any number.
    pub const fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`; 0 if there is none.
    pub const fn below(&mut self, bound: u64) -> u64 {
        let number = self.number();
        // The bias is below 2^-32 for every bound that a simulation uses.
        if bound == 0 { 0 } else { number % bound }
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in so many of a thousand cases.
    pub const fn chance(&mut self, per_thousand: u64) -> bool {
        self.below(1000) < per_thousand
    }

    /// True in half of the cases.
    pub const fn coin(&mut self) -> bool {
        self.number() & 1 == 1
    }

    /// One of the values.
    pub fn pick<T: Copy>(&mut self, values: &[T]) -> Option<T> {
        let place = self.below(values.len() as u64);
        values.get(usize::try_from(place).unwrap_or(0)).copied()
    }

    /// Another generator, whose numbers have nothing to do with those that follow here.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self::new(self.number())
    }
}
