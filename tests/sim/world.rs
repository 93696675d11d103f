//! A story: lives of one data directory, each with a start, actions and an end.

use std::collections::BTreeSet;
use std::path::Path;

use ringlog::model::{LeaderEpoch, PartitionIndex, TopicId, TopicPartition};
use ringlog::runtime::disk::BlockingDisk;
use ringlog::runtime::file::{Access, Caching};
use ringlog::runtime::sim::{SimDisk, SimFaults, SimFile, SimMemory, SimRandom, SimSteps};
use ringlog::storage::PartitionSlot;
use ringlog::storage::arena::table::{ARENA_BYTES_MIN, SLAB_BYTES};
use ringlog::storage::driver::run_task;
use ringlog::storage::operation::{FileId, Outcome, Task};
use ringlog::storage::recovery::{
    KnownPartition, Recovered, RecoveryOptions, claim_arena, recover, write_base_of,
};
use ringlog::storage::seeded_bug::SeededBug;
use ringlog::storage::shard::{ReadPiece, ShardLog, ShardOptions};

use crate::failure::{Checked, Stop, ensure, trace};
use crate::io::{RingFaults, ShardIo};
use crate::model::PartitionModel;
use crate::plan::Plan;

const DIRECTORY: [u8; 16] = [7; 16];
/// Rounds of waiting after which something that should happen has not.
const PATIENCE: usize = 4000;

/// A machine with its disk, and what its clients remember.
pub struct World {
    pub plan: Plan,
    pub random: SimRandom,
    /// Decides about durability alone, so that stories in which it stays are told as before.
    pub whims: SimRandom,
    pub steps: SimSteps,
    pub disk: SimDisk,
    pub shards: Vec<ShardIo>,
    pub partitions: Vec<PartitionModel>,
    /// Shard and slot of each partition in this life.
    pub places: Vec<(usize, PartitionSlot)>,
    pub held: Vec<Held>,
    pub now_ms: i64,
    pub next_number: u64,
    /// Shards and folders of topics that were deleted.
    pub deleted: BTreeSet<(usize, String)>,
    memories: Vec<Option<SimMemory>>,
    faults: SimFaults,
    boot: u8,
    incarnation: u64,
    next_topic: u8,
    /// Arenas were lost since the last time that everything was checked.
    arena_gone: bool,
    /// The last life ended cleanly.
    clean: bool,
    /// This life ends the story: nothing breaks any more.
    last_life: bool,
    /// This life ends with the death of the process.
    pub will_be_killed: bool,
    bug: Option<SeededBug>,
}

/// Pieces of a reply that is being sent.
pub struct Held {
    pub shard: usize,
    pub pieces: Vec<ReadPiece>,
    pub expected: Vec<u8>,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    PowerLost,
    ArenaLost,
    Clean,
}

/// Tells the story of `seed`.
pub fn tell(seed: u64, bug: Option<SeededBug>) -> Result<(), String> {
    let mut world = World::new(seed, bug);
    match world.live() {
        Ok(()) => Ok(()),
        Err(Stop::Wrong(text)) => Err(format!("life {}: {text}", world.incarnation)),
        Err(Stop::Died) => Err("a death that was not planned".to_owned()),
    }
}

impl World {
    fn new(seed: u64, bug: Option<SeededBug>) -> Self {
        let mut random = SimRandom::new(seed);
        let mut plan = Plan::draw(&mut random);
        let mut whims = SimRandom::new(seed.rotate_left(32));
        plan.durability_changes = whims.chance(200);
        let steps = SimSteps::default();
        let disk = SimDisk::new(steps.clone(), random.fork());
        let mut world = Self {
            random,
            whims,
            steps,
            disk,
            shards: Vec::new(),
            partitions: Vec::new(),
            places: Vec::new(),
            held: Vec::new(),
            now_ms: 1_700_000_000_000,
            next_number: 1,
            deleted: BTreeSet::new(),
            memories: Vec::new(),
            faults: SimFaults::default(),
            boot: 1,
            incarnation: 0,
            next_topic: 0,
            arena_gone: false,
            clean: false,
            last_life: false,
            will_be_killed: false,
            bug,
            plan,
        };
        for _ in 0..world.plan.partitions {
            world.new_topic();
        }
        world
    }

