//! The steps of a simulated machine, and the one at which it dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How the machine stands at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Alive,
    /// It dies in the middle of this step: a part of it may have happened.
    Dying,
    /// Nothing happens any more.
    Dead,
}

/// A counter that memory and disk share. Cheap to clone; every clone is the same counter.
#[derive(Clone, Debug)]
pub struct SimSteps {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    taken: AtomicU64,
    last: AtomicU64,
}

impl Default for SimSteps {
    fn default() -> Self {
        Self { shared: Arc::new(Shared { taken: AtomicU64::new(0), last: AtomicU64::new(u64::MAX) }) }
    }
}

impl SimSteps {
    /// The machine lives for `count` more steps and dies in the one behind them.
    pub fn die_after(&self, count: u64) {
        let taken = self.shared.taken.load(Ordering::Relaxed);
        self.shared.last.store(taken.saturating_add(count), Ordering::Relaxed);
    }

    /// The machine lives, and will.
    pub fn live(&self) {
        self.shared.taken.store(0, Ordering::Relaxed);
        self.shared.last.store(u64::MAX, Ordering::Relaxed);
    }

    /// Takes a step.
    pub fn take(&self) -> Step {
        let step = self.shared.taken.fetch_add(1, Ordering::Relaxed);
        match step.cmp(&self.shared.last.load(Ordering::Relaxed)) {
            std::cmp::Ordering::Less => Step::Alive,
            std::cmp::Ordering::Equal => Step::Dying,
            std::cmp::Ordering::Greater => Step::Dead,
        }
    }

    /// Whether the machine has died.
    #[must_use]
    pub fn are_over(&self) -> bool {
        self.shared.taken.load(Ordering::Relaxed) > self.shared.last.load(Ordering::Relaxed)
    }
}
