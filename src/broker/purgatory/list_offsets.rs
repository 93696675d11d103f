//! ListOffsets requests that search by time: their answers so far, and the searches that wait for the disk.
//!
//! Few searches are under way at a time, and a turn of the shard does so much of their work; the rest waits its turn. A request
//! searches one partition after another, and keeps what it has found.

use std::collections::{BTreeMap, VecDeque};

use crate::broker::shards::{ConnectionId, RequestId};
use crate::model::TopicId;
use crate::model::error_code::ErrorCode;
use crate::protocol::records::RecordSearch;
use crate::storage::PartitionSlot;
use crate::storage::shard::TimestampSearch;

/// Searches that wait for the disk at a time: each holds a batch at most.
const WAITING_MAX: usize = 8;
/// What a turn of the shard does of searches. Unit: see [`crate::storage::shard::ShardLog::search_timestamp`]; about 0.1 µs.
const TURN_WORK: u32 = 8192;

/// One partition of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPart {
    pub index: i32,
    /// Where its owner has found it.
    pub slot: Option<PartitionSlot>,
    pub leader_epoch: i32,
    pub timestamp: i64,
    pub answer: Option<ListAnswer>,
}

/// One topic of a request.
#[derive(Debug, Default)]
pub struct ListTopic {
    /// `None`: there is no such topic.
    pub known: Option<TopicId>,
    pub parts: Vec<ListPart>,
}

/// What is known of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListAnswer {
    Found { timestamp: i64, offset: i64, leader_epoch: i32 },
    Refused(ErrorCode),
}

impl ListAnswer {
    /// No such topic or partition.
    pub const UNKNOWN: Self = Self::Refused(ErrorCode::UnknownTopicOrPartition);
}

/// A request that is not answered yet.
#[derive(Debug)]
pub struct PendingList {
    pub request: RequestId,
    pub topics: Vec<(String, ListTopic)>,
    /// The part of which topic is being searched; those before it are answered.
    pub place: (usize, usize),
    pub search: Option<ListSearch>,
}

/// How far the search of a partition has come.
#[derive(Debug)]
pub enum ListSearch {
    /// The batch is looked for.
    Batch(TimestampSearch),
    /// The record is looked for in it. One at a time in a shard: what codecs hold is larger than what batches do.
    Record(Box<RecordSearch>),
}

/// All of a shard.
#[derive(Debug)]
pub struct Lists {
    /// They have work to do, in turn.
    ready: VecDeque<PendingList>,
    waiting: BTreeMap<(PartitionSlot, u64), PendingList>,
    next: u64,
    work_left: u32,
}

impl Default for Lists {
    fn default() -> Self {
        Self { ready: VecDeque::new(), waiting: BTreeMap::new(), next: 0, work_left: TURN_WORK }
    }
}

impl Lists {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.waiting.is_empty()
    }

    /// Whether there is something to do without any news.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty() && self.waiting.len() < WAITING_MAX
    }

    /// A new turn of the shard begins.
    pub const fn begin_turn(&mut self) {
        self.work_left = TURN_WORK;
    }

    /// What this turn may still do.
    pub const fn work_left(&mut self) -> &mut u32 {
        &mut self.work_left
    }

    /// Behind all others; but before them if it is unpacking.
    pub fn push(&mut self, list: PendingList) {
        if list.is_unpacking() {
            self.ready.push_front(list);
        } else {
            self.ready.push_back(list);
        }
    }

    /// The next to work on, if this turn may.
    pub fn pop(&mut self) -> Option<PendingList> {
        if self.work_left == 0 || !self.has_work() { None } else { self.ready.pop_front() }
    }

    /// It waits for news of the partition.
    pub fn wait(&mut self, slot: PartitionSlot, list: PendingList) {
        self.next += 1;
        self.waiting.insert((slot, self.next), list);
    }

    /// There is news of the partition: who waited for it has something to do.
    pub fn wake(&mut self, slot: PartitionSlot) {
        while let Some((&key, _)) = self.waiting.range((slot, 0)..=(slot, u64::MAX)).next() {
            let Some(list) = self.waiting.remove(&key) else { return };
            // Behind the one that is unpacking, which goes on first.
            let place = self.ready.iter().take_while(|list| list.is_unpacking()).count();
            self.ready.insert(place, list);
        }
    }

    /// Forgets the requests of a connection that is gone.
    pub fn forget(&mut self, connection: ConnectionId) {
        self.ready.retain(|list| list.request.connection != connection);
        self.waiting.retain(|_, list| list.request.connection != connection);
    }
}

impl PendingList {
    /// The part to be searched now; `None`: all are answered.
    pub fn current(&mut self) -> Option<&mut ListPart> {
        loop {
            let (topic, part) = self.place;
            let (_, listed) = self.topics.get(topic)?;
            match listed.parts.get(part) {
                None => self.place = (topic.saturating_add(1), 0),
                Some(part) if part.answer.is_none() => break,
                Some(_) => self.place = (topic, part.saturating_add(1)),
            }
        }
        self.topics.get_mut(self.place.0)?.1.parts.get_mut(self.place.1)
    }

    const fn is_unpacking(&self) -> bool {
        matches!(self.search, Some(ListSearch::Record(_)))
    }
}
