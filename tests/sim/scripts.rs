//! Short stories: what a long run has found once, told so that it is met every time.

mod producers;
mod refused;

use std::path::Path;

use ringlog::model::batch::BatchHeader;
use ringlog::model::{Durability, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use ringlog::runtime::disk::BlockingDisk;
use ringlog::runtime::file::{Access, Caching};
use ringlog::runtime::sim::{SimDisk, SimFaults, SimMemory, SimRandom, SimSteps};
use ringlog::storage::PartitionSlot;
use ringlog::storage::arena::table::{ARENA_BYTES_MIN, SLAB_BYTES};
use ringlog::storage::commit_log::FILE_BYTES_MIN;
use ringlog::storage::driver::run_task;
use ringlog::storage::operation::{FileId, Task};
use ringlog::storage::partition::LogConfig;
use ringlog::storage::shard::{Event, ShardLog, ShardOptions, commit_file_path};

use crate::batches::{Wish, build};
use crate::io::ShardIo;

/// Steps in which anything that is to end has ended.
const STEPS_MAX: usize = 2000;
const NOW_MS: i64 = 1_700_000_000_000;

/// A shard whose memory keeps nothing that is on disk, and whose cache holds one extent.
struct Shard {
    io: ShardIo,
    disk: SimDisk,
    random: SimRandom,
    now_ms: i64,
    events: Vec<Event>,
}

impl Shard {
    /// `seed` decides in which order operations end.
    fn new(seed: u64) -> Self {
        Self::with_options(seed, |_| {})
    }

    fn with_options(seed: u64, change: impl FnOnce(&mut ShardOptions)) -> Self {
        let mut random = SimRandom::new(seed);
        let steps = SimSteps::default();
        let disk = SimDisk::new(steps.clone(), random.fork());
        disk.create_directories(Path::new("checkpoints")).expect("room on the disk");
        let arena_bytes = ARENA_BYTES_MIN + 7 * (SLAB_BYTES as usize + 4096);
        let memory = SimMemory::new(arena_bytes, steps.clone(), random.fork());
        let mut options = ShardOptions {
            retained_bytes: 0,
            read_cache_bytes: 256 << 10,
            flush_interval_ms: 10,
            commit_bytes_max: 2 * FILE_BYTES_MIN,
            ..ShardOptions::default()
        };
        change(&mut options);
        let mut io = ShardIo::new(ShardLog::new(options, memory, NOW_MS), disk.clone(), steps);
        for number in 1..=2 {
            let path = commit_file_path(0, number);
            let task = Task::CreateCommitFile { file: FileId(0), path: path.clone(), bytes: FILE_BYTES_MIN };
            run_task(&disk, &task, None);
            let file = disk.open(Path::new(&path), Access::Write, Caching::Direct).expect("a new file");
            io.add_commit_file(file, number, FILE_BYTES_MIN);
        }
        Self { io, disk, random, now_ms: NOW_MS, events: Vec::new() }
    }

    fn create(&mut self, number: u8) -> PartitionSlot {
        self.create_with(number, Durability::Synced)
    }

    fn create_with(&mut self, number: u8, durability: Durability) -> PartitionSlot {
        let id = TopicPartition { topic_id: TopicId([number; 16]), partition: PartitionIndex(0) };
        // One index entry, so that places must be searched for.
        let config = LogConfig { durability, index_interval_bytes: 1 << 30, ..LogConfig::default() };
        self.io.log.create_partition(id, format!("t{number}-0"), config, LeaderEpoch(1))
    }

    fn append(&mut self, slot: PartitionSlot, record_bytes: usize) {
        let wish = Wish {
            number: 1,
            record_count: 1,
            record_bytes,
            base_timestamp: NOW_MS,
            max_timestamp: NOW_MS,
            producer: None,
        };
        let bytes = build(&wish);
        let header = BatchHeader::check(&bytes).expect("a batch that was built");
        self.io.log.append(slot, &bytes, &header, self.now_ms).expect("room for an append");
    }

    /// Lets what is under way end. False: there is no end.
    fn rest(&mut self) -> bool {
        for _ in 0..STEPS_MAX {
            self.io.poll().expect("a living machine");
            let moved = self.io.advance(&mut self.random).expect("a living machine");
            self.events.extend(std::iter::from_fn(|| self.io.log.poll_event()));
            if !moved {
                return true;
            }
        }
        false
    }

    fn set_disk_full(&self, full: bool) {
        self.disk.set_faults(SimFaults { full, ..SimFaults::default() });
    }

    fn pass_time(&mut self) {
        self.now_ms += 1000;
        self.io.log.handle_time(self.now_ms);
    }

    /// A partition whose batches 0 to 11, of 60,000 bytes each, are on disk and not in memory.
    fn partition_on_disk(&mut self) -> PartitionSlot {
        let slot = self.create(1);
        for _ in 0..12 {
            self.append(slot, 60_000 - 61);
            assert!(self.rest());
        }
        self.pass_time();
        assert!(self.rest(), "a flush round ends");
        // A new chunk is what makes the others go.
        let other = self.create(2);
        self.append(other, 100);
        assert!(self.rest());
        slot
    }

    fn truncate(&mut self, slot: PartitionSlot, offset: i64) {
        self.io.log.truncate(slot, Offset(offset), LeaderEpoch(2)).expect("a truncation that begins");
    }

    fn has_happened(&self, wanted: Event) -> bool {
        self.events.contains(&wanted)
    }
}

/// The search for the place reads over the border of two extents, and cannot have both.
#[test]
fn a_truncation_finds_its_place_with_a_cache_of_one_extent() {
    let mut shard = Shard::new(1);
    let slot = shard.partition_on_disk();
    shard.truncate(slot, 8);
    assert!(shard.rest(), "the disk is read without end");
    assert!(shard.has_happened(Event::Truncated(slot)));
    assert_eq!(shard.io.log.partition(slot).map(|log| log.log_end_offset()), Some(Offset(8)));
}

/// With some seeds the commit log fails before the truncation has got as far as to have a frame in it.
#[test]
fn a_truncation_that_waits_for_its_place_ends_with_the_commit_log() {
    for seed in 1..=20 {
        let mut shard = Shard::new(seed);
        let slot = shard.partition_on_disk();
        let other = shard.create(3);
        shard.truncate(slot, 8);
        shard.io.faults.commit_write = 1000;
        shard.append(other, 100);
        assert!(shard.rest());
        assert!(shard.io.log.must_begin_anew());
        assert!(shard.has_happened(Event::Failed(slot)), "nobody is told that the truncation will not be");
        shard.io.log.begin_close();
        assert!(shard.rest());
        assert!(shard.io.log.is_closed(), "a stop waits for it");
    }
}

/// A partition that waits for room on the disk keeps the commit log more than half full, and no round can help it before its time.
#[test]
fn checkpoints_do_not_follow_one_another_while_a_partition_waits_for_room() {
    let mut shard = Shard::new(1);
    let (waiting, other) = (shard.create(1), shard.create(2));
    for _ in 0..5 {
        shard.append(waiting, 60_000 - 61);
    }
    assert!(shard.rest());
    shard.set_disk_full(true);
    shard.pass_time();
    assert!(shard.rest());
    shard.set_disk_full(false);
    for _ in 0..6 {
        shard.append(other, 60_000 - 61);
        assert!(shard.rest(), "checkpoint follows checkpoint");
    }
    let (used, capacity) = shard.io.log.commit_log_bytes();
    assert!(used * 2 > capacity, "{used} of {capacity} bytes of the commit log");
    shard.pass_time();
    assert!(shard.rest());
    let (used, capacity) = shard.io.log.commit_log_bytes();
    assert!(used * 2 < capacity, "{used} of {capacity} bytes of the commit log");
}

/// The stream is full, and the frame of a reservation waits for room in it, when the checkpoint is taken that would make room.
#[test]
fn a_reservation_that_waits_for_room_does_not_keep_the_commit_log_full() {
    let mut shard = Shard::new(1);
    let data = shard.create(1);
    let (first, second) =
        (shard.create_with(2, Durability::Written), shard.create_with(3, Durability::Written));
    shard.append(first, 100);
    for _ in 0..2 {
        for _ in 0..8 {
            shard.append(data, 60_000 - 61);
        }
        assert!(shard.rest());
    }
    shard.append(data, 60_000 - 61);
    shard.append(second, 100);
    assert!(shard.rest());
    shard.pass_time();
    assert!(shard.rest());
    let (used, capacity) = shard.io.log.commit_log_bytes();
    assert!(shard.io.log.is_idle(), "{used} of {capacity} bytes are in use, and stay so");
}

/// All that an active segment has ends on a block, is written, and its memory was given to others before it is appended to again.
#[test]
fn an_append_behind_what_memory_holds_no_more_hides_nothing_of_it() {
    let mut shard = Shard::new(1);
    let (slot, other) = (shard.create(1), shard.create(2));
    shard.append(slot, 4096 - 61);
    assert!(shard.rest());
    shard.pass_time();
    assert!(shard.rest());
    // A new chunk is what makes the others go, and holds other bytes.
    shard.append(other, 30_000);
    assert!(shard.rest());
    shard.append(slot, 100);
    assert!(shard.rest());
    for _ in 0..10 {
        let mut pieces = Vec::new();
        let done = shard.io.log.read(slot, Offset(0), 1, true, &mut pieces).expect("a sound partition");
        if !done.pending {
            let bytes = pieces.iter().map(|piece| shard.io.log.bytes_of(piece)).collect::<Vec<_>>().concat();
            let header = BatchHeader::check(&bytes).expect("the first batch");
            assert_eq!((header.base_offset, header.size_bytes), (Offset(0), 4096));
            shard.io.log.release(pieces);
            return;
        }
        assert!(shard.rest());
    }
    panic!("a read has no end");
}
