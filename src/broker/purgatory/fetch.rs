//! Fetch requests that wait for data, for the disk, or for their time to be up.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::broker::connection::OutPiece;
use crate::broker::shards::{ConnectionId, RequestId};
use crate::model::error_code::ErrorCode;
use crate::model::{Offset, TopicId};
use crate::protocol::kafka::messages::fetch::PartitionData;
use crate::storage::PartitionSlot;

/// Names a waiting fetch.
pub type FetchId = u64;

/// One partition of a fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchPart {
    pub index: i32,
    /// Where its owner has found it; `None`: not there, or refused; the error is in `error`.
    pub slot: Option<PartitionSlot>,
    pub offset: Offset,
    pub bytes_max: u64,
    /// The epoch that the consumer believes in; -1 does not check.
    pub leader_epoch: i32,
    /// The epoch of the last record that the reader has; -1 does not check (KIP-595).
    pub last_fetched_epoch: i32,
    pub error: i16,
    pub waited: Waited,
}

/// What a partition had when its fetch was last held against it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// What it gave, and has grown by since.
    pub bytes: u64,
    /// Log position of its high watermark.
    pub end: u64,
}

/// One topic of a fetch.
#[derive(Clone, Debug)]
pub struct FetchTopicPart {
    pub name: String,
    /// As the client named it.
    pub id: TopicId,
    /// `None`: there is no such topic.
    pub known: Option<TopicId>,
    /// The error for a partition that is not there.
    pub unknown: ErrorCode,
    pub parts: Vec<FetchPart>,
}

/// A fetch request under way.
#[derive(Clone, Debug)]
pub struct PendingFetch {
    pub request: RequestId,
    pub topics: Vec<FetchTopicPart>,
    pub bytes_min: u64,
    pub bytes_max: u64,
    /// What its partitions have; counted while it waits.
    pub bytes: u64,
    /// Partitions of which the disk may have more for it; known while it waits.
    pub reading: Vec<PartitionSlot>,
    pub deadline_ms: i64,
    /// It waits for nothing but the disk, since others have an answer to the same request.
    pub is_hastened: bool,
    /// Aborted transactions are to be named, of which there are none.
    pub read_committed: bool,
}

impl PendingFetch {
    /// The same request for nothing.
    #[must_use]
    pub const fn without_topics(&self) -> Self {
        Self { topics: Vec::new(), bytes: 0, reading: Vec::new(), is_hastened: false, ..*self }
    }
}

/// What a fetch has come to.
#[derive(Debug)]
pub struct FetchOutcome {
    /// Of all parts, in the order of their topics.
    pub parts: Vec<PartitionData<'static>>,
    /// Their records.
    pub pieces: Vec<OutPiece>,
    /// How much they are. Unit: bytes.
    pub bytes: u64,
    /// There is a reason to answer now, whatever else the request asks for.
    pub ends: bool,
}

/// All waiting fetches of a shard.
#[derive(Debug, Default)]
pub struct Fetches {
    waiting: BTreeMap<FetchId, PendingFetch>,
    next: FetchId,
    /// Which part of which topic of a fetch waits on a partition.
    by_slot: BTreeSet<(PartitionSlot, FetchId, usize, usize)>,
    /// Which fetches the disk's answers for a partition are for.
    reading: BTreeSet<(PartitionSlot, FetchId)>,
    by_connection: BTreeSet<(ConnectionId, FetchId)>,
    deadlines: BTreeSet<(i64, FetchId)>,
    /// Those that could not be read, since replies held too much.
    held_back: BTreeSet<FetchId>,
    looks: u64,
}

impl Fetches {
    /// Whether no fetch waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How often a partition was looked at for a fetch, since the start.
    #[must_use]
    pub const fn looks(&self) -> u64 {
        self.looks
    }

    /// A partition is looked at for a fetch.
    pub const fn note_look(&mut self) {
        self.looks += 1;
    }

    /// Takes a fetch that waits on all its partitions; `held_back`: it has not been read at all.
    pub fn insert(&mut self, fetch: PendingFetch, held_back: bool) {
        let id = self.next;
        self.next += 1;
        if held_back {
            self.held_back.insert(id);
        }
        self.by_slot.extend(keys_of(id, &fetch));
        self.reading.extend(fetch.reading.iter().map(|&slot| (slot, id)));
        self.by_connection.insert((fetch.request.connection, id));
        self.deadlines.insert((fetch.deadline_ms, id));
        self.waiting.insert(id, fetch);
    }

    /// Takes out all fetches that wait on this partition: each is tried again, and comes back if it still waits.
    pub fn take_waiting_on(&mut self, slot: PartitionSlot) -> Vec<PendingFetch> {
        self.take_waiting_on_any(&[slot])
    }

