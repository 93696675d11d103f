//! Produce requests whose batches are in the log but not yet acknowledged, or wait for room there.

use std::collections::{BTreeSet, VecDeque};

use crate::broker::owner::append::Append;
use crate::model::Offset;
use crate::model::error_code::ErrorCode;
use crate::storage::PartitionSlot;

/// Names a pending produce; the generation keeps a late word from reaching its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PendingId {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Waiter {
    end_offset: Offset,
    pending: PendingId,
    part: u32,
}

#[derive(Debug, Default)]
struct Seat {
    generation: u32,
    append: Option<Box<Append>>,
}

/// Who waits on one partition, in order of offset, since appends are.
#[derive(Debug, Default)]
struct Queue {
    /// The partition that has the place now.
    slot: Option<PartitionSlot>,
    waiters: VecDeque<Waiter>,
}

/// All pending produces of a shard.
#[derive(Debug, Default)]
pub struct Produces {
    seats: Vec<Seat>,
    free: Vec<u32>,
    /// By the places of their partitions.
    waiters: Vec<Queue>,
    deadlines: BTreeSet<(i64, PendingId)>,
}

impl Produces {
    /// Whether no request is under way.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.free.len() == self.seats.len()
    }

    /// Takes a request in. It is answered with a time-out if it is not done by its deadline; one that wants no answer waits
    /// for room as long as it takes.
    pub fn insert(&mut self, append: Box<Append>) -> PendingId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.seats.push(Seat::default());
            u32::try_from(self.seats.len() - 1).unwrap_or(u32::MAX)
        });
        let mut id = PendingId { index, generation: 0 };
        if let Some(seat) = self.seats.get_mut(index as usize) {
            seat.generation = seat.generation.wrapping_add(1);
            id.generation = seat.generation;
        }
        self.put_back(id, append, 0);
        id
    }

    /// Lends a request out for the rest of its appends; it comes back with [`Self::put_back`], or is removed.
    pub fn lend(&mut self, id: PendingId) -> Option<Box<Append>> {
        self.seat(id)?.append.take()
    }

    /// The counterpart of [`Self::lend`]. Its parts from `first_new` on have been appended since.
    pub fn put_back(&mut self, id: PendingId, append: Box<Append>, first_new: usize) {
        for (place, part) in append.parts.iter().enumerate().skip(first_new) {
            if let Some((slot, end_offset)) = part.waits {
                let part = u32::try_from(place).unwrap_or(u32::MAX);
                self.wait(slot, Waiter { end_offset, pending: id, part });
            }
        }
        if append.acks != 0 {
            self.deadlines.insert((append.deadline_ms, id));
        }
        if let Some(seat) = self.seat(id) {
            seat.append = Some(append);
        }
    }

    /// The place of a request that is lent out, and done, is free again.
    pub fn remove_lent(&mut self, id: PendingId, append: &Append) {
        if let Some(seat) = self.seat(id) {
            seat.generation = seat.generation.wrapping_add(1);
            self.free.push(id.index);
            self.deadlines.remove(&(append.deadline_ms, id));
        }
    }

    /// Takes a request out: it is answered now, or nobody waits for it any more.
    pub fn remove(&mut self, id: PendingId) -> Option<Box<Append>> {
        let append = self.lend(id)?;
        self.remove_lent(id, &append);
        Some(append)
    }

    fn seat(&mut self, id: PendingId) -> Option<&mut Seat> {
        self.seats.get_mut(id.index as usize).filter(|seat| seat.generation == id.generation)
    }

    fn wait(&mut self, slot: PartitionSlot, waiter: Waiter) {
        let place = slot.place as usize;
        if self.waiters.len() <= place {
            self.waiters.resize_with(place + 1, Queue::default);
        }
        if let Some(Queue { slot: known, waiters: queue }) = self.waiters.get_mut(place) {
            if known.replace(slot) != Some(slot) {
                // Whoever waited on the one before was told when it was deleted.
                queue.clear();
            }
            // A duplicate waits for its original, which may be before what came last.
            let behind = queue.partition_point(|known| known.end_offset <= waiter.end_offset);
            queue.insert(behind, waiter);
        }
    }

    fn queue(&mut self, slot: PartitionSlot) -> Option<&mut VecDeque<Waiter>> {
        let queue = self.waiters.get_mut(slot.place as usize)?;
        (queue.slot == Some(slot)).then_some(&mut queue.waiters)
    }

    /// The next request that has been waiting for an offset below or at `high_watermark` and is now done.
    pub fn poll_acknowledged(&mut self, slot: PartitionSlot, high_watermark: Offset) -> Option<Box<Append>> {
        loop {
            let queue = self.queue(slot)?;
            if queue.front()?.end_offset > high_watermark {
                return None;
            }
            let waiter = queue.pop_front()?;
            if let Some(done) = self.settle(&waiter, None) {
                return Some(done);
            }
        }
    }

    /// The next request that waits on this partition, whose part of it has failed with `error`, and is now done.
    pub fn poll_failed(&mut self, slot: PartitionSlot, error: ErrorCode) -> Option<Box<Append>> {
        loop {
            let waiter = self.queue(slot)?.pop_front()?;
            if let Some(done) = self.settle(&waiter, Some(error)) {
                return Some(done);
            }
        }
    }

    /// A part waits no longer; the request, if that was the last one.
    fn settle(&mut self, waiter: &Waiter, error: Option<ErrorCode>) -> Option<Box<Append>> {
        let append = self.seat(waiter.pending)?.append.as_mut()?;
        let part = append.parts.get_mut(waiter.part as usize)?;
        part.waits = None;
        if let Some(error) = error {
            part.refuse(error, None);
        }
        append.outstanding = append.outstanding.saturating_sub(1);
        if append.outstanding > 0 || !append.is_complete() {
            return None;
        }
        self.remove(waiter.pending)
    }

    /// The next request whose deadline has passed, with time-outs for what is not done.
    pub fn poll_expired(&mut self, now_ms: i64) -> Option<Box<Append>> {
        loop {
            let &(deadline_ms, id) = self.deadlines.first()?;
            if deadline_ms > now_ms {
                return None;
            }
            self.deadlines.pop_first();
            if let Some(mut append) = self.remove(id) {
                append.expire();
                return Some(append);
            }
        }
    }

    #[must_use]
    pub fn next_deadline_ms(&self) -> i64 {
        self.deadlines.first().map_or(i64::MAX, |&(deadline_ms, _)| deadline_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::owner::append::{AppendPart, Batch};
    use crate::broker::shards::{ConnectionId, RequestId};
    use crate::protocol::kafka::ApiKey;

    fn waiting_on(slot: PartitionSlot, end_offset: Offset) -> Box<Append> {
        let mut append = Append::new(RequestId {
            connection: ConnectionId { shard: 0, index: 0, generation: 0 },
            request: 0,
            api_key: ApiKey::Produce,
            api_version: 9,
            correlation_id: 0,
            begun_us: 0,
        });
        let part = AppendPart::new(None, 0, Batch::Refused);
        append.parts.push(AppendPart { waits: Some((slot, end_offset)), ..part });
        (append.acks, append.next, append.outstanding) = (1, 1, 1);
        Box::new(append)
    }

    #[test]
    fn a_late_word_about_a_deleted_partition_does_not_reach_who_waits_on_the_one_in_its_place() {
        let mut produces = Produces::default();
        let old = PartitionSlot { place: 3, generation: 0 };
        let new = PartitionSlot { place: 3, generation: 1 };
        produces.insert(waiting_on(old, Offset(1)));
        assert!(produces.poll_failed(old, ErrorCode::UnknownTopicOrPartition).is_some());
        produces.insert(waiting_on(new, Offset(1)));
        assert!(produces.poll_failed(old, ErrorCode::KafkaStorageError).is_none());
        assert!(produces.poll_acknowledged(old, Offset(1)).is_none());
        let done = produces.poll_acknowledged(new, Offset(1)).unwrap();
        assert!(done.parts[0].error.is_none() && produces.is_empty());
    }
}
