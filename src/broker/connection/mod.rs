//! One connection's replies: many requests in flight, answered in the order in which they came.
//!
//! Pure. A request takes the next slot; its reply may come at any time and waits there until all before it are ready.
//! What is ready stands in `outgoing` until the driver sends it.

pub mod frames;

use std::collections::VecDeque;

use crate::model::number::index;
use crate::protocol::kafka::{Piece, Writer};
use crate::storage::shard::ReadPiece;

/// Replies held for a client that does not read; above it no further request is read. Unit: bytes.
pub const OUTGOING_BYTES_MAX: usize = 4 << 20;
/// Requests that may wait for their replies; above it no further request is read.
pub const REQUESTS_MAX: usize = 1_000;

/// Room that the first of several small replies takes. Unit: bytes.
const SHARED_BYTES_MIN: usize = 512;

/// Part of what is to be sent.
#[derive(Debug)]
pub enum OutPiece {
    Bytes(Vec<u8>),
    /// Records where they lie.
    Records(LentPiece),
}

/// Records in a shard's arena or cache, which are to be given back to it.
#[derive(Debug)]
pub struct LentPiece {
    /// The shard's number.
    pub owner: u16,
    pub piece: ReadPiece,
}

impl OutPiece {
    /// How long it is. Unit: bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Records(lent) => index(lent.piece.bytes()),
        }
    }

    /// What must be given back.
    #[must_use]
    pub fn into_records(self) -> Option<LentPiece> {
        match self {
            Self::Records(records) => Some(records),
            Self::Bytes(_) => None,
        }
    }
}

/// A reply in parts.
#[derive(Debug, Default)]
pub struct Reply {
    pub pieces: Vec<OutPiece>,
}

#[derive(Debug)]
enum Slot {
    /// What the request holds until it is answered. Unit: bytes.
    Waiting(usize),
    Ready(Reply),
}

/// The replies of one connection.
#[derive(Debug, Default)]
pub struct Connection {
    slots: VecDeque<Slot>,
    /// Number of the request whose slot is the first.
    first: u64,
    outgoing: Vec<OutPiece>,
    /// Of all replies that the driver has not taken yet, with their records.
    unsent_bytes: usize,
    /// Of requests that wait, and of what is encoded of replies, until they are sent.
    held_bytes: usize,
    /// What is encoded of the send under way.
    sending_bytes: usize,
}

impl Connection {
    /// A slot for the reply to a request that has just come and holds so many bytes until it is answered; returns the
    /// request's number.
    pub fn begin_request(&mut self, held_bytes: usize) -> u64 {
        self.held_bytes += held_bytes;
        self.slots.push_back(Slot::Waiting(held_bytes));
        self.first + self.slots.len() as u64 - 1
    }

    /// The newest request has not been looked at: it comes again.
    pub fn retract_request(&mut self, request: u64) {
        let is_newest = self.first + self.slots.len() as u64 == request + 1;
        if is_newest && let Some(Slot::Waiting(held_bytes)) = self.slots.back() {
            self.held_bytes = self.held_bytes.saturating_sub(*held_bytes);
            self.slots.pop_back();
        }
    }

    /// The request holds so many bytes more until it is answered.
    pub fn hold_more(&mut self, request: u64, bytes: usize) {
        if let Some(Slot::Waiting(held_bytes)) = self.slot(request) {
            *held_bytes += bytes;
            self.held_bytes += bytes;
        }
    }

    /// Whether the reply to this request is the next to be sent.
    #[must_use]
    pub const fn is_next(&self, request: u64) -> bool {
        self.first == request
    }

    /// The reply to a request that is next, encoded in `writer`; `records` are the writer's external bytes, in order.
    pub fn answer_next(&mut self, writer: &Writer, records: Vec<OutPiece>) {
        if let Some(Slot::Waiting(held_bytes)) = self.slots.pop_front() {
            self.held_bytes = self.held_bytes.saturating_sub(held_bytes);
        }
        self.first += 1;
        self.count(writer, &records);
        append(&mut self.outgoing, writer, records);
        self.release_ready();
    }

    /// The reply to any request that has none yet.
    pub fn answer(&mut self, request: u64, writer: &Writer, records: Vec<OutPiece>) {
        if self.is_next(request) {
            self.answer_next(writer, records);
            return;
        }
        let mut reply = Reply::default();
        self.count(writer, &records);
        append(&mut reply.pieces, writer, records);
        self.put(request, reply);
    }

