//! Conversations by chance: appends, reads and look-ups with values that are near what is allowed.

use crate::script::batches::{batch, stamped, with};
use crate::script::{Conversation, Script};
use ringlog::model::TopicId;
use ringlog::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ringlog::protocol::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ringlog::protocol::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringlog::protocol::kafka::{ApiKey, Records};

pub const ALL: &[Conversation] = &[("random", talk)];

/// Conversations in one run.
const ROUNDS: u64 = 20;
/// Requests in one conversation.
const STEPS: u64 = 60;
const UNKNOWN_MAGIC: u8 = 3;
/// Any; each round has its own idempotent producers.
const FIRST_PRODUCER_ID: u64 = 4_000_000;

fn talk(script: &mut Script<'_>) {
    let first: u64 = std::env::var("RINGLOG_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in first..first + ROUNDS {
        script.case(&format!("seed {seed}"), |script| {
            let name = script.topic("chance", 2, &[]);
            let id = script.topic_id(&name);
            let mut round = Round { chance: Chance(seed), name, id, seed, sequences: [0; 2] };
            for _ in 0..STEPS {
                round.step(script);
            }
        });
    }
}

struct Round {
    chance: Chance,
    name: String,
    id: TopicId,
    seed: u64,
    /// What each producer would send next.
    sequences: [i32; 2],
}

impl Round {
    fn step(&mut self, script: &mut Script<'_>) {
        match self.chance.below(10) {
            0..=4 => self.append(script),
            5..=7 => self.read(script),
            _ => self.look_up(script),
        }
    }

    fn append(&mut self, script: &mut Script<'_>) {
        let versions = ApiKey::Produce.versions();
        let version = self.chance.between(versions.first, versions.last);
        let count = self.chance.below(2) + 1;
        let mut parts: Vec<(i32, Vec<u8>)> =
            self.partitions(count).into_iter().map(|index| (index, self.records())).collect();
        // For the sake of one such part Kafka refuses the whole request.
        if let Some((_, odd)) = parts.iter().find(|(_, records)| records[16] == UNKNOWN_MAGIC) {
            parts = vec![(0, odd.clone())];
        }
        let partition_data = parts
            .iter()
            .map(|(index, records)| PartitionProduceData {
                index: *index,
                records: Some(Records::Inline(records)),
            })
            .collect();
        let topic = TopicProduceData { name: &self.name, topic_id: self.id, partition_data };
        let acks = [-1, 1][usize::from(self.chance.below(2) == 0)];
        let request = ProduceRequest {
            acks,
            timeout_ms: 5_000,
            topic_data: [topic].into(),
            ..ProduceRequest::default()
        };
        script.call(version, &request);
    }

    fn records(&mut self) -> Vec<u8> {
        let count = usize::try_from(1 + self.chance.below(4)).expect("few");
        match self.chance.below(8) {
            0..=2 => {
                let times: Vec<i64> =
                    (0..count).map(|_| i64::from(self.chance.between(0, 9)) * 100).collect();
                batch(&times)
            }
            3 => self.broken(batch(&vec![500; count])),
            _ => self.numbered(count),
        }
    }

    fn numbered(&mut self, count: usize) -> Vec<u8> {
        let producer = usize::from(self.chance.below(2) == 0);
        let next = self.sequences[producer];
        let shift = [0, 0, 0, 1, -1][usize::try_from(self.chance.below(5)).expect("few")];
        let producer_epoch = i16::from(self.chance.below(6) == 0);
        let sequence = (next + shift).max(0);
        if shift == 0 && producer_epoch == 0 {
            self.sequences[producer] = next + i32::try_from(count).expect("few");
        }
        let id = FIRST_PRODUCER_ID + self.seed * 2 + producer as u64;
        stamped(count, i64::try_from(id).expect("small"), producer_epoch, sequence)
    }

    fn broken(&mut self, batch: Vec<u8>) -> Vec<u8> {
        match self.chance.below(6) {
            0 => with(batch, 57, &7_i32.to_be_bytes()),
            1 => with(batch, 23, &7_i32.to_be_bytes()),
            2 => with(batch, 16, &[UNKNOWN_MAGIC]),
            3 => batch[..batch.len() - 1].to_vec(),
            4 => [batch.clone(), batch].concat(),
            _ => {
                let mut batch = batch;
                batch[30] ^= 4;
                batch
            }
        }
    }

    fn read(&mut self, script: &mut Script<'_>) {
        let versions = ApiKey::Fetch.versions();
        let version = self.chance.between(versions.first, versions.last);
        let count = 1 + self.chance.below(3);
        let partitions = self
            .partitions(count)
            .into_iter()
            .map(|partition| FetchPartition {
                partition,
                fetch_offset: i64::from(self.chance.between(-1, 40)),
                partition_max_bytes: i32::from(self.chance.between(0, 600)),
                current_leader_epoch: [-1, -1, 0, 1][usize::try_from(self.chance.below(4)).expect("few")],
                ..FetchPartition::default()
            })
            .collect();
        let topic = FetchTopic { topic: &self.name, topic_id: self.id, partitions };
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: 5,
            min_bytes: i32::from(self.chance.between(0, 2)),
            max_bytes: i32::from(self.chance.between(0, 900)),
            topics: vec![topic],
            ..FetchRequest::default()
        };
        script.call(version, &request);
    }

    fn look_up(&mut self, script: &mut Script<'_>) {
        let versions = ApiKey::ListOffsets.versions();
        let version = self.chance.between(versions.first, versions.last);
        let partition = ListOffsetsPartition {
            partition_index: self.partition(),
            current_leader_epoch: -1,
            timestamp: i64::from(self.chance.between(-6, 1_000)),
        };
        let topic = ListOffsetsTopic { name: &self.name, partitions: vec![partition] };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
        script.call(version, &request);
    }

    /// Some, each once: one that stands twice in a request is another matter.
    fn partitions(&mut self, count: u64) -> Vec<i32> {
        let mut known = Vec::new();
        for _ in 0..count {
            let partition = self.partition();
            if !known.contains(&partition) {
                known.push(partition);
            }
        }
        known
    }

    fn partition(&mut self) -> i32 {
        [0, 0, 0, 1, 1, 1, 1, 2][usize::try_from(self.chance.below(8)).expect("few")]
    }
}

/// xorshift64*
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn between(&mut self, first: i16, last: i16) -> i16 {
        let width = u64::try_from(i32::from(last) - i32::from(first) + 1).expect("in order");
        let step = i32::try_from(self.below(width)).expect("small");
        i16::try_from(i32::from(first) + step).expect("between both")
    }
}
