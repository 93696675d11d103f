//! Bringing the shards' logs to life: recovery of what the last life left, then a log for each shard over its part.
//!
//! Done at start, and again when the commit log could not be written: what is in memory and on disk then is what a death of
//! the process would have left, and is recovered the same way, onto a new stream.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;
use super::disk::Storage;
use crate::broker::owner::partitions::{Partitions, folder_of, log_config_of};
use crate::config::BrokerConfig;
use crate::model::image::Image;
use crate::model::number::{index, round_down};
use crate::model::{PartitionIndex, ShardPlace, TopicPartition};
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::disk::{BlockingDisk, RealDisk};
use crate::runtime::memory::Arena;
use crate::storage::commit_log::FILE_BYTES_MIN;
use crate::storage::driver::run_task;
use crate::storage::operation::{Outcome, Task};
use crate::storage::partition::PartitionLog;
use crate::storage::recovery::{
    KnownPartition, Recovered, RecoveryOptions, RecoveryReport, SHARDS_MAX, claim_arena, recover,
};
use crate::storage::shard::{ShardLog, ShardOptions, commit_file_path};

/// Share of the open files that segments may have.
const SEGMENT_FILES_SHARE: u64 = 2;
/// More are not worth their memory.
const SEGMENT_FILES_MAX: u64 = 4_096;

/// File in the data directory that says where the arena is.
const ARENA_PATH_FILE: &str = "arena.path";
/// Longest path. Unit: bytes.
const PATH_BYTES_MAX: usize = 4_096;

/// Open files for everything that is neither a segment nor a connection of a client: health and metrics have up to 40 of them.
const OTHER_FILES: u64 = 104;
/// And for each shard: its ring, its waker, its arena, the first files of its commit log.
const SHARD_FILES: u64 = 8;

/// What the lives of the shards' logs have in common.
pub(super) struct Lives {
    /// Of the whole broker.
    pub(super) config: Arc<BrokerConfig>,
    pub(super) disk: RealDisk,
    pub(super) recovery: RecoveryOptions,
    pub(super) open_files: u64,
    /// What the last process left has been recovered.
    pub(super) has_recovered: bool,
}

/// What one shard has of it.
pub(super) struct Life {
    /// With the shard's part of what the broker may take.
    pub(super) config: Arc<BrokerConfig>,
    pub(super) disk: RealDisk,
    pub(super) recovery: RecoveryOptions,
    pub(super) place: ShardPlace,
    open_files: u64,
}

impl Lives {
    /// Maps the shards' arenas and recovers what they and the disk hold, shard by shard.
    pub(super) fn begin(&mut self, image: &Image) -> Result<Vec<(Arena, Recovered)>, Error> {
        let paths: Vec<PathBuf> = self.numbers().map(|number| self.arena_path(number)).collect();
        let recorded = self.recorded_arena_path()?;
        let left = self.open_left(recorded.as_deref(), &paths)?;
        let first = self.arena_path(0);
        let record = || self.disk.replace_file(Path::new(ARENA_PATH_FILE), first.as_os_str().as_bytes());
        if left.is_empty() && recorded.as_ref() != Some(&first) {
            record()?;
        }
        let bytes = index(round_down(self.of_shard(0).config.arena_bytes as u64, 4096));
        let mut arenas = Vec::new();
        let mut is_other = false;
        for path in &paths {
            let (arena, found) = Arena::open(path, bytes)?;
            if !found.in_memory {
                tracing::warn!(arena = %path.display(), "the arena is not on tmpfs: the kernel writes it back to the disk");
            }
            is_other |= ![0, bytes].contains(&found.previous_bytes);
            arenas.push((arena, found));
        }
        let all: Vec<&Arena> = arenas.iter().map(|(arena, _)| arena).chain(&left).collect();
        let recovered = self.recover(&all, image)?;
        if recovered.report.lacks_room {
            // Of an arena elsewhere, or of another length, nobody would know any more.
            if !left.is_empty() || is_other {
                return Err(Error::NoRoomToRecover);
            }
            let arenas = arenas.into_iter().map(|(arena, _)| arena);
            return Ok(arenas.zip(self.divide(recovered)).collect());
        }
        let mut ready = Vec::new();
        for (number, (mut arena, found)) in self.numbers().zip(arenas) {
            if found.previous_bytes > 0 {
                arena.reset(bytes)?;
            }
            claim_arena(&mut arena, &self.recovery, u32::from(number));
            ready.push(arena);
        }
        if !left.is_empty() {
            record()?;
        }
        for left in left.into_iter().rev() {
            Arena::remove(left.path())?;
        }
        self.has_recovered = true;
        Ok(ready.into_iter().zip(self.divide(recovered)).collect())
    }

