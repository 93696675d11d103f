//! All logs of one shard, their arena, their commit log, and the I/O they want.
//!
//! Lives: one per shard, used by that shard alone. Pure: it never waits; it hands out [`Operation`]s and [`Event`]s and is
//! told `Completion`s and the time. The same code runs on the simulator.
//!
//! Invariants: one segment operation per partition at a time (so no block is written twice at once); bytes behind what a
//! completed write covers are read from memory only; a chunk is pinned while an operation or a reply uses it.

mod append;
mod checkpoint;
mod complete;
pub mod figures;
mod files;
mod flush;
mod producers;
mod read;
mod retention;
mod search;
mod slots;
mod stall;
mod truncate;
mod write;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use self::append::{AppendError, Appended};
use self::checkpoint::Capture;
pub use self::files::commit_file_path;
use self::files::take_due_indices;
use self::flush::Round;
use self::read::ExtentCache;
pub use self::read::{ReadDone, ReadError, ReadPiece};
pub use self::search::{Searched, TimestampSearch};
use self::slots::Slots;
use super::PartitionSlot;
use super::arena::ChunkArena;
use super::arena::ChunkId;
use super::commit_log::{CommitLog, Entry};
use super::operation::{FileId, Lane, Operation, OperationId, Task};
use super::partition::{LogConfig, PartitionLog};
use super::seeded_bug::SeededBug;
use crate::model::{LeaderEpoch, Offset, TopicPartition};
use crate::runtime::memory::ArenaMemory;

/// How a shard's storage is set up.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    pub directory_id: [u8; 16],
    pub shard: u32,
    /// The start of the broker: names this life's commit log, arena and checkpoint.
    pub incarnation: u64,
    /// Commit-log writes in flight at once.
    pub commit_depth: usize,
    /// Bound of all commit-log files together.
    pub commit_bytes_max: u64,
    /// Files of segments held open at once.
    pub open_files_max: usize,
    /// Bytes of the arena that may hold what is already in segment files.
    pub retained_bytes: u64,
    /// Bytes of the cache for reads behind the tail.
    pub read_cache_bytes: u64,
    /// Time between flush rounds while something is unflushed. Unit: ms.
    pub flush_interval_ms: i64,
    /// A round begins earlier when so much has been appended since the last. Unit: bytes.
    pub flush_bytes: u64,
    /// A producer that appended nothing for so long is forgotten. Unit: ms.
    pub producer_expiration_ms: i64,
    /// Producers that all partitions remember together.
    pub producers_max: usize,
    /// Time between looks at retention. Unit: ms.
    pub retention_interval_ms: i64,
    pub seeded_bug: Option<SeededBug>,
}

impl Default for ShardOptions {
    fn default() -> Self {
        Self {
            directory_id: [0; 16],
            shard: 0,
            incarnation: 1,
            commit_depth: 1,
            commit_bytes_max: 1 << 30,
            open_files_max: 512,
            retained_bytes: 64 << 20,
            read_cache_bytes: 64 << 20,
            flush_interval_ms: 5_000,
            flush_bytes: 256 << 20,
            producer_expiration_ms: 86_400_000,
            producers_max: 1 << 16,
            retention_interval_ms: 300_000,
            seeded_bug: None,
        }
    }
}

/// What the driver should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The partition's high watermark has moved.
    Advanced(PartitionSlot),
    /// The partition serves nothing any more until the log is rebuilt.
    Failed(PartitionSlot),
    /// A read that was pending on this partition may go on (or fail).
    ReadReady(PartitionSlot),
    /// An append that was refused with `Busy` may be tried again.
    Room,
    /// The partition's truncation is done; appends are taken again.
    Truncated(PartitionSlot),
}

