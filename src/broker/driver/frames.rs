//! Buffers for large frames: the shard's share of memory, and one that may exceed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::broker::shards::memory::Memory;
use crate::runtime::memory::{Account, AlignedBuffer, BufferPool};

/// A shard that has given the lone buffer back does not take it again for so long, if there are others, who look for it more often.
/// Unit: ms.
const LONE_PAUSE_MS: i64 = 20;
/// Those who wait for memory look so often whether the lone buffer is free, if others may have had it. Unit: ms.
pub(super) const LONE_LOOK_MS: i64 = 5;

/// A frame that could never have its room in the shard's share, and does not get the lone buffer because others are under way here, keeps
/// those that come later from theirs when it has waited for so long. Unit: ms.
const STARVED_MS: i64 = 50;
/// One that has not been asked for again for so long is not waited for any more: its connection is gone. Unit: ms.
const FORGOTTEN_MS: i64 = 1_000;
/// So long the lone buffer counts as wanted after somebody has asked for it in vain. Unit: ms.
const WANTED_MS: i64 = 1_000;

/// The one buffer of all shards for a frame that is larger than its shard's share.
#[derive(Clone, Debug, Default)]
pub(super) struct LoneFrame {
    account: Account,
    /// Until then somebody else wants it. Unit: ms of the steady clock.
    wanted_until_ms: Arc<AtomicI64>,
}

/// A shard's buffers for large frames.
#[derive(Debug)]
pub(super) struct FrameBuffers {
    own: BufferPool,
    /// Of all shards together: there is one buffer, for whoever has no room. So a frame of the largest size gets through some time,
    /// however little each shard may take.
    lone: BufferPool,
    lone_frame: LoneFrame,
    /// The lone buffer was taken last by a connection of this shard.
    holds_lone: bool,
    is_shared: bool,
    /// Unit: ms of the steady clock.
    next_lone_ms: i64,
    /// Since when, and when last, a frame was refused that can have no other buffer than the lone one. Unit: ms.
    starved: Option<(i64, i64)>,
}

impl FrameBuffers {
    pub(super) fn new(memory: &Memory, lone_frame: LoneFrame, is_shared: bool) -> Self {
        Self {
            own: BufferPool::new(Account::default(), memory.idle_frames_bytes_max()),
            lone: BufferPool::new(lone_frame.account.clone(), 0),
            lone_frame,
            holds_lone: false,
            is_shared,
            next_lone_ms: i64::MIN,
            starved: None,
        }
    }

    /// A buffer for a frame of so many bytes, if there is room beside everything else that clients make the shard hold.
    pub(super) fn take(&mut self, bytes: usize, memory: &Memory, now_ms: i64) -> Option<AlignedBuffer> {
        self.note_lone(now_ms);
        let could_fit = bytes <= memory.left_bytes_at_most(bytes);
        if could_fit && self.keeps_for_starved(now_ms) {
            return None;
        }
        if let Some(buffer) = self.own.take(bytes, memory.left_bytes(bytes)) {
            return Some(buffer);
        }
        // Alone at its shard, too: its frame may be as large as all that is left.
        let is_alone = self.own.account_bytes() == 0 && now_ms >= self.next_lone_ms;
        let capacity = bytes.checked_next_multiple_of(LONE_UNIT_BYTES)?;
        let taken = if is_alone { self.lone.take(capacity, capacity) } else { None };
        self.holds_lone |= taken.is_some();
        if taken.is_some() {
            self.starved = None;
        } else if !could_fit {
            let since_ms = self.starved.map_or(now_ms, |(since_ms, _)| since_ms);
            self.starved = Some((since_ms, now_ms));
            if !self.holds_lone {
                self.lone_frame
                    .wanted_until_ms
                    .fetch_max(now_ms.saturating_add(WANTED_MS), Ordering::Relaxed);
            }
        }
        taken
    }

    /// Whether the lone buffer is free, and a frame that needs it waits for the shard's others to end.
    fn keeps_for_starved(&mut self, now_ms: i64) -> bool {
        let is_forgotten = |&(_, last_ms): &(i64, i64)| now_ms > last_ms.saturating_add(FORGOTTEN_MS);
        self.starved = self.starved.filter(|starved| !is_forgotten(starved));
        let is_starved =
            self.starved.is_some_and(|(since_ms, _)| now_ms >= since_ms.saturating_add(STARVED_MS));
        is_starved && self.lone.account_bytes() == 0
    }

