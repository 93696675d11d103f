//! Start-up: ask the machine, lock the data, read the metadata, recover the logs, listen, start the shard.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::Error;
use super::control::{FromShard, ToShard};
use super::disk::{Storage, TaskResult};
use super::figures::{TurnFigures, now_us};
use super::frames::{FrameBuffers, LoneFrame};
use super::logs::{Life, Lives};
use super::peers::{Peers, ToPeer, Together};
use super::rebuild::Rebuild;
use super::reserve::{self, RESERVE_BYTES, START_BYTES};
use super::revival::Revived;
use super::shard_loop::{ShardLoop, StopStep, Stopped, clocks_at};
use super::stop::Stop;
use crate::broker::shards::Shard;
use crate::broker::shards::memory::Memory;
use crate::config::{BrokerConfig, Host, ShardCores, ShardIdle};
use crate::controller::Controller;
use crate::controller::state::Command;
use crate::model::image::{Endpoint, Image};
use crate::model::number::wide;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::disk::RealDisk;
use crate::runtime::mailbox::{Sender, mailbox};
use crate::runtime::memory::{Arena, Mapping};
use crate::runtime::mesh::{self, QUEUE_MESSAGES, mesh};
use crate::runtime::net::{Listener, resolve};
use crate::runtime::preflight::{self, DirectoryLock};
use crate::runtime::ring::{Ring, RingOptions};
use crate::runtime::signal;
use crate::runtime::thread::{self, Cpu};
use crate::runtime::waker::Waker;
use crate::runtime::worker::{WorkClient, Workers};
use crate::storage::recovery::{Recovered, RecoveryOptions, last_incarnation};

/// Connections that may wait to be accepted.
const BACKLOG: u16 = 1_024;
/// Open files that the defaults need: segments, commit log, connections to begin with.
const OPEN_FILES_NEEDED: u64 = 1_024;
/// Partitions recovered at the same time: what they wait for is the disk, and of flushes at the same time it makes one.
const RECOVERY_THREADS_MAX: usize = 32;
/// One of them for each so many of `memory.bytes`, of which their windows take a quarter at most, but for larger batches.
const RECOVERY_THREAD_MEMORY_BYTES: usize = 32 << 20;
/// Share of `memory.bytes` for what recovery gathers of the commit log.
const GATHERED_SHARE: usize = 16;
/// Messages that may wait for a shard; every answer has its question, of which there are no more.
const MAIL_MAX: usize = 65_536;
/// Jobs that may wait for a worker lane.
const JOBS_MAX: usize = 4_096;
/// With so many CPUs, one is not worth a shard as much as being free for the control thread, the workers and the kernel's.
const CPUS_TO_LEAVE_ONE: usize = 4;
/// Starts that a damaged metadata log may have forgotten.
const STARTS_LOST_MAX: u64 = 1_000;

/// What is known once the broker serves.
#[derive(Debug)]
pub struct Started {
    /// The port of each listener, in the order of the settings.
    pub ports: Vec<u16>,
    /// The CPU of each shard.
    pub cpus: Vec<usize>,
    /// Where data lies, in full.
    pub data: PathBuf,
}

/// Everything before the first thread.
pub(super) struct Prepared {
    pub(super) disk: RealDisk,
    pub(super) controller: Controller<RealDisk>,
    pub(super) started: Started,
    /// Of the shards.
    cpus: Vec<Cpu>,
    pub(super) lives: Lives,
    /// Taken by the shards.
    parts: Vec<(Arena, Recovered)>,
    /// Taken by the first one.
    listeners: Vec<Listener>,
    workers: Workers,
    _lock: DirectoryLock,
    /// The last to go: what ends before it may hang.
    pub(super) stop: Stop,
}

/// A shard that runs.
pub(super) struct RunningShard {
    pub(super) mail: Sender<ToShard>,
    /// Where it waits for its memory when the logs begin anew.
    pub(super) revived: mpsc::Sender<Revived>,
    pub(super) thread: JoinHandle<Result<Stopped, Error>>,
}

/// Does everything that can refuse a start.
pub(super) fn prepare(
    config: &Arc<BrokerConfig>,
    on_starting: impl FnOnce(&BrokerConfig),
) -> Result<Prepared, Error> {
    try_to_prepare(config, on_starting).map_err(|error| {
        if error.is_disk_full() {
            let (data, needed_bytes) = (config.log_dir.clone(), RESERVE_BYTES);
            Error::NoRoom { data, needed_bytes, source: Box::new(error) }
        } else {
            error
        }
    })
}

