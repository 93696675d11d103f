//! One connection's bytes: receiving into frames, sending replies, and when to stop reading.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::frames::FrameBuffers;
use super::token::Token;
use crate::broker::connection::frames::{Inbound, Next, next_frame};
use crate::broker::connection::{LentPiece, OutPiece};
use crate::broker::shards::{ConnectionId, FrameFate, Intake, Shard};
use crate::model::number::{index, wide};
use crate::protocol::kafka::frame::PREFIX_BYTES;
use crate::runtime::memory::{AlignedBuffer, Arena};
use crate::runtime::net::{Quiet, Socket};
use crate::runtime::ring::{OperationId, Ring, SendPiece};
use crate::storage::shard::ReadPiece;

/// The buffer that connections share is not kept when it is larger than this. Unit: bytes.
const SPARE_BYTES_MAX: usize = 64 << 10;
/// After so many small frames in a row a connection is received from with one standing operation.
const SMALL_FRAMES_MIN: u32 = 4;
/// While memory is wanting, who has not moved for so long lets it lie. Unit: ms.
const STUCK_MS: i64 = 5_000;
/// And so does who moves fewer bytes in a millisecond.
const RATE_MIN: u64 = 64;

/// While memory is wanting, who holds more of replies that wait for an earlier one lets it lie, too. Unit: bytes.
const BLOCKED_BYTES_MIN: usize = 16 << 10;

/// What was seen so long ago may have changed twice since. Unit: ms.
const BLOCKED_LOOK_MS_MAX: i64 = 1_000;

/// What the ring receives for a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiving {
    Nothing,
    /// One buffer's worth, or the rest of a large frame.
    Once,
    /// All that comes, until it is cancelled: cheaper for small frames, but a large one must not arrive in pieces.
    Standing(OperationId),
    /// The standing receive has been cancelled; what it had received before still comes.
    Ending,
}

/// A frame whose appends wait for room.
enum Stalled {
    /// It begins at `start` of the buffer, with so many bytes behind its length.
    Small {
        bytes: usize,
    },
    Large(Arc<AlignedBuffer>),
}

/// One connection, as its driver sees it.
pub(super) struct Client {
    pub(super) id: ConnectionId,
    socket: Rc<Socket>,
    /// Bytes that have arrived; those before `start` are done with.
    buffer: Vec<u8>,
    start: usize,
    stalled: Option<Stalled>,
    /// Since when.
    stalled_since_ms: Option<i64>,
    /// Since when much of its replies waits for the reply to an earlier request; looked at while memory is wanting.
    blocked_since_ms: Option<i64>,
    blocked_looked_ms: i64,
    receiving: Receiving,
    /// A large frame whose reply waits for room; a small one waits at `start` of the buffer.
    held_up: Option<Arc<AlignedBuffer>>,
    /// It is in the list of those whose frames wait for room.
    is_held_up: bool,
    /// Small frames since the last large one.
    small_frames: u32,
    sending: bool,
    /// Bytes of the large frame under way that are still to come.
    large_bytes_left: usize,
    /// What was reserved for it.
    large_bytes: usize,
    /// It is in the list of those that wait for memory.
    wants_memory: bool,
    closing: bool,
    last_active_ms: i64,
    /// When the send under way began; it waits for the client to read.
    sending_since_ms: Option<i64>,
    /// When the first part of a frame came that waits for the client to send the rest.
    partial_since_ms: Option<i64>,
    /// What the shard has been told of the buffer's capacity.
    counted_bytes: usize,
    /// Records of the send under way.
    sent: Vec<LentPiece>,
}