    fn live(&mut self) -> Checked<()> {
        for _ in 0..self.plan.lives {
            self.start()?;
            self.set_faults(!self.last_life);
            let end = self.draw_end();
            self.will_be_killed = end == End::Killed;
            if end != End::Clean || self.random.chance(200) {
                let actions = self.plan.actions_max;
                if self.will_be_killed && self.random.chance(300) {
                    self.steps.die_behind_publication(self.random.below(actions));
                } else {
                    self.steps.die_after(self.random.below(actions * 12));
                }
            }
            let outcome =
                self.act().and_then(|()| if end == End::Clean { self.stop() } else { Err(Stop::Died) });
            match outcome {
                Ok(()) => {}
                Err(Stop::Died) => self.crash(end),
                Err(wrong) => return Err(wrong),
            }
        }
        self.last_life = true;
        self.will_be_killed = false;
        self.start()?;
        self.finish()
    }

    fn draw_end(&mut self) -> End {
        let number = self.random.below(1000);
        let Plan { killed, power_lost, arena_lost, .. } = self.plan;
        match number {
            _ if number < killed => End::Killed,
            _ if number < killed + power_lost => End::PowerLost,
            _ if number < killed + power_lost + arena_lost => End::ArenaLost,
            _ => End::Clean,
        }
    }

    /// The metadata knows one more partition from now on.
    pub fn new_topic(&mut self) -> usize {
        self.next_topic += 1;
        let id = TopicPartition {
            topic_id: TopicId([self.next_topic; 16]),
            partition: PartitionIndex(i32::from(self.next_topic % 3)),
        };
        // Names come again, ids do not.
        let name = (0..8).map(|number| format!("t{number}-0"));
        let free = name.filter(|name| self.partitions.iter().all(|other| other.folder != *name));
        let folder = free.min().expect("a free name");
        let config = self.plan.topic(&mut self.random);
        self.partitions.push(PartitionModel::new(id, folder, config, 0));
        self.partitions.len() - 1
    }

    pub fn shard_of(&self, partition: usize) -> usize {
        let id = self.partitions[partition].id;
        (usize::from(id.topic_id.0[0]) * 7 + id.partition.0 as usize) % self.shards.len()
    }

    fn start(&mut self) -> Checked<()> {
        for partition in &mut self.partitions {
            if self.plan.durability_changes && self.whims.chance(300) {
                partition.change_durability();
            }
        }
        loop {
            if self.random.chance(200) {
                self.steps.die_after(self.random.below(150));
            }
            match self.try_start() {
                Ok(()) => break,
                Err(Stop::Died) => {
                    let end = if self.random.coin() { End::Killed } else { self.draw_end() };
                    self.crash(end);
                }
                Err(wrong) => return Err(wrong),
            }
        }
        self.steps.live();
        self.check_recovered(self.clean, self.arena_gone)?;
        self.clean = false;
        self.arena_gone = false;
        Ok(())
    }

    fn try_start(&mut self) -> Checked<()> {
        self.incarnation += 1;
        trace!("start {}", self.incarnation);
        let broken = self.random.chance(200);
        self.set_faults(broken && !self.last_life);
        if self.incarnation % 4 == 3 && !self.last_life {
            // Starts at which some files cannot be read, written or flushed.
            self.faults = SimFaults { read: 40, write: 20, sync: 40, full: false };
            self.disk.set_faults(self.faults);
        } else if self.incarnation % 8 == 5 && !self.last_life {
            // What a start on a full disk has done is nothing that the next one could not do.
            self.faults = SimFaults { full: true, ..SimFaults::default() };
            self.disk.set_faults(self.faults);
        }
        let shard_count = self.random.between(1, self.plan.shards_max) as usize;
        let options = RecoveryOptions {
            directory_id: DIRECTORY,
            boot_id: [self.boot; 16],
            incarnation: self.incarnation,
            shard_count: shard_count as u32,
            now_ms: self.now_ms,
            knows_all_topics: self.incarnation.is_multiple_of(2),
            threads: 1,
            gathered_bytes_max: 16 << 10,
            seeded_bug: self.bug,
        };
        for partition in &mut self.partitions {
            partition.leader_epoch += 1;
        }
        let recovered = self.recover(&options)?;
        self.set_faults(false);
        for folder in recovered.report.trash.iter().chain(&recovered.report.strays) {
            if self.random.coin() {
                let removed = self.disk.remove_directory(Path::new(folder));
                self.check_alive()?;
                removed.map_err(|error| Stop::Wrong(error.to_string()))?;
            }
        }
        self.claim_arenas(&options)?;
        let commit_files = self.open_commit_files(&recovered, shard_count)?;
        self.check_alive()?;
        let offline: Vec<String> =
            recovered.report.offline.iter().map(|(folder, _)| folder.clone()).collect();
        self.begin_life(&options, recovered, commit_files);
        if offline.is_empty() {
            return Ok(());
        }
        // What could not be read is not served, everything else is; the next start tries again.
        trace!("not served: {offline:?}");
        self.check_served(&offline, self.clean, self.arena_gone)?;
        Err(Stop::Died)
    }

