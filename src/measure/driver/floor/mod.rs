//! The floor: the least that a broker must do with the bytes of the loader, and nothing else.
//!
//! It receives over TCP (small frames by multishot receives out of provided buffers, large ones straight into the buffer
//! that they stay in), sums their CRC32C, copies them once into memory (`written`) or writes them once, durably, to a
//! file that was written before (`synced`, together with what has gathered meanwhile), and acknowledges. `written`
//! bytes go to the disk behind, in large pieces. There is no topic, no offset, no order, no index and no recovery.
//!
//! It speaks only to the loader: every connection sends frames that are all small, or all of one size.

mod answer;
mod connection;
mod memory;
mod stream;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use self::answer::{Acknowledgement, Fetch, Head, Stored, Tail, find_batch};
use self::connection::{Connection, Frame};
use self::memory::Memory;
use self::stream::Stream;
use crate::measure::driver::loader::Idle;
use crate::measure::driver::{Error, Result};
use crate::model::{Durability, crc};
use crate::protocol::kafka::{ApiKey, frame};
use crate::runtime::file::{Access, BlockingFile, Caching, FileHandle};
use crate::runtime::memory::AlignedBuffer;
use crate::runtime::net::{Listener, Socket};
use crate::runtime::ring::{Completion, Outcome, Ring, RingOptions, Token};
use crate::runtime::thread::{self, Cpu};

/// How a floor runs.
#[derive(Clone, Debug)]
pub struct FloorOptions {
    pub listen: SocketAddr,
    pub durability: Durability,
    /// Where bytes go on the disk. Made and filled at the start, if it is shorter than `file_bytes`.
    pub file: PathBuf,
    pub file_bytes: u64,
    /// A tmpfs.
    pub memory_directory: PathBuf,
    pub memory_bytes: usize,
    pub idle: Idle,
    pub cpu: Option<Cpu>,
    /// Fetches wait for what is produced, and get it once; otherwise they get bytes at once, as many as they want.
    pub is_tail: bool,
}

/// Runs a floor until the process is ended; `on_ready` is told where it listens.
///
/// # Errors
/// Of the machine; a peer that is not the loader.
pub fn serve(options: &FloorOptions, on_ready: impl FnOnce(SocketAddr)) -> Result<()> {
    if let Some(cpu) = options.cpu {
        thread::pin(cpu)?;
    }
    let file = Rc::new(prepare_file(options)?);
    let mut ring = Ring::new(RingOptions { cpu: options.cpu, ..RingOptions::default() })?;
    let memory = Memory::new(&options.memory_directory, options.memory_bytes, &mut ring)?;
    let listener = Rc::new(Listener::bind_patiently(options.listen, 1_024)?);
    ring.accept(&listener, token(0, Role::Accept));
    on_ready(listener.address());
    let floor = Floor {
        file_bytes_max: memory.bytes_max(),
        memory,
        stream: Stream::new(options.file_bytes),
        durability: options.durability,
        idle: options.idle,
        is_tail: options.is_tail,
        tail: Tail::default(),
        parked: Vec::new(),
        acknowledgement: Acknowledgement::default(),
        connections: Vec::new(),
        deferred: VecDeque::new(),
        listener,
        file,
        ring,
    };
    floor.run()
}

/// Whom an acknowledgement goes to.
#[derive(Clone, Copy, Debug)]
struct Whom {
    connection: usize,
    head: Head,
}

struct Floor {
    ring: Ring,
    listener: Rc<Listener>,
    file: Rc<FileHandle>,
    memory: Memory,
    stream: Stream<Whom>,
    durability: Durability,
    idle: Idle,
    is_tail: bool,
    tail: Tail,
    /// Fetches that wait, and of which connection.
    parked: Vec<(usize, Fetch)>,
    acknowledgement: Acknowledgement,
    /// A place is not used again.
    connections: Vec<Option<Connection>>,
    /// Frames for which there was no room in memory, in the order of their arrival.
    deferred: VecDeque<(usize, Frame)>,
    /// Largest frame.
    file_bytes_max: usize,
}

