//! Fetch requests that wait for data, for the disk, or for their time to be up.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::shards::{ConnectionId, RequestId};
use crate::model::{Offset, TopicId};
use crate::storage::PartitionSlot;

/// Names a waiting fetch.
pub type FetchId = u64;

/// One partition of a fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchPart {
    pub index: i32,
    /// `None`: not known here; the error is in `error`.
    pub slot: Option<PartitionSlot>,
    pub offset: Offset,
    pub bytes_max: u64,
    /// The epoch that the consumer believes in; -1 does not check.
    pub leader_epoch: i32,
    /// The epoch of the last record that the reader has; -1 does not check (KIP-595).
    pub last_fetched_epoch: i32,
    pub error: i16,
}

/// One topic of a fetch.
#[derive(Clone, Debug)]
pub struct FetchTopicPart {
    pub name: String,
    pub id: TopicId,
    pub parts: Vec<FetchPart>,
}

/// A fetch request under way.
#[derive(Clone, Debug)]
pub struct PendingFetch {
    pub request: RequestId,
    pub topics: Vec<FetchTopicPart>,
    pub bytes_min: u64,
    pub bytes_max: u64,
    pub deadline_ms: i64,
    /// Aborted transactions are to be named, of which there are none.
    pub read_committed: bool,
}

/// All waiting fetches of a shard.
#[derive(Debug, Default)]
pub struct Fetches {
    waiting: BTreeMap<FetchId, PendingFetch>,
    next: FetchId,
    by_slot: BTreeMap<PartitionSlot, BTreeSet<FetchId>>,
    deadlines: BTreeSet<(i64, FetchId)>,
}

impl Fetches {
    /// Whether no fetch waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a fetch that waits on all its partitions.
    pub fn insert(&mut self, fetch: PendingFetch) {
        let id = self.next;
        self.next += 1;
        for slot in slots_of(&fetch) {
            self.by_slot.entry(slot).or_default().insert(id);
        }
        self.deadlines.insert((fetch.deadline_ms, id));
        self.waiting.insert(id, fetch);
    }

    /// Takes out all fetches that wait on this partition: each is tried again, and comes back if it still waits.
    pub fn take_waiting_on(&mut self, slot: PartitionSlot) -> Vec<PendingFetch> {
        let Some(ids) = self.by_slot.remove(&slot) else { return Vec::new() };
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// The next fetch whose time is up.
    pub fn poll_expired(&mut self, now_ms: i64) -> Option<PendingFetch> {
        let &(deadline_ms, id) = self.deadlines.first()?;
        if deadline_ms > now_ms {
            return None;
        }
        self.remove(id)
    }

    /// Forgets the fetches of a connection that is gone: nobody waits for them.
    pub fn forget(&mut self, connection: ConnectionId) {
        let of_it =
            |(&id, fetch): (&FetchId, &PendingFetch)| (fetch.request.connection == connection).then_some(id);
        let ids: Vec<FetchId> = self.waiting.iter().filter_map(of_it).collect();
        for id in ids {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: FetchId) -> Option<PendingFetch> {
        let fetch = self.waiting.remove(&id)?;
        self.deadlines.remove(&(fetch.deadline_ms, id));
        for slot in slots_of(&fetch) {
            if let Some(ids) = self.by_slot.get_mut(&slot) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_slot.remove(&slot);
                }
            }
        }
        Some(fetch)
    }

    #[must_use]
    pub fn next_deadline_ms(&self) -> i64 {
        self.deadlines.first().map_or(i64::MAX, |&(deadline_ms, _)| deadline_ms)
    }
}

fn slots_of(fetch: &PendingFetch) -> impl Iterator<Item = PartitionSlot> {
    fetch.topics.iter().flat_map(|topic| &topic.parts).filter_map(|part| part.slot)
}