/// What an operation in flight was for.
#[derive(Debug)]
enum Purpose {
    Group { number: u64 },
    SegmentWrite { slot: PartitionSlot, segment: Offset, written: u64, durable: bool, clean: Vec<ChunkId> },
    SegmentSync { slot: PartitionSlot, segment: Offset, synced: u64 },
    Open { slot: PartitionSlot, segment: Offset, file: FileId, allocated: Option<u64>, pumping: bool },
    Allocate { slot: PartitionSlot, segment: Offset, bytes: u64 },
    Seal { slot: PartitionSlot, segment: Offset },
    Remove { slot: PartitionSlot },
    SetAside { paths: Vec<String> },
    Removal,
    Deleted { trash: Vec<String> },
    Checkpoint(Box<Capture>),
    CommitFile { file: FileId, bytes: u64 },
    Extent { slot: PartitionSlot, segment: Offset, extent: u64, valid_bytes: u64 },
    Index { slot: PartitionSlot, segment: Offset },
    Nothing,
}

/// The logs of one shard.
pub struct ShardLog<M> {
    options: ShardOptions,
    arena: ChunkArena<M>,
    commit: CommitLog,
    partitions: Slots,
    operations: VecDeque<Operation>,
    events: VecDeque<Event>,
    in_flight: BTreeMap<OperationId, Purpose>,
    /// How many of them remove what nobody needs.
    removals_under_way: usize,
    next_operation: u64,
    next_file: u64,
    next_commit_file: u64,
    commit_file_coming: bool,
    /// The last one could not be made: when to try again.
    commit_retry_ms: Option<i64>,
    /// Chunks whose bytes are in their segment, oldest first; given back to the arena in this order.
    clean: VecDeque<(PartitionSlot, ChunkId)>,
    /// How many of them there were when they were last looked through.
    clean_swept: usize,
    clean_bytes: u64,
    /// Producers that all partitions remember.
    producer_count: usize,
    /// Partitions with bytes that are not on stable media in their segment.
    dirty: BTreeSet<PartitionSlot>,
    /// Appended since the last round began.
    unflushed_bytes: u64,
    round: Option<Round>,
    next_round_ms: i64,
    checkpoint_in_flight: bool,
    open_files: VecDeque<(PartitionSlot, Offset, FileId)>,
    open_count: usize,
    /// Partitions that wait for a file to be closed.
    starved_of_files: VecDeque<PartitionSlot>,
    /// An append was refused for want of room.
    starved: bool,
    cache: ExtentCache,
    /// The partition of which the last event said that reads may go on.
    told_ready: Option<PartitionSlot>,
    /// Control frames on their way, by token.
    controls: BTreeMap<u64, files::Control>,
    /// Partitions that may have chunks whose bytes are not all in segments.
    holders: BTreeSet<PartitionSlot>,
    /// Partitions for which the disk has refused something that is tried again.
    stalled: BTreeSet<PartitionSlot>,
    /// Partitions whose offsets could not be reserved, because the group that was being gathered was full.
    without_reservation: BTreeSet<PartitionSlot>,
    /// Sealed segments whose indices are in memory, in the order in which they came; some have gone since.
    loaded_indices: VecDeque<(PartitionSlot, Offset)>,
    /// Partitions that were taken out of service.
    failed: BTreeSet<PartitionSlot>,
    /// Partitions whose truncation waits for something.
    truncating: BTreeSet<PartitionSlot>,
    /// Partitions with `flush.ms`, by when they are due.
    flush_deadlines: BTreeSet<(i64, PartitionSlot)>,
    /// Something happened that the newest checkpoint does not know.
    changed: bool,
    next_token: u64,
    /// Files to be removed at a time.
    removals: BTreeMap<(i64, u64), (PartitionSlot, Vec<String>)>,
    next_removal: u64,
    next_retention_ms: i64,
    segment_operations: usize,
    now_ms: i64,
    closing: bool,
    /// The memory still holds what the last life left: nothing is appended or written.
    awaits_recovery: bool,
}