/// What an operation is for; its number is a connection's or a piece's of the memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Accept = 0,
    ReceiveInto = 1,
    Receive = 2,
    Send = 3,
    Group = 4,
    Behind = 5,
}

fn token(number: usize, role: Role) -> Token {
    (number as u64) << 3 | role as u64
}

impl Floor {
    fn run(mut self) -> Result<()> {
        loop {
            match self.idle {
                Idle::Spin => self.ring.submit()?,
                Idle::Park => self.ring.submit_and_wait(None)?,
            }
            while let Some(completion) = self.ring.next_completion() {
                self.handle(completion)?;
            }
            if self.durability == Durability::Synced {
                self.stream.flush(&self.file, &mut self.ring, token(0, Role::Group));
            }
            self.serve_parked()?;
            self.send();
        }
    }

    fn handle(&mut self, completion: Completion) -> Result<()> {
        let number = usize::try_from(completion.token >> 3).unwrap_or(usize::MAX);
        match completion.outcome {
            Outcome::Accepted(result) => {
                self.accept(result, completion.last);
                Ok(())
            }
            Outcome::ReceivedInto { buffer, result } => self.handle_buffer(number, buffer, &result),
            Outcome::Received(result) => {
                let bytes = result.as_deref().unwrap_or_default();
                self.handle_bytes(number, bytes, completion.last)
            }
            Outcome::Sent { pieces, result } => {
                let connection = self.connections.get_mut(number).and_then(Option::as_mut);
                if connection.is_some_and(|connection| !connection.handle_sent(pieces, result.is_ok())) {
                    self.close(number);
                }
                Ok(())
            }
            Outcome::Written { pieces, result } => {
                result.map_err(|source| Error::FloorFile { source })?;
                if completion.token & 7 == Role::Behind as u64 {
                    self.memory.handle_written(number);
                    return self.take_deferred();
                }
                let (durable, buffers) = self.stream.handle_written(pieces, self.is_tail);
                for waiting in durable {
                    if let Some(buffer) = buffers.get(waiting.buffer) {
                        let range = waiting.start..waiting.start + waiting.len;
                        self.publish_shared(buffer.clone(), range)?;
                    }
                    self.acknowledge(waiting.whom)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn accept(&mut self, result: io::Result<Socket>, last: bool) {
        if let Ok(socket) = result {
            let connection = Connection::new(socket);
            let number = self.connections.len();
            let buffer = self.stream.take_buffer(frame::PREFIX_BYTES);
            connection.receive_into(&mut self.ring, buffer, 0, token(number, Role::ReceiveInto));
            self.connections.push(Some(connection));
        }
        if last {
            self.ring.accept(&self.listener, token(0, Role::Accept));
        }
    }

    fn close(&mut self, number: usize) {
        if let Some(connection) = self.connections.get_mut(number).and_then(Option::take) {
            connection.shutdown();
        }
        self.parked.retain(|(owner, _)| *owner != number);
    }

    /// Whole frames of a connection that sends small ones.
    fn handle_bytes(&mut self, number: usize, bytes: &[u8], last: bool) -> Result<()> {
        let Some(connection) = self.connections.get_mut(number).and_then(Option::as_mut) else {
            return Ok(());
        };
        if bytes.is_empty() {
            self.close(number);
            return Ok(());
        }
        if last {
            connection.receive(&mut self.ring, token(number, Role::Receive));
        }
        // Taken out, so that a frame can be handled while the next ones are cut.
        let mut cutter = connection.take_cutter();
        let outcome = cutter.feed(bytes, |frame| self.handle_small(number, frame));
        if let Some(connection) = self.connections.get_mut(number).and_then(Option::as_mut) {
            connection.give_cutter(cutter);
        }
        outcome
    }

    /// A buffer of a connection has been filled: the length of its first frame, or a frame.
    fn handle_buffer(
        &mut self,
        number: usize,
        buffer: AlignedBuffer,
        result: &io::Result<usize>,
    ) -> Result<()> {
        let Some(connection) = self.connections.get_mut(number).and_then(Option::as_mut) else {
            return Ok(());
        };
        let missing = connection.expected().saturating_sub(*result.as_ref().unwrap_or(&0));
        if missing > 0 {
            self.close(number);
            return Ok(());
        }
        let receive = token(number, Role::ReceiveInto);
        if buffer.len() == frame::PREFIX_BYTES {
            let prefix = buffer.as_slice().first_chunk().copied().unwrap_or_default();
            let frame_bytes = frame::PREFIX_BYTES + frame::frame_bytes(prefix, self.file_bytes_max)?;
            let mut larger = self.stream.take_buffer(frame_bytes);
            self.stream.give_buffer(buffer);
            if let Some(start) = larger.as_mut_slice().first_chunk_mut() {
                *start = prefix;
            }
            connection.receive_into(&mut self.ring, larger, frame::PREFIX_BYTES, receive);
            return Ok(());
        }
        connection.learn(buffer.len());
        if connection.is_small() {
            connection.receive(&mut self.ring, token(number, Role::Receive));
            let outcome =
                self.handle_small(number, buffer.as_slice().get(frame::PREFIX_BYTES..).unwrap_or_default());
            self.stream.give_buffer(buffer);
            return outcome;
        }
        let prefix = buffer.as_slice().first_chunk().copied().unwrap_or_default();
        if frame::frame_bytes(prefix, self.file_bytes_max)? + frame::PREFIX_BYTES != buffer.len() {
            return Err(Error::FloorLimit { what: "a connection whose frames differ in size" });
        }
        self.handle_large(number, buffer)
    }

    fn handle_large(&mut self, number: usize, buffer: AlignedBuffer) -> Result<()> {
        let frame_bytes = buffer.len();
        let bytes = buffer.as_slice().get(frame::PREFIX_BYTES..).unwrap_or_default();
        let head = head_of(bytes)?;
        std::hint::black_box(crc::crc32c(bytes));
        match self.durability {
            Durability::Synced => {
                self.stream.add_large(Whom { connection: number, head }, buffer, frame::PREFIX_BYTES);
                self.receive_next(number, frame_bytes);
                Ok(())
            }
            Durability::Written => self.store(number, Frame::Large(buffer)),
        }
    }

    /// A frame without its length.
    fn handle_small(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        let head = head_of(bytes)?;
        if head.api_key == ApiKey::Fetch.code() {
            return self.handle_fetch(number, bytes);
        }
        std::hint::black_box(crc::crc32c(bytes));
        match self.durability {
            Durability::Synced => {
                self.stream.add_small(Whom { connection: number, head }, bytes);
                Ok(())
            }
            Durability::Written if self.deferred.is_empty() => match self.copy(number, bytes)? {
                true => Ok(()),
                false => {
                    self.deferred.push_back((number, Frame::Small(bytes.to_vec())));
                    Ok(())
                }
            },
            Durability::Written => {
                self.deferred.push_back((number, Frame::Small(bytes.to_vec())));
                Ok(())
            }
        }
    }

    /// Copies a frame into memory and acknowledges it, now or as soon as there is room.
    fn store(&mut self, number: usize, frame: Frame) -> Result<()> {
        let stored = self.deferred.is_empty() && self.copy(number, frame.bytes())?;
        if !stored {
            self.deferred.push_back((number, frame));
            return Ok(());
        }
        self.end_frame(number, frame);
        Ok(())
    }

    fn take_deferred(&mut self) -> Result<()> {
        while let Some((number, frame)) = self.deferred.pop_front() {
            if !self.copy(number, frame.bytes())? {
                self.deferred.push_front((number, frame));
                break;
            }
            self.end_frame(number, frame);
        }
        Ok(())
    }

    /// A frame is done with: the connection receives the next one, if it receives them one by one.
    fn end_frame(&mut self, number: usize, frame: Frame) {
        if let Frame::Large(buffer) = frame {
            let frame_bytes = buffer.len();
            self.stream.give_buffer(buffer);
            self.receive_next(number, frame_bytes);
        }
    }

    fn receive_next(&mut self, number: usize, frame_bytes: usize) {
        if let Some(connection) = self.connections.get_mut(number).and_then(Option::as_mut) {
            let buffer = self.stream.take_buffer(frame_bytes);
            connection.receive_into(&mut self.ring, buffer, 0, token(number, Role::ReceiveInto));
        }
    }

    /// False: there is no room.
    fn copy(&mut self, number: usize, bytes: &[u8]) -> Result<bool> {
        let behind = |piece| token(piece, Role::Behind);
        let Some(position) = self.memory.copy(bytes, &self.file, &mut self.ring, behind) else {
            return Ok(false);
        };
        if self.is_tail {
            let (partition, range) = find_batch(bytes)?;
            let batch = Stored::Arena { position: position + range.start, len: range.len() };
            self.tail.add(partition, batch);
        }
        self.acknowledge(Whom { connection: number, head: head_of(bytes)? })?;
        Ok(true)
    }

    fn publish_shared(
        &mut self,
        buffer: std::sync::Arc<AlignedBuffer>,
        range: std::ops::Range<usize>,
    ) -> Result<()> {
        let (partition, batch) = find_batch(buffer.as_slice().get(range.clone()).unwrap_or_default())?;
        let range = range.start + batch.start..range.start + batch.end;
        self.tail.add(partition, Stored::Shared(buffer, range));
        Ok(())
    }

    fn acknowledge(&mut self, whom: Whom) -> Result<()> {
        let connection = self.connections.get_mut(whom.connection).and_then(Option::as_mut);
        connection.map_or(Ok(()), |connection| self.acknowledgement.put(connection.replies(), whom.head))
    }

    fn handle_fetch(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        let fetch = Fetch::decode(bytes)?;
        if self.is_tail {
            self.parked.push((number, fetch));
            return Ok(());
        }
        let room = self.memory.len();
        let pieces =
            fetch.answer(|_, bytes_max| vec![Stored::Arena { position: 0, len: bytes_max.min(room) }])?;
        if let Some(connection) = self.connections.get_mut(number).and_then(Option::as_mut) {
            connection.add_pieces(pieces);
        }
        Ok(())
    }

    /// Answers the fetches for which something has arrived.
    fn serve_parked(&mut self) -> Result<()> {
        let tail = &mut self.tail;
        let is_due =
            |fetch: &Fetch, tail: &Tail| fetch.partitions.iter().any(|&partition| !tail.is_empty(partition));
        let mut place = 0;
        while let Some((number, fetch)) = self.parked.get(place) {
            if !is_due(fetch, tail) {
                place += 1;
                continue;
            }
            let pieces = fetch.answer(|partition, bytes_max| tail.take(partition, bytes_max))?;
            if let Some(connection) = self.connections.get_mut(*number).and_then(Option::as_mut) {
                connection.add_pieces(pieces);
            }
            self.parked.swap_remove(place);
        }
        Ok(())
    }

    fn send(&mut self) {
        for (number, connection) in self.connections.iter_mut().enumerate() {
            if let Some(connection) = connection {
                connection.flush(&mut self.ring, token(number, Role::Send));
            }
        }
    }
}

fn head_of(bytes: &[u8]) -> Result<Head> {
    Head::of(bytes).ok_or(Error::FloorLimit { what: "a frame without a header" })
}

/// Opens the file and writes all of it, unless that was done before.
fn prepare_file(options: &FloorOptions) -> Result<FileHandle> {
    const STEP: usize = 4 << 20;
    let file = FileHandle::open(&options.file, Access::Create, Caching::Direct)?;
    let mut position = 0;
    let wanted = options.file_bytes.max(options.memory_bytes as u64);
    if file.length()? < wanted {
        let mut block = AlignedBuffer::zeroed(STEP);
        block.as_mut_slice().fill(1);
        while position < wanted {
            file.write_at(position, block.as_slice())?;
            position += STEP as u64;
        }
        file.sync()?;
    }
    Ok(file)
}
