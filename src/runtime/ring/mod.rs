//! The shard's io_uring ring: all that it sends, receives, reads and writes, and where it sleeps.
//!
//! One per shard, on its thread for life (`!Send`). Operations are handed in with a token of the caller's and come
//! back as completions that carry it, together with every buffer that was lent, on success and on failure alike.
//! While in flight the ring owns the buffers and keeps the descriptors open, so a caller cannot free what the
//! kernel uses; dropping the ring cancels what is in flight and waits for it.
//!
//! It refuses to order sends of one socket (one in flight at a time, asserted), to retry what failed, and to know
//! what the bytes mean. Short sends, writes and reads are continued inside: a caller sees the whole or an error.
//!
//! Needs Linux 6.1: deferred task work (completions are produced only while we wait or ask), one submitter,
//! multishot accept and receive, provided-buffer rings.

#![expect(unsafe_code, reason = "the kernel's queues take raw pointers")]

mod close;
mod complete;
mod gather;
mod operation;
mod provided;

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use io_uring::{IoUring, opcode, squeue, types};

use crate::runtime::file::FileHandle;
use crate::runtime::memory::{AlignedBuffer, Mapping};
use crate::runtime::net::{Listener, Socket};
use crate::runtime::thread::{self, Cpu};
use crate::runtime::waker::Waker;
use crate::runtime::{Error, Result};

use gather::Gather;
use operation::{Kind, Operation, Operations};
use provided::ProvidedBuffers;

pub use operation::{SendPiece, WritePiece};
pub use provided::Received;

/// The caller's name for an operation; returned with its completions and never looked at.
pub type Token = u64;

/// The token of [`Outcome::Woken`].
pub const WAKE: Token = Token::MAX;

/// How large a ring is.
#[derive(Debug, Clone, Copy)]
pub struct RingOptions {
    /// Submissions that fit into the queue at once; a power of two. More wait in memory and are not lost.
    pub entries: u32,
    /// Buffers for [`Ring::receive`]; a power of two, at most 32,768. Memory is taken as they are first used.
    pub provided_buffers: u16,
    /// Size of each. Unit: bytes.
    pub provided_buffer_bytes: u32,
    /// Operations in flight at once; one more fails with EBUSY.
    pub operations_max: usize,
    /// The shard's own processor, from which the kernel's worker threads are kept away if there is another one.
    pub cpu: Option<Cpu>,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            entries: 1024,
            provided_buffers: 128,
            provided_buffer_bytes: 16 * 1024,
            operations_max: 65_536,
            cpu: None,
        }
    }
}

/// Names one operation for [`Ring::cancel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationId(u64);

impl OperationId {
    /// Names no operation.
    const NONE: Self = Self(u64::MAX);
}

/// An answer of the kernel.
#[derive(Debug)]
pub struct Completion {
    /// As given to the operation.
    pub token: Token,
    /// The operation is over. False only for [`Ring::accept`] and [`Ring::receive_multishot`], which go on.
    pub last: bool,
    pub outcome: Outcome,
}

/// What happened, and whatever the operation had been lent.
#[derive(Debug)]
pub enum Outcome {
    /// A new connection. After an error (`last`) accepting must be asked for again; when descriptors or memory ran
    /// out, not at once.
    Accepted(io::Result<Socket>),
    /// Bytes that arrived; empty: the peer has finished sending.
    Received(io::Result<Received>),
    /// How many bytes stand in the buffer from the position given; fewer than asked: the peer has finished sending.
    ReceivedInto { buffer: AlignedBuffer, result: io::Result<usize> },
    /// All bytes are handed to the connection (their number), or it is broken.
    Sent { pieces: Vec<SendPiece>, result: io::Result<usize> },
    /// All bytes are written (their number), and durable if that was asked; or it is unknown which are.
    Written { pieces: Vec<WritePiece>, result: io::Result<usize> },
    /// How many bytes were read; fewer than asked: the end of the file. The buffer's length is set to them.
    Read { buffer: AlignedBuffer, result: io::Result<usize> },
    /// What had been written and completed before is durable; or it is unknown what is.
    Synced(io::Result<()>),
    /// A [`Waker`] was used since the last time.
    Woken,
}

