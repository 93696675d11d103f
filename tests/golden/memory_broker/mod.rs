//! The broker's core without a machine: one shard over memory and a simulated disk, with the metadata beside it.
//!
//! Deterministic: every operation of the shard is carried out at once, the clock stands still unless somebody waits.

mod bounds;
mod fetches;
mod flushes;
mod full_disk;
mod pressed;
mod retention;
mod rolls;
mod searches;
mod several_shards;
mod slow_reads;
mod stops;
mod storage_errors;
mod tight_mesh;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use self::tight_mesh::TightMesh;
use crate::script::Broker;
use ringlog::broker::connection::OutPiece;
use ringlog::broker::connection::frames::Inbound;
use ringlog::broker::owner::partitions::Partitions;
use ringlog::broker::shards::control::ControlAnswer;
use ringlog::broker::shards::{ConnectionId, FrameFate, Shard};
use ringlog::config::{BrokerConfig, Machine};
use ringlog::controller::state::{Command, Context, Refusal, Reply, State};
use ringlog::model::Now;
use ringlog::model::image::{BrokerImage, Endpoint};
use ringlog::model::{BrokerId, ClusterId, ShardPlace};
use ringlog::runtime::Result as RuntimeResult;
use ringlog::runtime::file::BlockingFile as _;
use ringlog::runtime::memory::{AlignedBuffer, ArenaMemory};
use ringlog::runtime::sim::{SimDisk, SimFile, SimRandom, SimSteps};
use ringlog::storage::driver::run_task;
use ringlog::storage::operation::{Completion, Fault, FileId, Lane, Operation, Outcome, Task, WritePiece};
use ringlog::storage::shard::{ReadPiece, ShardLog, ShardOptions, commit_file_path};

const ARENA_BYTES: usize = 8 << 20;
const COMMIT_FILE_BYTES: u64 = 4 << 20;
const PORT: u16 = 9_092;
/// In November 2023.
const START_MS: i64 = 1_700_000_000_000;
/// Turns of the shard that an answer is waited for.
const WAITS_MAX: usize = 5_000;

/// Rounds of messages between shards that something is settled after.
const ROUNDS_MAX: usize = 10_000;

/// See the module.
pub struct MemoryBroker {
    shard: Shard<SharedMemory>,
    state: State,
    config: Arc<BrokerConfig>,
    memory: Rc<RefCell<Vec<u8>>>,
    disk: SimDisk,
    files: BTreeMap<FileId, SimFile>,
    /// By which names they were opened.
    paths: BTreeMap<FileId, String>,
    /// Writes, reads and flushes of files whose paths begin so end with an error.
    failing: Option<String>,
    /// Durable writes that are kept from being done.
    held_writes: Option<Vec<Operation>>,
    durable_writes: u64,
    connection: ConnectionId,
    closed: bool,
    received: VecDeque<Vec<u8>>,
    /// Bytes of answers that are not whole frames yet.
    incoming: Vec<u8>,
    now_ms: i64,
    random: u128,
    reads: u64,
    turns: u64,
    reads_replies: bool,
    set_back_ms: i64,
    /// Reads of the disk that take their time: all of them, if there is a list.
    held_reads: Option<Vec<Operation>>,
    /// No removal comes to its end.
    holds_removals: bool,
    /// The other shards, which have no connections: from number 1 on.
    others: Vec<Self>,
    /// Messages between them go by it; without one, at once.
    mesh: Option<TightMesh>,
}

impl MemoryBroker {
    /// With these settings, one to a line.
    pub fn new(settings: &str) -> Self {
        Self::with_options(settings, ShardOptions::default())
    }

    /// The same with so many shards; all connections are the first one's.
    pub fn of_many(settings: &str, count: u16) -> Self {
        let mut shards: Vec<Self> = (0..count)
            .map(|number| Self::at(settings, ShardOptions::default(), ShardPlace { number, count }))
            .collect();
        let mut first = shards.remove(0);
        first.others = shards;
        first
    }

    /// The same whose queues between shards have room for hardly anything.
    pub fn of_many_in_a_tight_mesh(settings: &str, count: u16, seed: u64) -> Self {
        let mut broker = Self::of_many(settings, count);
        broker.mesh = Some(TightMesh::new(usize::from(count), seed));
        broker
    }