/// What the shard's loop lends to a connection.
pub(super) struct Lent<'a> {
    pub(super) shard: &'a mut Shard<Arena>,
    pub(super) ring: &'a mut Ring,
    pub(super) frames: &'a mut FrameBuffers,
    /// A buffer for the connection that receives next, so that those without a part of a frame have none.
    pub(super) spare: &'a mut Vec<u8>,
    /// Connections that wait for memory to receive.
    pub(super) waiting: &'a mut VecDeque<ConnectionId>,
    /// Connections with a whole frame that waits for room.
    pub(super) held_up: &'a mut VecDeque<ConnectionId>,
    pub(super) now_ms: i64,
    pub(super) frame_bytes_max: usize,
    pub(super) stopping: bool,
}

impl Client {
    pub(super) fn new(id: ConnectionId, socket: Socket, now_ms: i64) -> Self {
        Self {
            id,
            socket: Rc::new(socket),
            buffer: Vec::new(),
            start: 0,
            stalled: None,
            stalled_since_ms: None,
            blocked_since_ms: None,
            blocked_looked_ms: i64::MIN,
            held_up: None,
            is_held_up: false,
            receiving: Receiving::Nothing,
            small_frames: 0,
            sending: false,
            large_bytes_left: 0,
            large_bytes: 0,
            wants_memory: false,
            closing: false,
            last_active_ms: now_ms,
            sending_since_ms: None,
            partial_since_ms: None,
            counted_bytes: 0,
            sent: Vec::new(),
        }
    }

    /// Whether nothing of it is in the ring any more, so that it can be forgotten.
    pub(super) const fn is_gone(&self) -> bool {
        self.closing && matches!(self.receiving, Receiving::Nothing) && !self.sending
    }

    /// Whether a send is under way.
    pub(super) const fn is_sending(&self) -> bool {
        self.sending
    }

    /// Whether nothing has happened since then, and it is the client's turn: to send, or to read.
    pub(super) fn is_idle_since(&self, since_ms: i64, now_ms: i64, shard: &mut Shard<Arena>) -> bool {
        let waits_for_us =
            self.stalled.is_some() || self.wants_memory || self.is_held_up || shard.has_waiting(self.id);
        if self.last_active_ms >= since_ms || waits_for_us && !self.sending {
            return false;
        }
        // A large frame or send is one operation, however long it takes: its bytes are seen by the kernel alone.
        let Quiet { received_ms, sent_ms, .. } = self.quiet();
        let quiet_ms = if self.sending { received_ms.min(sent_ms) } else { received_ms };
        now_ms.saturating_sub(quiet_ms) < since_ms
    }

    /// Bytes that closing it would free, if only the client can free them otherwise, by reading or by sending the rest of a
    /// frame, and does not, or slowly; or if they wait for the reply to a request that came before.
    pub(super) fn stuck_weight(&mut self, now_ms: i64, shard: &mut Shard<Arena>) -> Option<u64> {
        let before_ms = std::mem::replace(&mut self.blocked_looked_ms, now_ms);
        let was_looked_at = now_ms.saturating_sub(before_ms) <= BLOCKED_LOOK_MS_MAX;
        if shard.blocked_bytes(self.id) < BLOCKED_BYTES_MIN {
            self.blocked_since_ms = None;
        } else if self.blocked_since_ms.is_none() || !was_looked_at {
            self.blocked_since_ms = Some(now_ms);
        }
        let since = [self.sending_since_ms, self.partial_since_ms, self.blocked_since_ms];
        let for_ms = since.map(|since_ms| since_ms.map(|since_ms| now_ms.saturating_sub(since_ms)));
        if self.closing || for_ms.iter().flatten().all(|&for_ms| for_ms <= STUCK_MS) {
            return None;
        }
        let quiet = self.quiet();
        let bytes = self.weight(shard);
        // The rest of its frame is there, and not received since there is no memory for it.
        // Where parts of frames have taken it all, that is no excuse: nobody's would ever come.
        let waits_for_us = quiet.has_unread
            && self.receiving == Receiving::Nothing
            && !quiet.has_ended
            && !shard.memory().is_full();
        let [sending_ms, partial_ms, blocked_ms] = for_ms;
        let is_stuck = sending_ms.is_some_and(|for_ms| lies_still(for_ms, quiet.sent_ms, bytes))
            || partial_ms.is_some_and(|for_ms| lies_still(for_ms, quiet.received_ms, bytes)) && !waits_for_us
            || blocked_ms.is_some_and(|for_ms| for_ms > STUCK_MS);
        is_stuck.then_some(bytes)
    }

