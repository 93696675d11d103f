//! A bounded queue with one sender and one receiver, without a lock: a ring of slots between two positions.
//!
//! Each end keeps its own position and what it saw last of the other's, so that a message costs no shared cache line until the
//! end has used up what it knows. Messages are published together, and slots given back together. A sender that finds the
//! queue full says so, and whoever gives slots back is told to wake it.
//!
//! The same file is compiled into the model checker of `tests/mesh/`.

#![expect(unsafe_code, reason = "slots that the positions give to one end or the other")]

use std::mem::MaybeUninit;

use super::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell, fence};

/// On cache lines of its own: the ends write their positions all the time. Two lines, since processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

#[derive(Debug)]
struct Shared<T> {
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// All before it has been taken out, and its slots are free. Positions count messages and wrap around.
    head: Apart<AtomicUsize>,
    /// All before it has been put in.
    tail: Apart<AtomicUsize>,
    /// The sender has found no room since slots were last given back.
    starved: Apart<AtomicBool>,
}

// SAFETY: a slot is touched by the sender alone from the moment that the receiver has published a `head` behind it until the
// sender has published a `tail` behind it, and by the receiver alone from then on. Messages change threads, so they are `Send`.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above; what is dropped with it are messages.
unsafe impl<T: Send> Send for Shared<T> {}

/// The end that puts in. What it has not published is seen by nobody.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    published: usize,
    head_seen: usize,
}

/// The end that takes out.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    given_back: usize,
    tail_seen: usize,
}

/// A queue of at most `capacity` messages, a power of two.
#[must_use]
pub fn queue<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity.is_power_of_two(), "{capacity} slots: not a power of two");
    let shared = Arc::new(Shared {
        slots: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        head: Apart(AtomicUsize::new(0)),
        tail: Apart(AtomicUsize::new(0)),
        starved: Apart(AtomicBool::new(false)),
    });
    let sender = Sender { shared: Arc::clone(&shared), tail: 0, published: 0, head_seen: 0 };
    (sender, Receiver { shared, head: 0, given_back: 0, tail_seen: 0 })
}

impl<T> Shared<T> {
    fn slot(&self, position: usize) -> &UnsafeCell<MaybeUninit<T>> {
        let place = position & (self.slots.len() - 1);
        match self.slots.get(place) {
            Some(slot) => slot,
            None => unreachable!("the mask keeps {place} inside"),
        }
    }
}

impl<T> Sender<T> {
    /// Puts a message in, to be seen with the next [`Self::publish`].
    ///
    /// # Errors
    /// The message comes back from a full queue, and the receiver is asked for a wake-up when there is room
    /// ([`Receiver::give_back`]).
    pub fn push(&mut self, message: T) -> Result<(), T> {
        if !self.has_room() {
            return Err(message);
        }
        self.shared.slot(self.tail).with_mut(|slot| {
            // SAFETY: the receiver has given this slot back and touches it when a `tail` behind it is published.
            unsafe { (*slot).write(message) };
        });
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// Shows the receiver what was put in since. True: there was something, and the receiver is to be woken.
    pub fn publish(&mut self) -> bool {
        if self.published == self.tail {
            return false;
        }
        self.published = self.tail;
        // Release: the messages before their position.
        self.shared.tail.0.store(self.tail, Ordering::Release);
        true
    }

    fn has_room(&mut self) -> bool {
        let capacity = self.shared.slots.len();
        let is_full = |tail: usize, head: usize| tail.wrapping_sub(head) >= capacity;
        if !is_full(self.tail, self.head_seen) {
            return true;
        }
        // Acquire: what the receiver did with the slots is over.
        self.head_seen = self.shared.head.0.load(Ordering::Acquire);
        if !is_full(self.tail, self.head_seen) {
            return true;
        }
        self.shared.starved.0.store(true, Ordering::Relaxed);
        // Either the receiver's next look finds this, or this look finds what it gave back.
        fence(Ordering::SeqCst);
        self.head_seen = self.shared.head.0.load(Ordering::Acquire);
        !is_full(self.tail, self.head_seen)
    }
}

impl<T> Receiver<T> {
    /// The oldest message that is published. Its slot stays taken until [`Self::give_back`].
    pub fn take(&mut self) -> Option<T> {
        if !self.has_message() {
            return None;
        }
        let message = self.shared.slot(self.head).with_mut(|slot| {
            // SAFETY: published, so written, and read once: `head` moves on.
            unsafe { (*slot).assume_init_read() }
        });
        self.head = self.head.wrapping_add(1);
        Some(message)
    }

    /// Whether [`Self::take`] would find one.
    pub fn has_message(&mut self) -> bool {
        if self.head == self.tail_seen {
            // Acquire: the messages before their position.
            self.tail_seen = self.shared.tail.0.load(Ordering::Acquire);
        }
        self.head != self.tail_seen
    }

    /// Gives back the slots of all that was taken. True: the sender has been waiting for that, and is to be woken.
    pub fn give_back(&mut self) -> bool {
        if self.given_back == self.head {
            return false;
        }
        self.given_back = self.head;
        // Release: nothing is read of the slots any more.
        self.shared.head.0.store(self.head, Ordering::Release);
        fence(Ordering::SeqCst);
        self.shared.starved.0.load(Ordering::Relaxed) && self.shared.starved.0.swap(false, Ordering::Relaxed)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // So that what was not published is dropped with the rest.
        self.publish();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Messages hold buffers that others count: they go now, as far as they are published, the rest with the queue.
        while self.take().is_some() {}
        self.give_back();
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let (head, tail) = (self.head.0.load(Ordering::Relaxed), self.tail.0.load(Ordering::Relaxed));
        for distance in 0..tail.wrapping_sub(head) {
            self.slot(head.wrapping_add(distance)).with_mut(|slot| {
                // SAFETY: published and never taken, and nobody else has the queue any more.
                unsafe { (*slot).assume_init_drop() }
            });
        }
    }
}
