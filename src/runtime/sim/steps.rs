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
    /// Publications to come before the one behind which the machine dies; `u64::MAX`: it does not.
    publications: AtomicU64,
}

impl Default for SimSteps {
    fn default() -> Self {
        let never = || AtomicU64::new(u64::MAX);
        let shared = Shared { taken: AtomicU64::new(0), last: never(), publications: never() };
        Self { shared: Arc::new(shared) }
    }
}

impl SimSteps {
    /// The machine lives for `count` more steps and dies in the one behind them.
    pub fn die_after(&self, count: u64) {
        let taken = self.shared.taken.load(Ordering::Relaxed);
        self.shared.last.store(taken.saturating_add(count), Ordering::Relaxed);
    }

    /// The machine lives for `count` more publications and dies right behind the next, so that nothing that should have come
    /// before it may come after.
    pub fn die_behind_publication(&self, count: u64) {
        self.shared.publications.store(count, Ordering::Relaxed);
    }

    /// A value was published in memory that outlives the process.
    pub(super) fn note_publication(&self) {
        match self.shared.publications.load(Ordering::Relaxed) {
            u64::MAX => {}
            0 => {
                self.shared.publications.store(u64::MAX, Ordering::Relaxed);
                let taken = self.shared.taken.load(Ordering::Relaxed);
                self.shared.last.fetch_min(taken.saturating_sub(1), Ordering::Relaxed);
            }
            left => self.shared.publications.store(left - 1, Ordering::Relaxed),
        }
    }

    /// The machine lives, and will.
    pub fn live(&self) {
        self.shared.publications.store(u64::MAX, Ordering::Relaxed);
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
