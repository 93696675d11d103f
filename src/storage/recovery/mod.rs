//! Recovery: from whatever the last life left on disk and in memory to logs that can be appended to.
//!
//! Runs once at a start, before any shard, with blocking I/O. Order: replay the commit logs' frames into the segments, then
//! the arena's chunks (the later truth), bring all that to stable media, *then* scan the tails and cut them, then write a new
//! base, which makes everything replayed void at once. Nothing is appended before. The time is proportional to what was
//! not flushed, not to what is stored; after a clean stop nothing is read but the base.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, reason = "numbers from a disk are worked with"))]

mod apply;
mod chunks;
mod folders;
mod frames;
mod held;
mod hindsight;
mod partition;
mod replay;
mod scan;
mod shared;
mod snapshots;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use self::folders::TRASH_PREFIX;
use self::replay::{Replay, Replayed, Sources, hold};
pub use self::scan::{Expected, Scanned, Stop, walk};
use self::shared::Shared;
use super::arena::table::{self, ARENA_BYTES_MIN, ArenaOwner, Layout};
use super::checkpoint::{
    BASE_PATH, CHECKPOINT_BYTES_MAX, CheckpointFile, CheckpointPartition, SegmentRecord,
    shard_checkpoint_path,
};
use super::partition::{LogConfig, PartitionLog};
use super::seeded_bug::{SeededBug, planted};
use super::side_file::SideFileError;
use crate::model::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use crate::runtime::disk::BlockingDisk;
use crate::runtime::memory::ArenaMemory;
use crate::runtime::parallel;

/// Most shards of which checkpoints are looked for.
pub const SHARDS_MAX: u16 = 1024;

/// A partition that the metadata knows.
#[derive(Clone, Debug)]
pub struct KnownPartition {
    pub topic_partition: TopicPartition,
    /// `<topic>-<partition>`
    pub folder: String,
    pub config: LogConfig,
    /// The epoch of the life that begins.
    pub leader_epoch: LeaderEpoch,
}

/// What recovery must know of the life that begins.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryOptions {
    pub directory_id: [u8; 16],
    pub boot_id: [u8; 16],
    /// Greater than that of every life before.
    pub incarnation: u64,
    pub shard_count: u32,
    pub now_ms: i64,
    /// The metadata is known to be all that there was: a topic that it does not know was deleted.
    pub knows_all_topics: bool,
    /// How many threads work at the same time; with one, in the order of the partitions. Each has two windows of 4 MiB at most; one
    /// of them has larger ones, for larger batches.
    pub threads: usize,
    /// Frames gathered before they are written. Unit: bytes.
    pub gathered_bytes_max: usize,
    pub seeded_bug: Option<SeededBug>,
}

/// What recovery gives.
#[derive(Debug, Default)]
pub struct Recovered {
    /// One log for each known partition, in their order.
    pub logs: Vec<PartitionLog>,
    /// Commit-log files that can be used again: shard and number in the name, size in bytes.
    pub commit_files: Vec<(u32, u64, u64)>,
    pub report: RecoveryReport,
}

/// What was found and done, for the log of the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The last stop was clean: nothing was replayed or scanned.
    pub clean: bool,
    pub frames_applied: u64,
    pub chunks_applied: u64,
    /// Commit logs of which a part that was durable is missing, by what lies behind it.
    pub damaged_streams: u32,
    /// The memory of the last life was there.
    pub arena_found: bool,
    pub bytes_scanned: u64,
    /// There was one, and it was not found.
    pub arena_lost: bool,
    /// Bytes behind the last good batches.
    pub bytes_cut: u64,
    /// Partitions that are not served, with the reason.
    pub offline: Vec<(String, String)>,
    /// The disk has no room for all that was to be written. The last life's base, streams and arenas hold still, and are to be
    /// recovered again: until then the logs may be read, those in `offline` not, and nothing may be appended.
    pub lacks_room: bool,
    /// Folders of deleted partitions, to be removed when there is time.
    pub trash: Vec<String>,
    /// Folders of partitions that the metadata does not know but may have known, under the names that they have been given.
    /// They are kept.
    pub strays: Vec<String>,
}