    /// Whether its frame has waited long for room, and the other end has been closed, of which nothing comes before the frames
    /// that wait behind. One that waits for an answer is answered when its time is up; a request without an answer has no time.
    pub(super) fn is_abandoned(&self, now_ms: i64) -> bool {
        let is_long = |since_ms| now_ms.saturating_sub(since_ms) > STUCK_MS;
        self.stalled_since_ms.is_some_and(is_long) && self.quiet().has_ended
    }

    fn quiet(&self) -> Quiet {
        let unknown = Quiet { received_ms: i64::MAX, has_unread: false, sent_ms: i64::MAX, has_ended: false };
        self.socket.quiet().unwrap_or(unknown)
    }

    /// Bytes that closing it would free.
    fn weight(&self, shard: &mut Shard<Arena>) -> u64 {
        let pinned: u64 = self.sent.iter().map(|lent| lent.piece.bytes()).sum();
        let large_bytes = self.held_up.as_ref().map_or(self.large_bytes, |frame| frame.capacity());
        pinned + wide(shard.held_bytes(self.id) + large_bytes + self.buffer.capacity())
    }

    pub(super) fn close(&mut self) {
        if !self.closing {
            self.closing = true;
            self.socket.shutdown();
        }
    }

    /// Some bytes have arrived in a provided buffer. `last`: the ring receives no more unless asked.
    pub(super) fn handle_received(&mut self, bytes: &[u8], last: bool, lent: &mut Lent<'_>) {
        if last {
            self.receiving = Receiving::Nothing;
        }
        self.last_active_ms = lent.now_ms;
        if bytes.is_empty() {
            self.close();
            return;
        }
        if self.buffer.capacity() == 0 {
            std::mem::swap(&mut self.buffer, lent.spare);
        }
        self.buffer.extend_from_slice(bytes);
        self.process(lent);
    }

    /// Receiving has failed, or was cancelled as we wished.
    pub(super) fn handle_receive_failed(&mut self, lent: &mut Lent<'_>) {
        let wished = self.receiving == Receiving::Ending;
        self.receiving = Receiving::Nothing;
        if wished {
            self.process(lent);
        } else {
            self.close();
        }
    }

    /// The rest of a large frame has arrived.
    pub(super) fn handle_large(&mut self, frame: AlignedBuffer, received_bytes: usize, lent: &mut Lent<'_>) {
        self.receiving = Receiving::Nothing;
        self.last_active_ms = lent.now_ms;
        self.partial_since_ms = None;
        self.large_bytes = 0;
        if received_bytes < self.large_bytes_left || self.closing {
            lent.frames.give(Arc::new(frame), lent.now_ms);
            self.close();
            return;
        }
        self.take_large(Arc::new(frame), false, lent);
    }

    fn take_large(&mut self, frame: Arc<AlignedBuffer>, alone: bool, lent: &mut Lent<'_>) {
        let fate = match lent.shard.intake(self.id) {
            Intake::AfterRoom if !alone => FrameFate::NoRoom,
            _ => hand_over(lent.shard, self.id, Inbound::Large(&frame), alone),
        };
        self.end_large(frame, fate, lent);
    }

    fn end_large(&mut self, frame: Arc<AlignedBuffer>, fate: FrameFate, lent: &mut Lent<'_>) {
        match fate {
            FrameFate::Done => {
                lent.frames.give(frame, lent.now_ms);
                self.process(lent);
            }
            FrameFate::Stalled => self.stall(Stalled::Large(frame), None, lent.now_ms),
            FrameFate::NoRoom => {
                self.held_up = Some(frame);
                self.hold_up(lent);
            }
            FrameFate::Close => {
                lent.frames.give(frame, lent.now_ms);
                self.close();
            }
        }
    }