    /// When the lone buffer was given back, by whichever shard had its frame last, others come first.
    fn note_lone(&mut self, now_ms: i64) {
        if self.holds_lone && self.lone.account_bytes() == 0 {
            self.holds_lone = false;
            if self.is_shared {
                self.next_lone_ms = now_ms.saturating_add(LONE_PAUSE_MS);
            }
        }
    }

    /// The buffer is used again, unless another shard still has it, or it was the lone one: then it is freed.
    pub(super) fn give(&mut self, frame: Arc<AlignedBuffer>, now_ms: i64) {
        if let Some(frame) = Arc::into_inner(frame) {
            self.own.give(frame);
        }
        self.note_lone(now_ms);
    }

    /// Whether a connection here may have the lone buffer.
    pub(super) const fn holds_lone(&self) -> bool {
        self.holds_lone
    }

    /// Whether it has, and somebody elsewhere wants it.
    pub(super) fn keeps_others_waiting(&self, now_ms: i64) -> bool {
        self.holds_lone && now_ms < self.lone_frame.wanted_until_ms.load(Ordering::Relaxed)
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

    const LARGEST: usize = 40 << 20;

    fn memory() -> Memory {
        let machine = Machine { memory_bytes: 8 << 30, cpu_count: 2 };
        let config = BrokerConfig::load(Some("memory.bytes=134217728"), &[], machine).unwrap();
        Memory::new(&config.of_shard(2))
    }

    #[test]
    fn one_frame_of_all_shards_may_exceed_the_share_of_its_own_and_each_has_its_turn() {
        let (memory, lone) = (memory(), LoneFrame::default());
        let mut shards = [0, 1].map(|_| FrameBuffers::new(&memory, lone.clone(), true));
        let [first, second] = &mut shards;
        let small = first.take(100_000, &memory, 0).expect("there is room in the share");
        assert!(first.take(LARGEST, &memory, 0).is_none(), "it has another buffer");
        first.give(Arc::new(small), 0);
        let large = first.take(LARGEST, &memory, 0).expect("it is alone");
        assert_eq!(first.in_use_bytes(), (0, LARGEST));
        assert!(first.holds_lone() && !first.keeps_others_waiting(WANTED_MS), "nobody else asks");
        assert!(second.take(LARGEST, &memory, 1_000).is_none(), "one of all shards");
        assert!(first.keeps_others_waiting(1_001) && !second.keeps_others_waiting(1_001));
        assert!(second.take(100_000, &memory, 1_001).is_some(), "its own share is not touched");
        // Another shard has its frame longer.
        let large = Arc::new(large);
        first.give(Arc::clone(&large), 1_007);
        assert!(first.holds_lone());
        drop(large);
        assert!(first.take(LARGEST, &memory, 1_008).is_none(), "others come first");
        assert!(!first.holds_lone());
        drop(second.take(LARGEST, &memory, 1_009).unwrap());
        assert!(first.take(LARGEST, &memory, 1_008 + LONE_PAUSE_MS).is_some());
    }

    /// However many others come all the time.
    #[test]
    fn a_frame_beyond_the_share_gets_through_among_others() {
        let memory = memory();
        let mut frames = FrameBuffers::new(&memory, LoneFrame::default(), false);
        let mut under_way = frames.take(100_000, &memory, 0);
        let mut taken_ms = None;
        for now_ms in 1..1_000 {
            if frames.take(LARGEST, &memory, now_ms).is_some() {
                taken_ms = Some(now_ms);
                break;
            }
            // The next of the others has come before the one before has ended.
            let next = frames.take(100_000, &memory, now_ms);
            if let Some(ended) = std::mem::replace(&mut under_way, next) {
                frames.give(Arc::new(ended), now_ms);
            }
        }
        assert!(taken_ms.is_some_and(|ms| ms <= STARVED_MS + 2), "{taken_ms:?}");
        // Whoever has given up is not waited for.
        let mut frames = FrameBuffers::new(&memory, LoneFrame::default(), false);
        let _under_way = frames.take(100_000, &memory, 0);
        assert!(frames.take(LARGEST, &memory, 0).is_none());
        assert!(frames.take(100_000, &memory, STARVED_MS).is_none());
        assert!(frames.take(100_000, &memory, FORGOTTEN_MS + 1).is_some());
    }
}