impl RecoveryReport {
    /// Takes in what was found of one partition.
    fn add(&mut self, own: Self) {
        self.bytes_scanned = self.bytes_scanned.saturating_add(own.bytes_scanned);
        self.bytes_cut = self.bytes_cut.saturating_add(own.bytes_cut);
        self.offline.extend(own.offline);
        self.lacks_room |= own.lacks_room;
    }
}

/// Why a start is refused.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Disk(#[from] crate::runtime::Error),
    #[error(
        "data directory of a newer format: {path}: {source}; start the newer Ringlog, or choose another directory \
         (--data)"
    )]
    Newer { path: String, source: SideFileError },
    #[error("{path} is damaged; it holds what partitions that were not served lack")]
    Held { path: String },
    #[error("{folder}: {reason}; {BASE_PATH}, which says what was in it, cannot be used either")]
    Unknown { folder: String, reason: String },
}

/// What the files say of the last life.
struct LastLife {
    base: Option<CheckpointFile>,
    /// The newest word on each partition.
    known: BTreeMap<TopicPartition, CheckpointPartition>,
    /// Per shard: commit-log frames before it are void.
    oldest_sequences: BTreeMap<u32, u64>,
    /// The base or a shard's checkpoint cannot be used: of what stood in it nothing is known.
    unsure: bool,
}

/// What became of a checkpoint that was looked for.
enum Found {
    Missing,
    /// What it said can be found out again.
    Damaged,
    Sound(CheckpointFile),
}

/// Recovers all `partitions`. `arenas`: the memories of the last life's shards, as far as they were found.
///
/// # Errors
/// [`RecoveryError`] when the disk cannot be read or written, or a file is of a newer format. Damage to one partition takes that
/// partition out of service and is reported, no more.
pub fn recover<D: BlockingDisk, M: ArenaMemory>(
    disk: &D,
    arenas: &[&M],
    partitions: &[KnownPartition],
    options: &RecoveryOptions,
) -> Result<Recovered, RecoveryError> {
    for folder in ["checkpoints", "commit-log"] {
        disk.create_directories(Path::new(folder))?;
    }
    disk.sync_directory(Path::new(""))?;
    let mut last = read_last_life(disk, options.directory_id)?;
    let mut recovered = Recovered::default();
    let mut held = BTreeSet::new();
    let clean = last.base.as_ref().is_some_and(|base| base.clean);
    recovered.report.clean = clean;
    if clean {
        for known in partitions {
            recovered.logs.push(partition::from_clean(known, last.known.get(&known.topic_partition)));
        }
    } else {
        held = recover_unclean(disk, arenas, partitions, options, &mut last, &mut recovered)?;
    }
    if recovered.report.lacks_room {
        return Ok(recovered);
    }
    match write_first_base(disk, options, &recovered.logs, &last.known, &held) {
        Err(RecoveryError::Disk(error)) if error.is_storage_full() => {
            tracing::warn!(%error, "nothing can be written down of what was recovered");
            recovered.report.lacks_room = true;
            return Ok(recovered);
        }
        written => written?,
    }
    held::forget_others(disk, options.incarnation)?;
    // One that had nothing to say yet has written none.
    for shard in 0..last.shard_count() {
        match disk.remove(Path::new(&shard_checkpoint_path(shard))) {
            Err(error) if error.is_not_found() => {}
            other => other?,
        }
    }
    recovered.commit_files = streams::list_files(disk)?;
    Ok(recovered)
}

/// Writes what the life of `options.incarnation` begins with. Of a partition that is out of service it says what was known before:
/// without that, the next start would take what is left of it for all that there was.
fn write_first_base<D: BlockingDisk>(
    disk: &D,
    options: &RecoveryOptions,
    logs: &[PartitionLog],
    known: &BTreeMap<TopicPartition, CheckpointPartition>,
    held: &BTreeSet<TopicPartition>,
) -> Result<(), RecoveryError> {
    let describe = |log: &PartitionLog| {
        let id = log.topic_partition();
        if held.contains(&id) {
            // What its frames do to it is still to come.
            known.get(&id).cloned()
        } else if log.has_failed() {
            // Its control frames have had their effect, and those of the new life are numbered from 1 again.
            let known = known.get(&id).cloned();
            known.map(|known| CheckpointPartition { control_sequence: 0, ..known })
        } else {
            partition::describe(log)
        }
    };
    let partitions = logs.iter().filter_map(describe).collect();
    write_base_of(disk, options.incarnation, options.shard_count, false, partitions)
}

