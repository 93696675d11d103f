//! The mesh: between every two shards a queue in each direction, and many messages to a wake-up.
//!
//! No shard ever waits for another's queue. What does not fit stays on its side, in order, and goes when there is room; the
//! receiver wakes a sender that has found none. How much may wait so is bounded by whoever sends: each message belongs to
//! something that is counted there. A shard takes all that has come, whatever else it does, so that full queues always empty.

mod queue;
mod sync;

use std::collections::VecDeque;

use self::queue::{Receiver, Sender, queue};
use crate::runtime::waker::Waker;

/// Messages of one direction that need no waiting. A power of two.
pub const QUEUE_MESSAGES: usize = 1024;

/// One shard's end of all queues. Stays on its thread once it has come there.
#[derive(Debug)]
pub struct Endpoint<T> {
    /// By the other's number; none to oneself.
    peers: Vec<Option<Peer<T>>>,
}

#[derive(Debug)]
struct Peer<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
    /// What found no room, in order.
    waiting: VecDeque<T>,
    /// Of the shard at the other end; set when it has one.
    waker: Option<Waker>,
}

/// The ends of `count` shards, in their order, with queues of `capacity` messages (a power of two).
#[must_use]
pub fn mesh<T>(count: usize, capacity: usize) -> Vec<Endpoint<T>> {
    let mut ends: Vec<Endpoint<T>> =
        (0..count).map(|_| Endpoint { peers: (0..count).map(|_| None).collect() }).collect();
    for one in 0..count {
        for other in one + 1..count {
            let (to_other, from_one) = queue(capacity);
            let (to_one, from_other) = queue(capacity);
            let peer = |sender, receiver| Peer { sender, receiver, waiting: VecDeque::new(), waker: None };
            let mut put = |at: usize, of: usize, peer| {
                if let Some(seat) = ends.get_mut(at).and_then(|end| end.peers.get_mut(of)) {
                    *seat = Some(peer);
                }
            };
            put(one, other, peer(to_other, from_other));
            put(other, one, peer(to_one, from_one));
        }
    }
    ends
}

impl<T> Endpoint<T> {
    /// How that shard is woken. Before the first message to it is flushed.
    pub fn set_waker(&mut self, shard: usize, waker: Waker) {
        if let Some(peer) = self.peer(shard) {
            peer.waker = Some(waker);
        }
    }

    /// Sends a message, to be seen with the next [`Self::flush`]. Messages to one shard arrive in order.
    pub fn send(&mut self, to: usize, message: T) {
        let Some(peer) = self.peer(to) else { unreachable!("no shard {to} beside this one") };
        if peer.waiting.is_empty() {
            if let Err(message) = peer.sender.push(message) {
                peer.waiting.push_back(message);
            }
        } else {
            peer.waiting.push_back(message);
        }
    }

    /// Shows the others what was sent, as far as there is room, and wakes those for whom there is something.
    pub fn flush(&mut self) {
        for peer in self.peers.iter_mut().flatten() {
            while let Some(message) = peer.waiting.pop_front() {
                if let Err(message) = peer.sender.push(message) {
                    peer.waiting.push_front(message);
                    break;
                }
            }
            if peer.sender.publish() {
                peer.wake();
            }
        }
    }

    /// The next message from that shard.
    pub fn take(&mut self, from: usize) -> Option<T> {
        self.peer(from)?.receiver.take()
    }

    /// The slots of all that was taken from that shard are free again.
    pub fn give_back(&mut self, from: usize) {
        if let Some(peer) = self.peer(from)
            && peer.receiver.give_back()
        {
            peer.wake();
        }
    }

    /// How many shards there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.peers.len()
    }

    /// Messages that found no room.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.peers.iter().flatten().map(|peer| peer.waiting.len()).sum()
    }

    fn peer(&mut self, shard: usize) -> Option<&mut Peer<T>> {
        self.peers.get_mut(shard)?.as_mut()
    }
}

impl<T> Peer<T> {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::runtime::waker::Parker;

    #[test]
    fn messages_arrive_in_order_and_what_finds_no_room_waits_on_its_side() {
        let mut ends = mesh(3, 4);
        let (mut second, mut first) = (ends.remove(1), ends.remove(0));
        let parker = Parker::new();
        first.set_waker(1, parker.waker());
        (0..10).for_each(|number| first.send(1, number));
        assert_eq!(second.take(0), None, "nothing is seen before it is flushed");
        first.flush();
        assert!(parker.park(None), "the receiver is woken");
        assert_eq!(first.waiting_count(), 6);
        let mut seen = Vec::new();
        while seen.len() < 10 {
            seen.extend(std::iter::from_fn(|| second.take(0)));
            second.give_back(0);
            first.flush();
        }
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert_eq!((first.waiting_count(), second.take(0), second.take(2)), (0, None, None));
    }

    #[test]
    fn who_found_no_room_is_woken_when_there_is_some_and_nobody_else_is() {
        let mut ends = mesh(2, 2);
        let (mut second, mut first) = (ends.remove(1), ends.remove(0));
        let parker = Parker::new();
        second.set_waker(0, parker.waker());
        let is_woken = || parker.park(Some(std::time::Duration::ZERO));
        first.send(1, 0);
        first.flush();
        assert_eq!(second.take(0), Some(0));
        second.give_back(0);
        assert!(!is_woken());
        (1..4).for_each(|number| first.send(1, number));
        first.flush();
        assert_eq!(second.take(0), Some(1));
        assert!(!is_woken(), "the slot is not free yet");
        second.give_back(0);
        assert!(is_woken());
    }

    #[test]
    fn what_nobody_took_is_dropped_once() {
        let counted = Arc::new(());
        let mut ends = mesh(2, 4);
        for _ in 0..3 {
            ends[0].send(1, Arc::clone(&counted));
        }
        ends[0].flush();
        drop(ends[1].take(0));
        for _ in 0..4 {
            ends[0].send(1, Arc::clone(&counted));
        }
        drop(ends);
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn nothing_is_lost_between_threads_that_sleep_and_queues_that_are_full() {
        const EACH: u32 = 20_000;
        let mut ends = mesh(2, 8);
        let (mut second, mut first) = (ends.remove(1), ends.remove(0));
        let parker = Parker::new();
        let (tell, told) = std::sync::mpsc::channel();
        second.set_waker(0, parker.waker());
        let receiver = thread::spawn(move || {
            let parker = Parker::new();
            tell.send(parker.waker()).unwrap();
            let mut next = 0;
            while next < EACH {
                while let Some(number) = second.take(0) {
                    assert_eq!(number, next);
                    next += 1;
                }
                second.give_back(0);
                if next < EACH {
                    parker.park(None);
                }
            }
        });
        first.set_waker(1, told.recv().unwrap());
        (0..EACH).for_each(|number| first.send(1, number));
        while first.waiting_count() > 0 {
            first.flush();
            if first.waiting_count() > 0 {
                parker.park(None);
            }
        }
        first.flush();
        receiver.join().unwrap();
    }
}