    /// A request that has no reply (acks=0).
    pub fn answer_nothing(&mut self, request: u64) {
        self.put(request, Reply::default());
        self.release_ready();
    }

    fn slot(&mut self, request: u64) -> Option<&mut Slot> {
        let place = request.checked_sub(self.first).and_then(|place| usize::try_from(place).ok())?;
        self.slots.get_mut(place)
    }

    fn put(&mut self, request: u64, reply: Reply) {
        let Some(slot) = self.slot(request) else { return };
        if let Slot::Waiting(held_bytes) = std::mem::replace(slot, Slot::Ready(reply)) {
            self.held_bytes = self.held_bytes.saturating_sub(held_bytes);
        }
    }

    /// The last request whose reply waits for replies to requests before it.
    #[must_use]
    pub fn last_blocked(&self) -> Option<u64> {
        let place = self.slots.iter().rposition(|slot| matches!(slot, Slot::Ready(_)));
        place.map(|place| self.first + place as u64)
    }

    fn count(&mut self, writer: &Writer, records: &[OutPiece]) {
        let copied = records.iter().map(encoded_bytes).sum::<usize>();
        self.unsent_bytes += writer.total_bytes();
        self.held_bytes += writer.encoded().len() + copied;
    }

    fn release_ready(&mut self) {
        while let Some(Slot::Ready(_)) = self.slots.front() {
            let Some(Slot::Ready(reply)) = self.slots.pop_front() else { return };
            self.first += 1;
            self.outgoing.extend(reply.pieces);
        }
    }

    /// What is ready to be sent; the driver sends it whole before it asks again.
    pub fn take_outgoing(&mut self) -> Vec<OutPiece> {
        let taken = std::mem::take(&mut self.outgoing);
        self.unsent_bytes = self.unsent_bytes.saturating_sub(taken.iter().map(OutPiece::bytes).sum());
        self.sending_bytes += taken.iter().map(encoded_bytes).sum::<usize>();
        taken
    }

    /// What was taken is sent.
    pub const fn note_sent(&mut self) {
        self.held_bytes = self.held_bytes.saturating_sub(self.sending_bytes);
        self.sending_bytes = 0;
    }

    /// Bytes of memory that its requests and replies hold, beside records that lie elsewhere.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes of replies that wait for the client to take them.
    #[must_use]
    pub const fn reply_bytes(&self) -> usize {
        self.unsent_bytes + self.sending_bytes
    }

    /// Bytes of replies that cannot be sent before the reply to another request, if none is being sent.
    #[must_use]
    pub const fn blocked_bytes(&self) -> usize {
        if self.outgoing.is_empty() && self.sending_bytes == 0 { self.unsent_bytes } else { 0 }
    }

    #[must_use]
    pub const fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether another request may be taken: the client reads its replies.
    #[must_use]
    pub fn takes_requests(&self) -> bool {
        self.unsent_bytes < OUTGOING_BYTES_MAX && self.slots.len() < REQUESTS_MAX
    }

    /// Requests without a reply yet.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.slots.len()
    }

    /// All records that wait to be sent, when the connection ends.
    pub fn drain_records(&mut self) -> Vec<LentPiece> {
        let waiting = self.slots.drain(..).filter_map(|slot| match slot {
            Slot::Ready(reply) => Some(reply.pieces),
            Slot::Waiting(_) => None,
        });
        let all: Vec<OutPiece> = self.outgoing.drain(..).chain(waiting.flatten()).collect();
        all.into_iter().filter_map(OutPiece::into_records).collect()
    }
}

/// What a piece takes beside the arena and the cache.
const fn encoded_bytes(piece: &OutPiece) -> usize {
    match piece {
        OutPiece::Bytes(bytes) => bytes.len(),
        OutPiece::Records(_) => 0,
    }
}

/// Appends what the writer holds, with `records` in the places that it left for them.
fn append(target: &mut Vec<OutPiece>, writer: &Writer, records: Vec<OutPiece>) {
    if writer.cuts().is_empty() {
        return append_bytes(target, writer.encoded());
    }
    let mut records = records.into_iter();
    for piece in writer.pieces() {
        match piece {
            Piece::Encoded(bytes) => append_bytes(target, bytes),
            Piece::External { bytes } => {
                let mut left = bytes;
                while left > 0 {
                    let Some(part) = records.next() else { break };
                    left = left.saturating_sub(part.bytes());
                    match (part, target.last_mut()) {
                        (OutPiece::Bytes(part), Some(OutPiece::Bytes(last))) => last.extend_from_slice(&part),
                        (part, _) => target.push(part),
                    }
                }
                assert!(left == 0, "a reply promised more records than it has");
            }
        }
    }
}