/// Writes the base of these partitions; a clean stop uses it with what the shards say of themselves.
///
/// # Errors
/// [`RecoveryError::Disk`].
pub fn write_base_of<D: BlockingDisk>(
    disk: &D,
    incarnation: u64,
    shard_count: u32,
    clean: bool,
    partitions: Vec<CheckpointPartition>,
) -> Result<(), RecoveryError> {
    let base = CheckpointFile { incarnation, shard: shard_count, clean, oldest_sequence: 0, partitions };
    disk.replace_file(Path::new(BASE_PATH), &base.encode())?;
    Ok(())
}

/// Returns the partitions of which frames had to be put aside.
fn recover_unclean<D: BlockingDisk, M: ArenaMemory>(
    disk: &D,
    arenas: &[&M],
    partitions: &[KnownPartition],
    options: &RecoveryOptions,
    last: &mut LastLife,
    recovered: &mut Recovered,
) -> Result<BTreeSet<TopicPartition>, RecoveryError> {
    // Metadata that was put back from a copy knows fewer starts than the data.
    let is_older = |base: &CheckpointFile| base.incarnation >= options.incarnation;
    let knows_all_topics = options.knows_all_topics && last.base.as_ref().is_some_and(|base| !is_older(base));
    let damaged =
        folders::sort_out(disk, partitions, knows_all_topics, options.threads, &mut recovered.report)?;
    let by_id: BTreeMap<TopicPartition, &KnownPartition> =
        partitions.iter().map(|known| (known.topic_partition, known)).collect();
    if planted(options.seeded_bug, SeededBug::ScanBeforeReplay) {
        // The planted mistake: tails are cut before what belongs there has been put back.
        for known in partitions {
            let state = last.known.get(&known.topic_partition);
            let shared = Shared::new(last.unsure, options);
            partition::recover(disk, known, state, None, &shared, &mut recovered.report)?;
        }
    }
    let sources = find_sources(disk, arenas, options, last)?;
    last.unsure |= sources.streams.iter().any(|(stream, oldest)| *oldest == 0 && !stream.is_whole());
    if last.unsure && sources.incarnation.is_some() {
        tracing::warn!("a checkpoint is missing or damaged: no segment is void because of where it begins");
    }
    let replay = Replay::new(disk, &by_id, &mut last.known, damaged, options);
    let replayed = replay.run(&sources, &options.boot_id)?;
    let report = &mut recovered.report;
    report.frames_applied = replayed.frames_applied;
    report.chunks_applied = replayed.chunks_applied;
    report.damaged_streams = replayed.damaged_streams;
    report.lacks_room = replayed.lacks_room;
    report.arena_found = !sources.arenas.is_empty();
    // Each shard makes a stream before it takes anything.
    let streams = || sources.streams.iter().map(|(stream, _)| stream.shard.saturating_add(1)).max();
    let unknown = || streams().unwrap_or(u32::from(sources.incarnation.is_some()));
    let shard_count = last.base.as_ref().map_or_else(unknown, |base| base.shard);
    report.arena_lost = u32::try_from(sources.arenas.len()).is_ok_and(|found| found < shard_count);
    let (held, not_served) = recover_partitions(disk, partitions, last, &replayed, options, recovered)?;
    let report = &mut recovered.report;
    if report.lacks_room {
        return Ok(held);
    }
    if last.base.is_none()
        && let Some((folder, reason)) = report.offline.first().cloned()
    {
        return Err(RecoveryError::Unknown { folder, reason });
    }
    if !planted(options.seeded_bug, SeededBug::ForgetHeld) {
        hold(disk, options.incarnation, &sources, &held, &not_served, &options.boot_id)?;
    }
    Ok(held)
}