    /// Arenas of the last life that are not among those at `paths`: of shards that there are no more, or in another folder.
    fn open_left(&self, recorded: Option<&Path>, paths: &[PathBuf]) -> Result<Vec<Arena>, Error> {
        let folders = [recorded.and_then(Path::parent), Some(self.config.arena_dir.as_path())];
        let mut left = Vec::new();
        let mut seen: Vec<PathBuf> = paths.to_vec();
        for folder in folders.into_iter().flatten() {
            for number in 0..SHARDS_MAX {
                let path = folder.join(self.arena_name(number));
                if seen.contains(&path) {
                    continue;
                }
                let Some(arena) = Arena::open_left(&path)? else {
                    // They are numbered without gaps, but for those that are used again.
                    if usize::from(number) >= paths.len() {
                        break;
                    }
                    continue;
                };
                left.push(arena);
                seen.push(path);
            }
        }
        Ok(left)
    }

    /// That of the shard of this number.
    pub(super) fn of_shard(&self, number: u16) -> Life {
        let count = self.count();
        Life {
            config: Arc::new(self.config.of_shard(usize::from(count))),
            disk: self.disk.clone(),
            recovery: self.recovery,
            place: ShardPlace { number, count },
            open_files: self.open_files,
        }
    }

    pub(super) fn count(&self) -> u16 {
        u16::try_from(self.recovery.shard_count).unwrap_or(u16::MAX)
    }

    pub(super) fn numbers(&self) -> impl DoubleEndedIterator<Item = u16> + use<> {
        0..self.count()
    }

    /// Where a shard's arena is.
    pub(super) fn arena_path(&self, number: u16) -> PathBuf {
        self.config.arena_dir.join(self.arena_name(number))
    }

    fn arena_name(&self, number: u16) -> String {
        let id: String = self.recovery.directory_id.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("ringlog-{id}-{number}.arena")
    }

    /// Where that of shard 0 was in the last life.
    fn recorded_arena_path(&self) -> Result<Option<PathBuf>, Error> {
        match self.disk.read_file(Path::new(ARENA_PATH_FILE), PATH_BYTES_MAX) {
            Err(error) if error.is_not_found() => Ok(None),
            recorded => Ok(Some(PathBuf::from(OsString::from_vec(recorded?)))),
        }
    }

    /// Recovers after a life of this process. Blocks; to be repeated when it fails.
    pub(super) fn begin_again(
        &mut self,
        arenas: &mut [Arena],
        image: &Image,
    ) -> Result<Vec<Recovered>, Error> {
        self.recovery.incarnation = image.start_count().0;
        self.recovery.now_ms = SystemClock.wall_ms();
        // What the start did not know has been moved: what is not known any more was deleted since.
        self.recovery.knows_all_topics |= self.has_recovered;
        let all: Vec<&Arena> = arenas.iter().collect();
        let recovered = self.recover(&all, image)?;
        if !recovered.report.lacks_room {
            for (number, arena) in self.numbers().zip(arenas) {
                claim_arena(arena, &self.recovery, u32::from(number));
            }
            self.has_recovered = true;
        }
        Ok(self.divide(recovered))
    }

    fn recover(&self, arenas: &[&Arena], image: &Image) -> Result<Recovered, Error> {
        let partitions = known_partitions(&self.config, image);
        let recovered = recover(&self.disk, arenas, &partitions, &self.recovery)?;
        report(&recovered);
        Ok(recovered)
    }

