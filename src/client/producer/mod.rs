//! Sending records: batches per partition, several requests on their way, and in the end an answer for every batch.
//!
//! `send` collects, `flush` waits until everything is decided, `next_delivery` tells what became of each batch. With
//! idempotence (the default) the broker stores a batch once and in order however often it is sent; without it, a batch
//! whose answer was lost is sent again, and may be stored twice.

use std::collections::{BTreeMap, VecDeque};
use std::thread;
use std::time::{Duration, Instant};

mod lanes;
mod partitioner;

use lanes::{Answer, BatchId, LaneId, Lanes};

use super::connection::Reply;
use super::error::check;
use super::{Client, Error, Result};
use crate::model::limits::PRODUCER_BATCHES_REMEMBERED;
use crate::model::{BrokerId, ErrorCode, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId};
use crate::protocol::kafka::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::protocol::kafka::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use crate::protocol::kafka::{ApiKey, Records};
use crate::protocol::records::{Codec, NewRecord};

/// Who must have a batch before it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: the broker does not answer, and what is lost is lost silently.
    None,
    /// The leader.
    Leader,
    /// Every in-sync replica.
    #[default]
    All,
}

/// How batches are made and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerSettings {
    pub codec: Codec,
    pub acks: Acks,
    /// Needs [`Acks::All`].
    pub idempotent: bool,
    /// A batch is closed before it exceeds this, not packed yet. Unit: bytes.
    pub batch_bytes: usize,
    /// A batch is closed when this old, at the next call of [`Producer::send`] or [`Producer::pump`].
    pub linger: Duration,
    /// Largest batch, and about the largest request. Unit: bytes.
    pub request_bytes_max: usize,
    /// What may be collected and undecided, before `send` waits. Unit: bytes.
    pub queued_bytes_max: usize,
    /// Requests on their way to one broker; at most 5, what brokers remember of an idempotent producer.
    pub in_flight_max: usize,
    /// A batch that is not stored this long after it was closed is given up.
    pub delivery_timeout: Duration,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Delivery {
    pub topic: String,
    pub partition: PartitionIndex,
    /// The number that [`Producer::send`] gave to the batch's first record; its others follow.
    pub first_record: u64,
    pub record_count: i32,
    /// Offset of the batch's first record, if the broker told it. After an error of the connection it may be stored all
    /// the same.
    pub outcome: Result<Option<Offset>>,
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub partition: PartitionIndex,
    /// Counts the records that this producer has sent to the partition, from 0.
    pub record: u64,
}

/// Sends records to one cluster. One per thread.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    settings: ProducerSettings,
    lanes: Lanes,
    /// Requests without an answer, oldest first.
    in_flight: BTreeMap<BrokerId, VecDeque<Flight>>,
    /// Where records without a key go, of each topic.
    keyless: BTreeMap<String, usize>,
}

/// A request on its way.
#[derive(Debug)]
struct Flight {
    sent: Instant,
    batches: Vec<Shipped>,
}

/// A batch in a request.
#[derive(Clone, Copy, Debug)]
struct Shipped {
    lane: LaneId,
    batch: BatchId,
    topic_id: TopicId,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            codec: Codec::None,
            acks: Acks::All,
            idempotent: true,
            batch_bytes: 128 << 10,
            linger: Duration::from_millis(5),
            request_bytes_max: 8 << 20,
            queued_bytes_max: 32 << 20,
            in_flight_max: 5,
            delivery_timeout: Duration::from_secs(60),
        }
    }
}

