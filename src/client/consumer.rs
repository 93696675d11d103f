//! Reading records: partitions chosen by the caller, positions kept here. No groups, no commits, no transactions: records
//! of transactions are read as they come, decided or not.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use super::cluster::Retry;
use super::connection::Reply;
use super::error::check;
use super::offsets::Place;
use super::{Client, Error, Result};
use crate::model::{BrokerId, ErrorCode, Offset, PartitionIndex, TopicId};
use crate::protocol::kafka::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use crate::protocol::kafka::{ApiKey, Records};
use crate::protocol::records::{Batch, Batches, Record, RecordsError};

/// How much to ask for at once, and what to do at the edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// The broker waits for this much, or for its time to be over. Unit: bytes.
    pub min_bytes: i32,
    /// Of one reply; a first batch may exceed it. Unit: bytes.
    pub max_bytes: i32,
    /// Of one partition in one reply; a first batch may exceed it. Unit: bytes.
    pub partition_max_bytes: i32,
    /// Largest that a packed batch may unpack to. Unit: bytes.
    pub unpacked_bytes_max: usize,
    /// What to do when the position is outside of the log.
    pub offset_reset: OffsetReset,
}

/// Where to go on when the log has no such offset: retention, or DeleteRecords, was faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// OFFSET_OUT_OF_RANGE goes to the caller.
    Fail,
    Beginning,
    End,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Offset(Offset),
    /// A time at or after which no record is means the end.
    At(Place),
}

/// A record and where it came from.
#[derive(Clone, Copy, Debug)]
pub struct ConsumedRecord<'a> {
    pub topic: &'a str,
    pub partition: PartitionIndex,
    pub record: Record<'a>,
}

/// What a poll did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Records that were visited.
    pub record_count: u64,
    /// Every assigned partition was read up to its high watermark, as the last fetch told it.
    pub at_end: bool,
}

/// Reads partitions of one cluster. One per thread.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    settings: ConsumerSettings,
    assigned: BTreeMap<(String, PartitionIndex), Position>,
    /// Where a packed batch is unpacked.
    scratch: Vec<u8>,
    /// The partition asked for first moves on with each poll: the limits on bytes may leave nothing for the last.
    turn: usize,
    /// Runs while nothing but errors come.
    retry: Option<Retry>,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    next: Offset,
    high_watermark: Option<Offset>,
}

/// What one fetch is about: topic, partition, and where to read on.
type Wanted = (String, TopicId, PartitionIndex, Offset);

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            min_bytes: 1,
            max_bytes: 32 << 20,
            partition_max_bytes: 1 << 20,
            unpacked_bytes_max: 128 << 20,
            offset_reset: OffsetReset::Fail,
        }
    }
}

impl Consumer {
    /// A consumer without partitions.
    #[must_use]
    pub fn new(client: Client, settings: ConsumerSettings) -> Self {
        Self { client, settings, assigned: BTreeMap::new(), scratch: Vec::new(), turn: 0, retry: None }
    }

    /// The client that it reads with, between polls.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Adds a partition, or moves its position; returns the offset at which reading begins.
    ///
    /// # Errors
    /// `NoSuchPartition`, `Refused`; of the connection, after retries.
    pub fn assign(&mut self, topic: &str, partition: PartitionIndex, start: Start) -> Result<Offset> {
        let next = match start {
            Start::Offset(offset) => offset,
            Start::At(place) => self.find(topic, partition, place)?,
        };
        self.assigned.insert((topic.to_owned(), partition), Position { next, high_watermark: None });
        Ok(next)
    }

    /// Takes a partition away.
    pub fn unassign(&mut self, topic: &str, partition: PartitionIndex) {
        self.assigned.remove(&(topic.to_owned(), partition));
    }

    /// Offset of the record to be read next.
    #[must_use]
    pub fn position(&self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        self.assigned.get(&(topic.to_owned(), partition)).map(|position| position.next)
    }

    /// The partition's high watermark at the last fetch.
    #[must_use]
    pub fn high_watermark(&self, topic: &str, partition: PartitionIndex) -> Option<Offset> {
        self.assigned.get(&(topic.to_owned(), partition))?.high_watermark
    }