    /// To each shard its partitions, in their order, and its files. What belongs to none goes to the first.
    fn divide(&self, recovered: Recovered) -> Vec<Recovered> {
        let Recovered { logs, commit_files, report } = recovered;
        let count = self.count();
        let mut parts: Vec<Recovered> = self
            .numbers()
            .map(|number| Recovered {
                report: RecoveryReport {
                    trash: if number == 0 { report.trash.clone() } else { Vec::new() },
                    ..report.clone()
                },
                ..Recovered::default()
            })
            .collect();
        for log in logs {
            let id = log.topic_partition();
            let owner = ShardPlace { number: 0, count }.owner_of(id.topic_id, id.partition.0);
            if let Some(part) = parts.get_mut(usize::from(owner)) {
                part.logs.push(log);
            }
        }
        for file in commit_files {
            let owner = if file.0 < u32::from(count) { index(u64::from(file.0)) } else { 0 };
            if let Some(part) = parts.get_mut(owner) {
                part.commit_files.push(file);
            }
        }
        parts
    }
}

impl Life {
    /// How many files connections may be.
    pub(super) fn open_files_for_clients(&self) -> u64 {
        let of_all = self.segment_files() * u64::from(self.place.count);
        let others = OTHER_FILES + SHARD_FILES * u64::from(self.place.count);
        self.open_files.saturating_sub(of_all).saturating_sub(others).max(1)
    }

    fn segment_files(&self) -> u64 {
        (self.open_files / SEGMENT_FILES_SHARE).min(SEGMENT_FILES_MAX) / u64::from(self.place.count)
    }

    /// A log over what was recovered. An error gives the arena back, for another attempt.
    pub(super) fn open(
        &self,
        storage: &mut Storage,
        arena: Arena,
        image: &Image,
        recovered: Recovered,
    ) -> Result<(ShardLog<Arena>, Partitions), (Arena, Error)> {
        if recovered.report.lacks_room {
            return Ok(self.open_awaiting(arena, image, recovered));
        }
        let mut log = ShardLog::new(self.shard_options(), arena, SystemClock.wall_ms());
        if let Err(error) = self.open_commit_files(storage, &mut log, &recovered) {
            return Err((log.into_memory(), error));
        }
        log.remove_trash(recovered.report.trash.clone());
        let was_clean = recovered.report.clean;
        let partitions = add_partitions(&self.config, self.place, image, &mut log, recovered);
        if was_clean {
            log.remove_left_over();
        }
        Ok((log, partitions))
    }

    /// A log of partitions that are read alone, until the disk has the room to recover them.
    fn open_awaiting(
        &self,
        arena: Arena,
        image: &Image,
        recovered: Recovered,
    ) -> (ShardLog<Arena>, Partitions) {
        let mut log = ShardLog::awaiting_recovery(self.shard_options(), arena, SystemClock.wall_ms());
        let partitions = add_partitions(&self.config, self.place, image, &mut log, recovered);
        (log, partitions)
    }

    /// What stands in for a log that cannot be recovered just now: all partitions of the image, which refuse everything.
    pub(super) fn open_failed(&self, arena: Arena, image: &Image) -> (ShardLog<Arena>, Partitions) {
        let empty = |known: KnownPartition| {
            PartitionLog::empty(known.topic_partition, known.folder, known.config, known.leader_epoch)
        };
        let is_ours = |known: &KnownPartition| {
            let id = known.topic_partition;
            self.place.owns(id.topic_id, id.partition.0)
        };
        let logs = known_partitions(&self.config, image).into_iter().filter(is_ours).map(empty).collect();
        let recovered = Recovered { logs, ..Recovered::default() };
        let (mut log, partitions) = self.open_awaiting(arena, image, recovered);
        log.fail_all();
        (log, partitions)
    }