    fn recover(&mut self, options: &RecoveryOptions) -> Checked<Recovered> {
        let known: Vec<KnownPartition> = self
            .partitions
            .iter()
            .map(|partition| KnownPartition {
                topic_partition: partition.id,
                folder: partition.folder.clone(),
                config: partition.config,
                leader_epoch: LeaderEpoch(partition.leader_epoch),
            })
            .collect();
        let arenas: Vec<&SimMemory> = self.memories.iter().flatten().collect();
        let recovered = recover(&self.disk, &arenas, &known, options);
        self.check_alive()?;
        match recovered {
            Ok(recovered) if recovered.report.lacks_room => {
                ensure!(self.faults.full, "there is room: {:?}", recovered.report);
                Err(Stop::Died)
            }
            Ok(recovered) => {
                trace!("recovered: {:?}", recovered.report);
                let offline = &recovered.report.offline;
                ensure!(recovered.report.damaged_streams == 0, "a commit log is taken for damaged");
                ensure!(offline.is_empty() || self.faults != SimFaults::default(), "offline: {offline:?}");
                Ok(recovered)
            }
            Err(_) if self.faults != SimFaults::default() => Err(Stop::Died),
            Err(error) => Err(Stop::Wrong(format!("recovery: {error}"))),
        }
    }

    fn claim_arenas(&mut self, options: &RecoveryOptions) -> Checked<()> {
        let slab = SLAB_BYTES as usize + 4096;
        let len = ARENA_BYTES_MIN + (self.plan.arena_slabs as usize - 1) * slab + 4096;
        for shard in 0..options.shard_count {
            if self.memories.len() <= shard as usize {
                self.memories.push(None);
            }
            let mut memory = self.memories[shard as usize]
                .take()
                .unwrap_or_else(|| SimMemory::new(len, self.steps.clone(), self.random.fork()));
            claim_arena(&mut memory, options, shard);
            self.memories[shard as usize] = Some(memory);
            self.check_alive()?;
        }
        Ok(())
    }

    /// Per shard: files that can be used again, or new ones.
    fn open_commit_files(
        &mut self,
        recovered: &Recovered,
        shard_count: usize,
    ) -> Checked<Vec<Vec<(SimFile, u64, u64)>>> {
        let mut files: Vec<Vec<(SimFile, u64, u64)>> = vec![Vec::new(); shard_count];
        for &(shard, number, bytes) in &recovered.commit_files {
            let path = format!("commit-log/{shard}-{number:08}.clog");
            if let Some(files) = files.get_mut(shard as usize) {
                let opened = self.disk.open(Path::new(&path), Access::Write, Caching::Direct);
                self.check_alive()?;
                files.push((opened.map_err(|error| Stop::Wrong(error.to_string()))?, number, bytes));
            } else if self.random.coin() {
                let removed = self.disk.remove(Path::new(&path));
                self.check_alive()?;
                removed.map_err(|error| Stop::Wrong(error.to_string()))?;
            }
        }
        for (shard, files) in files.iter_mut().enumerate() {
            while (files.len() as u64) < self.plan.commit_files {
                let number = files.last().map_or(1, |last| last.1 + 1);
                let bytes = self.plan.commit_file_bytes;
                let path = format!("commit-log/{shard}-{number:08}.clog");
                let done =
                    run_task(&self.disk, &Task::CreateCommitFile { file: FileId(0), path, bytes }, None);
                self.check_alive()?;
                ensure!(
                    matches!(done.outcome, Outcome::Done),
                    "a commit-log file cannot be made: {:?}",
                    done.outcome
                );
                files.push((done.opened.expect("an opened file"), number, bytes));
            }
        }
        Ok(files)
    }

