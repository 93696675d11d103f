//! Waking a thread that sleeps in its ring, or parks, from any other thread.
//!
//! A wake-up is a flag first and a system call only if the thread has said that it is going to sleep, so a busy
//! shard costs its senders one atomic exchange per message, and many wake-ups are one.
//!
//! Order: what a sender stored before [`Waker::wake`] is visible to the thread after it took the notice.
//! A notice is never lost: the thread exchanges the flag on its way to sleep and finds it set, or the sender
//! finds the thread asleep and rouses it.

#![expect(unsafe_code, reason = "eventfd")]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::Thread;
use std::time::Duration;

const AWAKE: u8 = 0;
const SLEEPING: u8 = 1;
const NOTIFIED: u8 = 2;

/// Wakes one shard, or one parked thread. Cheap to clone; used from any thread, also after the other one is gone.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    sleeper: Sleeper,
}

#[derive(Debug)]
enum Sleeper {
    /// A ring with a standing read on this eventfd.
    Ring(OwnedFd),
    Parked(Thread),
}

impl Waker {
    /// Makes the thread look at what was sent to it: at once when it sleeps, else on its next turn.
    pub fn wake(&self) {
        if self.0.state.swap(NOTIFIED, Ordering::AcqRel) != SLEEPING {
            return;
        }
        match &self.0.sleeper {
            Sleeper::Parked(thread) => thread.unpark(),
            Sleeper::Ring(event) => {
                let one = 1_u64.to_ne_bytes();
                // SAFETY: an open descriptor and eight readable bytes. Cannot block: nobody adds up to 2^64.
                let written = unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
                debug_assert_eq!(written, 8, "writing to an eventfd cannot fail");
            }
        }
    }

    /// A waker for a ring, and the eventfd that the ring is to read as long as it keeps this waker.
    pub(in crate::runtime) fn of_ring() -> io::Result<(Self, RawFd)> {
        // SAFETY: takes no memory; the result is checked.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just opened and is owned by nobody else.
        let event = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok((Self::new(Sleeper::Ring(event)), descriptor))
    }

    /// The thread is about to sleep. False: it was notified meanwhile, and must not.
    pub(in crate::runtime) fn begin_sleep(&self) -> bool {
        let slept = self.0.state.compare_exchange(AWAKE, SLEEPING, Ordering::AcqRel, Ordering::Acquire);
        if slept.is_err() {
            // An exchange, not a store: a sender that notified since must be synchronised with too.
            self.0.state.swap(AWAKE, Ordering::AcqRel);
        }
        slept.is_ok()
    }

    /// The thread is awake again. True: it was notified.
    pub(in crate::runtime) fn end_sleep(&self) -> bool {
        self.0.state.swap(AWAKE, Ordering::AcqRel) == NOTIFIED
    }

    /// Takes a notice without having slept.
    pub(in crate::runtime) fn take_notice(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) == NOTIFIED && self.end_sleep()
    }

    fn new(sleeper: Sleeper) -> Self {
        Self(Arc::new(Shared { state: AtomicU8::new(AWAKE), sleeper }))
    }
}

/// Where a thread without a ring sleeps until its waker is used. Stays on its thread (`!Send`).
#[derive(Debug)]
pub struct Parker {
    waker: Waker,
    here: PhantomData<*const ()>,
}

impl Parker {
    /// For the calling thread.
    #[must_use]
    pub fn new() -> Self {
        Self { waker: Waker::new(Sleeper::Parked(std::thread::current())), here: PhantomData }
    }

    /// Wakes this thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sleeps until woken, but not longer than `timeout`. True: the waker was used since the last time.
    /// It may return early without a reason.
    pub fn park(&self, timeout: Option<Duration>) -> bool {
        if !self.waker.begin_sleep() {
            return true;
        }
        match timeout {
            Some(timeout) => std::thread::park_timeout(timeout),
            None => std::thread::park(),
        }
        self.waker.end_sleep()
    }
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_thread_is_woken_and_a_notice_before_parking_is_kept() {
        let parker = Parker::new();
        assert!(!parker.park(Some(Duration::from_millis(1))));
        parker.waker().wake();
        assert!(parker.park(None));
        let waker = parker.waker();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            waker.wake();
        });
        while !parker.park(None) {}
        other.join().unwrap();
        assert!(!parker.park(Some(Duration::from_millis(1))), "one wake-up is one notice");
    }
}
