//! The work whose instructions are counted: a shard with one topic over plain memory, and a disk that takes everything.

use std::sync::Arc;

use ringlog::broker::connection::OutPiece;
use ringlog::broker::connection::frames::Inbound;
use ringlog::broker::owner::partitions::Partitions;
use ringlog::broker::shards::{ConnectionId, FrameFate, Shard};
use ringlog::config::{BrokerConfig, Machine};
use ringlog::controller::state::{Command, Context, CreateMode, NewTopic, State};
use ringlog::model::Now;
use ringlog::model::image::{BrokerImage, Endpoint};
use ringlog::model::{BrokerId, ClusterId};
use ringlog::protocol::kafka::frame::encode_request;
use ringlog::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ringlog::protocol::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringlog::protocol::kafka::{Records, Request, Writer};
use ringlog::protocol::records::{BatchBuilder, Codec, NewRecord};
use ringlog::runtime::Result as RuntimeResult;
use ringlog::runtime::memory::{AlignedBuffer, ArenaMemory};
use ringlog::storage::operation::{Completion, Operation, Outcome};
use ringlog::storage::shard::{ReadPiece, ShardLog, ShardOptions};

const ARENA_BYTES: usize = 64 << 20;
const COMMIT_FILE_BYTES: u64 = 4 << 20;
/// In November 2023.
const NOW_MS: i64 = 1_700_000_000_000;
const TOPIC: &str = "counted";
const PRODUCE_VERSION: i16 = 12;
const FETCH_VERSION: i16 = 12;

/// What is counted: one request of each, from its frame to the reply.
pub const WORKS: [&str; 5] = ["append-100", "append-100-synced", "append-128k", "fetch-100", "fetch-128k"];

/// Does `work` so many times.
pub fn run(work: &str, times: u64) {
    let mut bench = Bench::new(work.ends_with("synced"));
    let batch = if work.ends_with("128k") { batch(1024, 126) } else { batch(100, 1) };
    let append = encoded(PRODUCE_VERSION, &append_request(&batch));
    // Tables and buffers grow in the first rounds.
    for _ in 0..50 {
        bench.uncounted(&append);
    }
    let is_append = work.starts_with("append");
    for round in 0..times {
        let frame = if is_append {
            append.clone()
        } else {
            let records = i64::from(if work.ends_with("128k") { 126 } else { 1 });
            encoded(FETCH_VERSION, &fetch_request(round.cast_signed() % 50 * records, batch.len()))
        };
        let reply_bytes = bench.counted_request(&frame);
        let least = if is_append { 40 } else { batch.len() };
        assert!(reply_bytes >= least, "{work}: a reply of {reply_bytes} bytes");
    }
}

/// One request inside the shard: all that is counted. What is to be synced is acknowledged after a group of its own.
#[inline(never)]
pub fn counted(
    shard: &mut Shard<Memory>,
    connection: ConnectionId,
    frame: &[u8],
    is_synced: bool,
) -> FrameFate {
    let fate = shard.handle_frame(connection, Inbound::Small(frame));
    if is_synced {
        carry_out(shard)
    } else {
        shard.handle_events()
    }
    fate
}

/// Every operation is done as soon as it is asked for.
fn carry_out(shard: &mut Shard<Memory>) {
    loop {
        shard.handle_events();
        let Some(operation) = shard.poll_operation() else { break };
        let completion = match operation {
            Operation::Write { id, pieces, .. } => Completion { id, outcome: Outcome::Done, pieces },
            Operation::Read { id, bytes, .. } => {
                let buffer = AlignedBuffer::zeroed(bytes as usize);
                Completion { id, outcome: Outcome::Buffer(buffer), pieces: Vec::new() }
            }
            Operation::Sync { id, .. } | Operation::Task { id, .. } => {
                Completion { id, outcome: Outcome::Done, pieces: Vec::new() }
            }
        };
        shard.handle_completion(completion);
    }
}

struct Bench {
    shard: Shard<Memory>,
    connection: ConnectionId,
    is_synced: bool,
}