fn try_to_prepare(
    config: &Arc<BrokerConfig>,
    on_starting: impl FnOnce(&BrokerConfig),
) -> Result<Prepared, Error> {
    let stop = Stop::watch(signal::block()?)?;
    on_starting(config);
    let cpus = choose_cpus(config)?;
    let ring_options = RingOptions { cpu: cpus.first().copied(), ..RingOptions::default() };
    preflight::allow_locked_memory(preflight::locked_bytes(&ring_options) * wide(cpus.len()))?;
    preflight::check_ring(ring_options)?;
    let open_files = preflight::allow_open_files(OPEN_FILES_NEEDED)?;
    let listeners = listen(config)?;
    let ports: Vec<u16> = listeners.iter().map(|listener| listener.address().port()).collect();
    let disk = RealDisk::open(&config.log_dir)?;
    let lock = DirectoryLock::acquire(disk.root())?;
    reserve::release(&disk)?;
    if !disk.is_direct() {
        tracing::warn!(data = %disk.root().display(), "the file system has no direct I/O; the page cache stands between");
    }
    let mut controller = Controller::open(disk.clone(), Arc::clone(config), random()?)?;
    controller.set_endpoints(endpoints(config, &ports));
    let directory_id = controller.identity().directory_id.0;
    let last = last_incarnation(&disk, directory_id)?.unwrap_or(0);
    let has_lost_starts = register_later_start(&mut controller, last)?;
    let recovery = RecoveryOptions {
        directory_id,
        boot_id: preflight::boot_id()?.0.to_be_bytes(),
        incarnation: controller.image().start_count().0,
        shard_count: u32::try_from(cpus.len()).unwrap_or(u32::MAX),
        now_ms: SystemClock.wall_ms(),
        knows_all_topics: controller.knows_all_topics() && !has_lost_starts,
        threads: (config.memory_bytes / RECOVERY_THREAD_MEMORY_BYTES).clamp(1, RECOVERY_THREADS_MAX),
        gathered_bytes_max: config.memory_bytes / GATHERED_SHARE,
        seeded_bug: None,
    };
    let (life_config, life_disk) = (Arc::clone(config), disk.clone());
    let mut lives =
        Lives { config: life_config, disk: life_disk, recovery, open_files, has_recovered: false };
    reserve::keep(&disk, START_BYTES);
    let parts = lives.begin(&controller.image())?;
    let shown = cpus.iter().map(|cpu| usize::from(cpu.0)).collect();
    let started = Started { ports, cpus: shown, data: disk.root().to_owned() };
    Ok(Prepared {
        disk,
        controller,
        started,
        cpus,
        lives,
        parts,
        listeners,
        workers: Workers::start(JOBS_MAX, &[])?,
        _lock: lock,
        stop,
    })
}

/// A metadata log that has lost its end knows of fewer starts than the data: epochs and streams of theirs are not used again.
/// Returns whether that was so.
fn register_later_start(controller: &mut Controller<RealDisk>, last: u64) -> Result<bool, Error> {
    for number in 0..STARTS_LOST_MAX {
        if controller.image().start_count().0 > last {
            return Ok(number > 0);
        }
        tracing::warn!(last, "the metadata log has lost its end: it does not know of the last start");
        controller.handle(&[Command::RegisterStart]);
    }
    Err(Error::MetadataLost { last })
}

/// How many shards there are of themselves: one for each CPU; where there are four or more, or shards never sleep, one is left to all
/// else. No more than `memory.bytes` and `arena.bytes` have room for.
fn auto_count(cpu_count: usize, spins: bool, config: &BrokerConfig) -> usize {
    let leaves_one = cpu_count >= CPUS_TO_LEAVE_ONE || spins;
    cpu_count.saturating_sub(usize::from(leaves_one)).clamp(1, config.shard_count_of_choice())
}

/// The CPU of each shard: those that are named, else of those that the process may use.
fn choose_cpus(config: &BrokerConfig) -> Result<Vec<Cpu>, Error> {
    let allowed = thread::process_cpus()?;
    let spins = config.shard_idle == ShardIdle::Spin;
    let cpus: Vec<Cpu> = match &config.shard_cores {
        ShardCores::Auto => {
            let count = allowed.len().min(thread::parallelism());
            allowed.iter().take(auto_count(count, spins, config)).copied().collect()
        }
        ShardCores::Count(count) => allowed.iter().cycle().take(usize::from(*count)).copied().collect(),
        ShardCores::Cpus(wanted) => {
            let find = |&wanted: &u16| {
                allowed.iter().find(|cpu| cpu.0 == wanted).copied().ok_or(Error::CpuNotAllowed { wanted })
            };
            wanted.iter().map(find).collect::<Result<_, _>>()?
        }
    };
    let (count, count_max) = (cpus.len(), config.shard_count_max());
    if count > count_max {
        let (memory_bytes, arena_bytes) = (config.memory_bytes, config.arena_bytes);
        return Err(Error::TooManyShards { count, count_max, memory_bytes, arena_bytes });
    }
    if count > allowed.len() {
        tracing::warn!(
            shards = count,
            cpus = allowed.len(),
            "shards share CPUs: each is slower than one of its own"
        );
    }
    if spins && count >= allowed.len() {
        return Err(Error::NoCpuForControl { count });
    }
    Ok(cpus)
}

