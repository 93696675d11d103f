//! The queue between shards under a model checker: every order in which two threads can take their steps, and every value that
//! a load may give under the memory model. `runtime/mesh/queue.rs` is compiled here as it ships.

#![cfg(test)]

#[path = "../../src/runtime/mesh/queue.rs"]
mod queue;

/// The checker's, in the place of `runtime/mesh/sync.rs`.
mod sync {
    pub(super) use loom::cell::UnsafeCell;
    pub(super) use loom::sync::Arc;
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
}

mod tests {
    use loom::cell::UnsafeCell;
    use loom::sync::{Arc, Notify};
    use loom::thread;

    use crate::queue::queue;

    /// Three preemptions find what more would, and end in seconds.
    fn check(model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    #[test]
    fn messages_arrive_once_and_in_order_round_the_ring() {
        check(|| {
            let (mut sender, mut receiver) = queue(2);
            let sending = thread::spawn(move || {
                let mut refused = 0;
                for number in 0..3 {
                    while sender.push(Box::new(number)).is_err() {
                        refused += 1;
                        assert!(refused < 100);
                        sender.publish();
                        thread::yield_now();
                    }
                    sender.publish();
                }
            });
            let mut next = 0;
            while next < 3 {
                match receiver.take() {
                    Some(number) => {
                        assert_eq!(*number, next);
                        next += 1;
                        receiver.give_back();
                    }
                    None => thread::yield_now(),
                }
            }
            assert!(receiver.take().is_none());
            sending.join().unwrap();
        });
    }

    /// A sender that found no room sleeps until it is woken: it must be, or must have found the room on its last look.
    #[test]
    fn a_sender_that_found_no_room_is_always_told_of_some() {
        check(|| {
            let (mut sender, mut receiver) = queue(1);
            let bell = Arc::new(Notify::new());
            let rings = Arc::clone(&bell);
            let sending = thread::spawn(move || {
                for number in 0..2 {
                    while sender.push(number).is_err() {
                        bell.wait();
                    }
                    sender.publish();
                }
            });
            let mut next = 0;
            while next < 2 {
                if let Some(number) = receiver.take() {
                    assert_eq!(number, next);
                    next += 1;
                    if receiver.give_back() {
                        rings.notify();
                    }
                } else {
                    thread::yield_now();
                }
            }
            sending.join().unwrap();
        });
    }

    /// A chunk of the tail is lent to another shard's reply, read there, and written again only when it has come home.
    #[test]
    fn a_chunk_that_has_come_home_is_read_by_nobody() {
        check(|| {
            let chunk = Arc::new(UnsafeCell::new(1_u8));
            let (mut lend, mut borrow) = queue(1);
            let (mut release, mut home) = queue(1);
            let bytes = Arc::clone(&chunk);
            let replying = thread::spawn(move || {
                while borrow.take().is_none() {
                    thread::yield_now();
                }
                // SAFETY: the owner writes when it is home again; the checker fails if not.
                bytes.with(|bytes| assert_eq!(unsafe { *bytes }, 7));
                release.push(()).unwrap();
                release.publish();
            });
            // SAFETY: not lent yet.
            chunk.with_mut(|bytes| unsafe { *bytes = 7 });
            lend.push(()).unwrap();
            lend.publish();
            while home.take().is_none() {
                thread::yield_now();
            }
            // SAFETY: it has come home.
            chunk.with_mut(|bytes| unsafe { *bytes = 9 });
            replying.join().unwrap();
        });
    }

    /// What is in the queue when its ends go is dropped once; the checker counts what is left.
    #[test]
    fn what_nobody_took_is_dropped_once() {
        check(|| {
            let counted = Arc::new(());
            let (mut sender, mut receiver) = queue(2);
            let message = Arc::clone(&counted);
            let sending = thread::spawn(move || {
                sender.push(Arc::clone(&message)).unwrap();
                sender.publish();
                sender.push(message).unwrap();
            });
            drop(receiver.take());
            drop(receiver);
            sending.join().unwrap();
            assert_eq!(Arc::strong_count(&counted), 1);
        });
    }
}