    /// Appends of the stalled frame may find room now.
    pub(super) fn resume(&mut self, lent: &mut Lent<'_>) {
        let since_ms = self.stalled_since_ms.take();
        match self.stalled.take() {
            None => {}
            Some(Stalled::Large(frame)) => match lent.shard.resume(self.id, frame.as_slice()) {
                FrameFate::Stalled => self.stall(Stalled::Large(frame), since_ms, lent.now_ms),
                fate => self.end_large(frame, fate, lent),
            },
            Some(Stalled::Small { bytes }) => {
                let from = self.start + PREFIX_BYTES;
                let Some(frame) = self.buffer.get(from..from + bytes) else { return self.close() };
                match lent.shard.resume(self.id, frame) {
                    FrameFate::Done => {
                        self.start = from + bytes;
                        self.process(lent);
                    }
                    FrameFate::Stalled => self.stall(Stalled::Small { bytes }, since_ms, lent.now_ms),
                    FrameFate::NoRoom | FrameFate::Close => self.close(),
                }
            }
        }
    }

    fn stall(&mut self, stalled: Stalled, since_ms: Option<i64>, now_ms: i64) {
        self.stalled = Some(stalled);
        self.stalled_since_ms = Some(since_ms.unwrap_or(now_ms));
    }

    /// Hands over all whole frames that may be taken now, then goes on receiving.
    pub(super) fn process(&mut self, lent: &mut Lent<'_>) {
        self.take_frames(false, lent);
    }

    /// The same; with `alone`, the first is taken whether or not there is room for its reply.
    fn take_frames(&mut self, mut alone: bool, lent: &mut Lent<'_>) {
        let mut is_partial = false;
        while !self.closing && self.stalled.is_none() && self.held_up.is_none() && !lent.stopping {
            let intake = lent.shard.intake(self.id);
            if intake == Intake::AfterReplies {
                break;
            }
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            match next_frame(rest, lent.frame_bytes_max) {
                next @ (Next::Frame { .. } | Next::Large { .. }) if intake == Intake::AfterRoom && !alone => {
                    is_partial = matches!(next, Next::Large { .. });
                    self.hold_up(lent);
                    break;
                }
                Next::Partial => {
                    is_partial = !rest.is_empty();
                    break;
                }
                Next::Invalid => self.close(),
                Next::Large { bytes } => {
                    self.receive_large(bytes, lent);
                    return;
                }
                Next::Frame { bytes } => {
                    let from = self.start + PREFIX_BYTES;
                    let Some(frame) = self.buffer.get(from..from + bytes) else { break };
                    match hand_over(lent.shard, self.id, Inbound::Small(frame), alone) {
                        FrameFate::Done => {
                            self.start = from + bytes;
                            self.small_frames = self.small_frames.saturating_add(1);
                        }
                        FrameFate::Stalled => self.stall(Stalled::Small { bytes }, None, lent.now_ms),
                        FrameFate::NoRoom => {
                            self.hold_up(lent);
                            break;
                        }
                        FrameFate::Close => self.close(),
                    }
                    alone = false;
                }
            }
        }
        self.note_partial(is_partial, lent.now_ms);
        self.tidy_buffer(lent);
        self.receive(lent);
    }

    /// Whether more may be received; if memory is wanting, it will be told when there is some.
    fn may_receive(&mut self, lent: &mut Lent<'_>) -> bool {
        match lent.shard.intake(self.id) {
            Intake::Open => true,
            Intake::AfterReplies => false,
            Intake::AfterMemory | Intake::AfterRoom => {
                self.wait_for_memory(lent);
                false
            }
        }
    }

    fn wait_for_memory(&mut self, lent: &mut Lent<'_>) {
        if !self.wants_memory {
            self.wants_memory = true;
            lent.waiting.push_back(self.id);
        }
    }

