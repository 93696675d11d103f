//! What is known about the log from outside, and what must therefore hold after any death of the process.
//!
//! Every record carries its producer's number and a counter of its own. Then, per partition:
//! an offset that was ever read holds the same record for ever; offsets are dense; a high watermark never goes back below
//! one that was shown; a producer's records stand in the order of their counters, those of an idempotent producer without
//! gap or repetition; and what was acknowledged stands where the acknowledgement said.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ringlog::client::{Connection, Error};
use ringlog::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use ringlog::protocol::kafka::{ApiKey, Records};
use ringlog::protocol::records::Batches;

use crate::load::STORAGE_ERROR;
use crate::process::PATIENCE;

/// A record's producer and counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub producer: u16,
    pub counter: u64,
}

/// Records that were acknowledged together.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// Number of the partition in the ledger.
    pub place: usize,
    pub first: Identity,
    pub count: u64,
    pub base_offset: i64,
}

/// One partition as it was read.
#[derive(Debug)]
struct Partition {
    topic: String,
    index: i32,
    /// By offset.
    records: Vec<Identity>,
    high_watermark: usize,
    /// The last counter of each producer.
    last: HashMap<u16, u64>,
}

/// All partitions of a test.
#[derive(Debug)]
pub struct Ledger {
    partitions: Vec<Partition>,
    /// Numbers of the producers whose records have no gaps.
    idempotent: Vec<u16>,
    scratch: Vec<u8>,
}

impl Ledger {
    pub fn new(topics: &[(&str, i32)], idempotent: Vec<u16>) -> Self {
        let partitions = topics
            .iter()
            .flat_map(|&(topic, count)| (0..count).map(move |index| (topic, index)))
            .map(|(topic, index)| Partition {
                topic: topic.to_owned(),
                index,
                records: Vec::new(),
                high_watermark: 0,
                last: HashMap::new(),
            })
            .collect();
        Self { partitions, idempotent, scratch: Vec::new() }
    }

    /// Topic and index of each partition, by place.
    pub fn places(&self) -> Vec<(String, i32)> {
        self.partitions.iter().map(|partition| (partition.topic.clone(), partition.index)).collect()
    }

    pub fn ends(&self) -> Vec<usize> {
        self.partitions.iter().map(|partition| partition.records.len()).collect()
    }

    pub fn record_count(&self) -> usize {
        self.ends().into_iter().sum()
    }

    /// Reads every partition from `from` up to its high watermark, and holds it against what is known.
    pub fn read_to_end(&mut self, connection: &mut Connection, from: &[usize]) {
        let mut next = from.to_vec();
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.fetch(connection, &mut next, 0).unwrap();
            if self.partitions.iter().zip(&next).all(|(partition, &next)| next >= partition.high_watermark) {
                break;
            }
            let ends: Vec<usize> = self.partitions.iter().map(|partition| partition.high_watermark).collect();
            assert!(Instant::now() < deadline, "the log cannot be read to its end {ends:?}: at {next:?}");
        }
        for (partition, next) in self.partitions.iter().zip(next) {
            let known = partition.records.len();
            assert_eq!(
                next, known,
                "{}-{}: records were read that are gone",
                partition.topic, partition.index
            );
        }
    }

    /// One fetch of all partitions, waiting for up to `wait_ms`; `next` moves on.
    pub fn fetch(
        &mut self,
        connection: &mut Connection,
        next: &mut [usize],
        wait_ms: i32,
    ) -> ringlog::client::Result<()> {
        let mut topics: Vec<FetchTopic<'_>> = Vec::new();
        for (partition, &next) in self.partitions.iter().zip(next.iter()) {
            if topics.last().is_none_or(|topic| topic.topic != partition.topic) {
                topics.push(FetchTopic { topic: &partition.topic, ..FetchTopic::default() });
            }
            topics.last_mut().unwrap().partitions.push(FetchPartition {
                partition: partition.index,
                fetch_offset: next.try_into().unwrap(),
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            });
        }
        let request = FetchRequest {
            max_wait_ms: wait_ms,
            min_bytes: 1,
            max_bytes: 8 << 20,
            topics,
            ..FetchRequest::default()
        };
        let version = connection.version_up_to(ApiKey::Fetch, 12)?;
        connection.send(version, &request, Duration::from_secs(1))?;
        let reply = connection.receive()?;
        let response: FetchResponse<'_> = reply.body()?;
        assert_eq!(response.error_code, 0);
        let mut scratch = std::mem::take(&mut self.scratch);
        for topic in &response.responses {
            for row in &topic.partitions {
                let place = self
                    .partitions
                    .iter()
                    .position(|known| known.topic == topic.topic && known.index == row.partition_index)
                    .unwrap();
                if row.error_code == STORAGE_ERROR {
                    self.scratch = scratch;
                    return Err(Error::Closed { address: "the partition's log".to_owned() });
                }
                assert_eq!(row.error_code, 0, "{}-{} from {}", topic.topic, row.partition_index, next[place]);
                self.partitions[place].show(row.high_watermark);
                let bytes = row.records.and_then(Records::inline).unwrap_or_default();
                next[place] = self.take(place, next[place], bytes, &mut scratch);
            }
        }
        self.scratch = scratch;
        Ok(())
    }

    /// Enters the batches of one fetch, of which the first may begin below `from`. Returns where to read on.
    fn take(&mut self, place: usize, from: usize, bytes: &[u8], scratch: &mut Vec<u8>) -> usize {
        let mut next = from;
        for batch in Batches::new(bytes) {
            let batch = batch.unwrap();
            for record in batch.records(scratch, 64 << 20).unwrap() {
                let record = record.unwrap();
                let offset = usize::try_from(record.offset.0).unwrap();
                let identity = identity_of(record.value.unwrap(), place);
                self.partitions[place].enter(offset, identity, &self.idempotent);
                next = next.max(offset + 1);
            }
        }
        assert!(next <= self.partitions[place].high_watermark, "shown above the high watermark");
        next
    }

    /// Every acknowledged record stands where the acknowledgement said.
    pub fn check_acknowledged(&self, acknowledged: &[Acknowledged]) {
        for item in acknowledged {
            let partition = &self.partitions[item.place];
            let base = usize::try_from(item.base_offset).unwrap();
            for step in 0..item.count {
                let expected = Identity { counter: item.first.counter + step, ..item.first };
                let found = partition.records.get(base + usize::try_from(step).unwrap());
                assert_eq!(
                    found,
                    Some(&expected),
                    "acknowledged at offset {base} + {step} of {}-{}, which ends at {}",
                    partition.topic,
                    partition.index,
                    partition.records.len()
                );
            }
        }
    }
}

