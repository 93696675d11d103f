//! Producers that keep a broker busy and remember what it acknowledged.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringlog::client::{Connection, Error, Settings};
use ringlog::model::ErrorCode;
use ringlog::model::{ProducerEpoch, ProducerId};
use ringlog::protocol::kafka::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use ringlog::protocol::kafka::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ringlog::protocol::kafka::{ApiKey, Records};
use ringlog::protocol::records::{BatchBuilder, Codec, NewRecord, Stamp, stamp};

use crate::ledger::{Acknowledged, Identity, Ledger, value_of};
use crate::process::{Broker, PATIENCE};

/// Requests of one producer on their way: as many as an idempotent one may have (KIP-98).
const IN_FLIGHT_MAX: usize = 5;

/// KAFKA_STORAGE_ERROR.
pub const STORAGE_ERROR: i16 = 56;

/// From the environment, or a new one. Printed: given again, it makes the same choices.
pub fn seed() -> u64 {
    let given = std::env::var("RINGLOG_SEED").ok();
    let given = given.map(|seed| seed.parse().expect("RINGLOG_SEED is a number"));
    let seed = given.unwrap_or_else(|| std::process::id().into());
    println!("RINGLOG_SEED={seed}");
    seed
}

/// Small numbers from a seed (xorshift).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    pub fn place(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound.try_into().unwrap())).unwrap()
    }
}

/// One producer over many lives of the broker.
pub struct Producer {
    number: u16,
    is_idempotent: bool,
    /// Sends nothing that goes straight to a segment.
    pub small_only: bool,
    id: Option<(ProducerId, ProducerEpoch)>,
    /// By place of the partition.
    lanes: Vec<Lane>,
    places: Vec<(String, i32)>,
    random: Random,
    pub acknowledged: Vec<Acknowledged>,
    /// Errors that batches were answered with; `None`: there must be none. Refused batches are forgotten.
    pub refusals: Option<Vec<i16>>,
    /// After what time the broker shall give up a request.
    pub timeout_ms: i32,
    /// Requests on their way: of each, the places of its partitions.
    requests: VecDeque<Vec<usize>>,
}

/// A producer's records in one partition.
#[derive(Default)]
struct Lane {
    next: u64,
    unacknowledged: VecDeque<Sent>,
}

struct Sent {
    first: u64,
    count: u64,
    batch: Vec<u8>,
}

impl Producer {
    pub fn new(number: u16, is_idempotent: bool, ledger: &Ledger, seed: u64) -> Self {
        let places = ledger.places();
        Self {
            number,
            is_idempotent,
            small_only: false,
            id: None,
            lanes: places.iter().map(|_| Lane::default()).collect(),
            places,
            random: Random::new(seed ^ u64::from(number) << 32),
            acknowledged: Vec::new(),
            refusals: None,
            timeout_ms: 30_000,
            requests: VecDeque::new(),
        }
    }

    /// Produces until the connection is lost, or the log behind it. What was on the way then is unknown: an idempotent
    /// producer sends it again in its next life, the others forget it and never use its counters again.
    ///
    /// What the broker went through may have passed a producer by: when it is `over` that one waits for its answers, and ends.
    fn run_until_lost(&mut self, broker: &str, settings: &Settings, count: &AtomicU64, over: &AtomicBool) {
        let result = Connection::open(broker, settings).and_then(|mut connection| {
            self.begin(&mut connection)?;
            loop {
                if over.load(Ordering::Relaxed) {
                    while !self.requests.is_empty() {
                        self.receive(&mut connection, count)?;
                    }
                    return Ok(());
                }
                self.step(&mut connection, count)?;
            }
        });
        let Err(error) = result else { return };
        assert!(error.is_connection_lost(), "producer {}: {error}", self.number);
        self.forget_unknown();
    }

    /// Produces so many times, and waits for every answer.
    pub fn produce(&mut self, connection: &mut Connection, steps: usize) {
        self.begin(connection).unwrap();
        let count = AtomicU64::new(0);
        for _ in 0..steps {
            self.step(connection, &count).unwrap();
        }
        while !self.requests.is_empty() {
            self.receive(connection, &count).unwrap();
        }
    }

