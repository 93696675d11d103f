//! A connection that produces: requests go out together when the last send is over, replies come back in their order.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use crate::measure::driver::{Error, Result};
use crate::measure::reply::{self, FrameCutter};
use crate::measure::request::ProduceFrame;
use crate::runtime::net::Socket;
use crate::runtime::ring::{Received, Ring, SendPiece, Token};

/// Frames up to this size are copied together into one buffer, larger ones sent from where they lie. Unit: bytes.
const COPIED_BYTES_MAX: usize = 8 << 10;
/// Requests of a fixed rate that may wait for room in flight.
const OVERDUE_MAX: usize = 1 << 20;
/// Buffers kept for the next requests.
const SPARE_MAX: usize = 64;

/// A request that has its reply now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    /// When it was meant to be sent. Unit: nanoseconds of the clock.
    pub(super) intended: u64,
    pub(super) partition: u32,
    pub(super) batch_bytes: u32,
    pub(super) record_count: u32,
}

/// See the module.
pub(super) struct Producer {
    socket: Rc<Socket>,
    version: i16,
    frames: Vec<ProduceFrame>,
    next_frame: usize,
    in_flight_max: usize,
    next_correlation_id: i32,
    in_flight: VecDeque<(i32, Acknowledged)>,
    /// Requests that are due and wait for room; when they were meant to be sent.
    overdue: VecDeque<u64>,
    incoming: FrameCutter,
    outgoing: Vec<SendPiece>,
    sending: bool,
    spare: Vec<Vec<u8>>,
}

impl Producer {
    pub(super) fn new(socket: Socket, version: i16, frames: Vec<ProduceFrame>, in_flight_max: u32) -> Self {
        Self {
            socket: Rc::new(socket),
            version,
            frames,
            next_frame: 0,
            in_flight_max: in_flight_max as usize,
            next_correlation_id: 0,
            in_flight: VecDeque::new(),
            overdue: VecDeque::new(),
            incoming: FrameCutter::default(),
            outgoing: Vec::new(),
            sending: false,
            spare: Vec::new(),
        }
    }

    pub(super) fn start(&self, ring: &mut Ring, receive: Token) {
        ring.receive_multishot(&self.socket, receive);
    }

    /// Requests that may be added at once.
    pub(super) fn room(&self) -> usize {
        self.in_flight_max.saturating_sub(self.in_flight.len())
    }

    /// Requests without a reply, sent or not.
    pub(super) fn unanswered(&self) -> usize {
        self.in_flight.len().saturating_add(self.overdue.len())
    }

    /// A request is due; it is made as soon as there is room.
    pub(super) fn add_due(&mut self, intended: u64, mut sent: impl FnMut(&Acknowledged)) -> Result<()> {
        if self.overdue.len() >= OVERDUE_MAX {
            return Err(Error::Overdue { requests: self.overdue.len() });
        }
        self.overdue.push_back(intended);
        self.add_overdue(&mut sent);
        Ok(())
    }

    /// Makes requests of those that wait for room.
    pub(super) fn add_overdue(&mut self, mut sent: impl FnMut(&Acknowledged)) {
        while self.room() > 0
            && let Some(intended) = self.overdue.pop_front()
        {
            if let Some(made) = self.add(intended) {
                sent(&made);
            }
        }
    }

    /// Makes a request for the next partition in turn.
    pub(super) fn add(&mut self, intended: u64) -> Option<Acknowledged> {
        let frame = self.frames.get(self.next_frame)?;
        self.next_frame = (self.next_frame + 1) % self.frames.len();
        let id = self.next_correlation_id;
        self.next_correlation_id = id.wrapping_add(1);
        let made = Acknowledged {
            intended,
            partition: frame.partition,
            batch_bytes: frame.batch_bytes,
            record_count: frame.record_count,
        };
        self.in_flight.push_back((id, made));
        let frame_bytes = frame.frame.len();
        if frame_bytes > COPIED_BYTES_MAX {
            let mut prefix = self.spare.pop().unwrap_or_default();
            prefix.extend_from_slice(&frame.prefix(id));
            let rest = prefix.len()..frame_bytes;
            self.outgoing.push(SendPiece::Owned(prefix));
            self.outgoing.push(SendPiece::Shared(frame.frame.clone(), rest));
        } else if let Some(SendPiece::Owned(bytes)) = self.outgoing.last_mut() {
            frame.put(bytes, id);
        } else {
            let mut bytes = self.spare.pop().unwrap_or_default();
            frame.put(&mut bytes, id);
            self.outgoing.push(SendPiece::Owned(bytes));
        }
        Some(made)
    }

    /// Sends what has gathered, unless a send is under way.
    pub(super) fn flush(&mut self, ring: &mut Ring, send: Token) {
        if !self.sending && !self.outgoing.is_empty() {
            self.sending = true;
            ring.send(&self.socket, std::mem::take(&mut self.outgoing), send);
        }
    }

    pub(super) fn handle_sent(&mut self, pieces: Vec<SendPiece>, result: io::Result<usize>) -> Result<()> {
        self.sending = false;
        for piece in pieces {
            if let SendPiece::Owned(mut bytes) = piece
                && self.spare.len() < SPARE_MAX
            {
                bytes.clear();
                self.spare.push(bytes);
            }
        }
        result.map(|_| ()).map_err(|source| Error::Connection { source })
    }

    /// Hands the requests whose replies have arrived to `acknowledged`.
    pub(super) fn handle_received(
        &mut self,
        result: io::Result<Received>,
        mut acknowledged: impl FnMut(&Acknowledged),
    ) -> Result<()> {
        let bytes = result.map_err(|source| Error::Connection { source })?;
        if bytes.is_empty() {
            return Err(Error::Closed);
        }
        let Self { incoming, in_flight, version, .. } = self;
        incoming.feed(&bytes, |frame| {
            let Some((expected, request)) = in_flight.pop_front() else { return Err(Error::Closed) };
            reply::check_produce(frame, *version, expected)?;
            acknowledged(&request);
            Ok(())
        })
    }

    /// Receiving has ended although the connection stands: it is asked for again.
    pub(super) fn receive_again(&self, ring: &mut Ring, receive: Token) {
        ring.receive_multishot(&self.socket, receive);
    }
}