    /// The same of those that wait on any of these.
    pub fn take_waiting_on_any(&mut self, slots: &[PartitionSlot]) -> Vec<PendingFetch> {
        let waiting = slots.iter().flat_map(|&slot| self.on(slot));
        let ids: BTreeSet<FetchId> = waiting.map(|(_, id, _, _)| id).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// The same of those for which the partition is being read from disk.
    pub fn take_reading(&mut self, slot: PartitionSlot) -> Vec<PendingFetch> {
        let of_it = self.reading.range((slot, 0)..=(slot, FetchId::MAX));
        let ids: Vec<FetchId> = of_it.map(|&(_, id)| id).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// The partition's high watermark stands at log position `end` now, and its log begins at `log_start_offset`: takes out
    /// the fetches that may have enough by that. Of the others only what this partition has is looked at. Counted is as
    /// Kafka does: of each partition no more than the fetch takes of it.
    pub fn take_satisfied(
        &mut self,
        slot: PartitionSlot,
        end: u64,
        log_start_offset: Offset,
    ) -> Vec<PendingFetch> {
        let mut satisfied = BTreeSet::new();
        for (_, id, topic, place) in self.on(slot).collect::<Vec<_>>() {
            self.looks += 1;
            let Some(fetch) = self.waiting.get_mut(&id) else { continue };
            let part = fetch.topics.get_mut(topic).and_then(|topic| topic.parts.get_mut(place));
            let Some(part) = part else { continue };
            let Waited { bytes: before, end: seen } = part.waited;
            // A log that was cut is not what was seen; it is read again.
            let grown = end.checked_sub(seen).map(|more| before.saturating_add(more));
            let bytes = grown.unwrap_or(u64::MAX).min(part.bytes_max.max(before));
            part.waited = Waited { bytes, end };
            fetch.bytes = fetch.bytes.saturating_add(bytes.saturating_sub(before));
            if fetch.bytes >= fetch.bytes_min || grown.is_none() || part.offset < log_start_offset {
                satisfied.insert(id);
            }
        }
        satisfied.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    fn on(&self, slot: PartitionSlot) -> impl Iterator<Item = (PartitionSlot, FetchId, usize, usize)> {
        self.by_slot.range((slot, 0, 0, 0)..=(slot, FetchId::MAX, usize::MAX, usize::MAX)).copied()
    }

    /// The fetches that wait on this partition shall be tried again when replies hold less.
    pub fn hold_back(&mut self, slot: PartitionSlot) {
        let ids: Vec<FetchId> = self.on(slot).map(|(_, id, _, _)| id).collect();
        self.held_back.extend(ids);
    }

    /// Whether some fetch has not been read since replies held too much.
    #[must_use]
    pub fn has_held_back(&self) -> bool {
        !self.held_back.is_empty()
    }

    /// The next of them: the one that has waited longest.
    pub fn poll_held_back(&mut self) -> Option<PendingFetch> {
        let &id = self.held_back.first()?;
        self.remove(id)
    }

    /// The next fetch whose time is up.
    pub fn poll_expired(&mut self, now_ms: i64) -> Option<PendingFetch> {
        let &(deadline_ms, id) = self.deadlines.first()?;
        if deadline_ms > now_ms {
            return None;
        }
        self.remove(id)
    }

    /// Takes out these fetches of the connection.
    pub fn take_of(&mut self, connection: ConnectionId, requests: Range<u64>) -> Vec<PendingFetch> {
        let of_it = self.by_connection.range((connection, 0)..=(connection, FetchId::MAX));
        let is_meant = |id: &FetchId| {
            self.waiting.get(id).is_some_and(|fetch| requests.contains(&fetch.request.request))
        };
        let ids: Vec<FetchId> = of_it.map(|&(_, id)| id).filter(is_meant).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Forgets the fetches of a connection that is gone: nobody waits for them. Returns how many they were.
    pub fn forget(&mut self, connection: ConnectionId) -> usize {
        let of_it = (connection, 0)..=(connection, FetchId::MAX);
        let mut count = 0;
        while let Some(&(_, id)) = self.by_connection.range(of_it.clone()).next() {
            self.looks += 1;
            self.remove(id);
            count += 1;
        }
        count
    }

    fn remove(&mut self, id: FetchId) -> Option<PendingFetch> {
        self.held_back.remove(&id);
        let fetch = self.waiting.remove(&id)?;
        for &slot in &fetch.reading {
            self.reading.remove(&(slot, id));
        }
        self.by_connection.remove(&(fetch.request.connection, id));
        self.deadlines.remove(&(fetch.deadline_ms, id));
        for key in keys_of(id, &fetch) {
            self.by_slot.remove(&key);
        }
        Some(fetch)
    }

    #[must_use]
    pub fn next_deadline_ms(&self) -> i64 {
        self.deadlines.first().map_or(i64::MAX, |&(deadline_ms, _)| deadline_ms)
    }
}

fn keys_of(
    id: FetchId,
    fetch: &PendingFetch,
) -> impl Iterator<Item = (PartitionSlot, FetchId, usize, usize)> {
    fetch.topics.iter().enumerate().flat_map(move |(topic, parts)| {
        let parts = parts.parts.iter().enumerate();
        parts.filter_map(move |(part, found)| Some((found.slot?, id, topic, part)))
    })
}
