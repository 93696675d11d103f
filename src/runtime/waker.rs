//! Waking a thread that sleeps in its ring (or parks) from any other thread.
//!
//! A wake-up is a flag first and a system call only if the thread has said that it is going to sleep, so a busy
//! shard costs its senders one atomic exchange per message, and many wake-ups are one.
//!
//! Order: what a sender stored before [`Waker::wake`] is visible to the thread after it took the notice.
//! A notice is never lost: the thread exchanges the flag on its way to sleep and finds it set, or the sender
//! finds the thread asleep and writes to its eventfd.

#![expect(unsafe_code, reason = "eventfd")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const AWAKE: u8 = 0;
const SLEEPING: u8 = 1;
const NOTIFIED: u8 = 2;

/// Wakes one shard. Cheap to clone; used from any thread, also after the shard is gone.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    event: OwnedFd,
}

impl Waker {
    pub(in crate::runtime) fn new() -> io::Result<Self> {
        // SAFETY: takes no memory; the result is checked.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just opened and is owned by nobody else.
        let event = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self(Arc::new(Shared { state: AtomicU8::new(AWAKE), event })))
    }

    /// Makes the shard look at what was sent to it: at once when it sleeps, else on its next turn.
    pub fn wake(&self) {
        if self.0.state.swap(NOTIFIED, Ordering::AcqRel) != SLEEPING {
            return;
        }
        let one = 1_u64.to_ne_bytes();
        // SAFETY: an open descriptor and eight readable bytes. It cannot block: nobody adds up to 2^64.
        let written = unsafe { libc::write(self.0.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        debug_assert_eq!(written, 8, "writing to an eventfd cannot fail");
    }

    /// The shard is about to sleep. False: it was notified meanwhile, and must not.
    pub(in crate::runtime) fn begin_sleep(&self) -> bool {
        let slept = self.0.state.compare_exchange(AWAKE, SLEEPING, Ordering::AcqRel, Ordering::Acquire);
        if slept.is_err() {
            // An exchange, not a store: a sender that notified since must be synchronised with too.
            self.0.state.swap(AWAKE, Ordering::AcqRel);
        }
        slept.is_ok()
    }

    /// The shard is awake again. True: it was notified.
    pub(in crate::runtime) fn end_sleep(&self) -> bool {
        self.0.state.swap(AWAKE, Ordering::AcqRel) == NOTIFIED
    }

    /// Takes a notice without having slept.
    pub(in crate::runtime) fn take_notice(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) == NOTIFIED && self.end_sleep()
    }

    pub(in crate::runtime) fn descriptor(&self) -> RawFd {
        self.0.event.as_raw_fd()
    }
}