    fn begin_life(
        &mut self,
        options: &RecoveryOptions,
        recovered: Recovered,
        commit_files: Vec<Vec<(SimFile, u64, u64)>>,
    ) {
        self.shards.clear();
        for (shard, files) in commit_files.into_iter().enumerate() {
            let capacity: u64 = files.iter().map(|file| file.2).sum();
            let growth = if self.plan.commit_growth { self.plan.commit_file_bytes } else { 0 };
            let shard_options = ShardOptions {
                directory_id: DIRECTORY,
                shard: shard as u32,
                incarnation: options.incarnation,
                commit_depth: self.plan.commit_depth,
                commit_bytes_max: capacity + growth,
                open_files_max: self.plan.open_files_max,
                retained_bytes: self.plan.retained_bytes,
                read_cache_bytes: self.plan.read_cache_bytes,
                flush_interval_ms: self.plan.flush_interval_ms,
                flush_bytes: 256 << 10,
                retention_interval_ms: 1000,
                seeded_bug: self.bug,
                ..ShardOptions::default()
            };
            let memory = self.memories[shard].take().expect("a claimed arena");
            let log = ShardLog::new(shard_options, memory, self.now_ms);
            let mut io = ShardIo::new(log, self.disk.clone(), self.steps.clone());
            for (file, number, bytes) in files {
                io.add_commit_file(file, number, bytes);
            }
            self.shards.push(io);
        }
        self.places.clear();
        for (partition, log) in recovered.logs.into_iter().enumerate() {
            let shard = self.shard_of(partition);
            let slot = self.shards[shard].log.add_partition(log);
            self.places.push((shard, slot));
        }
    }

    pub fn check_alive(&self) -> Checked<()> {
        if self.steps.are_over() { Err(Stop::Died) } else { Ok(()) }
    }

    pub fn set_disk_full(&mut self, full: bool) {
        self.faults.full = full;
        self.disk.set_faults(self.faults);
    }

    /// What the plan lets fail: the ring's operations and blocking calls.
    fn set_faults(&mut self, on: bool) {
        let often = |kind: bool, per_thousand| if on && kind { per_thousand } else { 0 };
        self.faults = SimFaults {
            read: often(self.plan.broken_reads, 20),
            write: often(self.plan.broken_writes, 10),
            sync: often(self.plan.broken_writes, 10),
            full: false,
        };
        self.disk.set_faults(self.faults);
        for io in &mut self.shards {
            io.faults = RingFaults {
                commit_write: often(self.plan.broken_writes, 5),
                write: often(self.plan.broken_writes, 10),
                sync: often(self.plan.broken_writes, 10),
                read: often(self.plan.broken_reads, 100),
            };
        }
    }

    /// The process is gone, and perhaps more.
    fn crash(&mut self, end: End) {
        trace!("crash: {end:?}");
        self.held.clear();
        for (shard, io) in std::mem::take(&mut self.shards).into_iter().enumerate() {
            self.memories[shard] = Some(io.die(&mut self.random));
        }
        self.steps.live();
        for memory in self.memories.iter_mut().flatten() {
            memory.settle();
        }
        if matches!(end, End::PowerLost | End::ArenaLost) {
            self.memories.clear();
            self.arena_gone = true;
        }
        if end == End::PowerLost {
            self.boot = self.boot.wrapping_add(1);
            self.disk.lose_power();
        }
        self.now_ms += self.random.between(1, 5000) as i64;
    }

