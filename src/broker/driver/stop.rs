//! When the broker is told to stop, and what becomes of a stop that takes too long.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Error;
use crate::runtime::signal::{Reaction, SignalWatch, Signals, StopEvent, exit_code_of};
use crate::runtime::waker::Waker;

/// Whatever a stop hangs on, the process ends so long after it was asked for; the next start recovers. The promise is 5 s.
const STOP_TIME_MAX: Duration = Duration::from_millis(4_900);

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const ASKED: u8 = 2;

/// Whether SIGTERM or SIGINT has come. Lives as long as the process has anything to end.
#[derive(Debug)]
pub(super) struct Stop {
    shared: Arc<Shared>,
    _watch: SignalWatch,
}

#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    /// Of the thread that serves.
    waker: OnceLock<Waker>,
}

impl Stop {
    /// From now on a signal ends the process at once, since nothing is served yet and a start can be repeated: until
    /// [`Self::begin_serving`].
    pub(super) fn watch(signals: Signals) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let watch = signals.watch(move |event| seen.react(event))?;
        Ok(Self { shared, _watch: watch })
    }

    /// From now on the first signal is seen by [`Self::is_asked`], and `waker` is used then.
    pub(super) fn begin_serving(&self, waker: Waker) {
        let _ = self.shared.waker.set(waker);
        self.shared.phase.store(SERVING, Ordering::Release);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.shared.phase.load(Ordering::Acquire) == ASKED
    }
}

impl Shared {
    fn react(&self, event: StopEvent) -> Reaction {
        let asks = self.phase.compare_exchange(SERVING, ASKED, Ordering::AcqRel, Ordering::Acquire);
        match (asks, event) {
            (Ok(_), StopEvent::Signal(_)) => {
                if let Some(waker) = self.waker.get() {
                    waker.wake();
                }
                Reaction::Wait(STOP_TIME_MAX)
            }
            (Err(STARTING), StopEvent::Signal(_)) => {
                tracing::info!("stopped before anything was served");
                Reaction::Exit(0)
            }
            (_, StopEvent::Signal(signal)) => Reaction::Exit(exit_code_of(signal)),
            (_, StopEvent::TimeIsUp) => {
                tracing::warn!("the stop takes too long, and is ended; the next start recovers what it left");
                Reaction::Exit(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::waker::Parker;

    #[test]
    fn a_signal_ends_a_start_asks_a_broker_that_serves_and_ends_one_that_was_asked() {
        let parker = Parker::new();
        let shared = Shared::default();
        assert_eq!(shared.react(StopEvent::Signal(15)), Reaction::Exit(0));
        shared.waker.set(parker.waker()).unwrap();
        shared.phase.store(SERVING, Ordering::Release);
        assert_eq!(shared.react(StopEvent::Signal(2)), Reaction::Wait(STOP_TIME_MAX));
        assert!(parker.park(None), "the control thread is woken");
        assert_eq!(shared.react(StopEvent::Signal(15)), Reaction::Exit(143));
        assert_eq!(shared.react(StopEvent::TimeIsUp), Reaction::Exit(0));
    }
}
