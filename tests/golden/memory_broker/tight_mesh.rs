//! The shards' queues as they ship, with room for hardly anything, emptied in an order from a seed.

use ringlog::broker::shards::message::Message;
use ringlog::runtime::mesh::{Endpoint, mesh};
use ringlog::runtime::sim::SimRandom;

/// Messages that a queue between two shards has room for.
const CAPACITY: usize = 2;

/// See the module.
pub struct TightMesh {
    ends: Vec<Endpoint<Message>>,
    random: SimRandom,
    /// Sent and not yet taken.
    on_the_way: usize,
    /// How often a message has found its queue full.
    refused: usize,
}

impl TightMesh {
    pub fn new(count: usize, seed: u64) -> Self {
        Self { ends: mesh(count, CAPACITY), random: SimRandom::new(seed), on_the_way: 0, refused: 0 }
    }

    /// How often a message has found its queue full.
    pub const fn refused(&self) -> usize {
        self.refused
    }

    /// Takes what the shards have said, by sender and receiver.
    pub fn send(&mut self, messages: Vec<(u16, u16, Message)>) {
        self.on_the_way += messages.len();
        for (from, to, message) in messages {
            let end = &mut self.ends[usize::from(from)];
            let waiting = end.waiting_count();
            end.send(usize::from(to), message);
            self.refused += end.waiting_count() - waiting;
        }
        self.ends.iter_mut().for_each(Endpoint::flush);
    }

    /// What some shards take now from some of the others, in order between two of them; there is something as long as anything is
    /// on the way.
    pub fn take(&mut self) -> Vec<(u16, u16, Message)> {
        let mut taken = Vec::new();
        while taken.is_empty() && self.on_the_way > 0 {
            for to in 0..self.ends.len() {
                for from in 0..self.ends.len() {
                    for _ in 0..self.random.below(3) {
                        let Some(message) = self.ends[to].take(from) else { break };
                        self.on_the_way -= 1;
                        let number = |place: usize| u16::try_from(place).expect("few");
                        taken.push((number(from), number(to), message));
                    }
                    self.ends[to].give_back(from);
                }
            }
            self.ends.iter_mut().for_each(Endpoint::flush);
        }
        taken
    }
}
