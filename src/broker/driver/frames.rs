//! Buffers for large frames: the shard's share of memory, and one that may exceed it.

use std::sync::Arc;

use crate::broker::shards::memory::Memory;
use crate::runtime::memory::{Account, AlignedBuffer, BufferPool};

/// A shard that has given the lone buffer back does not take it again for so long, if there are others, who look for it more often.
/// Unit: ms.
const LONE_PAUSE_MS: i64 = 20;
/// Those who wait for memory look so often whether the lone buffer is free, if others may have had it. Unit: ms.
pub(super) const LONE_LOOK_MS: i64 = 5;

/// A shard's buffers for large frames.
#[derive(Debug)]
pub(super) struct FrameBuffers {
    own: BufferPool,
    /// Of all shards together: there is one buffer, for whoever has no room. So a frame of the largest size gets through some time,
    /// however little each shard may take.
    lone: BufferPool,
    is_shared: bool,
    /// Unit: ms of the steady clock.
    next_lone_ms: i64,
}

impl FrameBuffers {
    /// `lone`: the account that all shards have in common.
    pub(super) fn new(memory: &Memory, lone: Account, is_shared: bool) -> Self {
        Self {
            own: BufferPool::new(Account::default(), memory.idle_frames_bytes_max()),
            lone: BufferPool::new(lone, 0),
            is_shared,
            next_lone_ms: i64::MIN,
        }
    }

    /// A buffer for a frame of so many bytes, if there is room beside everything else that clients make the shard hold.
    pub(super) fn take(&mut self, bytes: usize, memory: &Memory, now_ms: i64) -> Option<AlignedBuffer> {
        if let Some(buffer) = self.own.take(bytes, memory.left_bytes(bytes)) {
            return Some(buffer);
        }
        // Alone at its shard, too: its frame may be as large as all that is left.
        let is_alone = self.own.account_bytes() == 0 && self.lone.account_bytes() == 0;
        if !is_alone || now_ms < self.next_lone_ms {
            return None;
        }
        let capacity = bytes.checked_next_multiple_of(LONE_UNIT_BYTES)?;
        self.lone.take(capacity, capacity)
    }

    /// The buffer is used again, unless another shard still has it, or it was the lone one: then it is freed.
    pub(super) fn give(&mut self, frame: Arc<AlignedBuffer>, now_ms: i64) {
        let Some(frame) = Arc::into_inner(frame) else { return };
        if self.is_shared && self.lone.made(&frame) {
            self.next_lone_ms = now_ms.saturating_add(LONE_PAUSE_MS);
        }
        self.own.give(frame);
    }

    /// What is in use of the shard's own, and the lone one's. Unit: bytes.
    pub(super) fn in_use_bytes(&self) -> (usize, usize) {
        (self.own.account_bytes(), self.lone.account_bytes())
    }
}

/// The lone buffer is of no class that would make it larger than it was asked to be.
const LONE_UNIT_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BrokerConfig, Machine};

    #[test]
    fn one_frame_of_all_shards_may_exceed_the_share_of_its_own_and_each_has_its_turn() {
        const LARGEST: usize = 40 << 20;
        let machine = Machine { memory_bytes: 8 << 30, cpu_count: 2 };
        let config = BrokerConfig::load(Some("memory.bytes=134217728"), &[], machine).unwrap();
        let memory = Memory::new(&config.of_shard(2));
        let lone = Account::default();
        let mut shards = [0, 1].map(|_| FrameBuffers::new(&memory, lone.clone(), true));
        let [first, second] = &mut shards;
        let small = first.take(100_000, &memory, 0).expect("there is room in the share");
        assert!(first.take(LARGEST, &memory, 0).is_none(), "it has another buffer");
        first.give(Arc::new(small), 0);
        let large = first.take(LARGEST, &memory, 0).expect("it is alone");
        assert_eq!(first.in_use_bytes(), (0, LARGEST));
        assert!(second.take(LARGEST, &memory, 0).is_none(), "one of all shards");
        assert!(second.take(100_000, &memory, 0).is_some(), "its own share is not touched");
        first.give(Arc::new(large), 7);
        assert!(first.take(LARGEST, &memory, 7 + LONE_PAUSE_MS - 1).is_none(), "others come first");
        let large = second.take(LARGEST, &memory, 8).unwrap();
        drop(large);
        assert!(first.take(LARGEST, &memory, 7 + LONE_PAUSE_MS).is_some());
    }
}