    /// How often a message between shards has found its queue full.
    pub fn refused_messages(&self) -> usize {
        self.mesh.as_ref().map_or(0, TightMesh::refused)
    }

    /// One shard with a storage that is set up so.
    pub fn with_options(settings: &str, options: ShardOptions) -> Self {
        Self::at(settings, options, ShardPlace::ONLY)
    }

    fn at(settings: &str, options: ShardOptions, place: ShardPlace) -> Self {
        let machine = Machine { memory_bytes: 8 << 30, cpu_count: 2 };
        let config = BrokerConfig::load(Some(settings), &[], machine).expect("sound settings");
        let endpoint =
            Endpoint { listener: "PLAINTEXT".to_owned(), host: "127.0.0.1".to_owned(), port: PORT };
        let broker = BrokerImage { id: BrokerId(0), endpoints: vec![endpoint] };
        let mut state = State::new(ClusterId([1; 16]), broker);
        let config = Arc::new(config);
        let memory = Rc::new(RefCell::new(vec![0; ARENA_BYTES]));
        let arena = SharedMemory { bytes: vec![0; ARENA_BYTES], shared: Rc::clone(&memory) };
        let mut random = 1;
        decide(&mut state, &config, &mut random, &Command::RegisterStart).expect("a first start");
        let disk = SimDisk::new(SimSteps::default(), SimRandom::new(1));
        let options = ShardOptions {
            retention_interval_ms: i64::try_from(config.log_retention_check_interval_ms).expect("a time"),
            ..options
        };
        let mut log = ShardLog::new(options, arena, START_MS);
        let files = commit_files(&disk, &mut log);
        let image = Arc::new(state.image().clone());
        let mut shard = Shard::new(log, Arc::clone(&config), image, Partitions::of(place));
        shard.set_now(Now { steady_ms: START_MS, wall_ms: START_MS });
        let connection = shard.open_connection(0);
        Self {
            shard,
            state,
            config,
            memory,
            disk,
            files,
            paths: BTreeMap::new(),
            failing: None,
            held_writes: None,
            durable_writes: 0,
            connection,
            closed: false,
            received: VecDeque::new(),
            incoming: Vec::new(),
            now_ms: START_MS,
            random,
            reads: 0,
            turns: 0,
            reads_replies: true,
            set_back_ms: 0,
            held_reads: None,
            holds_removals: false,
            others: Vec::new(),
            mesh: None,
        }
    }

    /// What is sent from now on comes from another client; the first one still waits for its replies.
    pub fn join(&mut self) {
        self.connection = self.shard.open_connection(0);
    }

    /// Whether the clients read what they are sent, from now on.
    pub fn read_replies(&mut self, reads: bool) {
        self.reads_replies = reads;
        self.settle();
    }

    /// Whether the disk takes its time with reads, from now on.
    pub fn hold_reads(&mut self, holds: bool) {
        let held = std::mem::replace(&mut self.held_reads, holds.then(Vec::new));
        self.carry_out_held(held.into_iter().flatten());
    }

    /// Keeps durable writes from being done from now on; or does those that were kept, and all that follow.
    pub fn hold_durable_writes(&mut self, hold: bool) {
        let held = std::mem::replace(&mut self.held_writes, hold.then(Vec::new));
        self.carry_out_held(held.into_iter().flatten());
    }

    fn carry_out_held(&mut self, held: impl Iterator<Item = Operation>) {
        for operation in held {
            let completion = self.carry_out(operation);
            self.shard.handle_completion(completion);
        }
        self.settle();
    }

    /// Durable writes that were wanted so far.
    pub const fn durable_writes(&self) -> u64 {
        self.durable_writes
    }

    /// From now on, writes, reads and flushes of what lies below `folder` end with an error, and no others.
    pub fn fail(&mut self, folder: Option<&str>) {
        self.failing = folder.map(|folder| format!("{folder}/"));
    }

    /// From now on no removal comes to its end.
    pub const fn hold_removals(&mut self) {
        self.holds_removals = true;
    }

    /// Whether replies that are not taken keep others from theirs.
    pub fn is_pressed(&self) -> bool {
        self.shard.is_pressed()
    }

    /// Whether the first shard's log could give its memory away.
    pub fn is_detached(&self) -> bool {
        self.shard.is_detached()
    }

