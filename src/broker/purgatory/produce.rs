//! Produce requests whose batches are in the log but not yet acknowledged.

use std::collections::{BTreeSet, VecDeque};

use crate::broker::shards::RequestId;
use crate::model::error_code::ErrorCode;
use crate::model::{Offset, TopicId};
use crate::storage::PartitionSlot;

/// Names a pending produce; the generation keeps a late word from reaching its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PendingId {
    index: u32,
    generation: u32,
}

/// What a partition's part of a request has come to.
#[derive(Clone, Debug)]
pub struct PartitionResult {
    pub index: i32,
    pub error: ErrorCode,
    pub base_offset: i64,
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    pub error_message: Option<String>,
}

/// One topic of a request: by name until version 12, by id from 13.
#[derive(Clone, Debug)]
pub struct TopicResult {
    pub name: String,
    pub id: TopicId,
    pub partitions: Vec<PartitionResult>,
}

/// A produce request under way.
#[derive(Debug)]
pub struct PendingProduce {
    pub request: RequestId,
    pub acks: i16,
    pub deadline_ms: i64,
    pub topics: Vec<TopicResult>,
    /// Partitions whose batches are not yet acknowledged.
    pub outstanding: u32,
    /// All batches are appended (or refused): when nothing is outstanding, the reply goes out.
    pub complete: bool,
}

#[derive(Debug)]
struct Waiter {
    end_offset: Offset,
    pending: PendingId,
    topic: u32,
    partition: u32,
}

/// All pending produces of a shard.
#[derive(Debug, Default)]
pub struct Produces {
    pending: Vec<(u32, Option<PendingProduce>)>,
    free: Vec<u32>,
    /// By slot number: waiters in order of offset, since appends are.
    waiters: Vec<VecDeque<Waiter>>,
    deadlines: BTreeSet<(i64, PendingId)>,
}

impl Produces {
    /// Whether no request is under way.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.free.len() == self.pending.len()
    }

    /// Takes a request; its deadline runs from now.
    pub fn insert(&mut self, produce: PendingProduce) -> PendingId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.pending.push((0, None));
            u32::try_from(self.pending.len() - 1).unwrap_or(u32::MAX)
        });
        let mut id = PendingId { index, generation: 0 };
        if let Some((generation, seat)) = self.pending.get_mut(index as usize) {
            *generation = generation.wrapping_add(1);
            id.generation = *generation;
            *seat = Some(produce);
        }
        id
    }

    pub fn get_mut(&mut self, id: PendingId) -> Option<&mut PendingProduce> {
        let (generation, pending) = self.pending.get_mut(id.index as usize)?;
        if *generation == id.generation { pending.as_mut() } else { None }
    }

    /// Takes a request out: it is answered now, or nobody waits for it any more.
    pub fn remove(&mut self, id: PendingId) -> Option<PendingProduce> {
        let (generation, pending) = self.pending.get_mut(id.index as usize)?;
        if *generation != id.generation {
            return None;
        }
        let gone = pending.take()?;
        self.free.push(id.index);
        self.deadlines.remove(&(gone.deadline_ms, id));
        Some(gone)
    }

    /// Forgets a request whose connection is gone.
    pub fn abandon(&mut self, id: PendingId) {
        let _ = self.remove(id);
    }

    /// The request is answered with a time-out if it is not done by its deadline.
    pub fn arm(&mut self, id: PendingId) {
        if let Some(deadline_ms) = self.get_mut(id).map(|pending| pending.deadline_ms) {
            self.deadlines.insert((deadline_ms, id));
        }
    }

    /// The partition's part of the request waits until the high watermark reaches `end_offset`.
    pub fn wait(
        &mut self,
        slot: PartitionSlot,
        end_offset: Offset,
        pending: PendingId,
        topic: u32,
        partition: u32,
    ) {
        let place = slot.0 as usize;
        if self.waiters.len() <= place {
            self.waiters.resize_with(place + 1, VecDeque::new);
        }
        if let Some(queue) = self.waiters.get_mut(place) {
            // A duplicate waits for its original, which may be before what came last.
            let behind = queue.partition_point(|waiter| waiter.end_offset <= end_offset);
            queue.insert(behind, Waiter { end_offset, pending, topic, partition });
        }
    }

    /// The next request that has been waiting for an offset below or at `high_watermark` and is now complete.
    pub fn poll_acknowledged(&mut self, slot: PartitionSlot, high_watermark: Offset) -> Option<PendingId> {
        loop {
            let queue = self.waiters.get_mut(slot.0 as usize)?;
            if queue.front()?.end_offset > high_watermark {
                return None;
            }
            let waiter = queue.pop_front()?;
            let Some(pending) = self.get_mut(waiter.pending) else { continue };
            pending.outstanding = pending.outstanding.saturating_sub(1);
            if pending.outstanding == 0 && pending.complete {
                return Some(waiter.pending);
            }
        }
    }

    /// The next request that waits on this partition, whose part of it has failed with `error`, and is now complete.
    pub fn poll_failed(&mut self, slot: PartitionSlot, error: ErrorCode) -> Option<PendingId> {
        loop {
            let waiter = self.waiters.get_mut(slot.0 as usize)?.pop_front()?;
            let Some(pending) = self.get_mut(waiter.pending) else { continue };
            let topic = pending.topics.get_mut(waiter.topic as usize);
            if let Some(result) = topic.and_then(|topic| topic.partitions.get_mut(waiter.partition as usize))
            {
                result.error = error;
                result.base_offset = -1;
            }
            pending.outstanding = pending.outstanding.saturating_sub(1);
            if pending.outstanding == 0 && pending.complete {
                return Some(waiter.pending);
            }
        }
    }

    /// The next request whose deadline has passed; its parts that are not acknowledged become time-outs: whether they will
    /// be is not known, since they are in the log.
    pub fn poll_expired(&mut self, now_ms: i64) -> Option<PendingId> {
        let &(deadline_ms, id) = self.deadlines.first()?;
        if deadline_ms > now_ms {
            return None;
        }
        self.deadlines.pop_first();
        let places: Vec<(u32, u32)> = self
            .waiters
            .iter()
            .flatten()
            .filter(|waiter| waiter.pending == id)
            .map(|waiter| (waiter.topic, waiter.partition))
            .collect();
        if let Some(pending) = self.get_mut(id) {
            if !pending.complete {
                // It waits for room: so do these parts, and will be forgotten.
                let results = pending.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                for result in results.filter(|result| result.error.is_none() && result.base_offset < 0) {
                    result.error = ErrorCode::RequestTimedOut;
                }
            }
            for (topic, partition) in places {
                let topic = pending.topics.get_mut(topic as usize);
                if let Some(result) = topic.and_then(|topic| topic.partitions.get_mut(partition as usize)) {
                    result.error = ErrorCode::RequestTimedOut;
                }
            }
        }
        Some(id)
    }

    #[must_use]
    pub fn next_deadline_ms(&self) -> i64 {
        self.deadlines.first().map_or(i64::MAX, |&(deadline_ms, _)| deadline_ms)
    }
}