impl<M: ArenaMemory> ShardLog<M> {
    /// Storage without partitions, over memory whose table is empty.
    #[must_use]
    pub fn new(options: ShardOptions, memory: M, now_ms: i64) -> Self {
        let commit =
            CommitLog::new(options.directory_id, options.shard, options.incarnation, options.commit_depth);
        Self {
            arena: ChunkArena::new(memory),
            commit,
            partitions: Slots::default(),
            operations: VecDeque::new(),
            events: VecDeque::new(),
            in_flight: BTreeMap::new(),
            removals_under_way: 0,
            next_operation: 1,
            next_file: 1,
            next_commit_file: 1,
            commit_file_coming: false,
            commit_retry_ms: None,
            clean: VecDeque::new(),
            clean_swept: 0,
            clean_bytes: 0,
            producer_count: 0,
            dirty: BTreeSet::new(),
            unflushed_bytes: 0,
            round: None,
            next_round_ms: i64::MAX,
            checkpoint_in_flight: false,
            open_files: VecDeque::new(),
            open_count: 0,
            starved_of_files: VecDeque::new(),
            starved: false,
            cache: ExtentCache::new(options.read_cache_bytes),
            told_ready: None,
            controls: BTreeMap::new(),
            holders: BTreeSet::new(),
            stalled: BTreeSet::new(),
            without_reservation: BTreeSet::new(),
            loaded_indices: VecDeque::new(),
            failed: BTreeSet::new(),
            truncating: BTreeSet::new(),
            flush_deadlines: BTreeSet::new(),
            changed: false,
            next_token: 1,
            removals: BTreeMap::new(),
            next_removal: 0,
            next_retention_ms: now_ms.saturating_add(options.retention_interval_ms),
            segment_operations: 0,
            now_ms,
            closing: false,
            awaits_recovery: false,
            options,
        }
    }

    /// Stands in for a log that could not be recovered yet for want of room. Its partitions are read and refuse appends, `memory` is
    /// left as it is, and nothing is written.
    #[must_use]
    pub fn awaiting_recovery(options: ShardOptions, memory: M, now_ms: i64) -> Self {
        Self { awaits_recovery: true, ..Self::new(options, memory, now_ms) }
    }

    /// A file name for the driver to open something under before the first operation (see [`Self::add_commit_file`]).
    pub fn fresh_file(&mut self) -> FileId {
        let file = FileId(self.next_file);
        self.next_file += 1;
        file
    }

    /// Takes a commit-log file of `bytes` that is already written and open as `file`; `number` is in its name.
    pub fn add_commit_file(&mut self, file: FileId, number: u64, bytes: u64) {
        self.next_commit_file = self.next_commit_file.max(number + 1);
        self.commit.add_file(file, bytes);
    }

    /// Takes a partition that recovery has read, or a new one.
    pub fn add_partition(&mut self, mut log: PartitionLog) -> PartitionSlot {
        for segment in log.segments.iter_mut().filter(|segment| segment.first_append_ms == 0) {
            // When it was is not known any more: not later than now.
            segment.first_append_ms = self.now_ms;
        }
        self.producer_count += log.producers.len();
        let indices = take_due_indices(&mut log);
        let slot = self.partitions.insert(log);
        self.bound_producers();
        if !self.awaits_recovery {
            for (path, index) in indices {
                let contents = Box::new(index);
                self.task(Lane::Files, Task::WriteIndex { path, contents }, Purpose::Nothing);
            }
        }
        slot
    }

    /// A new, empty partition; nothing is written before its first append.
    pub fn create_partition(
        &mut self,
        topic_partition: TopicPartition,
        folder: String,
        config: LogConfig,
        leader_epoch: LeaderEpoch,
    ) -> PartitionSlot {
        self.add_partition(PartitionLog::empty(topic_partition, folder, config, leader_epoch))
    }

    /// The partition's settings from now on.
    pub fn set_config(&mut self, slot: PartitionSlot, config: LogConfig) {
        if let Some(partition) = self.partition_mut(slot) {
            partition.config = config;
        }
        self.advance(slot);
    }