impl Bench {
    fn new(is_synced: bool) -> Self {
        let machine = Machine { memory_bytes: 8 << 30, cpu_count: 2 };
        let durability = if is_synced { "synced" } else { "written" };
        let settings = format!("ringlog.durability={durability}\nnum.partitions=1\n");
        let config = Arc::new(BrokerConfig::load(Some(&settings), &[], machine).expect("sound settings"));
        let endpoint =
            Endpoint { listener: "PLAINTEXT".to_owned(), host: "127.0.0.1".to_owned(), port: 9_092 };
        let broker = BrokerImage { id: BrokerId(0), endpoints: vec![endpoint] };
        let mut state = State::new(ClusterId([1; 16]), broker);
        decide(&mut state, &config, &Command::RegisterStart);
        let topic = NewTopic {
            name: TOPIC.to_owned(),
            partition_count: 1,
            replication_factor: -1,
            ..NewTopic::default()
        };
        let command = Command::CreateTopics { topics: vec![topic], mode: CreateMode::Create };
        let mut log = ShardLog::new(ShardOptions::default(), Memory(vec![0; ARENA_BYTES]), NOW_MS);
        let commit_file = log.fresh_file();
        log.add_commit_file(commit_file, 0, COMMIT_FILE_BYTES);
        let image = Arc::new(state.image().clone());
        let mut shard = Shard::new(log, Arc::clone(&config), image, Partitions::default());
        shard.set_now(Now { steady_ms: NOW_MS, wall_ms: NOW_MS });
        decide(&mut state, &config, &command);
        shard.handle_image(Arc::new(state.image().clone()));
        let connection = shard.open_connection(0);
        carry_out(&mut shard);
        Self { shard, connection, is_synced }
    }

    fn uncounted(&mut self, frame: &[u8]) {
        let mut frame = frame[4..].to_vec();
        assert_eq!(self.shard.handle_frame(self.connection, Inbound::Small(&frame)), FrameFate::Done);
        carry_out(&mut self.shard);
        assert!(self.take_reply() > 0, "no reply");
    }

    /// Returns the bytes of the reply.
    fn counted_request(&mut self, frame: &[u8]) -> usize {
        let mut frame = frame[4..].to_vec();
        let fate = counted(&mut self.shard, self.connection, &frame, self.is_synced);
        assert_eq!(fate, FrameFate::Done);
        let reply = self.take_reply();
        carry_out(&mut self.shard);
        reply
    }

    fn take_reply(&mut self) -> usize {
        let mut bytes = 0;
        while self.shard.poll_output().is_some() {
            for piece in self.shard.take_output(self.connection) {
                match piece {
                    OutPiece::Bytes(part) => bytes += part.len(),
                    OutPiece::Records(records) => {
                        let (ReadPiece::Arena { bytes: part, .. } | ReadPiece::Cached { bytes: part, .. }) =
                            &records.piece;
                        bytes += *part as usize;
                        self.shard.release(vec![records]);
                    }
                }
            }
        }
        bytes
    }
}

fn decide(state: &mut State, config: &BrokerConfig, command: &Command) {
    let mut draw = || [7; 16];
    let context = &mut Context { config, random: &mut draw };
    let (records, _) = state.decide(command, context).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    for record in &records {
        assert!(state.apply(record).is_ok(), "what was decided can be applied: {record:?}");
    }
}

fn batch(value_bytes: usize, count: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = vec![b'v'; value_bytes];
    for _ in 0..count {
        builder
            .push(&NewRecord { timestamp: NOW_MS, value: Some(&value), ..NewRecord::default() })
            .expect("it fits");
    }
    builder.finish().expect("a batch")
}

fn append_request(batch: &[u8]) -> ProduceRequest<'_> {
    let partition = PartitionProduceData { index: 0, records: Some(Records::Inline(batch)) };
    let topic =
        TopicProduceData { name: TOPIC, partition_data: [partition].into(), ..TopicProduceData::default() };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: [topic].into(), ..ProduceRequest::default() }
}

fn fetch_request(offset: i64, bytes: usize) -> FetchRequest<'static> {
    let partition = FetchPartition {
        fetch_offset: offset,
        partition_max_bytes: i32::try_from(bytes).expect("a small batch"),
        ..FetchPartition::default()
    };
    let topic = FetchTopic { topic: TOPIC, partitions: vec![partition], ..FetchTopic::default() };
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

fn encoded<'m, R: Request<'m>>(version: i16, request: &R) -> Vec<u8> {
    let mut writer = Writer::new();
    encode_request(&mut writer, version, 7, Some("bench"), request).expect("a small request");
    writer.encoded().to_vec()
}

/// An arena that nothing survives.
pub struct Memory(Vec<u8>);

impl ArenaMemory for Memory {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn read(&self, position: usize, len: usize) -> &[u8] {
        &self.0[position..position + len]
    }

    fn write(&mut self, position: usize, bytes: &[u8]) {
        self.0[position..position + bytes.len()].copy_from_slice(bytes);
    }

    fn publish(&mut self, position: usize, value: u64) {
        self.write(position, &value.to_ne_bytes());
    }

    fn load(&self, position: usize) -> u64 {
        u64::from_ne_bytes(self.read(position, 8).try_into().expect("eight bytes"))
    }

    fn zero(&mut self, position: usize, len: usize) {
        self.0[position..position + len].fill(0);
    }

    fn touch(&mut self, _: usize, _: usize) -> RuntimeResult<()> {
        Ok(())
    }
}
