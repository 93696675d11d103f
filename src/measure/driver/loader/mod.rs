//! The loader: one thread with a ring of its own that keeps a broker busy, or at a rate, and measures it.
//!
//! It speaks the protocol on bare connections, checks every reply for its order and its error code, and computes little
//! else, so that it can keep up with a broker that has a processor to itself. It refuses to retry: whatever goes wrong
//! ends the run. Raw figures only; what they mean is for `table`.

mod consumer;
mod counts;
mod producer;

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use self::consumer::{Consumer, Position};
use self::counts::{Counts, Phase};
use self::producer::{Acknowledged, Producer};
use crate::measure::driver::host::Watched;
use crate::measure::driver::{Error, Result};
use crate::measure::figures::Outcome;
use crate::measure::reply::Fetched;
use crate::measure::request::{self, ProduceFrame, Target};
use crate::measure::schedule::{Pace, Schedule};
use crate::measure::workload::{Kind, Workload};
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::net::Socket;
use crate::runtime::ring::{Completion, Outcome as Event, Ring, RingOptions, Token};
use crate::runtime::thread;

/// What a thread does while nothing is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Sleeps in the kernel.
    Park,
    /// Looks again, and again.
    Spin,
}

/// How the loader runs.
#[derive(Clone, Copy, Debug)]
pub struct LoaderOptions {
    pub address: SocketAddr,
    pub idle: Idle,
    /// The other end is a floor, which sends bytes but no batches.
    pub is_floor: bool,
    /// `loader_cpu` is where the loader runs.
    pub watched: Watched,
}

/// What a run leaves.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub outcome: Outcome,
    /// Records acknowledged in the whole run, by partition.
    pub written: Vec<u64>,
    /// The broker went away during it.
    pub is_lost: bool,
}

/// Longest time that replies are waited for after the measured time.
const DRAIN: Duration = Duration::from_secs(5);
/// The ring of the loader: a frame per connection and direction, and buffers for thousands of small replies.
const RING: RingOptions = RingOptions {
    entries: 1024,
    provided_buffers: 256,
    provided_buffer_bytes: 16 << 10,
    operations_max: 65_536,
    cpu: None,
};

/// Runs a workload on a thread of its own. A topic that is fetched from has been written before (`run` does that).
///
/// # Errors
/// Whatever kept it from being measured; a broker that goes away is no error but [`Run::is_lost`].
pub fn run(workload: &Workload, target: &Target, options: LoaderOptions) -> Result<Run> {
    workload.check()?;
    let mut written = Vec::new();
    if workload.kind == Kind::Fetch && !options.is_floor {
        let before = Workload {
            kind: Kind::Produce,
            pace: Pace::Closed,
            warm_up: Duration::ZERO,
            measured: Duration::from_secs(600),
            bytes_max: Some(workload.stored_bytes),
            ..workload.clone()
        };
        written = on_own_thread(before, target.clone(), options, Vec::new())?.written;
    }
    on_own_thread(workload.clone(), target.clone(), options, written)
}