    /// A whole frame stays where it lies until there is room for its reply.
    fn hold_up(&mut self, lent: &mut Lent<'_>) {
        if !self.is_held_up {
            self.is_held_up = true;
            lent.held_up.push_back(self.id);
        }
    }

    /// There may be room for the reply to its frame now; `alone`: the frame is taken in any case. False: it still waits.
    pub(super) fn feed_held_up(&mut self, alone: bool, lent: &mut Lent<'_>) -> bool {
        self.is_held_up = false;
        match self.held_up.take() {
            Some(frame) if self.closing => lent.frames.give(frame, lent.now_ms),
            Some(frame) => self.take_large(frame, alone, lent),
            None => self.take_frames(alone, lent),
        }
        !self.is_held_up
    }

    /// There may be memory now.
    pub(super) fn feed(&mut self, lent: &mut Lent<'_>) {
        self.wants_memory = false;
        self.process(lent);
    }

    fn note_partial(&mut self, is_partial: bool, now_ms: i64) {
        if !is_partial {
            self.partial_since_ms = None;
        } else if self.partial_since_ms.is_none() {
            self.partial_since_ms = Some(now_ms);
        }
    }

    /// Asks for more bytes, unless the client must first read, or wait.
    fn receive(&mut self, lent: &mut Lent<'_>) {
        let takes = !self.closing
            && self.stalled.is_none()
            && !self.wants_memory
            && !self.is_held_up
            && !lent.stopping
            && self.may_receive(lent);
        match self.receiving {
            Receiving::Standing(_) if !takes => self.end_standing(lent),
            Receiving::Nothing if takes && self.small_frames >= SMALL_FRAMES_MIN => {
                let token = Token::Receive(self.id).encode();
                self.receiving = Receiving::Standing(lent.ring.receive_multishot(&self.socket, token));
            }
            Receiving::Nothing if takes => {
                self.receiving = Receiving::Once;
                lent.ring.receive(&self.socket, Token::Receive(self.id).encode());
            }
            _ => {}
        }
    }

    fn end_standing(&mut self, lent: &mut Lent<'_>) {
        if let Receiving::Standing(operation) = self.receiving {
            self.receiving = Receiving::Ending;
            lent.ring.cancel(operation);
        }
    }

    /// A large frame is received straight into a buffer of its own, reserved before its body is read.
    fn receive_large(&mut self, bytes: usize, lent: &mut Lent<'_>) {
        self.small_frames = 0;
        if self.receiving != Receiving::Nothing {
            self.end_standing(lent);
            return;
        }
        let Some(mut frame) = lent.frames.take(bytes, lent.shard.memory(), lent.now_ms) else {
            self.note_partial(true, lent.now_ms);
            return self.wait_for_memory(lent);
        };
        frame.set_len(bytes);
        self.large_bytes = frame.capacity();
        self.note_partial(true, lent.now_ms);
        let have = self.buffer.get(self.start + PREFIX_BYTES..).unwrap_or_default();
        let from = have.len().min(bytes);
        if let (Some(target), Some(source)) = (frame.as_mut_slice().get_mut(..from), have.get(..from)) {
            target.copy_from_slice(source);
        }
        self.buffer.clear();
        self.start = 0;
        self.tidy_buffer(lent);
        self.receiving = Receiving::Once;
        self.large_bytes_left = bytes - from;
        lent.ring.receive_into(&self.socket, frame, from, Token::ReceiveLarge(self.id).encode());
    }

    fn tidy_buffer(&mut self, lent: &mut Lent<'_>) {
        if self.start == self.buffer.len() {
            let mut buffer = std::mem::take(&mut self.buffer);
            self.start = 0;
            if buffer.capacity() <= SPARE_BYTES_MAX && buffer.capacity() > lent.spare.capacity() {
                buffer.clear();
                *lent.spare = buffer;
            }
        } else if self.stalled.is_none() {
            // Not each time: the rest may be long, and be taken a little at a time.
            if self.start > self.buffer.len() / 2 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            if lent.shard.memory().is_tight() && self.buffer.capacity() / 4 > self.buffer.len() {
                self.buffer.shrink_to_fit();
            }
        }
    }