    /// A clean stop: everything is sealed, and the manifest says so.
    fn stop(&mut self) -> Checked<()> {
        trace!("clean stop");
        self.set_faults(false);
        self.release_all()?;
        for io in &mut self.shards {
            io.log.begin_close();
        }
        // A log that can only go on by beginning anew is left to recovery, as the broker leaves it.
        let done = |io: &ShardIo| io.log.is_closed() || io.log.must_begin_anew();
        self.drain(|world| world.shards.iter().all(done), "a clean stop")?;
        if self.shards.iter().any(|io| io.log.has_failures() || !io.log.is_closed()) {
            return Err(Stop::Died);
        }
        self.observe()?;
        let described = self.shards.iter().flat_map(|io| io.log.describe_all()).collect();
        let count = self.shards.len() as u32;
        let written = write_base_of(&self.disk, self.incarnation, count, true, described);
        self.check_alive()?;
        written.map_err(|error| Stop::Wrong(error.to_string()))?;
        self.steps.live();
        self.clean = true;
        for partition in &self.partitions {
            ensure!(
                partition.high_watermark == partition.end,
                "{}: stopped cleanly with a high watermark of {} below the end {}",
                partition.folder,
                partition.high_watermark,
                partition.end
            );
        }
        self.check_sealed_files()?;
        for (shard, io) in std::mem::take(&mut self.shards).into_iter().enumerate() {
            self.memories[shard] = Some(io.into_memory());
        }
        if self.random.coin() {
            self.memories.clear();
            self.boot = self.boot.wrapping_add(1);
            self.disk.lose_power();
        }
        Ok(())
    }

    /// Lets everything that is under way end, and time pass, until `done`.
    pub fn drain(&mut self, done: impl Fn(&Self) -> bool, what: &str) -> Checked<()> {
        for _ in 0..PATIENCE {
            let mut moved = false;
            for shard in 0..self.shards.len() {
                self.shards[shard].poll()?;
                while self.shards[shard].advance(&mut self.random)? {
                    moved = true;
                    self.shards[shard].poll()?;
                }
            }
            self.observe()?;
            if moved {
                continue;
            }
            if done(self) {
                return Ok(());
            }
            self.pass_time(100)?;
        }
        let states: Vec<String> = self.describe();
        Err(Stop::Wrong(format!("{what} does not come to an end: {states:#?}")))
    }

    pub fn describe(&self) -> Vec<String> {
        let partitions = self.partitions.iter().zip(&self.places).map(|(partition, &(shard, slot))| {
            let log = &self.shards[shard].log;
            format!(
                "{} ends at {} visible to {} kept {}; shard {shard}: arena free {:?}, commit log used {:?}, idle {}, {:?}",
                partition.folder,
                partition.end,
                partition.high_watermark,
                partition.kept,
                log.arena_bytes(),
                log.commit_log_bytes(),
                log.is_idle(),
                log.partition(slot)
            )
        });
        partitions.collect()
    }

    pub fn pass_time(&mut self, ms: u64) -> Checked<()> {
        self.now_ms += ms as i64;
        trace!("now {}", self.now_ms);
        for io in &mut self.shards {
            if io.log.next_deadline_ms() <= self.now_ms {
                io.log.handle_time(self.now_ms);
                io.check_alive()?;
            }
        }
        Ok(())
    }

    /// The end of the story: everything acknowledged, stopped, started again, deleted, and nothing left over.
    fn finish(&mut self) -> Checked<()> {
        for partition in 0..self.partitions.len() {
            self.append_with_patience(partition)?;
        }
        let all_visible =
            |world: &Self| world.partitions.iter().all(|partition| partition.high_watermark == partition.end);
        self.drain(all_visible, "what was appended")?;
        self.check_everything()?;
        self.stop()?;
        self.start()?;
        self.release_all()?;
        while !self.partitions.is_empty() {
            self.delete_topic(0)?;
        }
        self.drain(|world| world.shards.iter().all(|io| io.log.is_idle()), "the deletion of everything")?;
        for io in &self.shards {
            let (free, capacity) = io.log.arena_bytes();
            ensure!(
                free == capacity,
                "{} of {capacity} bytes of the arena are not free in the end",
                capacity - free
            );
        }
        Ok(())
    }
}