impl Partition {
    fn show(&mut self, high_watermark: i64) {
        let shown = usize::try_from(high_watermark).unwrap();
        assert!(
            shown >= self.high_watermark,
            "the high watermark of {}-{} went back from {} to {shown}",
            self.topic,
            self.index,
            self.high_watermark
        );
        self.high_watermark = shown;
    }

    fn enter(&mut self, offset: usize, identity: Identity, idempotent: &[u16]) {
        let name = || format!("{}-{} at offset {offset}", self.topic, self.index);
        if let Some(known) = self.records.get(offset) {
            assert_eq!(*known, identity, "{}: other data than before", name());
            return;
        }
        assert_eq!(offset, self.records.len(), "{}: offsets are left out", name());
        match self.last.insert(identity.producer, identity.counter) {
            Some(last) if idempotent.contains(&identity.producer) => {
                assert_eq!(identity.counter, last + 1, "{}: producer {}", name(), identity.producer);
            }
            Some(last) => assert!(identity.counter > last, "{}: {identity:?} after {last}", name()),
            None if idempotent.contains(&identity.producer) => {
                assert_eq!(identity.counter, 0, "{}: producer {}", name(), identity.producer);
            }
            None => {}
        }
        self.records.push(identity);
    }
}

/// The value of a record: who made it, for which partition, and filler that depends on both.
pub fn value_of(identity: Identity, place: usize, bytes: usize) -> Vec<u8> {
    let mut value = vec![filler(identity); bytes.max(VALUE_BYTES_MIN)];
    value[..2].copy_from_slice(&identity.producer.to_be_bytes());
    value[2..4].copy_from_slice(&u16::try_from(place).unwrap().to_be_bytes());
    value[4..12].copy_from_slice(&identity.counter.to_be_bytes());
    value
}

const VALUE_BYTES_MIN: usize = 12;

fn identity_of(value: &[u8], place: usize) -> Identity {
    let identity = Identity {
        producer: u16::from_be_bytes(value[..2].try_into().unwrap()),
        counter: u64::from_be_bytes(value[4..12].try_into().unwrap()),
    };
    assert_eq!(value[2..4], u16::try_from(place).unwrap().to_be_bytes(), "a record of another partition");
    let filler = filler(identity);
    assert!(
        value[VALUE_BYTES_MIN..].iter().all(|&byte| byte == filler),
        "the value of {identity:?} is damaged"
    );
    identity
}

fn filler(identity: Identity) -> u8 {
    identity.counter.wrapping_mul(31).wrapping_add(u64::from(identity.producer)).to_le_bytes()[0]
}