/// Scans and cuts all partitions. Returns those of which frames must be put aside, and of those that are not served whether the
/// memory of the life that did is lost.
fn recover_partitions<D: BlockingDisk>(
    disk: &D,
    partitions: &[KnownPartition],
    last: &LastLife,
    replayed: &Replayed,
    options: &RecoveryOptions,
    recovered: &mut Recovered,
) -> Result<(BTreeSet<TopicPartition>, BTreeMap<TopicPartition, bool>), RecoveryError> {
    let shared = Shared::new(last.unsure, options);
    let (known_before, opened) = (&last.known, &replayed.opened);
    let places = partitions.iter().enumerate().collect();
    let reports = parallel::map(options.threads, places, |(place, known): (usize, &KnownPartition)| {
        let (id, mut own) = (known.topic_partition, RecoveryReport::default());
        let state = known_before.get(&id);
        let log = match replayed.damaged.get(&known.folder) {
            Some(reason) => Ok(partition::offline(known, state, reason.clone(), &mut own)),
            None => recover_or_leave(disk, known, state, opened.get(&id), &shared, &mut own),
        };
        log.map(|log| {
            shared.take(place, log);
            own
        })
    });
    let logs = shared.into_logs();
    let (mut held, mut not_served) = (BTreeSet::new(), BTreeMap::new());
    for own in reports {
        recovered.report.add(own?);
    }
    for (known, mut log) in partitions.iter().zip(logs) {
        let id = known.topic_partition;
        if replayed.damaged.contains_key(&known.folder) {
            held.insert(id);
        }
        let is_arena_lost = replayed.memory_lost.get(&id).copied().unwrap_or(recovered.report.arena_lost);
        if is_arena_lost {
            partition::resume_at_reservation(&mut log, last.known.get(&id), last.unsure, options);
        }
        if log.failed {
            not_served.insert(id, is_arena_lost);
        }
        recovered.logs.push(log);
    }
    Ok((held, not_served))
}

/// The partition's log; out of service, if its files cannot be read or written.
fn recover_or_leave<D: BlockingDisk>(
    disk: &D,
    known: &KnownPartition,
    state: Option<&CheckpointPartition>,
    opened: Option<&BTreeSet<Offset>>,
    shared: &Shared<'_>,
    report: &mut RecoveryReport,
) -> Result<PartitionLog, RecoveryError> {
    match partition::recover(disk, known, state, opened, shared, report) {
        Err(RecoveryError::Disk(error)) if error.is_damage() || error.is_storage_full() => {
            report.lacks_room |= error.is_storage_full();
            Ok(partition::offline(known, state, error.to_string(), report))
        }
        log => log,
    }
}

/// What there is of the last life beside its segments.
fn find_sources<'m, D: BlockingDisk, M: ArenaMemory>(
    disk: &D,
    arenas: &[&'m M],
    options: &RecoveryOptions,
    last: &LastLife,
) -> Result<Sources<'m, M>, RecoveryError> {
    let incarnation = match &last.base {
        Some(base) => Some(base.incarnation),
        // A damaged base: the newest stream is that of the last life.
        None => streams::newest_incarnation(disk, options.directory_id)?,
    };
    let mut sources = Sources { incarnation, streams: Vec::new(), arenas: Vec::new() };
    if let Some(incarnation) = incarnation {
        for stream in streams::find_streams(disk, options.directory_id, incarnation)? {
            let oldest = last.oldest_sequences.get(&stream.shard).copied().unwrap_or(0);
            sources.streams.push((stream, oldest));
        }
        sources.arenas =
            arenas.iter().copied().filter(|arena| arena_of(*arena, options, incarnation)).collect();
    }
    Ok(sources)
}

/// The number of the last life that the data tell of.
///
/// # Errors
/// [`RecoveryError`].
pub fn last_incarnation<D: BlockingDisk>(
    disk: &D,
    directory_id: [u8; 16],
) -> Result<Option<u64>, RecoveryError> {
    match read_checkpoint(disk, BASE_PATH)? {
        Found::Sound(base) => Ok(Some(base.incarnation)),
        _ => match streams::newest_incarnation(disk, directory_id) {
            Err(RecoveryError::Disk(error)) if error.is_not_found() => Ok(None),
            newest => newest,
        },
    }
}