    #[must_use]
    pub fn partition(&self, slot: PartitionSlot) -> Option<&PartitionLog> {
        self.partitions.get(slot)
    }

    fn partition_mut(&mut self, slot: PartitionSlot) -> Option<&mut PartitionLog> {
        self.partitions.get_mut(slot)
    }

    /// All partitions, in order of their slots.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionSlot, &PartitionLog)> {
        self.partitions.iter()
    }

    /// The next operation to carry out.
    pub fn poll_operation(&mut self) -> Option<Operation> {
        if let Some(operation) = self.operations.pop_front() {
            return Some(operation);
        }
        // Last, so that a group holds all that was appended since the driver last asked.
        self.poll_commit_write();
        self.operations.pop_front()
    }

    /// The next thing to look at; the one before has been dealt with.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(slot) = self.told_ready.take() {
            self.end_freshness(slot);
        }
        let event = self.events.pop_front();
        if let Some(Event::ReadReady(slot)) = event {
            self.told_ready = Some(slot);
        }
        event
    }

    /// When [`Self::handle_time`] has something to do, ms of the wall clock.
    #[must_use]
    pub fn next_deadline_ms(&self) -> i64 {
        let removal = self.removals.keys().next().map_or(i64::MAX, |&(when, _)| when);
        let flush = self.flush_deadlines.first().map_or(i64::MAX, |&(when, _)| when);
        let retry = self.commit_retry_ms.unwrap_or(i64::MAX);
        self.next_round_ms.min(self.next_retention_ms).min(removal).min(flush).min(retry)
    }

    /// The wall clock was set back to `now_ms`: what was to be done in a second is still to be done in a second.
    pub fn handle_clock_set_back(&mut self, now_ms: i64) {
        let back_ms = self.now_ms.saturating_sub(now_ms).max(0);
        let earlier = |when: i64| if when == i64::MAX { when } else { when.saturating_sub(back_ms) };
        self.now_ms = now_ms;
        self.next_round_ms = earlier(self.next_round_ms);
        self.next_retention_ms = earlier(self.next_retention_ms);
        self.commit_retry_ms = self.commit_retry_ms.map(earlier);
        self.hasten_retries(back_ms);
        let flushes = std::mem::take(&mut self.flush_deadlines);
        self.flush_deadlines = flushes.into_iter().map(|(when, slot)| (earlier(when), slot)).collect();
        let removals = std::mem::take(&mut self.removals);
        self.removals =
            removals.into_iter().map(|((when, number), files)| ((earlier(when), number), files)).collect();
    }

    /// Does what is due at `now_ms`.
    pub fn handle_time(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.proceed_truncations();
        self.remove_due_files();
        self.flush_due_partitions();
        if self.commit_retry_ms.is_some_and(|retry_ms| now_ms >= retry_ms) {
            self.commit_retry_ms = None;
            self.grow_commit_log();
        }
        if now_ms >= self.next_retention_ms {
            self.next_retention_ms = now_ms.saturating_add(self.options.retention_interval_ms);
            self.apply_retention();
        }
        if now_ms >= self.next_round_ms {
            self.next_round_ms = i64::MAX;
            self.retry_stalled();
            self.begin_round();
        }
    }

    /// Writes, seals and flushes everything; no append is taken any more. Done when [`Self::is_closed`].
    pub fn begin_close(&mut self) {
        self.closing = true;
        for place in 0..self.partitions.place_count() {
            let Some(slot) = self.partitions.slot_at(place) else { continue };
            if let Some(partition) = self.partition_mut(slot) {
                partition.close_active();
            }
            self.pump(slot);
            self.give_up_prepared(slot);
        }
        self.remove_due_files();
    }

    /// Whether everything is sealed and nothing is in flight but removals, after [`Self::begin_close`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let is_idle = self.operations.is_empty()
            && self.in_flight.len() == self.removals_under_way
            && self.commit.is_idle();
        self.closing && is_idle && self.partitions().all(|(_, log)| log.failed || log.is_sealed())
    }

    /// Whether nothing is wanted of the driver or under way, and every frame is durable.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.operations.is_empty() && self.in_flight.is_empty() && self.commit.is_idle()
    }

    /// Whether some partition has failed, or waits to be recovered: then a stop is not clean.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        self.awaits_recovery || self.commit.has_failed() || self.partitions().any(|(_, log)| log.failed)
    }

    /// Whether it stands in for a log that is to be recovered ([`Self::awaiting_recovery`]).
    #[must_use]
    pub const fn awaits_recovery(&self) -> bool {
        self.awaits_recovery
    }

    /// Whether the log can only go on by beginning anew, through recovery, on a new stream: the commit log has failed, or it or the
    /// arena is full of what partitions need whose segments the disk does not take.
    #[must_use]
    pub fn must_begin_anew(&self) -> bool {
        let (used, capacity) = self.commit.used_and_capacity_bytes();
        let has_no_room = used > capacity - capacity / 8 || !self.commit.has_file_room();
        let is_full = has_no_room && capacity >= self.options.commit_bytes_max / 2;
        let broken = |slot| {
            self.partition(slot).is_some_and(|partition| partition.is_broken() && !partition.marks.is_empty())
        };
        self.commit.has_failed()
            || (is_full && self.commit.slots_of_oldest().any(broken))
            || self.is_arena_held()
    }

    /// Takes all partitions out of service, so that whoever waits for one is told.
    pub fn fail_all(&mut self) {
        let slots: Vec<PartitionSlot> = self.partitions().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.fail_partition(slot);
        }
        self.events.push_back(Event::Room);
    }

    /// The memory, after everything is done.
    pub fn into_memory(self) -> M {
        self.arena.into_memory()
    }

    /// The arena's free and total bytes.
    #[must_use]
    pub fn arena_bytes(&self) -> (u64, u64) {
        (self.arena.free_bytes(), self.arena.capacity_bytes())
    }

    /// The commit log's used and total bytes.
    #[must_use]
    pub fn commit_log_bytes(&self) -> (u64, u64) {
        self.commit.used_and_capacity_bytes()
    }

    fn issue(&mut self, purpose: Purpose) -> OperationId {
        let id = OperationId(self.next_operation);
        self.next_operation += 1;
        self.in_flight.insert(id, purpose);
        id
    }

    fn task(&mut self, lane: Lane, task: Task, purpose: Purpose) {
        let id = self.issue(purpose);
        self.operations.push_back(Operation::Task { id, lane, task });
    }

    fn advance(&mut self, slot: PartitionSlot) {
        if self.partition_mut(slot).is_some_and(PartitionLog::advance) {
            self.events.push_back(Event::Advanced(slot));
        }
    }

    /// Takes a partition out of service: what the disk has of it is not known, or what it holds cannot be brought there.
    fn fail_partition(&mut self, slot: PartitionSlot) {
        let Some(partition) = self.partition_mut(slot) else { return };
        if partition.failed {
            return;
        }
        partition.failed = true;
        partition.round_goal = None;
        self.failed.insert(slot);
        self.dirty.remove(&slot);
        self.events.push_back(Event::Failed(slot));
        self.note_round_progress(slot);
    }

    fn fail_entries(&mut self, entries: &[Entry]) {
        for entry in entries {
            let (Entry::Data { slot, .. } | Entry::Control { slot, .. }) = entry;
            self.fail_partition(*slot);
        }
    }

    /// Says that an append that was refused may be tried again, if one was.
    fn note_room(&mut self) {
        if self.starved {
            self.starved = false;
            self.events.push_back(Event::Room);
        }
    }
}

#[cfg(test)]
mod tests;
