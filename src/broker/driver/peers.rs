//! What shards send each other: the messages of their cores, and connections.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::shard_loop::ShardLoop;
use crate::broker::shards::message::Message;
use crate::runtime::mesh::Endpoint;
use crate::runtime::net::Socket;

/// One message of the mesh.
pub(super) enum ToPeer {
    Message(Message),
    /// A client that came by the listener of this number, for the shard with the fewest.
    Connection {
        socket: Socket,
        listener: usize,
    },
}

/// A shard's end of the mesh.
pub(super) struct Peers {
    mesh: Endpoint<ToPeer>,
    /// By their senders: what speaks of an image that has not come yet. What is behind it waits.
    ahead: Vec<Option<ToPeer>>,
}

impl Peers {
    pub(super) fn new(mesh: Endpoint<ToPeer>) -> Self {
        let ahead = (0..mesh.count()).map(|_| None).collect();
        Self { mesh, ahead }
    }

    pub(super) fn send(&mut self, to: u16, message: ToPeer) {
        self.mesh.send(usize::from(to), message);
    }

    pub(super) fn flush(&mut self) {
        self.mesh.flush();
    }

    /// Messages that have found no room.
    pub(super) fn waiting_count(&self) -> usize {
        self.mesh.waiting_count()
    }
}

impl ShardLoop {
    /// Takes all that the other shards have sent. What is ahead of the image waits for it: it has been sent on its way. Returns
    /// how many there were.
    pub(super) fn take_peers(&mut self) -> usize {
        let mut count = 0;
        for from in 0..self.peers.mesh.count() {
            let held = self.peers.ahead.get_mut(from).and_then(Option::take);
            let mut next = held.or_else(|| self.peers.mesh.take(from));
            while let Some(message) = next.take() {
                if matches!(&message, ToPeer::Message(message) if self.shard.is_ahead(message)) {
                    next = Some(message);
                    break;
                }
                count += 1;
                self.handle_peer(from, message);
                next = self.peers.mesh.take(from);
            }
            if let Some(seat) = self.peers.ahead.get_mut(from) {
                *seat = next;
            }
            self.peers.mesh.give_back(from);
        }
        count
    }

    fn handle_peer(&mut self, from: usize, message: ToPeer) {
        match message {
            ToPeer::Message(message) => {
                self.shard.handle_message(u16::try_from(from).unwrap_or(u16::MAX), message);
            }
            ToPeer::Connection { socket, listener } => self.take_connection(socket, listener),
        }
    }
}

/// What the shards' threads share.
#[derive(Debug)]
pub(super) struct Together {
    /// Each one's connections, those on their way to it included.
    clients: Vec<AtomicUsize>,
    /// Shards that stop, and wait for no other's answer.
    quiet: AtomicUsize,
    /// Shards that have nothing left to do but for the others.
    resting: AtomicUsize,
}

impl Together {
    pub(super) fn of(count: usize) -> Self {
        Self {
            clients: (0..count).map(|_| AtomicUsize::new(0)).collect(),
            quiet: AtomicUsize::new(0),
            resting: AtomicUsize::new(0),
        }
    }

    /// A place for a connection at the shard with the fewest, of shards that are as good the first from `own` on; `None`: there are
    /// as many as there may be, in all or at each.
    pub(super) fn take_place(&self, own: u16, all_max: usize, each_max: usize) -> Option<u16> {
        let counts: Vec<usize> = self.clients.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let from_own = |&number: &usize| (number + counts.len() - usize::from(own)) % counts.len();
        let fewest =
            (0..counts.len()).min_by_key(|number| (counts.get(*number).copied(), from_own(number)))?;
        let least = counts.get(fewest).copied()?;
        if counts.iter().sum::<usize>() >= all_max || least >= each_max {
            return None;
        }
        self.clients.get(fewest)?.fetch_add(1, Ordering::Relaxed);
        u16::try_from(fewest).ok()
    }

    pub(super) fn give_place(&self, number: u16) {
        if let Some(count) = self.clients.get(usize::from(number)) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// One more shard that stops is quiet.
    pub(super) fn note_quiet(&self) {
        self.quiet.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether no shard has anything under way at another, so that they may close their logs.
    pub(super) fn are_all_quiet(&self) -> bool {
        self.quiet.load(Ordering::Acquire) >= self.clients.len()
    }

    /// One more shard is at rest.
    pub(super) fn note_resting(&self) {
        self.resting.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether nobody needs anything of another any more.
    pub(super) fn are_all_resting(&self) -> bool {
        self.resting.load(Ordering::Acquire) >= self.clients.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_where_there_are_the_fewest_and_not_beyond_the_bounds() {
        let together = Together::of(3);
        let places: Vec<_> = (0..7).map(|_| together.take_place(1, 7, 3)).collect();
        assert_eq!(places, [1, 2, 0, 1, 2, 0, 1].map(Some));
        assert_eq!(together.take_place(1, 7, 3), None, "as many as there may be");
        assert_eq!(together.take_place(1, 9, 2), None, "each has as many as it may");
        together.give_place(2);
        assert_eq!(together.take_place(0, 7, 3), Some(2));
        assert!(!together.are_all_quiet() && !together.are_all_resting());
        (0..3).for_each(|_| together.note_quiet());
        (0..3).for_each(|_| together.note_resting());
        assert!(together.are_all_quiet() && together.are_all_resting());
    }
}