impl Acks {
    const fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl Producer {
    /// A producer; the first batch asks for a producer id, if it is idempotent.
    ///
    /// # Errors
    /// `Contradiction`.
    pub fn new(client: Client, settings: ProducerSettings) -> Result<Self> {
        if settings.idempotent && settings.acks != Acks::All {
            return Err(Error::Contradiction { what: "idempotence needs acks all" });
        }
        if settings.in_flight_max == 0
            || settings.idempotent && settings.in_flight_max > PRODUCER_BATCHES_REMEMBERED
        {
            return Err(Error::Contradiction { what: "1 to 5 requests may be on their way" });
        }
        let lanes = Lanes::new(settings.clone(), client.settings().retry_pause);
        Ok(Self { client, settings, lanes, in_flight: BTreeMap::new(), keyless: BTreeMap::new() })
    }

    /// The client that it sends with.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Adds a record, to `partition` or to one chosen by its key. Waits while too much is undecided.
    ///
    /// # Errors
    /// `NoSuchPartition`, `RecordTooLarge`, `Record`; what [`Client::topic`] and [`pump`](Self::pump) end with.
    pub fn send(
        &mut self,
        topic: &str,
        partition: Option<PartitionIndex>,
        record: &NewRecord<'_>,
    ) -> Result<Sent> {
        let partition = self.partition(topic, partition, record.key)?;
        let (number, closed) = self.lanes.push(topic, partition, record, Instant::now())?;
        if closed && let Some(turn) = self.keyless.get_mut(topic) {
            *turn = turn.wrapping_add(1);
        }
        if closed {
            self.pump()?;
        }
        while self.lanes.queued_bytes() > self.settings.queued_bytes_max {
            self.lanes.close_due(Instant::now(), Duration::ZERO);
            self.advance()?;
        }
        Ok(Sent { partition, record: number })
    }

    /// Sends what is due, without waiting for answers unless as much as is allowed is on its way.
    ///
    /// # Errors
    /// When no producer id is to be had. The fate of batches is told by [`next_delivery`](Self::next_delivery).
    pub fn pump(&mut self) -> Result<()> {
        self.lanes.close_due(Instant::now(), self.settings.linger);
        self.dispatch()?;
        let full = |flights: &VecDeque<Flight>| flights.len() >= self.settings.in_flight_max;
        if self.in_flight.values().any(full) {
            self.receive_oldest();
        }
        Ok(())
    }

    /// Sends everything, and returns when all of it is decided.
    ///
    /// # Errors
    /// As [`pump`](Self::pump).
    pub fn flush(&mut self) -> Result<()> {
        self.lanes.close_due(Instant::now(), Duration::ZERO);
        while !self.lanes.is_empty() {
            self.advance()?;
        }
        Ok(())
    }

    /// What became of a batch, in the order in which it was decided; `None` if nothing new is.
    pub fn next_delivery(&mut self) -> Option<Delivery> {
        self.lanes.poll_delivery()
    }

    /// How often a broker did not know the sequence numbers of this producer any more: it lost, or expired, its state.
    #[must_use]
    pub const fn sequence_resets(&self) -> u64 {
        self.lanes.sequence_resets()
    }

    /// One step: sends what can be sent, or takes an answer, or waits for a lane that pauses.
    fn advance(&mut self) -> Result<()> {
        if self.dispatch()? {
            return Ok(());
        }
        if self.in_flight.is_empty() {
            let wait = self.lanes.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
            thread::sleep(wait.unwrap_or(PAUSE_MIN).max(PAUSE_MIN));
        } else {
            self.receive_oldest();
        }
        Ok(())
    }

    fn partition(
        &mut self,
        topic: &str,
        wanted: Option<PartitionIndex>,
        key: Option<&[u8]>,
    ) -> Result<PartitionIndex> {
        let found = self.client.topic(topic, true)?;
        let count = found.partitions.len();
        let place = match (wanted, key) {
            (Some(index), _) => found.partitions.iter().position(|partition| partition.index == index),
            (None, Some(key)) => Some(partitioner::by_key(key, count)),
            (None, None) => {
                if !self.keyless.contains_key(topic) {
                    self.keyless.insert(topic.to_owned(), 0);
                }
                self.keyless.get(topic).and_then(|turn| turn.checked_rem(count))
            }
        };
        let partition = place.and_then(|place| found.partitions.get(place)).map(|partition| partition.index);
        let partition_wanted = wanted.map_or(0, |index| index.0);
        let none = || Error::NoSuchPartition { topic: topic.to_owned(), partition: partition_wanted, count };
        partition.ok_or_else(none)
    }

    /// Sends a request to each leader that has room for one and batches to take; `true` if any was sent.
    fn dispatch(&mut self) -> Result<bool> {
        if self.lanes.needs_identity() {
            let (producer_id, producer_epoch) = self.client.producer_id()?;
            self.lanes.handle_identity(producer_id, producer_epoch);
        }
        let mut by_leader: BTreeMap<BrokerId, Vec<(LaneId, TopicId)>> = BTreeMap::new();
        for lane in self.lanes.poll_ready(Instant::now()) {
            let (topic, partition) = self.lanes.name(lane);
            match self.client.leader(topic, partition) {
                Ok((leader, id)) => by_leader.entry(leader).or_default().push((lane, id)),
                Err(error) => {
                    self.client.forget(topic);
                    self.lanes.handle_unsent(lane, error, Instant::now());
                }
            }
        }
        let mut sent = false;
        for (leader, lanes) in by_leader {
            let flights = self.in_flight.get(&leader).map_or(0, VecDeque::len);
            if flights < self.settings.in_flight_max {
                self.ship(leader, lanes);
                sent = true;
            }
        }
        Ok(sent)
    }

    /// One request with the next batch of each of these lanes, as far as the limit allows.
    fn ship(&mut self, leader: BrokerId, lanes: Vec<(LaneId, TopicId)>) {
        if let Err(error) = self.client.connection(leader).map(drop) {
            return self.give_back(leader, &lanes, error);
        }
        let mut batches = Vec::new();
        let mut request_bytes = 0_usize;
        for (lane, topic_id) in lanes {
            let grown = request_bytes.saturating_add(self.lanes.next_bytes(lane));
            if grown > self.settings.request_bytes_max && !batches.is_empty() {
                continue;
            }
            if let Some(batch) = self.lanes.poll_send(lane) {
                request_bytes = grown;
                batches.push(Shipped { lane, batch, topic_id });
            }
        }
        let done = send(&mut self.client, leader, &self.settings, &self.lanes, &batches);
        match done {
            Ok(()) if self.settings.acks == Acks::None => {
                let now = Instant::now();
                for shipped in batches {
                    self.lanes.handle_answer(shipped.lane, shipped.batch, Answer::Stored(None), now);
                }
            }
            Ok(()) => {
                let flight = Flight { sent: Instant::now(), batches };
                self.in_flight.entry(leader).or_default().push_back(flight);
            }
            Err(error) => self.lose(leader, batches, error),
        }
    }

    /// No connection: the lanes' next batches wait.
    fn give_back(&mut self, leader: BrokerId, lanes: &[(LaneId, TopicId)], error: Error) {
        for &(lane, _) in lanes {
            let (topic, _) = self.lanes.name(lane);
            self.client.after_error(&error, leader, [topic]);
            self.lanes.handle_unsent(lane, error.clone(), Instant::now());
        }
    }

    /// These could not be sent, or were answered with what is no answer. If it is the connection that failed, nothing is
    /// known of all that was on its way to the broker.
    fn lose(&mut self, leader: BrokerId, batches: Vec<Shipped>, error: Error) {
        let uncertain = error.is_connection_lost();
        let flights = if uncertain { self.in_flight.remove(&leader) } else { None };
        let lost = flights.unwrap_or_default().into_iter().flat_map(|flight| flight.batches).chain(batches);
        for shipped in lost {
            let (topic, _) = self.lanes.name(shipped.lane);
            self.client.after_error(&error, leader, [topic]);
            let answer = Answer::Failed { error: error.clone(), uncertain };
            self.lanes.handle_answer(shipped.lane, shipped.batch, answer, Instant::now());
        }
    }

    /// Waits for the answer to the request that is on its way for longest.
    fn receive_oldest(&mut self) {
        let oldest =
            self.in_flight.iter().filter_map(|(&leader, flights)| Some((flights.front()?.sent, leader)));
        let Some((_, leader)) = oldest.min() else { return };
        match self.client.connection(leader).and_then(super::Connection::receive) {
            Ok(reply) => self.take(leader, reply),
            Err(error) => self.lose(leader, Vec::new(), error),
        }
    }

    fn take(&mut self, leader: BrokerId, reply: Reply) {
        let Some(flights) = self.in_flight.get_mut(&leader) else { return };
        let Some(flight) = flights.pop_front() else { return };
        if flights.is_empty() {
            self.in_flight.remove(&leader);
        }
        if let Err(error) = self.settle(leader, &flight.batches, &reply) {
            return self.lose(leader, flight.batches, error);
        }
        if let Ok(connection) = self.client.connection(leader) {
            connection.recycle(reply);
        }
    }

    fn settle(&mut self, leader: BrokerId, batches: &[Shipped], reply: &Reply) -> Result<()> {
        let response: ProduceResponse<'_> = reply.body()?;
        for shipped in batches {
            let (topic, partition) = self.lanes.name(shipped.lane);
            let answer = match row_of(&response, reply.version(), topic, shipped.topic_id, partition) {
                Some(row) => answer_of(row, topic),
                None => {
                    let code = ErrorCode::UnknownServerError.code();
                    let error = Error::refused(code, format!("{topic}-{partition}"), Some("no answer"));
                    Answer::Failed { error, uncertain: true }
                }
            };
            if let Answer::Failed { error, .. } = &answer {
                self.client.after_error(error, leader, [topic]);
            }
            self.lanes.handle_answer(shipped.lane, shipped.batch, answer, Instant::now());
        }
        Ok(())
    }
}

/// From the next version on, topics go by their ids.
const LAST_VERSION_BY_NAME: i16 = 12;
/// Shortest sleep while nothing can be done.
const PAUSE_MIN: Duration = Duration::from_millis(1);

fn send(
    client: &mut Client,
    leader: BrokerId,
    settings: &ProducerSettings,
    lanes: &Lanes,
    batches: &[Shipped],
) -> Result<()> {
    let timeout_ms = super::admin::millis(client.settings().request_timeout);
    let mut topics: Vec<TopicProduceData<'_>> = Vec::new();
    for shipped in batches {
        let (name, partition) = lanes.name(shipped.lane);
        let records = Some(Records::Inline(lanes.bytes(shipped.lane, shipped.batch)));
        let data = PartitionProduceData { index: partition.0, records };
        match topics.iter_mut().find(|row| row.name == name) {
            Some(row) => row.partition_data.push(data),
            None => {
                topics.push(TopicProduceData {
                    name,
                    topic_id: shipped.topic_id,
                    partition_data: [data].into(),
                });
            }
        }
    }
    let with_ids = batches.iter().all(|shipped| shipped.topic_id != TopicId::ZERO);
    let request = ProduceRequest {
        transactional_id: None,
        acks: settings.acks.code(),
        timeout_ms,
        topic_data: topics.into(),
    };
    let connection = client.connection(leader)?;
    let last = if with_ids { i16::MAX } else { LAST_VERSION_BY_NAME };
    let version = connection.version_up_to(ApiKey::Produce, last)?;
    if settings.acks == Acks::None {
        connection.send_without_reply(version, &request).map(drop)
    } else {
        connection.send(version, &request, Duration::ZERO)
    }
}

fn row_of<'r>(
    response: &'r ProduceResponse<'_>,
    version: i16,
    topic: &str,
    id: TopicId,
    partition: PartitionIndex,
) -> Option<&'r PartitionProduceResponse<'r>> {
    let by_id = version > LAST_VERSION_BY_NAME;
    let topic =
        response.responses.iter().find(|row| if by_id { row.topic_id == id } else { row.name == topic })?;
    topic.partition_responses.iter().find(|row| row.index == partition.0)
}