    /// Produces until the storage refuses something, for 2 s at most each time. Returns all refusals.
    pub fn produce_until_refused(&mut self, broker: &Broker, connection: &mut Connection) -> Vec<i16> {
        self.refusals = Some(Vec::new());
        self.timeout_ms = 2_000;
        let deadline = Instant::now() + PATIENCE;
        while !self.refusals.iter().flatten().any(|&code| code == STORAGE_ERROR) {
            assert!(Instant::now() < deadline, "nothing is refused: {}", broker.said());
            self.produce(connection, 20);
        }
        let codes = self.refusals.take().unwrap_or_default();
        let known = [STORAGE_ERROR, ErrorCode::RequestTimedOut.code()];
        assert!(codes.iter().all(|code| known.contains(code)), "{codes:?}");
        codes
    }

    /// Produces `count` records at a time until the storage refuses nothing.
    pub fn produce_until_accepted(&mut self, broker: &Broker, connection: &mut Connection, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.refusals = Some(Vec::new());
            self.produce(connection, count);
            if self.refusals.iter().all(Vec::is_empty) {
                return;
            }
            assert!(Instant::now() < deadline, "appends do not go on: {}", broker.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends again what is unknown, and waits for everything.
    pub fn finish(&mut self, connection: &mut Connection) {
        self.begin(connection).unwrap();
    }

    fn forget_unknown(&mut self) {
        self.requests.clear();
        if !self.is_idempotent {
            self.lanes.iter_mut().for_each(|lane| lane.unacknowledged.clear());
        }
    }

    fn begin(&mut self, connection: &mut Connection) -> ringlog::client::Result<()> {
        if self.is_idempotent && self.id.is_none() {
            let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
            let version = connection.version(ApiKey::InitProducerId)?;
            let reply = connection.call(version, &request)?;
            let response: InitProducerIdResponse = reply.body()?;
            assert_eq!(response.error_code, 0);
            self.id = Some((ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch)));
        }
        for place in 0..self.lanes.len() {
            while !self.lanes[place].unacknowledged.is_empty() {
                self.send(connection, &[(place, 0)])?;
                self.receive(connection, &AtomicU64::new(0))?;
            }
        }
        Ok(())
    }

    fn step(&mut self, connection: &mut Connection, count: &AtomicU64) -> ringlog::client::Result<()> {
        while self.requests.len() < IN_FLIGHT_MAX {
            let mut parts = vec![self.make_batch()];
            if self.random.below(3) == 0 {
                let second = self.make_batch();
                if second.0 != parts[0].0 {
                    parts.push(second);
                } else {
                    // One batch per partition and request: this one goes by itself.
                    self.send(connection, &parts)?;
                    parts = vec![second];
                }
            }
            self.send(connection, &parts)?;
        }
        self.receive(connection, count)
    }

    /// A new batch at the end of a lane: the lane, and the batch's number among its unacknowledged ones.
    fn make_batch(&mut self) -> (usize, usize) {
        let place = self.random.place(self.lanes.len());
        let (count, bytes) = match self.random.below(if self.small_only { 17 } else { 20 }) {
            0..12 => (1, 100),
            12..17 => (20, 500),
            // At and above 64 KiB an append goes straight to its segment.
            17..19 => (70, 1_000),
            _ => (1, 300_000),
        };
        let codec = match self.random.below(8) {
            0 => Codec::Lz4,
            1 => Codec::Zstd,
            _ => Codec::None,
        };
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let mut builder = BatchBuilder::new(codec);
        let first = self.lanes[place].next;
        for counter in first..first + count {
            let value = value_of(Identity { producer: self.number, counter }, place, bytes);
            let record = NewRecord {
                timestamp: timestamp.try_into().unwrap(),
                value: Some(&value),
                ..NewRecord::default()
            };
            builder.push(&record).unwrap();
        }
        let mut batch = builder.finish().unwrap();
        if let Some((producer_id, producer_epoch)) = self.id {
            let base_sequence = first.try_into().unwrap();
            stamp(&mut batch, Stamp { producer_id, producer_epoch, base_sequence }).unwrap();
        }
        let lane = &mut self.lanes[place];
        lane.next += count;
        lane.unacknowledged.push_back(Sent { first, count, batch });
        (place, lane.unacknowledged.len() - 1)
    }

    fn send(&mut self, connection: &mut Connection, parts: &[(usize, usize)]) -> ringlog::client::Result<()> {
        self.requests.push_back(parts.iter().map(|&(place, _)| place).collect());
        // A topic that is named twice would be answered once.
        let mut topics: Vec<(&str, Vec<PartitionProduceData<'_>>)> = Vec::new();
        for &(place, number) in parts {
            let (name, index) = &self.places[place];
            let records = Some(Records::Inline(&self.lanes[place].unacknowledged[number].batch));
            let part = PartitionProduceData { index: *index, records };
            match topics.iter_mut().find(|(topic, _)| topic == name) {
                Some((_, parts)) => parts.push(part),
                None => topics.push((name, vec![part])),
            }
        }
        let topic_data = topics
            .into_iter()
            .map(|(name, parts)| TopicProduceData {
                name,
                partition_data: parts.into(),
                ..Default::default()
            })
            .collect();
        let request =
            ProduceRequest { acks: -1, timeout_ms: self.timeout_ms, topic_data, ..Default::default() };
        let version = connection.version_up_to(ApiKey::Produce, 12)?;
        connection.send(version, &request, Duration::from_secs(30))
    }

    fn receive(&mut self, connection: &mut Connection, count: &AtomicU64) -> ringlog::client::Result<()> {
        let reply = connection.receive()?;
        let response: ProduceResponse<'_> = reply.body()?;
        let places = self.requests.pop_front().unwrap();
        let rows = response.responses.iter();
        let rows: Vec<_> = rows
            .flat_map(|topic| topic.partition_responses.iter().map(move |row| (topic.name, row)))
            .collect();
        assert_eq!(rows.len(), places.len());
        for place in places {
            let (name, index) = &self.places[place];
            let row = rows.iter().find(|(topic, row)| topic == name && row.index == *index);
            let (_, row) = row.expect("a row for each part");
            if row.error_code == STORAGE_ERROR && self.refusals.is_none() {
                // It is not known whether this and what follows it took effect: as if the connection were lost.
                return Err(Error::Closed { address: "the partition's log".to_owned() });
            }
            let sent = self.lanes[place].unacknowledged.pop_front().unwrap();
            if let (Some(refusals), true) = (&mut self.refusals, row.error_code != 0) {
                refusals.push(row.error_code);
                continue;
            }
            assert_eq!(row.error_code, 0, "{:?}: {:?}", self.places[place], row.error_message);
            self.acknowledged.push(Acknowledged {
                place,
                first: Identity { producer: self.number, counter: sent.first },
                count: sent.count,
                base_offset: row.base_offset,
            });
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Keeps the broker busy until so many batches are acknowledged, and then does `end` to it, under load. A reader at the
/// tails enters in the ledger what it is shown meanwhile. Ends when all have lost their connections.
pub fn run_until<T>(
    broker: Broker,
    producers: &mut [Producer],
    ledger: &mut Ledger,
    batch_count: u64,
    end: impl FnOnce(Broker) -> T,
) -> T {
    let count = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let (address, settings) = (broker.address.clone(), broker.settings());
    thread::scope(|scope| {
        for producer in producers {
            let (address, settings, count, over) = (&address, &settings, &count, &over);
            scope.spawn(move || producer.run_until_lost(address, settings, count, over));
        }
        let (address, settings, over) = (&address, &settings, &over);
        scope.spawn(move || {
            let mut next = ledger.ends();
            let Ok(mut connection) = Connection::open(address, settings) else { return };
            while !over.load(Ordering::Relaxed) && ledger.fetch(&mut connection, &mut next, 50).is_ok() {}
        });
        let deadline = Instant::now() + PATIENCE;
        while count.load(Ordering::Relaxed) < batch_count {
            assert!(Instant::now() < deadline, "no progress: {}", broker.said());
            thread::sleep(Duration::from_millis(1));
        }
        let ended = end(broker);
        over.store(true, Ordering::Relaxed);
        ended
    })
}