fn on_own_thread(
    workload: Workload,
    target: Target,
    options: LoaderOptions,
    stored: Vec<u64>,
) -> Result<Run> {
    let run = move || {
        if let Some(cpu) = options.watched.loader_cpu {
            thread::pin(cpu)?;
        }
        Loader::new(workload, target, options, &stored)?.run()
    };
    match thread::spawn("ringlog-loader", run)?.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

struct Loader {
    workload: Workload,
    target: Target,
    options: LoaderOptions,
    ring: Ring,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    schedule: Option<Schedule>,
    counts: Counts,
    /// End to end: when the batches of each partition that did not arrive yet were meant to be sent.
    under_way: Vec<VecDeque<u64>>,
    written: Vec<u64>,
    /// Unit: nanoseconds of the clock; as of the beginning of the turn.
    now: u64,
}

/// What an operation belongs to.
#[derive(Clone, Copy)]
enum Role {
    Send = 0,
    Receive = 1,
}

impl Loader {
    /// `stored`: records that each partition holds, for a workload that reads them.
    fn new(workload: Workload, target: Target, options: LoaderOptions, stored: &[u64]) -> Result<Self> {
        let partitions = workload.partitions as usize;
        let counts = Counts::new(&workload, options.watched);
        let mut loader = Self {
            ring: Ring::new(RING)?,
            producers: Vec::new(),
            consumers: Vec::new(),
            schedule: None,
            counts,
            under_way: vec![VecDeque::new(); partitions],
            written: vec![0; partitions],
            now: 0,
            workload,
            target,
            options,
        };
        let (producing, consuming) = match loader.workload.kind {
            Kind::Produce => (loader.workload.connections, 0),
            Kind::Fetch => (0, loader.workload.connections),
            Kind::EndToEnd => (loader.workload.connections, loader.workload.consumers),
        };
        loader.connect_producers(producing)?;
        loader.connect_consumers(consuming, stored)?;
        Ok(loader)
    }

    fn connect_producers(&mut self, count: u32) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let now_ms = SystemClock.wall_ms();
        let frame = |partition| request::produce(&self.target, partition, self.workload.shape, now_ms);
        let frames: std::result::Result<Vec<ProduceFrame>, _> =
            (0..self.workload.partitions).map(frame).collect();
        let frames = frames?;
        for number in 0..count {
            let own = self.workload.partitions_of(number, count);
            let own =
                own.into_iter().filter_map(|partition| frames.get(partition as usize).cloned()).collect();
            let socket = self.connect()?;
            let version = self.target.produce_version;
            self.producers.push(Producer::new(socket, version, own, self.workload.in_flight));
        }
        Ok(())
    }

    fn connect_consumers(&mut self, count: u32, stored: &[u64]) -> Result<()> {
        for number in 0..count {
            let position = |partition: u32| {
                let end = stored.get(partition as usize).and_then(|&end| i64::try_from(end).ok());
                Position { partition, offset: 0, end: end.filter(|_| self.workload.kind == Kind::Fetch) }
            };
            let own = self.workload.partitions_of(number, count).into_iter().map(position);
            // A partition that got no record would be waited for.
            let own: Vec<Position> = own.filter(|position| position.end != Some(0)).collect();
            let opaque = self.options.is_floor && self.workload.kind == Kind::Fetch;
            let socket = self.connect()?;
            self.consumers.push(Consumer::new(socket, own, self.workload.fetch_bytes, opaque));
        }
        Ok(())
    }

    fn connect(&self) -> Result<Socket> {
        let address = self.options.address;
        let failed = |source| Error::Connect { address: address.to_string(), source };
        TcpStream::connect(address).map(Socket::from).map_err(failed)
    }

    fn run(mut self) -> Result<Run> {
        let is_lost = match self.turns() {
            Ok(()) => false,
            Err(error) if error.is_lost() => true,
            Err(error) => return Err(error),
        };
        let Self { counts, written, producers, .. } = self;
        let unanswered = producers.iter().map(Producer::unanswered).sum::<usize>() as u64;
        Ok(Run { outcome: counts.into_outcome(unanswered), written, is_lost })
    }

    fn turns(&mut self) -> Result<()> {
        self.now = SystemClock.now().nanoseconds();
        self.start()?;
        loop {
            self.flush()?;
            match self.options.idle {
                Idle::Spin => self.ring.submit()?,
                Idle::Park => {
                    let wait = self.wait();
                    self.ring.submit_and_wait(Some(wait))?;
                }
            }
            self.now = SystemClock.now().nanoseconds();
            while let Some(completion) = self.ring.next_completion() {
                self.handle(completion)?;
            }
            self.add_due()?;
            self.counts.handle_time(self.now)?;
            if self.counts.phase() == Phase::Draining && self.is_drained() {
                return Ok(());
            }
        }
    }

    fn start(&mut self) -> Result<()> {
        self.counts.start(self.now);
        if let Pace::Open { per_second } = self.workload.pace
            && self.workload.kind != Kind::Fetch
        {
            self.schedule = Some(Schedule::new(self.now, per_second));
        }
        for (number, producer) in self.producers.iter_mut().enumerate() {
            producer.start(&mut self.ring, token(number, Role::Receive));
            while self.schedule.is_none() && producer.room() > 0 {
                let Some(made) = producer.add(self.now) else { break };
                note(&mut self.under_way, self.workload.kind, &made);
            }
        }
        Ok(())
    }

    /// Adds the requests whose time has come.
    fn add_due(&mut self) -> Result<()> {
        let Some(schedule) = &mut self.schedule else { return Ok(()) };
        if self.counts.phase() == Phase::Draining {
            return Ok(());
        }
        let count = self.producers.len().max(1) as u64;
        while let Some((number, intended)) = schedule.poll_due(self.now) {
            let place = usize::try_from(number % count).unwrap_or(0);
            if let Some(producer) = self.producers.get_mut(place) {
                let kind = self.workload.kind;
                producer.add_due(intended, |made| note(&mut self.under_way, kind, made))?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        for (number, producer) in self.producers.iter_mut().enumerate() {
            producer.flush(&mut self.ring, token(number, Role::Send));
        }
        if self.counts.phase() != Phase::Draining || self.workload.kind == Kind::EndToEnd {
            let base = self.producers.len();
            for (number, consumer) in self.consumers.iter_mut().enumerate() {
                if !consumer.is_waiting() {
                    let number = base + number;
                    let tokens = (token(number, Role::Send), token(number, Role::Receive));
                    consumer.ask(&mut self.ring, &self.target, self.now, tokens)?;
                }
            }
        }
        Ok(())
    }

    fn handle(&mut self, completion: Completion) -> Result<()> {
        let (number, is_receive) = named(completion.token);
        let last = completion.last;
        if number >= self.producers.len() {
            return self.handle_consumer(number, completion.outcome);
        }
        let draining = self.counts.phase() == Phase::Draining;
        let Some(producer) = self.producers.get_mut(number) else { return Ok(()) };
        let (counts, written, kind) = (&mut self.counts, &mut self.written, self.workload.kind);
        match completion.outcome {
            Event::Received(result) => {
                let now = self.now;
                let mut answered: usize = 0;
                producer.handle_received(result, |request| {
                    answered += 1;
                    if let Some(written) = written.get_mut(request.partition as usize) {
                        *written += u64::from(request.record_count);
                    }
                    count_acknowledged(counts, kind, request, now);
                })?;
                if last && is_receive {
                    producer.receive_again(&mut self.ring, completion.token);
                }
                let under_way = &mut self.under_way;
                if self.schedule.is_some() {
                    producer.add_overdue(|made| note(under_way, kind, made));
                } else if !draining {
                    for _ in 0..answered {
                        let Some(made) = producer.add(now) else { break };
                        note(under_way, kind, &made);
                    }
                }
                Ok(())
            }
            Event::Sent { pieces, result } => producer.handle_sent(pieces, result),
            _ => Ok(()),
        }
    }

    fn handle_consumer(&mut self, number: usize, event: Event) -> Result<()> {
        let place = number - self.producers.len();
        let Some(consumer) = self.consumers.get_mut(place) else { return Ok(()) };
        let (counts, under_way) = (&mut self.counts, &mut self.under_way);
        let (kind, now) = (self.workload.kind, self.now);
        let mut reply = Reply { bytes: 0, records: 0 };
        let each = |fetched: Fetched| {
            reply.bytes += fetched.bytes;
            reply.records += fetched.record_count;
            let Some(batches) = under_way.get_mut(fetched.partition as usize) else { return };
            if kind == Kind::EndToEnd {
                for _ in 0..fetched.batch_count {
                    // One that was sent twice cannot be here: the loader does not retry.
                    if let Some(intended) = batches.pop_front() {
                        counts.record_latency(intended, now);
                        counts.add_request(0, 0);
                    }
                }
            }
        };
        let sent = match event {
            Event::Received(result) => {
                let receive = token(number, Role::Receive);
                consumer.handle_received(result, &mut self.ring, &self.target, receive, each)?
            }
            Event::ReceivedInto { buffer, result } => {
                consumer.handle_large(buffer, result, &self.target, each)?
            }
            Event::Sent { result: Err(source), .. } => return Err(Error::Connection { source }),
            _ => None,
        };
        let Some(sent) = sent else { return Ok(()) };
        match kind {
            Kind::Fetch => {
                self.counts.record_latency(sent, now);
                self.counts.add_request(reply.bytes, reply.records);
            }
            Kind::EndToEnd | Kind::Produce => self.counts.add_bytes(reply.bytes, reply.records),
        }
        Ok(())
    }

    /// How long there is nothing to do, if nothing arrives.
    fn wait(&self) -> Duration {
        let phase = self.counts.wait(self.now);
        match &self.schedule {
            Some(schedule) if self.counts.phase() != Phase::Draining => phase.min(schedule.wait(self.now)),
            _ => phase,
        }
    }

    /// Everything that was sent is answered, or has been waited for long enough.
    fn is_drained(&self) -> bool {
        let answered = self.producers.iter().all(|producer| producer.unanswered() == 0)
            && self.under_way.iter().all(VecDeque::is_empty);
        answered || self.counts.draining(self.now) > DRAIN
    }
}

/// Sums over one fetch reply.
struct Reply {
    bytes: u64,
    records: u64,
}

/// Remembers a batch until it arrives at its consumer.
fn note(under_way: &mut [VecDeque<u64>], kind: Kind, made: &Acknowledged) {
    if kind == Kind::EndToEnd
        && let Some(batches) = under_way.get_mut(made.partition as usize)
    {
        batches.push_back(made.intended);
    }
}

fn count_acknowledged(counts: &mut Counts, kind: Kind, request: &Acknowledged, now: u64) {
    if kind == Kind::EndToEnd {
        counts.record_acknowledged(request.intended, now);
    } else {
        counts.record_latency(request.intended, now);
        counts.add_request(u64::from(request.batch_bytes), u64::from(request.record_count));
    }
}

fn token(number: usize, role: Role) -> Token {
    (number as u64) << 1 | role as u64
}

fn named(token: Token) -> (usize, bool) {
    (usize::try_from(token >> 1).unwrap_or(usize::MAX), token & 1 == Role::Receive as u64)
}

#[cfg(test)]
mod tests;