fn read_last_life<D: BlockingDisk>(disk: &D, directory_id: [u8; 16]) -> Result<LastLife, RecoveryError> {
    let mut last =
        LastLife { base: None, known: BTreeMap::new(), oldest_sequences: BTreeMap::new(), unsure: true };
    if let Found::Sound(base) = read_checkpoint(disk, BASE_PATH)? {
        last.known = base.partitions.iter().map(|partition| (id_of(partition), partition.clone())).collect();
        last.unsure = false;
        last.base = Some(base);
    }
    let incarnation = match &last.base {
        Some(base) if base.clean => return Ok(last),
        Some(base) => Some(base.incarnation),
        // What the shards wrote down of the newest life holds without its base.
        None => streams::newest_incarnation(disk, directory_id)?,
    };
    for shard in 0..last.shard_count() {
        match read_checkpoint(disk, &shard_checkpoint_path(shard))? {
            Found::Missing => {}
            Found::Damaged => last.unsure = true,
            Found::Sound(newer) if Some(newer.incarnation) != incarnation => {}
            Found::Sound(newer) => last.take_newer(newer),
        }
    }
    Ok(last)
}

impl LastLife {
    /// How many shards there were; without a base, as many as there can have been.
    fn shard_count(&self) -> u32 {
        let known = self.base.as_ref().map(|base| base.shard);
        known.unwrap_or(u32::MAX).min(u32::from(SHARDS_MAX))
    }

    /// Takes what a shard said later than the base.
    fn take_newer(&mut self, newer: CheckpointFile) {
        self.oldest_sequences.insert(newer.shard, newer.oldest_sequence);
        for mut partition in newer.partitions {
            let id = id_of(&partition);
            if let Some(older) = self.known.get(&id) {
                partition.segments_end = partition.segments_end.min(older.segments_end);
                let holds = |record: &&SegmentRecord| record.base_offset < partition.segments_end;
                partition.segments = older.segments.iter().filter(holds).cloned().collect();
            }
            self.known.insert(id, partition);
        }
    }
}

/// Reads a checkpoint.
fn read_checkpoint<D: BlockingDisk>(disk: &D, path: &str) -> Result<Found, RecoveryError> {
    let bytes = match disk.read_file(Path::new(path), CHECKPOINT_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(Found::Missing),
        Err(error) => return Err(error.into()),
    };
    match CheckpointFile::decode(&bytes) {
        Ok(file) => Ok(Found::Sound(file)),
        Err(source @ SideFileError::Newer { .. }) => {
            Err(RecoveryError::Newer { path: path.to_owned(), source })
        }
        Err(error) => {
            tracing::warn!(path, %error, "a checkpoint is damaged");
            Ok(Found::Damaged)
        }
    }
}

fn id_of(partition: &CheckpointPartition) -> TopicPartition {
    TopicPartition { topic_id: TopicId(partition.topic_id), partition: PartitionIndex(partition.partition) }
}

/// Whether this memory is what the last life's shards left.
fn arena_of<M: ArenaMemory>(arena: &M, options: &RecoveryOptions, incarnation: u64) -> bool {
    arena.len() >= ARENA_BYTES_MIN
        && ArenaOwner::decode(arena.read(0, table::HEADER_BYTES)).is_some_and(|owner| {
            owner.directory_id == options.directory_id
                && owner.boot_id == options.boot_id
                && owner.incarnation == incarnation
        })
}

/// Empties an arena's table and writes its new owner: what it held is void from the moment the new base was durable.
pub fn claim_arena<M: ArenaMemory>(arena: &mut M, options: &RecoveryOptions, shard: u32) {
    let layout = Layout::of(arena.len());
    arena.zero(0, layout.table_end());
    let owner = ArenaOwner {
        directory_id: options.directory_id,
        boot_id: options.boot_id,
        shard,
        incarnation: options.incarnation,
    };
    arena.write(0, &owner.encode());
}

#[cfg(test)]
pub(in crate::storage) mod tests;