/// The ring of one shard.
pub struct Ring {
    ring: IoUring,
    operations: Operations,
    /// Submissions that found the queue full. Bound: two per operation (itself and its cancellation).
    overflow: VecDeque<squeue::Entry>,
    /// Completions ahead of the kernel's queue. Bound: two per entry of that queue, or per call that failed at once.
    ready: VecDeque<Completion>,
    /// Receives that found no provided buffer, oldest first.
    starved: VecDeque<OperationId>,
    /// For re-use.
    #[expect(
        clippy::vec_box,
        reason = "an operation owns its gather boxed, since the kernel points into it"
    )]
    gathers: Vec<Box<Gather>>,
    provided: Rc<ProvidedBuffers>,
    /// By their shards' numbers.
    arenas: Vec<Arc<Mapping>>,
    /// Which of them is this shard's.
    own_arena: usize,
    waker: Waker,
    woken: bool,
    /// The waker's standing read failed: nobody could wake the shard any more.
    deaf: bool,
}

/// Gathers kept for re-use.
const GATHERS_MAX: usize = 256;

impl Ring {
    /// Sets the ring up; the calling thread becomes its only user.
    pub fn new(options: RingOptions) -> Result<Self> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(options.entries.saturating_mul(4))
            .build(options.entries)
            .map_err(|source| Error::RingRefused { source })?;
        let refused = |source| Error::RingRefused { source };
        if let Some(cpu) = options.cpu {
            let others: Vec<Cpu> = other_cpus(cpu)?;
            if !others.is_empty() {
                ring.submitter().register_iowq_aff(&thread::cpu_set(&others)).map_err(refused)?;
            }
        }
        let provided = ProvidedBuffers::new(options.provided_buffers, options.provided_buffer_bytes)?;
        // SAFETY: the ring keeps `provided` until its drop has ended every operation and unregistered the group.
        unsafe { provided.register(&ring.submitter()) }.map_err(refused)?;
        let (waker, event) = Waker::of_ring().map_err(refused)?;
        let mut this = Self {
            ring,
            operations: Operations::new(options.operations_max.saturating_add(1)),
            overflow: VecDeque::new(),
            ready: VecDeque::new(),
            starved: VecDeque::new(),
            gathers: Vec::new(),
            provided,
            arenas: Vec::new(),
            own_arena: 0,
            waker,
            woken: false,
            deaf: false,
        };
        this.start(WAKE, Kind::Wake { event, count: Box::default() });
        Ok(this)
    }

    /// Gives the ring the memory that pieces of arenas name: those of all shards, in order, of which it writes `own` to files. Once,
    /// before the first such piece (asserted).
    pub fn attach_arenas(&mut self, own: usize, arenas: Vec<Arc<Mapping>>) {
        assert!(self.arenas.is_empty() && own < arenas.len(), "a ring has one arena of its own");
        self.arenas = arenas;
        self.own_arena = own;
    }

    fn own_arena(&self) -> Option<&Mapping> {
        self.arenas.get(self.own_arena).map(Arc::as_ref)
    }

    /// Wakes this ring from any thread; each wake-up, or several, completes as [`Outcome::Woken`].
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// How many operations may be under way at once.
    #[must_use]
    pub fn operations_max(&self) -> usize {
        self.operations.operations_max()
    }

    /// Operations that may still be started.
    #[must_use]
    pub fn room(&self) -> usize {
        self.operations_max().saturating_sub(self.operations.len())
    }

    /// Operations in flight, the waker's own not counted.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.operations.len().saturating_sub(1)
    }

    /// Accepts connections until it fails or is cancelled.
    pub fn accept(&mut self, listener: &Rc<Listener>, token: Token) -> OperationId {
        self.start(token, Kind::Accept { listener: Rc::clone(listener) })
    }

    /// Receives once what has arrived or arrives next, into a provided buffer.
    pub fn receive(&mut self, socket: &Rc<Socket>, token: Token) -> OperationId {
        self.start(token, Kind::Receive { socket: Rc::clone(socket), multishot: false })
    }

    /// Receives all that arrives, a provided buffer at a time, until the peer finishes, it fails or is cancelled.
    pub fn receive_multishot(&mut self, socket: &Rc<Socket>, token: Token) -> OperationId {
        self.start(token, Kind::Receive { socket: Rc::clone(socket), multishot: true })
    }

    /// Receives into `buffer` from position `from` until its length is filled or the peer finishes sending.
    pub fn receive_into(
        &mut self,
        socket: &Rc<Socket>,
        buffer: AlignedBuffer,
        from: usize,
        token: Token,
    ) -> OperationId {
        assert!(from < buffer.len(), "there must be room for a byte");
        self.start(token, Kind::ReceiveInto { socket: Rc::clone(socket), buffer, from, received: 0 })
    }

    /// Sends all bytes of `pieces`, in order. One send per socket at a time (asserted).
    pub fn send(&mut self, socket: &Rc<Socket>, pieces: Vec<SendPiece>, token: Token) -> OperationId {
        assert!(!socket.sending().replace(true), "a send is in flight on this socket");
        let mut gather = self.take_gather();
        operation::gather_sends(&mut gather, &pieces, &self.arenas);
        let kind = Kind::Send { socket: Rc::clone(socket), pieces, gather };
        self.start(token, kind)
    }

    /// Writes all bytes of `pieces`, in order, at `position`. `durable`: the completion says that they, and the
    /// metadata needed to read them, are on stable media.
    pub fn write(
        &mut self,
        file: &Rc<FileHandle>,
        pieces: Vec<WritePiece>,
        position: u64,
        durable: bool,
        token: Token,
    ) -> OperationId {
        let mut gather = self.take_gather();
        operation::gather_writes(&mut gather, &pieces, self.own_arena(), file, position);
        self.start(token, Kind::Write { file: Rc::clone(file), pieces, gather, position, durable })
    }

    /// Reads `len` bytes at `position` to the beginning of `buffer`, whose capacity holds them (asserted).
    pub fn read(
        &mut self,
        file: &Rc<FileHandle>,
        mut buffer: AlignedBuffer,
        len: usize,
        position: u64,
        token: Token,
    ) -> OperationId {
        buffer.set_len(len);
        file.check_alignment(position, buffer.as_slice().as_ptr().addr(), len);
        self.start(token, Kind::Read { file: Rc::clone(file), buffer, len, done: 0, position })
    }

    /// Makes durable what was written to `file` and completed before this call.
    pub fn sync(&mut self, file: &Rc<FileHandle>, token: Token) -> OperationId {
        self.start(token, Kind::Sync { file: Rc::clone(file) })
    }

    /// Asks for the end of an operation that waits for the other side (an accept or a receive). It completes as
    /// ever, with ECANCELED if nothing came before. Over already: nothing happens.
    pub fn cancel(&mut self, id: OperationId) {
        let Some(operation) = self.operations.get_mut(id) else { return };
        if std::mem::replace(&mut operation.cancelled, true) {
            return;
        }
        if operation.starved {
            self.finish(id, Err(io::Error::from_raw_os_error(libc::ECANCELED)), None);
        } else {
            self.push(opcode::AsyncCancel::new(id.0).build().user_data(OperationId::NONE.0));
        }
    }

    /// Hands over what was started and collects completions, without waiting.
    /// No system call is made when there is nothing to hand over and nothing to collect.
    pub fn submit(&mut self) -> Result<()> {
        self.feed_starved();
        self.woken |= self.waker.take_notice();
        loop {
            self.fill_queue();
            let queue = self.ring.submission();
            let (pending, must_enter) = (queue.len(), queue.taskrun() || queue.cq_overflow());
            drop(queue);
            if pending == 0 && !must_enter {
                break;
            }
            let pending = u32::try_from(pending).unwrap_or(u32::MAX);
            // SAFETY: the submitted entries point to memory that the operations own; no argument is passed.
            let outcome =
                unsafe { self.ring.submitter().enter::<libc::sigset_t>(pending, 0, ENTER_GETEVENTS, None) };
            if !self.entered(outcome)? || self.overflow.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// As [`submit`](Self::submit), and sleeps until there is a completion, but not longer than `timeout`.
    pub fn submit_and_wait(&mut self, timeout: Option<Duration>) -> Result<()> {
        if !self.overflow.is_empty() || !self.starved.is_empty() {
            self.submit()?;
        }
        let hurry = timeout.is_some_and(|timeout| timeout.is_zero()) || !self.overflow.is_empty();
        if hurry || self.woken || !self.ready.is_empty() || !self.ring.completion().is_empty() {
            return self.submit();
        }
        if !self.waker.begin_sleep() {
            self.woken = true;
            return self.submit();
        }
        let outcome = match timeout {
            None => self.ring.submitter().submit_and_wait(1),
            Some(timeout) => {
                let timeout = types::Timespec::from(timeout);
                self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&timeout))
            }
        };
        self.woken |= self.waker.end_sleep();
        self.entered(outcome).map(|_| ())
    }

    /// The next completion that has been collected.
    pub fn next_completion(&mut self) -> Option<Completion> {
        if std::mem::take(&mut self.woken) {
            return Some(Completion { token: WAKE, last: true, outcome: Outcome::Woken });
        }
        loop {
            if let Some(completion) = self.ready.pop_front() {
                return Some(completion);
            }
            let entry = self.ring.completion().next()?;
            self.complete(&entry);
        }
    }

    /// Asks which operations the kernel knows.
    pub(in crate::runtime) fn probe(&self, probe: &mut io_uring::Probe) -> Result<()> {
        self.ring.submitter().register_probe(probe).map_err(|source| Error::RingRefused { source })
    }

    fn start(&mut self, token: Token, kind: Kind) -> OperationId {
        let nothing_to_do = match &kind {
            Kind::Send { gather, .. } | Kind::Write { gather, .. } => gather.is_done(),
            _ => false,
        };
        let operation = Operation { token, kind, cancelled: false, starved: false };
        if nothing_to_do {
            self.deliver(operation, Ok(0), None);
            return OperationId::NONE;
        }
        match self.operations.insert(operation) {
            Ok(id) => {
                self.hand_over(id);
                id
            }
            Err(operation) => {
                self.deliver(operation, Err(io::Error::from_raw_os_error(libc::EBUSY)), None);
                OperationId::NONE
            }
        }
    }

    /// Puts an operation, new or to be continued, into the queue.
    fn hand_over(&mut self, id: OperationId) {
        if let Some(operation) = self.operations.get_mut(id) {
            let entry = operation.kind.entry().user_data(id.0);
            self.push(entry);
        }
    }

    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: what the entry points to is owned by its operation, which stays in the table until its last
        // completion (or for good, if the ring is dropped and the kernel does not let go of it).
        let pushed = self.overflow.is_empty() && unsafe { self.ring.submission().push(&entry) }.is_ok();
        if !pushed {
            self.overflow.push_back(entry);
        }
    }

    fn fill_queue(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.overflow.front() {
            // SAFETY: as in `push`.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            self.overflow.pop_front();
        }
    }

    /// Hands over as many starved receives as there are buffers.
    fn feed_starved(&mut self) {
        if self.starved.is_empty() {
            return;
        }
        for _ in 0..self.provided.available() {
            let Some(id) = self.starved.pop_front() else { break };
            if let Some(operation) = self.operations.get_mut(id) {
                operation.starved = false;
                self.hand_over(id);
            }
        }
    }

    /// Judges the result of entering the kernel. False: it took nothing, and completions must be taken out first
    /// (or a signal, or the timeout, ended the wait).
    fn entered(&self, outcome: io::Result<usize>) -> Result<bool> {
        if self.deaf {
            return Err(Error::Ring { source: io::Error::from(io::ErrorKind::BrokenPipe) });
        }
        match outcome {
            Ok(_) => Ok(true),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN) => Ok(false),
                _ => Err(Error::Ring { source: error }),
            },
        }
    }

    fn take_gather(&mut self) -> Box<Gather> {
        self.gathers.pop().unwrap_or_else(Gather::new)
    }

    fn keep_gather(&mut self, mut gather: Box<Gather>) {
        if self.gathers.len() < GATHERS_MAX {
            gather.clear();
            self.gathers.push(gather);
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ring").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

/// `IORING_ENTER_GETEVENTS`: run deferred work, so that its completions appear.
const ENTER_GETEVENTS: u32 = 1;

fn other_cpus(own: Cpu) -> Result<Vec<Cpu>> {
    // Asked of the process' first thread: this one may be pinned already.
    Ok(thread::process_cpus()?.into_iter().filter(|cpu| *cpu != own).collect())
}

#[cfg(test)]
mod tests;