    /// The number of the shard that has the partition.
    pub fn owner_of(&self, topic: &str, partition: i32) -> u16 {
        let count = u16::try_from(self.others.len() + 1).expect("few");
        let id = self.state.image().topic(topic).expect("it is there").id;
        (0..count).find(|&number| ShardPlace { number, count }.owns(id, partition)).expect("somebody has it")
    }

    /// Whether the broker has closed the connection.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether a stop has nothing to wait for any more.
    pub fn is_at_rest(&self) -> bool {
        self.shard.is_at_rest()
    }

    /// Reads of the disk so far.
    pub const fn reads(&self) -> u64 {
        self.reads
    }

    /// How often a partition was looked at for a fetch.
    pub const fn fetch_looks(&self) -> u64 {
        self.shard.fetch_looks()
    }

    /// The answer that is there without any waiting.
    pub fn answer_now(&mut self) -> Option<Vec<u8>> {
        self.received.pop_front()
    }

    /// How often the shard was asked to do what is due.
    pub const fn turns(&self) -> u64 {
        self.turns
    }

    /// Carries on until nothing is left to do at this time.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.proceed();
            self.others.iter_mut().for_each(Self::proceed);
            if !self.exchange() {
                return;
            }
        }
        panic!("the shards ask each other for ever");
    }

    /// Carries the shards' messages to each other. False: there were none.
    fn exchange(&mut self) -> bool {
        let mut messages = Vec::new();
        let shards =
            std::iter::once(&mut self.shard).chain(self.others.iter_mut().map(|other| &mut other.shard));
        for (from, shard) in (0..).zip(shards) {
            messages
                .extend(std::iter::from_fn(|| shard.poll_message()).map(|(to, message)| (from, to, message)));
        }
        if let Some(mesh) = &mut self.mesh {
            mesh.send(messages);
            messages = mesh.take();
        }
        let is_busy = !messages.is_empty();
        for (from, to, message) in messages {
            let other = usize::from(to).checked_sub(1).map(|place| &mut self.others[place].shard);
            other.unwrap_or(&mut self.shard).handle_message(from, message);
        }
        is_busy
    }

    /// Carries on with this shard alone.
    fn proceed(&mut self) {
        loop {
            self.shard.handle_events();
            let mut idle = true;
            while let Some(question) = self.shard.poll_question() {
                let reply = decide(&mut self.state, &self.config, &mut self.random, &question.command);
                let image = Arc::new(self.state.image().clone());
                for other in &mut self.others {
                    other.shard.handle_image(Arc::clone(&image));
                }
                self.shard.handle_image(image);
                self.shard.handle_answer(ControlAnswer { token: question.token, reply });
                idle = false;
            }
            while let Some(operation) = self.shard.poll_operation() {
                let held = match &operation {
                    Operation::Read { .. } => &mut self.held_reads,
                    Operation::Write { durable: true, .. } => {
                        self.durable_writes += 1;
                        &mut self.held_writes
                    }
                    _ => &mut None,
                };
                if let Some(held) = held {
                    held.push(operation);
                    continue;
                }
                if self.holds_removals && is_removal(&operation) {
                    continue;
                }
                let completion = self.carry_out(operation);
                self.shard.handle_completion(completion);
                idle = false;
            }
            while let Some(id) = self.shard.poll_broken_off() {
                self.closed |= id == self.connection;
            }
            while self.reads_replies
                && let Some(connection) = self.shard.poll_output()
            {
                self.take_output(connection);
                idle = false;
            }
            if idle {
                return;
            }
        }
    }

    fn is_failing(&self, file: FileId) -> bool {
        let path = self.paths.get(&file);
        self.failing.as_ref().is_some_and(|failing| path.is_some_and(|path| path.starts_with(failing)))
    }

    fn carry_out(&mut self, operation: Operation) -> Completion {
        match operation {
            Operation::Write { id, file, pieces, .. } if self.is_failing(file) => {
                Completion { id, outcome: Outcome::Failed(Fault::Io), pieces }
            }
            Operation::Sync { id, file } | Operation::Read { id, file, .. } if self.is_failing(file) => {
                Completion { id, outcome: Outcome::Failed(Fault::Io), pieces: Vec::new() }
            }
            Operation::Write { id, file, pieces, position, .. } => {
                let file = self.files.get(&file).expect("an open file");
                let mut bytes = Vec::new();
                for piece in &pieces {
                    match piece {
                        WritePiece::Arena { place, bytes: count, .. } => {
                            bytes.extend_from_slice(&self.memory.borrow()[place_of(*place, *count)]);
                        }
                        WritePiece::Buffer { buffer, bytes: count } => {
                            bytes.extend_from_slice(&buffer.as_slice()[place_of(0, *count)]);
                        }
                    }
                }
                file.write_at(position, &bytes).expect("the disk is sound");
                file.sync().expect("the disk is sound");
                Completion { id, outcome: Outcome::Done, pieces }
            }
            Operation::Sync { id, file } => {
                self.files.get(&file).expect("an open file").sync().expect("the disk is sound");
                Completion { id, outcome: Outcome::Done, pieces: Vec::new() }
            }
            Operation::Read { id, file, position, bytes } => {
                self.reads += 1;
                let count = usize::try_from(bytes).expect("a size");
                let mut buffer = AlignedBuffer::zeroed(count);
                let file = self.files.get(&file).expect("an open file");
                file.read_at(position, buffer.as_mut_slice()).expect("the disk is sound");
                Completion { id, outcome: Outcome::Buffer(buffer), pieces: Vec::new() }
            }
            Operation::Task { id, task, .. } => {
                let outcome = self.run(&task);
                Completion { id, outcome, pieces: Vec::new() }
            }
        }
    }

    fn run(&mut self, task: &Task) -> Outcome {
        if let Task::Close { file } = task {
            self.files.remove(file);
            return Outcome::Done;
        }
        let file = task.file().and_then(|file| self.files.get(&file));
        let done = run_task(&self.disk, task, file);
        if let Task::Open { file, path, .. } = task {
            self.paths.insert(*file, path.clone());
        }
        if let (Some(name), Some(opened)) = (task.opens(), done.opened) {
            self.files.insert(name, opened);
        }
        done.outcome
    }

    fn take_output(&mut self, connection: ConnectionId) {
        for piece in self.shard.take_output(connection) {
            match piece {
                OutPiece::Bytes(bytes) => self.incoming.extend_from_slice(&bytes),
                OutPiece::Records(records) => {
                    match &records.piece {
                        ReadPiece::Arena { place, bytes, .. } => {
                            let range = place_of(*place, *bytes);
                            let other = usize::from(records.owner).checked_sub(1);
                            let memory = other.map_or(&self.memory, |place| &self.others[place].memory);
                            self.incoming.extend_from_slice(&memory.borrow()[range]);
                        }
                        ReadPiece::Cached { buffer, from, bytes } => {
                            self.incoming.extend_from_slice(&buffer.as_slice()[place_of(*from, *bytes)]);
                        }
                    }
                    self.shard.release(vec![records]);
                }
            }
        }
        self.shard.note_sent(connection);
        while let Some(prefix) = self.incoming.first_chunk() {
            let end = 4 + usize::try_from(u32::from_be_bytes(*prefix)).expect("a length");
            if self.incoming.len() < end {
                break;
            }
            let rest = self.incoming.split_off(end);
            let frame = std::mem::replace(&mut self.incoming, rest);
            self.received.push_back(frame[4..].to_vec());
        }
    }

    fn handle_time(&mut self) {
        let now = Now { steady_ms: self.now_ms, wall_ms: self.now_ms - self.set_back_ms };
        self.shard.handle_time(now);
        self.others.iter_mut().for_each(|other| other.shard.handle_time(now));
    }

    fn next_deadline_ms(&self) -> i64 {
        let others = self.others.iter().map(|other| other.shard.next_deadline_ms());
        others.chain([self.shard.next_deadline_ms()]).min().unwrap_or(i64::MAX)
    }

    /// No request is taken any more.
    pub fn begin_stop(&mut self) {
        self.shard.begin_stop();
        self.shard.begin_close();
        self.settle();
    }

    /// From the next turn on, the wall clock is so much behind.
    pub const fn set_clock_back(&mut self, by_ms: i64) {
        self.set_back_ms = by_ms;
    }

    /// Lets time pass until the next thing is due.
    fn wait(&mut self) {
        self.now_ms = self.next_deadline_ms().clamp(self.now_ms, self.now_ms + 60_000);
        self.turns += 1;
        self.handle_time();
        self.settle();
    }
}

