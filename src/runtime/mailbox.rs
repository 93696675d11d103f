//! Bounded queues between threads: many senders, one receiver, one wake-up for many messages.
//!
//! A full queue refuses (the message comes back); nothing here waits. The receiver takes everything at once, so
//! the lock is held for a push or an exchange of two vectors, and an empty mailbox costs it one load.
//! Messages of one sender arrive in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::runtime::waker::Waker;

/// A queue of at most `capacity` messages, whose receiver is woken by `waker`.
#[must_use]
pub fn mailbox<T>(capacity: usize, waker: Waker) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Vec::new()),
        filled: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        capacity,
        waker,
    });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

/// The end that puts in. Cheap to clone.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The end that takes out. When it is dropped, senders are refused and what is queued is dropped.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

/// Why a message was not taken; it comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// The queue is full; the receiver is busy.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Vec<T>>,
    /// The queue is not empty; changed under the lock, read without it.
    filled: AtomicBool,
    closed: AtomicBool,
    capacity: usize,
    waker: Waker,
}

impl<T> Sender<T> {
    /// Puts a message in and wakes the receiver.
    pub fn send(&self, message: T) -> Result<(), Refused<T>> {
        self.push(message)?;
        self.wake();
        Ok(())
    }

    /// Puts a message in. The receiver may sleep on: several of these are followed by one [`wake`](Self::wake).
    pub fn push(&self, message: T) -> Result<(), Refused<T>> {
        let mut queue = self.shared.lock();
        if self.shared.closed.load(Ordering::Relaxed) {
            return Err(Refused::Closed(message));
        }
        if queue.len() >= self.shared.capacity {
            return Err(Refused::Full(message));
        }
        queue.push(message);
        self.shared.filled.store(true, Ordering::Release);
        Ok(())
    }

    /// Wakes the receiver.
    pub fn wake(&self) {
        self.shared.waker.wake();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Receiver<T> {
    /// Appends all messages to `into`, oldest first. An empty `into` gives its memory to the queue.
    pub fn take_all(&mut self, into: &mut Vec<T>) {
        if !self.shared.filled.load(Ordering::Acquire) {
            return;
        }
        let mut queue = self.shared.lock();
        self.shared.filled.store(false, Ordering::Relaxed);
        if into.is_empty() {
            std::mem::swap(&mut *queue, into);
        } else {
            into.append(&mut queue);
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        self.shared.closed.store(true, Ordering::Relaxed);
        let rest = std::mem::take(&mut *queue);
        drop(queue);
        drop(rest);
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // No code runs under the lock that could leave the queue half-changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::waker::Parker;

    #[test]
    fn messages_arrive_in_order_and_a_full_queue_gives_them_back() {
        let parker = Parker::new();
        let (sender, mut receiver) = mailbox(3, parker.waker());
        for message in 0..3 {
            sender.push(message).unwrap();
        }
        assert_eq!(sender.send(3), Err(Refused::Full(3)));
        let mut seen = vec![-1];
        receiver.take_all(&mut seen);
        assert_eq!(seen, [-1, 0, 1, 2]);
        sender.send(4).unwrap();
        seen.clear();
        receiver.take_all(&mut seen);
        assert_eq!(seen, [4]);
        receiver.take_all(&mut seen);
        assert_eq!(seen, [4], "nothing comes twice");
        assert!(parker.park(None), "sending notified");
    }

    #[test]
    fn a_receiver_that_is_gone_refuses_and_frees_what_was_queued() {
        let (sender, receiver) = mailbox(3, Parker::new().waker());
        let message = Arc::new(());
        sender.push(Arc::clone(&message)).unwrap();
        drop(receiver);
        assert_eq!(Arc::strong_count(&message), 1);
        assert!(matches!(sender.clone().send(message), Err(Refused::Closed(_))));
    }

    #[test]
    fn nothing_is_lost_between_many_senders_and_a_sleeping_receiver() {
        const EACH: usize = 5000;
        let parker = Parker::new();
        let (sender, mut receiver) = mailbox(64, parker.waker());
        let senders: Vec<_> = (0..3)
            .map(|name| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    for number in 0..EACH {
                        while sender.send((name, number)).is_err() {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let (mut seen, mut count) = ([0; 3], 0);
        let mut batch = Vec::new();
        while count < 3 * EACH {
            parker.park(None);
            receiver.take_all(&mut batch);
            for (name, number) in batch.drain(..) {
                assert_eq!(seen[name], number, "in order");
                seen[name] += 1;
                count += 1;
            }
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    }
}
