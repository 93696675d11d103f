//! What it costs to start, to do nothing, and to come back after a crash.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::compare::{folder_bytes, settle_disk};
use super::contestants::Places;
use super::host::{self, Watched};
use super::loader::{self, Idle, LoaderOptions, Run};
use super::process::Server;
use super::setup::{self, MadeTopic};
use crate::client::{Client, Place, Settings};
use crate::measure::batch::BatchShape;
use crate::measure::driver::{Error, Result};
use crate::measure::schedule::Pace;
use crate::measure::workload::{Kind, Workload};
use crate::model::{Durability, PartitionIndex};
use crate::runtime::thread as machine;

/// A server that is started and left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleFigures {
    /// From exec to the first answer, without any data.
    pub first_start: Duration,
    /// The same, after a clean stop.
    pub second_start: Option<Duration>,
    /// In RAM, what it shares included. Unit: bytes.
    pub resident_bytes: u64,
    /// Processor time per second of the clock. Unit: 1/1,000,000.
    pub cpu_per_million: u64,
}

/// Starts ringlog with its defaults, and Apache Kafka if it is there, and watches them for `watched` doing nothing.
///
/// # Errors
/// One that does not serve.
pub fn idle(places: &Places, watched: Duration) -> Result<(IdleFigures, Option<IdleFigures>)> {
    places.prepare()?;
    machine::pin(places.loader_cpu)?;
    let ringlog = idle_ringlog(places, watched);
    let kafka = places.kafka_home.as_ref().map(|home| idle_kafka(places, home, watched)).transpose();
    places.clean_up();
    Ok((ringlog?, kafka?))
}

fn idle_kafka(places: &Places, home: &Path, watched: Duration) -> Result<IdleFigures> {
    let server = places.start_kafka(home)?;
    let (resident_bytes, cpu_per_million) = watch(&server, watched)?;
    Ok(IdleFigures { first_start: server.ready_after, second_start: None, resident_bytes, cpu_per_million })
}

fn idle_ringlog(places: &Places, watched: Duration) -> Result<IdleFigures> {
    super::process::remove(&[places.ringlog_data()]);
    let server = places.start_ringlog(&[])?;
    let first_start = server.ready_after;
    server.end()?;
    let server = places.start_ringlog(&[])?;
    let second_start = Some(server.ready_after);
    let (resident_bytes, cpu_per_million) = watch(&server, watched)?;
    Ok(IdleFigures { first_start, second_start, resident_bytes, cpu_per_million })
}

fn watch(server: &Server, watched: Duration) -> Result<(u64, u64)> {
    // What a start leaves to be done behind is not idling.
    thread::sleep(Duration::from_secs(2));
    let (began, before) = (Instant::now(), host::process_cpu(server.pid())?);
    thread::sleep(watched);
    let used = host::process_cpu(server.pid())?.saturating_sub(before);
    let share = used.as_nanos() * 1_000_000 / began.elapsed().as_nanos().max(1);
    Ok((host::resident_bytes(server.pid())?, u64::try_from(share).unwrap_or(u64::MAX)))
}

/// What is stored before the crash, and what is under way at it.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryOptions {
    /// Of two topics together: half of them large batches, `written`; half single records, `synced`.
    pub partitions: u32,
    pub stored_bytes: u64,
    /// Load on both topics before the crash.
    pub loaded: Duration,
}

/// A restart after kill -9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryFigures {
    /// From exec to the first answer.
    pub ready_after: Duration,
    /// Acknowledged before the crash; all of them are there.
    pub records: u64,
    /// All data on disk, what was allocated ahead included. Unit: bytes.
    pub disk_bytes: u64,
    /// What the commit log's files and the arena's take; how much of that was in use, `found` tells.
    pub commit_log_bytes: u64,
    pub arena_bytes: u64,
    /// What the restarted broker says that it recovered: frames, chunks, bytes.
    pub found: String,
}

/// Fills a broker, kills it in the middle of load on every partition, lets the disk come to rest (`sync`), starts it again and
/// counts what is there.
///
/// # Errors
/// A broker that does not serve; acknowledged records that are gone.
pub fn recovery(places: &Places, options: RecoveryOptions) -> Result<RecoveryFigures> {
    places.prepare()?;
    machine::pin(places.loader_cpu)?;
    super::process::remove(&[places.ringlog_data()]);
    let result = crash_and_recover(places, options);
    places.clean_up();
    result
}