impl MemoryBroker {
    /// Hands a frame over; what it sets in motion waits.
    fn hand_over(&mut self, frame: &[u8]) {
        if self.closed {
            return;
        }
        match self.shard.handle_frame(self.connection, Inbound::Small(frame)) {
            FrameFate::Done => {}
            FrameFate::Close => self.closed = true,
            FrameFate::Stalled => panic!("there is room for every append of these conversations"),
            FrameFate::NoRoom => panic!("there is room for every reply of these conversations"),
        }
    }

    /// Frames that came together.
    pub fn send_together(&mut self, frames: &[Vec<u8>]) {
        frames.iter().for_each(|frame| self.hand_over(frame));
        self.settle();
    }
}

impl Broker for MemoryBroker {
    fn send(&mut self, frame: &[u8]) {
        self.hand_over(frame);
        self.settle();
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        for _ in 0..WAITS_MAX {
            if let Some(frame) = self.received.pop_front() {
                return Some(frame);
            }
            if self.closed {
                return None;
            }
            self.wait();
        }
        panic!("the broker neither answers nor closes");
    }

    fn reconnect(&mut self) {
        self.shard.close_connection(self.connection);
        self.connection = self.shard.open_connection(0);
        self.incoming.clear();
        self.received.clear();
        self.closed = false;
    }