    fn shard_options(&self) -> ShardOptions {
        let (config, recovery) = (&self.config, &self.recovery);
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        ShardOptions {
            directory_id: recovery.directory_id,
            shard: u32::from(self.place.number),
            incarnation: recovery.incarnation,
            commit_depth: index(u64::from(config.commit_log_depth)),
            commit_bytes_max: config.commit_log_bytes_max,
            open_files_max: index(self.segment_files()),
            retained_bytes: config.arena_bytes as u64 / 4,
            read_cache_bytes: config.read_cache_bytes as u64,
            producers_max: config.producers_max(),
            producer_expiration_ms: signed(config.producer_id_expiration_ms),
            retention_interval_ms: signed(config.log_retention_check_interval_ms),
            ..ShardOptions::default()
        }
    }

    /// Uses the commit-log files of the last life again; makes the first one if there is none.
    fn open_commit_files(
        &self,
        storage: &mut Storage,
        log: &mut ShardLog<Arena>,
        recovered: &Recovered,
    ) -> Result<(), Error> {
        let (config, disk) = (&self.config, &self.disk);
        let mut found = false;
        for &(shard, number, bytes) in &recovered.commit_files {
            let path = commit_file_path(shard, number);
            if shard != u32::from(self.place.number) {
                disk.remove(Path::new(&path))?;
                continue;
            }
            let file = log.fresh_file();
            storage.open_now(file, &path)?;
            log.add_commit_file(file, number, round_down(bytes, 4096));
            found = true;
        }
        if !found {
            let path = commit_file_path(u32::from(self.place.number), 0);
            let bytes = round_down(config.commit_log_file_bytes.max(FILE_BYTES_MIN), 4096);
            let file = log.fresh_file();
            let task = Task::CreateCommitFile { file, path: path.clone(), bytes };
            if let Outcome::Failed(fault) = run_task(disk, &task, None).outcome {
                return Err(Error::CommitLog { path, fault });
            }
            storage.open_now(file, &path)?;
            log.add_commit_file(file, 0, bytes);
        }
        Ok(())
    }
}

fn known_partitions(config: &BrokerConfig, image: &Image) -> Vec<KnownPartition> {
    image
        .topics()
        .flat_map(|topic| {
            topic.partitions().map(|partition| KnownPartition {
                topic_partition: TopicPartition { topic_id: topic.id, partition },
                folder: folder_of(topic, partition),
                config: log_config_of(config, topic),
                leader_epoch: image.leader_epoch(topic),
            })
        })
        .collect()
}

fn report(recovered: &Recovered) {
    let report = &recovered.report;
    if report.lacks_room {
        tracing::error!(
            unread = report.offline.len(),
            "the disk is full: the log is recovered when there is room; what can be read is read, and appends are refused"
        );
        return;
    }
    for (partition, reason) in &report.offline {
        tracing::error!(partition, reason, "the partition is damaged and not served");
    }
    for folder in &report.strays {
        tracing::warn!(
            folder,
            "a folder of a topic that the metadata does not know, and may have lost, is kept and not served"
        );
    }
    if report.arena_lost {
        tracing::warn!(
            "the memory of the last life is gone, as after a reboot: topics of durability written go on at their \
             reservations, without what was not flushed"
        );
    }
    if !report.clean && (report.frames_applied > 0 || report.chunks_applied > 0 || report.bytes_scanned > 0) {
        tracing::info!(
            frames = report.frames_applied,
            chunks = report.chunks_applied,
            scanned_bytes = report.bytes_scanned,
            cut_bytes = report.bytes_cut,
            "recovered after an unclean stop"
        );
    }
}

fn add_partitions(
    config: &BrokerConfig,
    place: ShardPlace,
    image: &Image,
    log: &mut ShardLog<Arena>,
    recovered: Recovered,
) -> Partitions {
    let mut partitions = Partitions::of(place);
    let mut logs = recovered.logs.into_iter();
    for topic in image.topics() {
        let slot_of = |partition: PartitionIndex| {
            let found = if place.owns(topic.id, partition.0) { logs.next() } else { None };
            found.map(|found| log.add_partition(found))
        };
        let slots = topic.partitions().map(slot_of).collect();
        partitions.insert(config, Arc::clone(topic), slots);
    }
    partitions
}