fn listen(config: &BrokerConfig) -> Result<Vec<Listener>, Error> {
    let mut listeners = Vec::new();
    for (number, listener) in config.listeners.iter().enumerate() {
        let unknown = |source| Error::UnknownHost { host: listener.bind.to_string(), source };
        let address = resolve(&listener.bind).map_err(unknown)?;
        // The last, so that the others keep their numbers.
        let optional =
            address.ip() == IpAddr::V6(Ipv6Addr::LOCALHOST) && number + 1 == config.listeners.len();
        match Listener::bind_patiently(address, BACKLOG) {
            // A machine without IPv6 is served where the default can be.
            Err(error) if optional && error.is_address_missing() => {
                tracing::warn!(%address, "this machine has no such address: not listening there");
            }
            bound => listeners.push(bound?),
        }
    }
    if listeners.is_empty() {
        return Err(Error::NoAddress);
    }
    Ok(listeners)
}

fn endpoints(config: &BrokerConfig, ports: &[u16]) -> Vec<Endpoint> {
    config
        .listeners
        .iter()
        .zip(ports)
        .map(|(listener, &port)| {
            let advertised = listener.advertised.with_port(port);
            let host = match advertised.host {
                Host::Any => "localhost".to_owned(),
                Host::Ip(address) => address.to_string(),
                Host::Name(name) => name,
            };
            Endpoint { listener: "PLAINTEXT".to_owned(), host, port: advertised.port }
        })
        .collect()
}

/// 16 random bytes at each call, from the kernel.
fn random() -> Result<Box<dyn FnMut() -> [u8; 16] + Send>, Error> {
    let path = Path::new("/dev/urandom");
    let failed = |source| Error::Random { path: path.to_owned(), source };
    let mut source = File::open(path).map_err(failed)?;
    let mut pool = [0; 16];
    source.read_exact(&mut pool).map_err(failed)?;
    Ok(Box::new(move || {
        let mut bytes = [0; 16];
        // The device was read a moment ago and has no end; should it fail all the same, an id must not be guessed.
        let read = source.read_exact(&mut bytes);
        assert!(read.is_ok(), "the kernel's randomness has gone");
        bytes
    }))
}

/// What a shard's thread tells before it opens its log.
struct Ready {
    mail: Sender<ToShard>,
    waker: Waker,
    revived: mpsc::Sender<Revived>,
}

/// What it is told then.
struct Begin {
    workers: WorkClient<TaskResult>,
    /// Of all shards, in order.
    wakers: Vec<Waker>,
}

/// Starts the shards' threads and waits until they serve.
pub(super) fn start_shards(
    prepared: &mut Prepared,
    to_control: &Sender<FromShard>,
) -> Result<Vec<RunningShard>, Error> {
    let parts = std::mem::take(&mut prepared.parts);
    let arenas: Vec<_> = parts.iter().map(|(arena, _)| Arc::clone(arena.mapping())).collect();
    let together = Arc::new(Together::of(parts.len()));
    let lone_frame = LoneFrame::default();
    let mut starting = Vec::new();
    let ends = mesh(parts.len(), QUEUE_MESSAGES);
    for ((number, part), (mesh, &cpu)) in (0..).zip(parts).zip(ends.into_iter().zip(&prepared.cpus)) {
        let seed = Seed {
            number,
            part,
            mesh,
            cpu,
            arenas: arenas.clone(),
            listeners: if number == 0 { std::mem::take(&mut prepared.listeners) } else { Vec::new() },
            image: prepared.controller.image(),
            life: prepared.lives.of_shard(number),
            to_control: to_control.clone(),
            together: Arc::clone(&together),
            lone_frame: lone_frame.clone(),
        };
        let (ready, is_ready) = mpsc::channel();
        let (begin, begins) = mpsc::channel();
        let thread = thread::spawn(&format!("ringlog-shard-{number}"), move || {
            let ended = seed.to_control.clone();
            let result = seed.run(&ready, &begins);
            let _ = ended.send(FromShard::Ended);
            result
        })?;
        starting.push((thread, is_ready, begin));
    }
    let mut running = Vec::new();
    let mut begins = Vec::new();
    let mut wakers = Vec::new();
    for (thread, is_ready, begin) in starting {
        let Ok(Ready { mail, waker, revived }) = is_ready.recv() else {
            // The others end when what they wait for is dropped.
            return Err(match thread.join() {
                Ok(Err(error)) => error,
                _ => Error::ShardEnded,
            });
        };
        begins.push((begin, prepared.workers.client(waker.clone())));
        wakers.push(waker);
        running.push(RunningShard { mail, revived, thread });
    }
    for (begin, workers) in begins {
        let _ = begin.send(Begin { workers, wakers: wakers.clone() });
    }
    Ok(running)
}

