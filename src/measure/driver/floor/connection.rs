//! One connection of the floor.

use std::rc::Rc;

use crate::measure::reply::FrameCutter;
use crate::protocol::kafka::frame;
use crate::runtime::memory::AlignedBuffer;
use crate::runtime::net::Socket;
use crate::runtime::ring::{Ring, SendPiece, Token};

/// A connection whose first frame is no larger receives into provided buffers. Unit: bytes, the length included.
const SMALL_BYTES_MAX: usize = 16 << 10;
/// Buffers for replies that are kept.
const SPARE_MAX: usize = 4;

/// A frame that is kept.
pub(super) enum Frame {
    /// Without its length.
    Small(Vec<u8>),
    /// With its length.
    Large(AlignedBuffer),
}

impl Frame {
    /// Without its length.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(buffer) => buffer.as_slice().get(frame::PREFIX_BYTES..).unwrap_or_default(),
        }
    }
}

/// See the module.
pub(super) struct Connection {
    socket: Rc<Socket>,
    /// Size of its frames, length included; 0 before the first.
    frame_bytes: usize,
    /// What the receive under way is to bring.
    expected: std::cell::Cell<usize>,
    cutter: FrameCutter,
    outgoing: Vec<SendPiece>,
    sending: bool,
    spare: Vec<Vec<u8>>,
}

impl Connection {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket: Rc::new(socket),
            frame_bytes: 0,
            expected: std::cell::Cell::new(0),
            cutter: FrameCutter::default(),
            outgoing: Vec::new(),
            sending: false,
            spare: Vec::new(),
        }
    }

    pub(super) fn shutdown(&self) {
        self.socket.shutdown();
    }

    /// Its frames have this size, length included.
    pub(super) fn learn(&mut self, frame_bytes: usize) {
        self.frame_bytes = frame_bytes;
    }

    pub(super) const fn is_small(&self) -> bool {
        self.frame_bytes <= SMALL_BYTES_MAX
    }

    /// Bytes that the receive under way is to bring.
    pub(super) fn expected(&self) -> usize {
        self.expected.get()
    }

    /// Fills `buffer` from position `from`.
    pub(super) fn receive_into(&self, ring: &mut Ring, buffer: AlignedBuffer, from: usize, receive: Token) {
        self.expected.set(buffer.len().saturating_sub(from));
        ring.receive_into(&self.socket, buffer, from, receive);
    }

    /// Receives whatever comes, until it ends.
    pub(super) fn receive(&self, ring: &mut Ring, receive: Token) {
        ring.receive_multishot(&self.socket, receive);
    }

    pub(super) fn take_cutter(&mut self) -> FrameCutter {
        std::mem::take(&mut self.cutter)
    }

    pub(super) fn give_cutter(&mut self, cutter: FrameCutter) {
        self.cutter = cutter;
    }

    /// Where replies are appended; they go out together.
    pub(super) fn replies(&mut self) -> &mut Vec<u8> {
        if !matches!(self.outgoing.last(), Some(SendPiece::Owned(_))) {
            self.outgoing.push(SendPiece::Owned(self.spare.pop().unwrap_or_default()));
        }
        match self.outgoing.last_mut() {
            Some(SendPiece::Owned(bytes)) => bytes,
            _ => panic!("pushed above"),
        }
    }

    pub(super) fn add_pieces(&mut self, pieces: Vec<SendPiece>) {
        self.outgoing.extend(pieces);
    }

    pub(super) fn flush(&mut self, ring: &mut Ring, send: Token) {
        if !self.sending && !self.outgoing.is_empty() {
            self.sending = true;
            ring.send(&self.socket, std::mem::take(&mut self.outgoing), send);
        }
    }

    /// False: the connection is broken.
    pub(super) fn handle_sent(&mut self, pieces: Vec<SendPiece>, is_sent: bool) -> bool {
        self.sending = false;
        for piece in pieces {
            if let SendPiece::Owned(mut bytes) = piece
                && self.spare.len() < SPARE_MAX
            {
                bytes.clear();
                self.spare.push(bytes);
            }
        }
        is_sent
    }
}