    fn port(&self) -> u16 {
        PORT
    }

    fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn pause(&mut self, time: Duration) {
        let end_ms = self.now_ms + i64::try_from(time.as_millis()).expect("a short time");
        while self.now_ms < end_ms {
            self.now_ms = self.next_deadline_ms().clamp(self.now_ms + 1, end_ms);
            self.handle_time();
            self.settle();
        }
    }
}

const fn is_removal(operation: &Operation) -> bool {
    let Operation::Task { lane: Lane::Slow, task, .. } = operation else { return false };
    matches!(task, Task::RemoveFiles { .. } | Task::RemoveFolder { .. })
}

/// The commit-log file that a first start makes.
fn commit_files(disk: &SimDisk, log: &mut ShardLog<SharedMemory>) -> BTreeMap<FileId, SimFile> {
    let file = log.fresh_file();
    let task = Task::CreateCommitFile { file, path: commit_file_path(0, 0), bytes: COMMIT_FILE_BYTES };
    let made = run_task(disk, &task, None).opened.expect("the disk is sound");
    log.add_commit_file(file, 0, COMMIT_FILE_BYTES);
    BTreeMap::from([(file, made)])
}

fn decide(
    state: &mut State,
    config: &BrokerConfig,
    random: &mut u128,
    command: &Command,
) -> Result<Reply, Refusal> {
    let mut draw = || {
        *random = random.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(0x9e37_79b9);
        random.to_be_bytes()
    };
    let (records, reply) = state.decide(command, &mut Context { config, random: &mut draw })?;
    for record in &records {
        let applied: Result<(), _> = state.apply(record);
        assert!(applied.is_ok(), "what was decided can be applied: {record:?}");
    }
    Ok(reply)
}

fn place_of(from: u64, count: u64) -> std::ops::Range<usize> {
    let place = |value: u64| usize::try_from(value).expect("a place in memory");
    place(from)..place(from + count)
}

/// The arena's memory, of which the test keeps a copy to send and write from.
pub struct SharedMemory {
    bytes: Vec<u8>,
    shared: Rc<RefCell<Vec<u8>>>,
}

impl SharedMemory {
    fn put(&mut self, position: usize, bytes: &[u8]) {
        self.bytes[position..position + bytes.len()].copy_from_slice(bytes);
        self.shared.borrow_mut()[position..position + bytes.len()].copy_from_slice(bytes);
    }
}

impl ArenaMemory for SharedMemory {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn read(&self, position: usize, len: usize) -> &[u8] {
        &self.bytes[position..position + len]
    }

    fn write(&mut self, position: usize, bytes: &[u8]) {
        self.put(position, bytes);
    }

    fn publish(&mut self, position: usize, value: u64) {
        self.put(position, &value.to_ne_bytes());
    }

    fn load(&self, position: usize) -> u64 {
        self.bytes[position..].first_chunk().copied().map_or(0, u64::from_ne_bytes)
    }

    fn zero(&mut self, position: usize, len: usize) {
        self.put(position, &vec![0; len]);
    }

    fn touch(&mut self, _position: usize, _len: usize) -> RuntimeResult<()> {
        Ok(())
    }
}