/// Replies that come together share a buffer, which begins with room for some.
fn append_bytes(target: &mut Vec<OutPiece>, bytes: &[u8]) {
    if let Some(OutPiece::Bytes(last)) = target.last_mut() {
        return last.extend_from_slice(bytes);
    }
    let mut first = Vec::with_capacity(bytes.len().max(SHARED_BYTES_MIN));
    first.extend_from_slice(bytes);
    target.push(OutPiece::Bytes(first));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::kafka::frame::encode_response;
    use crate::protocol::kafka::messages::init_producer_id::InitProducerIdResponse;

    fn encoded(correlation_id: i32) -> Writer {
        let mut writer = Writer::new();
        encode_response(&mut writer, 0, correlation_id, &InitProducerIdResponse::default()).unwrap();
        writer
    }

    fn sent(connection: &mut Connection) -> Vec<i32> {
        let mut ids = Vec::new();
        for piece in connection.take_outgoing() {
            let OutPiece::Bytes(bytes) = piece else { panic!() };
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
                ids.push(i32::from_be_bytes(rest[4..8].try_into().unwrap()));
                rest = &rest[4 + length..];
            }
        }
        ids
    }

    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        let mut connection = Connection::default();
        let requests: Vec<u64> = (0..4).map(|_| connection.begin_request(0)).collect();
        connection.answer(requests[2], &encoded(2), Vec::new());
        connection.answer_nothing(requests[1]);
        assert!(!connection.has_outgoing());
        connection.answer(requests[0], &encoded(0), Vec::new());
        assert_eq!(sent(&mut connection), [0, 2]);
        connection.answer(requests[3], &encoded(3), Vec::new());
        assert_eq!(sent(&mut connection), [3]);
        assert_eq!(connection.waiting_count(), 0);
    }

    #[test]
    fn what_waits_behind_another_reply_is_known() {
        let mut connection = Connection::default();
        let (first, second) = (connection.begin_request(0), connection.begin_request(0));
        connection.answer(second, &encoded(2), Vec::new());
        assert_eq!(connection.blocked_bytes(), encoded(2).encoded().len());
        connection.answer(first, &encoded(1), Vec::new());
        assert_eq!(connection.blocked_bytes(), 0);
        sent(&mut connection);
        assert_eq!(connection.blocked_bytes(), 0);
    }

    #[test]
    fn a_request_that_comes_again_leaves_nothing() {
        let mut connection = Connection::default();
        let first = connection.begin_request(100);
        let second = connection.begin_request(50);
        connection.retract_request(first);
        assert_eq!(connection.waiting_count(), 2, "only the newest can");
        connection.retract_request(second);
        assert_eq!((connection.waiting_count(), connection.held_bytes()), (1, 100));
        assert_eq!(connection.begin_request(50), second);
    }

    #[test]
    fn what_is_held_is_counted_until_it_is_sent() {
        let mut connection = Connection::default();
        let (first, second) = (connection.begin_request(1_000), connection.begin_request(500));
        assert_eq!((connection.held_bytes(), connection.reply_bytes()), (1_500, 0));
        connection.hold_more(first, 200);
        connection.hold_more(second, 70);
        assert_eq!(connection.held_bytes(), 1_770);
        let reply_bytes = encoded(2).encoded().len();
        connection.answer(second, &encoded(2), vec![]);
        assert_eq!((connection.held_bytes(), connection.reply_bytes()), (1_200 + reply_bytes, reply_bytes));
        connection.answer(first, &encoded(1), vec![]);
        assert_eq!(connection.held_bytes(), 2 * reply_bytes);
        assert_eq!(sent(&mut connection), [1, 2]);
        assert_eq!((connection.held_bytes(), connection.reply_bytes()), (2 * reply_bytes, 2 * reply_bytes));
        connection.note_sent();
        assert_eq!((connection.held_bytes(), connection.reply_bytes()), (0, 0));
    }
}