    /// Tells the shard what the buffer takes, after anything was done.
    pub(super) fn count_buffer(&mut self, lent: &mut Lent<'_>) {
        let capacity = self.buffer.capacity();
        if capacity != self.counted_bytes {
            lent.shard.change_partial_frames(self.counted_bytes, capacity);
            self.counted_bytes = capacity;
        }
    }

    /// Sends what is ready, if no send is under way.
    pub(super) fn send(&mut self, lent: &mut Lent<'_>) {
        if self.sending || self.closing {
            return;
        }
        let output = lent.shard.take_output(self.id);
        if output.is_empty() {
            return;
        }
        let mut pieces = Vec::with_capacity(output.len());
        for piece in output {
            match piece {
                OutPiece::Bytes(bytes) => pieces.push(SendPiece::Owned(bytes)),
                OutPiece::Records(records) => {
                    pieces.push(match &records.piece {
                        ReadPiece::Arena { place, bytes, .. } => SendPiece::Arena {
                            arena: usize::from(records.owner),
                            position: index(*place),
                            len: index(*bytes),
                        },
                        ReadPiece::Cached { buffer, from, bytes } => {
                            SendPiece::Shared(Arc::clone(buffer), index(*from)..index(from + bytes))
                        }
                    });
                    self.sent.push(records);
                }
            }
        }
        self.sending = true;
        self.sending_since_ms = Some(lent.now_ms);
        lent.ring.send(&self.socket, pieces, Token::Send(self.id).encode());
    }

    /// A send has ended: the records may go, the next replies and requests may come.
    pub(super) fn handle_sent(&mut self, succeeded: bool, lent: &mut Lent<'_>) {
        self.sending = false;
        self.sending_since_ms = None;
        self.last_active_ms = lent.now_ms;
        lent.shard.note_sent(self.id);
        lent.shard.release(std::mem::take(&mut self.sent));
        if !succeeded {
            self.close();
            return;
        }
        self.send(lent);
        self.process(lent);
    }

    /// Gives back what a connection that is gone still holds.
    pub(super) fn forget(self, lent: &mut Lent<'_>) {
        if let Some(Stalled::Large(frame)) = self.stalled {
            lent.frames.give(frame, lent.now_ms);
        }
        if let Some(frame) = self.held_up {
            lent.frames.give(frame, lent.now_ms);
        }
        lent.shard.change_partial_frames(self.counted_bytes, 0);
        lent.shard.close_connection(self.id);
    }
}

fn hand_over(shard: &mut Shard<Arena>, id: ConnectionId, frame: Inbound<'_>, alone: bool) -> FrameFate {
    if alone { shard.handle_frame_alone(id, frame) } else { shard.handle_frame(id, frame) }
}

/// Whether a transfer of so many bytes, begun so long ago, lets memory lie: nothing of it has gone over the wire for a while, or
/// it takes longer than at the least rate.
fn lies_still(for_ms: i64, quiet_ms: i64, bytes: u64) -> bool {
    let whole_ms = i64::try_from(bytes / RATE_MIN).unwrap_or(i64::MAX);
    for_ms > STUCK_MS && quiet_ms > STUCK_MS || for_ms > STUCK_MS.saturating_add(whole_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_transfer_is_not_stuck_however_long_it_takes_at_the_least_rate() {
        let (steady_ms, silent_ms) = (10, 5_001);
        assert!(!lies_still(5_000, silent_ms, 0), "not yet");
        assert!(lies_still(5_001, silent_ms, 100 << 20));
        assert!(!lies_still(60_000, steady_ms, 4 << 20));
        assert!(lies_still(5_000 + 65_537, steady_ms, 4 << 20), "a byte now and then is no transfer");
        assert!(lies_still(5_001, steady_ms, 63));
    }
}
