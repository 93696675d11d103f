//! ListOffsets requests that search by time: their answers so far, and the searches that wait for the disk.
//!
//! Few searches are under way at a time, and a turn of the shard does so much of their work; the rest waits its turn. A request
//! searches one partition after another, and keeps what it has found.

use std::collections::BTreeMap;

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
    /// The one that has copied or unpacked something goes on before another begins.
    begun: Option<(i64, PendingList)>,
    /// They have work to do, in this order.
    ready: BTreeMap<i64, PendingList>,
    waiting: BTreeMap<(PartitionSlot, i64), PendingList>,
    by_connection: BTreeMap<(ConnectionId, i64), Place>,
    /// Behind all of `ready`.
    next: i64,
    /// Before all of `ready`.
    before: i64,
    work_left: u32,
}

/// Where a request is kept.
#[derive(Clone, Copy, Debug)]
enum Place {
    Begun,
    Ready,
    Waiting(PartitionSlot),
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            begun: None,
            ready: BTreeMap::new(),
            waiting: BTreeMap::new(),
            by_connection: BTreeMap::new(),
            next: 0,
            before: 0,
            work_left: TURN_WORK,
        }
    }
}

impl Lists {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_connection.is_empty()
    }

    /// Whether there is something to do without any news.
    #[must_use]
    pub fn has_work(&self) -> bool {
        (self.begun.is_some() || !self.ready.is_empty()) && self.waiting.len() < WAITING_MAX
    }

    /// A new turn of the shard begins.
    pub const fn begin_turn(&mut self) {
        self.work_left = TURN_WORK;
    }

    /// What this turn may still do.
    pub const fn work_left(&mut self) -> &mut u32 {
        &mut self.work_left
    }

    /// Behind all others; but before them if it has copied or unpacked something, so that few have.
    pub fn push(&mut self, list: PendingList) {
        self.next += 1;
        let key = (list.request.connection, self.next);
        if list.holds_much() && self.begun.is_none() {
            self.by_connection.insert(key, Place::Begun);
            self.begun = Some((self.next, list));
        } else {
            self.by_connection.insert(key, Place::Ready);
            self.ready.insert(self.next, list);
        }
    }

    /// The next to work on, if this turn may.
    pub fn pop(&mut self) -> Option<PendingList> {
        if self.work_left == 0 || !self.has_work() {
            return None;
        }
        let (number, list) = self.begun.take().or_else(|| self.ready.pop_first())?;
        self.by_connection.remove(&(list.request.connection, number));
        Some(list)
    }

    /// It waits for news of the partition.
    pub fn wait(&mut self, slot: PartitionSlot, list: PendingList) {
        self.next += 1;
        self.by_connection.insert((list.request.connection, self.next), Place::Waiting(slot));
        self.waiting.insert((slot, self.next), list);
    }

    /// There is news of the partition: who waited for it has something to do, before those who have not begun.
    pub fn wake(&mut self, slot: PartitionSlot) {
        while let Some((&(_, number), _)) = self.waiting.range((slot, i64::MIN)..=(slot, i64::MAX)).next() {
            let Some(list) = self.waiting.remove(&(slot, number)) else { return };
            self.by_connection.remove(&(list.request.connection, number));
            self.before -= 1;
            self.by_connection.insert((list.request.connection, self.before), Place::Ready);
            self.ready.insert(self.before, list);
        }
    }

    /// Forgets the requests of a connection that is gone. Returns how many they were.
    pub fn forget(&mut self, connection: ConnectionId) -> usize {
        let of_it = (connection, i64::MIN)..=(connection, i64::MAX);
        let mut count = 0;
        while let Some((&key, &place)) = self.by_connection.range(of_it.clone()).next() {
            self.by_connection.remove(&key);
            match place {
                Place::Begun => drop(self.begun.take()),
                Place::Ready => drop(self.ready.remove(&key.1)),
                Place::Waiting(slot) => drop(self.waiting.remove(&(slot, key.1))),
            }
            count += 1;
        }
        count
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

    fn holds_much(&self) -> bool {
        match &self.search {
            None => false,
            Some(ListSearch::Batch(search)) => search.holds_much(),
            Some(ListSearch::Record(_)) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::kafka::ApiKey;

    fn list(index: u32, correlation_id: i32) -> PendingList {
        let connection = ConnectionId { shard: 0, index, generation: 1 };
        let request = RequestId {
            connection,
            request: 0,
            api_key: ApiKey::ListOffsets,
            api_version: 9,
            correlation_id,
            begun_us: 0,
        };
        PendingList { request, topics: Vec::new(), place: (0, 0), search: None }
    }

    fn order(lists: &mut Lists) -> Vec<i32> {
        std::iter::from_fn(|| lists.pop()).map(|list| list.request.correlation_id).collect()
    }

    #[test]
    fn who_waited_goes_on_first_and_who_ran_out_of_work_last() {
        let mut lists = Lists::default();
        let slot = PartitionSlot { place: 1, generation: 0 };
        (0..4).for_each(|id| lists.push(list(0, id)));
        let (waits, unfinished) = (lists.pop().unwrap(), lists.pop().unwrap());
        lists.wait(slot, waits);
        lists.push(unfinished);
        lists.wake(slot);
        assert_eq!(order(&mut lists), [0, 2, 3, 1]);
        assert!(lists.is_empty());
    }

    #[test]
    fn requests_of_a_connection_that_is_gone_are_forgotten_wherever_they_are() {
        let mut lists = Lists::default();
        let slot = PartitionSlot { place: 1, generation: 0 };
        for (connection, id) in [(1, 0), (2, 1), (1, 2), (2, 3)] {
            lists.push(list(connection, id));
        }
        let (first, second) = (lists.pop().unwrap(), lists.pop().unwrap());
        lists.wait(slot, first);
        lists.wait(slot, second);
        lists.forget(ConnectionId { shard: 0, index: 1, generation: 1 });
        lists.forget(ConnectionId { shard: 0, index: 2, generation: 0 });
        lists.wake(slot);
        assert_eq!(order(&mut lists), [1, 3]);
        assert!(lists.is_empty());
    }
}