fn crash_and_recover(places: &Places, options: RecoveryOptions) -> Result<RecoveryFigures> {
    let server = places.start_ringlog(&[])?;
    let half = (options.partitions / 2).max(1);
    let address = places.ringlog_address();
    let written = setup::make_topic(address, half, Durability::Written)?;
    let synced = setup::make_topic(address, half, Durability::Synced)?;
    let pid = server.pid();
    let fill = Workload { bytes_max: Some(options.stored_bytes), ..endless(half) };
    let filled = load(places, &written, &fill, pid)?;
    let mut single = Workload { connections: 64, in_flight: 4, ..endless(half) };
    single.shape = BatchShape { record_bytes: 100, batch_bytes_max: 0 };
    let (large, small) = thread::scope(|scope| {
        let large = scope.spawn(|| load(places, &written, &endless(half), pid));
        let small = scope.spawn(|| load(places, &synced, &single, pid));
        thread::sleep(options.loaded);
        let made = server.kill();
        debug_assert!(!made.is_empty(), "the data are kept for the restart");
        (joined(large.join()), joined(small.join()))
    });
    let (large, small) = (large?, small?);
    let commit_log_bytes = folder_bytes(&places.ringlog_data().join("commit-log"));
    let arena_bytes = folder_bytes(&places.memory);
    settle_disk();
    // Nobody else has anything to do meanwhile.
    let restarted = places.start_ringlog_alone()?;
    let mut records = count_back(address, &written, &[&filled, &large])?;
    records += count_back(address, &synced, &[&small])?;
    let folders = std::fs::read_dir(places.ringlog_data()).into_iter().flatten().flatten();
    let disk_bytes = folders.map(|folder| folder_bytes(&folder.path())).sum();
    Ok(RecoveryFigures {
        ready_after: restarted.ready_after,
        records,
        disk_bytes,
        commit_log_bytes,
        arena_bytes,
        found: what_was_recovered(&places.ringlog_log()),
    })
}

/// The figures in the last line about a recovery.
fn what_was_recovered(log: &Path) -> String {
    const SAYS: &str = "recovered after an unclean stop ";
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let found = text.lines().rev().find_map(|line| line.split_once(SAYS));
    found.map_or("it says nothing of a recovery", |(_, figures)| figures).to_owned()
}

fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Large batches without an end.
fn endless(partitions: u32) -> Workload {
    Workload {
        partitions,
        pace: Pace::Closed,
        warm_up: Duration::ZERO,
        measured: Duration::from_secs(3_600),
        ..Workload::new(Kind::Produce)
    }
}

fn load(places: &Places, topic: &MadeTopic, workload: &Workload, broker_pid: u32) -> Result<Run> {
    let options = LoaderOptions {
        address: topic.address,
        idle: Idle::Park,
        is_floor: false,
        watched: Watched {
            loader_cpu: Some(places.loader_cpu),
            broker_cpu: None,
            broker_pid: Some(broker_pid),
        },
    };
    loader::run(workload, &topic.target, options)
}

/// Holds the end of every partition against what was acknowledged; returns how much that was.
fn count_back(address: &str, topic: &MadeTopic, runs: &[&Run]) -> Result<u64> {
    let mut client = Client::connect(Settings::new(address)?)?;
    let name = &topic.target.topic;
    let places: Vec<_> =
        (0..topic.partitions).map(|index| (PartitionIndex(index.cast_signed()), Place::End)).collect();
    let ends = client.offsets(name, &places)?;
    let mut acknowledged = 0;
    let mut lost: u64 = 0;
    for (partition, end) in ends.iter().enumerate() {
        let expected: u64 = runs.iter().filter_map(|run| run.written.get(partition)).sum();
        let found = end.offset.and_then(|offset| u64::try_from(offset.0).ok()).unwrap_or(0);
        acknowledged += expected;
        lost += expected.saturating_sub(found);
    }
    if lost > 0 {
        return Err(Error::RecordsLost { topic: name.clone(), records: lost });
    }
    Ok(acknowledged)
}