/// All that a shard's thread is given.
struct Seed<A> {
    number: u16,
    part: (Arena, Recovered),
    mesh: mesh::Endpoint<ToPeer>,
    cpu: Cpu,
    /// The memory of all shards, in order.
    arenas: Vec<A>,
    listeners: Vec<Listener>,
    image: Arc<Image>,
    life: Life,
    to_control: Sender<FromShard>,
    together: Arc<Together>,
    lone_frame: LoneFrame,
}

impl Seed<Arc<Mapping>> {
    /// The thread from its beginning to its end.
    fn run(self, ready: &mpsc::Sender<Ready>, begins: &mpsc::Receiver<Begin>) -> Result<Stopped, Error> {
        let Self { number, part: (arena, recovered), mut mesh, cpu, arenas, listeners, image, life, .. } =
            self;
        thread::pin(cpu)?;
        let mut ring = Ring::new(RingOptions { cpu: Some(cpu), ..RingOptions::default() })?;
        ring.attach_arenas(usize::from(number), arenas);
        let (mail, from_control) = mailbox(MAIL_MAX, ring.waker());
        let (revived, revives) = mpsc::channel();
        let _ = ready.send(Ready { mail, waker: ring.waker(), revived });
        let Begin { workers, wakers } = begins.recv().map_err(|_| Error::ShardEnded)?;
        for (other, waker) in wakers.into_iter().enumerate() {
            mesh.set_waker(other, waker);
        }
        let mut storage = Storage::new(life.disk.clone(), workers);
        let now_ms = clocks_at(now_us()).steady_ms;
        let rebuild = Rebuild::after_start(&recovered, &life.disk, now_ms);
        let (log, partitions) =
            life.open(&mut storage, arena, &image, recovered).map_err(|(_, error)| error)?;
        let config = Arc::clone(&life.config);
        let is_shared = life.place.count > 1;
        let frames = FrameBuffers::new(&Memory::new(&config), self.lone_frame, is_shared);
        let shard_loop = ShardLoop {
            shard: Shard::new(log, Arc::clone(&config), image, partitions),
            ring,
            storage,
            listeners: listeners.into_iter().map(Rc::new).collect(),
            from_control,
            to_control: self.to_control,
            revives,
            peers: Peers::new(mesh),
            together: self.together,
            stop_step: StopStep::Finishing,
            frames,
            config,
            clients: Vec::new(),
            client_count: 0,
            accept_again: Vec::new(),
            next_idle_check_ms: now_ms,
            stop_deadline_ms: None,
            now_ms,
            unsent: VecDeque::new(),
            life,
            rebuild,
            spare: Vec::new(),
            waiting: VecDeque::new(),
            held_up: VecDeque::new(),
            let_through: None,
            next_relief_ms: i64::MAX,
            last_turn_ms: now_ms,
            turns: TurnFigures::default(),
        };
        shard_loop.run()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Machine;

    #[test]
    fn there_is_a_shard_for_each_cpu_but_one_and_none_without_memory() {
        let config = |memory_bytes: u64| {
            let machine = Machine { memory_bytes: 8 << 30, cpu_count: 8 };
            let settings = format!("memory.bytes={memory_bytes}");
            BrokerConfig::load(Some(&settings), &[], machine).unwrap()
        };
        let (small, large) = (config(128 << 20), config(1 << 30));
        let counts = |spins| [1, 2, 3, 4, 8, 64].map(|cpus| auto_count(cpus, spins, &large));
        assert_eq!(counts(false), [1, 2, 3, 3, 7, 32]);
        assert_eq!(counts(true), [1, 1, 2, 3, 7, 32]);
        assert_eq!(auto_count(8, false, &small), 4);
    }
}