fn answer_of(row: &PartitionProduceResponse<'_>, topic: &str) -> Answer {
    let faults = row.record_errors.iter().find_map(|fault| fault.batch_index_error_message);
    match check(row.error_code, || format!("{topic}-{}", row.index), faults.or(row.error_message)) {
        Ok(()) => Answer::Stored(Some(Offset(row.base_offset)).filter(|offset| offset.0 >= 0)),
        Err(error) => {
            // These say that the leader has the batch, and others perhaps not.
            let uncertain = matches!(
                error.code(),
                Some(ErrorCode::RequestTimedOut | ErrorCode::NotEnoughReplicasAfterAppend)
            );
            Answer::Failed { error, uncertain }
        }
    }
}

impl Client {
    /// A new producer id and its epoch.
    ///
    /// # Errors
    /// `Refused`; of the connection, after retries.
    pub fn producer_id(&mut self) -> Result<(ProducerId, ProducerEpoch)> {
        // The timeout is for transactions, and must be above 0 all the same.
        let request =
            InitProducerIdRequest { transaction_timeout_ms: 60_000, ..InitProducerIdRequest::default() };
        self.retrying(|client| {
            let reply = client.ask_any(&request)?;
            let response: InitProducerIdResponse = reply.body()?;
            check(response.error_code, || "producer id".to_owned(), None)?;
            Ok((ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch)))
        })
    }
}