    /// Fetches once from every leader, waiting up to `wait` for records, and shows them to `visit`, in order of offset
    /// within a partition. `Break` stops behind that record; what was fetched beyond it is fetched again.
    ///
    /// # Errors
    /// `Refused`, `Records`; of the connection, once the time for retries has passed without a reply.
    pub fn poll(
        &mut self,
        wait: Duration,
        mut visit: impl FnMut(&ConsumedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<Polled> {
        let mut polled = Polled::default();
        let attempt = self.poll_once(wait, &mut polled, &mut visit);
        match attempt {
            Ok(()) => self.retry = None,
            Err(error) if error.is_retriable() => {
                let client = &self.client;
                self.retry.get_or_insert_with(|| client.retry()).pause(error)?;
            }
            Err(error) => return Err(error),
        }
        let is_at_end = |position: &Position| position.high_watermark.is_some_and(|end| position.next >= end);
        polled.at_end = self.assigned.values().all(is_at_end);
        Ok(polled)
    }

    fn poll_once(
        &mut self,
        wait: Duration,
        polled: &mut Polled,
        visit: &mut dyn FnMut(&ConsumedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut fault = None;
        let mut asked = Vec::new();
        for (leader, wanted) in self.wanted()? {
            match self.ask(leader, &wanted, wait) {
                Ok(()) => asked.push((leader, wanted)),
                Err(error) => self.note(leader, &wanted, error, &mut fault),
            }
        }
        // All replies are taken off their connections before any is looked at: the caller may stop at any record.
        let mut replies = Vec::new();
        for (leader, wanted) in asked {
            match self.client.connection(leader).and_then(super::Connection::receive) {
                Ok(reply) => replies.push((leader, wanted, reply)),
                Err(error) => self.note(leader, &wanted, error, &mut fault),
            }
        }
        let mut flow = ControlFlow::Continue(());
        for (leader, wanted, reply) in replies {
            if flow.is_continue() {
                match self.take(&wanted, &reply, polled, visit) {
                    Ok(next) => flow = next,
                    Err(error) => self.note(leader, &wanted, error, &mut fault),
                }
            }
            if let Ok(connection) = self.client.connection(leader) {
                connection.recycle(reply);
            }
        }
        fault.map_or(Ok(()), Err)
    }

    /// What to fetch from whom.
    fn wanted(&mut self) -> Result<BTreeMap<BrokerId, Vec<Wanted>>> {
        let count = self.assigned.len();
        let all: Vec<_> =
            self.assigned.iter().map(|((topic, index), at)| (topic.clone(), *index, at.next)).collect();
        self.turn = self.turn.wrapping_add(1);
        let mut by_leader: BTreeMap<BrokerId, Vec<Wanted>> = BTreeMap::new();
        for (topic, index, next) in
            all.into_iter().cycle().skip(self.turn.checked_rem(count).unwrap_or(0)).take(count)
        {
            let (leader, id) = self.client.leader(&topic, index)?;
            by_leader.entry(leader).or_default().push((topic, id, index, next));
        }
        Ok(by_leader)
    }

    fn ask(&mut self, leader: BrokerId, wanted: &[Wanted], wait: Duration) -> Result<()> {
        let with_ids = wanted.iter().all(|(_, id, ..)| *id != TopicId::ZERO);
        let mut topics: Vec<FetchTopic<'_>> = Vec::new();
        for (topic, topic_id, index, next) in wanted {
            let partition = FetchPartition {
                partition: index.0,
                fetch_offset: next.0,
                partition_max_bytes: self.settings.partition_max_bytes,
                ..FetchPartition::default()
            };
            match topics.iter_mut().find(|row| row.topic == topic) {
                Some(row) => row.partitions.push(partition),
                None => topics.push(FetchTopic { topic, topic_id: *topic_id, partitions: vec![partition] }),
            }
        }
        let request = FetchRequest {
            max_wait_ms: super::admin::millis(wait),
            min_bytes: self.settings.min_bytes,
            max_bytes: self.settings.max_bytes,
            topics,
            ..FetchRequest::default()
        };
        let connection = self.client.connection(leader)?;
        let version = connection
            .version_up_to(ApiKey::Fetch, if with_ids { i16::MAX } else { LAST_VERSION_BY_NAME })?;
        connection.send(version, &request, wait)
    }

    /// Shows a reply's records to `visit`, and moves the positions.
    fn take(
        &mut self,
        wanted: &[Wanted],
        reply: &Reply,
        polled: &mut Polled,
        visit: &mut dyn FnMut(&ConsumedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let response: FetchResponse<'_> = reply.body()?;
        check(response.error_code, || "fetch".to_owned(), None)?;
        let by_id = reply.version() > LAST_VERSION_BY_NAME;
        for row in &response.responses {
            let named =
                |(topic, id, ..): &&Wanted| if by_id { *id == row.topic_id } else { topic == row.topic };
            let Some((topic, ..)) = wanted.iter().find(named) else { continue };
            for data in &row.partitions {
                if self.take_partition(topic, data, polled, visit)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn take_partition(
        &mut self,
        topic: &str,
        data: &PartitionData<'_>,
        polled: &mut Polled,
        visit: &mut dyn FnMut(&ConsumedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let partition = PartitionIndex(data.partition_index);
        if data.error_code == ErrorCode::OffsetOutOfRange.code() && self.reset(topic, partition)? {
            return Ok(ControlFlow::Continue(()));
        }
        check(data.error_code, || format!("{topic}-{partition}"), None)?;
        let Some(position) = self.assigned.get_mut(&(topic.to_owned(), partition)) else {
            return Ok(ControlFlow::Continue(()));
        };
        position.high_watermark = Some(Offset(data.high_watermark));
        let bytes = data.records.and_then(Records::inline).unwrap_or_default();
        // A broker sends the first batch whole, however large: without one, what it sends is damaged.
        let batches = Batches::new(bytes);
        let damaged = (!bytes.is_empty() && batches.is_cut()).then(|| Batch::check(bytes));
        for batch in damaged.into_iter().chain(batches) {
            let mut see = |record: Record<'_>| {
                polled.record_count = polled.record_count.saturating_add(1);
                visit(&ConsumedRecord { topic, partition, record })
            };
            let seen = batch.map_err(RecordsError::from).and_then(|batch| {
                walk(
                    &batch,
                    &mut position.next,
                    &mut self.scratch,
                    self.settings.unpacked_bytes_max,
                    &mut see,
                )
            });
            let flow = seen.map_err(|error| Error::Records {
                topic: topic.to_owned(),
                partition: partition.0,
                offset: position.next.0,
                error,
            })?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Moves a position that lies outside of the log, if that is wanted.
    fn reset(&mut self, topic: &str, partition: PartitionIndex) -> Result<bool> {
        let place = match self.settings.offset_reset {
            OffsetReset::Fail => return Ok(false),
            OffsetReset::Beginning => Place::Beginning,
            OffsetReset::End => Place::End,
        };
        let next = self.find(topic, partition, place)?;
        if let Some(position) = self.assigned.get_mut(&(topic.to_owned(), partition)) {
            position.next = next;
        }
        Ok(true)
    }

    fn find(&mut self, topic: &str, partition: PartitionIndex, place: Place) -> Result<Offset> {
        let found = self.client.offsets(topic, &[(partition, place), (partition, Place::End)])?;
        Ok(found.iter().find_map(|found| found.offset).unwrap_or(Offset::ZERO))
    }

    /// Takes note of an error: one that stays is kept before one that may pass.
    fn note(&mut self, leader: BrokerId, wanted: &[Wanted], error: Error, fault: &mut Option<Error>) {
        self.client.after_error(&error, leader, wanted.iter().map(|(topic, ..)| topic.as_str()));
        if fault.as_ref().is_none_or(Error::is_retriable) {
            *fault = Some(error);
        }
    }
}

/// From the next version on, topics go by their ids.
const LAST_VERSION_BY_NAME: i16 = 12;

/// Shows the records of a batch from `next` on to `see`, and moves `next` behind each. Markers of transactions are
/// the broker's own, and passed over.
fn walk(
    batch: &Batch<'_>,
    next: &mut Offset,
    scratch: &mut Vec<u8>,
    unpacked_bytes_max: usize,
    see: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
) -> std::result::Result<ControlFlow<()>, RecordsError> {
    let end = batch.header.end_offset();
    if end <= *next {
        return Ok(ControlFlow::Continue(()));
    }
    if !batch.header.is_control() {
        for record in batch.records(scratch, unpacked_bytes_max)? {
            let record = record?;
            if record.offset < *next {
                continue;
            }
            *next = record.offset.plus(1);
            if see(record).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    // Compaction may have taken the last records away: the batch still says how far it reached.
    *next = end;
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests;
