//! A connection that fetches: one request at a time, for all its partitions, each of them first in turn.

use std::io;
use std::rc::Rc;

use crate::measure::driver::{Error, Result};
use crate::measure::reply::{self, Fetched, REPLY_BYTES_MAX, ReplyError};
use crate::measure::request::{self, Target};
use crate::protocol::kafka::{Writer, frame};
use crate::runtime::memory::AlignedBuffer;
use crate::runtime::net::Socket;
use crate::runtime::ring::{Received, Ring, SendPiece, Token};

/// With so many bytes of a reply still to come they are received straight into a buffer. Unit: bytes.
const LARGE_BYTES_MIN: usize = 16 << 10;

/// Where a partition is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) partition: u32,
    pub(super) offset: i64,
    /// Reading begins again at 0 from here; `None`: goes on for ever.
    pub(super) end: Option<i64>,
}

/// See the module.
pub(super) struct Consumer {
    socket: Rc<Socket>,
    positions: Vec<Position>,
    first: usize,
    fetch_bytes: u32,
    /// Replies of a floor hold bytes, not batches.
    opaque: bool,
    correlation_id: i32,
    /// When the request under way was sent. Unit: nanoseconds of the clock.
    sent: Option<u64>,
    /// Beginning of a reply that is not whole.
    partial: Vec<u8>,
    spare: Option<AlignedBuffer>,
}

/// What is to be received next.
enum Rest {
    Nothing,
    Some,
    Large { bytes: usize },
}

impl Consumer {
    pub(super) fn new(socket: Socket, positions: Vec<Position>, fetch_bytes: u32, opaque: bool) -> Self {
        Self {
            socket: Rc::new(socket),
            positions,
            first: 0,
            fetch_bytes,
            opaque,
            correlation_id: 0,
            sent: None,
            partial: Vec::new(),
            spare: None,
        }
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.sent.is_some()
    }

    /// Sends the next request and waits for its reply.
    pub(super) fn ask(
        &mut self,
        ring: &mut Ring,
        target: &Target,
        now: u64,
        (send, receive): (Token, Token),
    ) -> Result<()> {
        let mut writer = Writer::new();
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let (after, before) = self.positions.split_at_checked(self.first).unwrap_or_default();
        let positions = before.iter().chain(after).map(|position| (position.partition, position.offset));
        request::fetch(&mut writer, target, self.correlation_id, self.fetch_bytes, positions)?;
        self.first = (self.first + 1) % self.positions.len().max(1);
        self.sent = Some(now);
        ring.send(&self.socket, vec![SendPiece::Owned(writer.into_parts().0)], send);
        ring.receive(&self.socket, receive);
        Ok(())
    }

    /// Some of a reply has arrived. When it is whole, `each` is told of every partition, and when the request was sent is
    /// returned.
    pub(super) fn handle_received(
        &mut self,
        result: io::Result<Received>,
        ring: &mut Ring,
        target: &Target,
        receive: Token,
        each: impl FnMut(Fetched),
    ) -> Result<Option<u64>> {
        let bytes = result.map_err(|source| Error::Connection { source })?;
        if bytes.is_empty() {
            return Err(Error::Closed);
        }
        self.partial.extend_from_slice(&bytes);
        drop(bytes);
        match self.rest()? {
            Rest::Some => {
                ring.receive(&self.socket, receive);
                Ok(None)
            }
            Rest::Large { bytes } => {
                let buffer = self.take_buffer(bytes);
                ring.receive_into(&self.socket, buffer, self.partial.len(), receive);
                Ok(None)
            }
            Rest::Nothing => {
                let reply = std::mem::take(&mut self.partial);
                let sent = self.read(reply.get(frame::PREFIX_BYTES..).unwrap_or_default(), target, each);
                self.partial = reply;
                self.partial.clear();
                sent
            }
        }
    }

    /// The rest of a large reply has arrived.
    pub(super) fn handle_large(
        &mut self,
        buffer: AlignedBuffer,
        result: io::Result<usize>,
        target: &Target,
        each: impl FnMut(Fetched),
    ) -> Result<Option<u64>> {
        let received = result.map_err(|source| Error::Connection { source })?;
        if self.partial.len().saturating_add(received) < buffer.len() {
            return Err(Error::Closed);
        }
        self.partial.clear();
        let sent = self.read(buffer.as_slice().get(frame::PREFIX_BYTES..).unwrap_or_default(), target, each);
        self.spare = Some(buffer);
        sent
    }

    fn read(&mut self, reply: &[u8], target: &Target, mut each: impl FnMut(Fetched)) -> Result<Option<u64>> {
        let positions = &mut self.positions;
        let mut unknown = false;
        reply::read_fetch(reply, target.fetch_version, self.correlation_id, self.opaque, |fetched| {
            let position = positions.iter_mut().find(|position| position.partition == fetched.partition);
            match (position, fetched.next_offset) {
                (None, _) => unknown = true,
                (Some(position), Some(next)) if position.end.is_some_and(|end| next >= end) => {
                    position.offset = 0
                }
                (Some(position), Some(next)) => position.offset = next,
                (Some(_), None) => {}
            }
            each(fetched);
        })?;
        if unknown { Err(ReplyError::Partition.into()) } else { Ok(self.sent.take()) }
    }

    fn rest(&self) -> Result<Rest> {
        let Some(prefix) = self.partial.first_chunk() else { return Ok(Rest::Some) };
        let bytes = frame::PREFIX_BYTES + frame::frame_bytes(*prefix, REPLY_BYTES_MAX)?;
        Ok(match bytes.checked_sub(self.partial.len()) {
            None | Some(0) => Rest::Nothing,
            Some(missing) if missing < LARGE_BYTES_MIN => Rest::Some,
            Some(_) => Rest::Large { bytes },
        })
    }

    /// A buffer of `bytes`, with the beginning of the reply in it.
    fn take_buffer(&mut self, bytes: usize) -> AlignedBuffer {
        let fitting = self.spare.take().filter(|spare| spare.capacity() >= bytes);
        let mut buffer = fitting.unwrap_or_else(|| AlignedBuffer::with_capacity(bytes));
        buffer.set_len(0);
        buffer.extend_from_slice(&self.partial);
        buffer.set_len(bytes);
        buffer
    }
}
