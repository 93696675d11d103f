//! The core of one shard: its connections, its partitions, and the requests between them.
//!
//! Lives: one per shard, on its thread. Pure: frames, completions and the time come in through `handle_*`; what must leave
//! is asked for with `poll_*`. Connections and handlers are this side; partitions are the other, which is reached by messages
//! alone ([`Owner`]): with one shard they go to oneself, and are answered before the frame is given back.

pub mod control;
pub mod figures;
mod gather;
pub mod memory;
pub mod message;
mod route;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use self::control::{Asked, ControlAnswer, ControlQuestion, ProducerIds};
use self::figures::RequestFigures;
use self::gather::Gathers;
use self::memory::Memory;
use self::message::Message;
use super::connection::frames::Inbound;
use super::connection::{Connection, OutPiece};
use super::handlers::{self, Fate};
use super::owner::append::Append;
use super::owner::partitions::Partitions;
use super::owner::{Ask, Owner};
use super::purgatory::produce::PendingId;
use crate::config::BrokerConfig;
use crate::model::image::Image;
use crate::model::number::wide;
use crate::model::{Now, ShardPlace, TopicId, TopicPartition};
use crate::protocol;
use crate::protocol::kafka::{ApiKey, Response, Writer, frame};
use crate::runtime::memory::ArenaMemory;
use crate::storage::checkpoint::CheckpointPartition;
use crate::storage::operation::{Completion, Operation};
use crate::storage::shard::ShardLog;

/// Messages that are kept to be used again.
const SPARE_APPENDS_MAX: usize = 256;

/// What replies are encoded in is not kept when it has grown larger. Unit: bytes.
const SPARE_REPLY_BYTES_MAX: usize = 1 << 20;

/// What a connection may hold of replies while memory is tight. Unit: bytes.
const TIGHT_REPLY_BYTES_MAX: usize = 16 << 10;

/// Names a connection; the generation keeps a late reply from reaching the next connection in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// The number of the shard that has it.
    pub shard: u16,
    pub index: u32,
    pub generation: u32,
}

/// A request whose reply is due: where the reply goes and how it is encoded.
#[derive(Clone, Copy, Debug)]
pub struct RequestId {
    pub connection: ConnectionId,
    /// The number of the request on its connection.
    pub request: u64,
    pub api_key: ApiKey,
    pub api_version: i16,
    pub correlation_id: i32,
    /// When the turn began in which it came. Unit: µs of the steady clock, of which these are the lowest bits: what waits for more
    /// than an hour is timed too short.
    pub begun_us: u32,
}

/// What has become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFate {
    /// It is not needed any more.
    Done,
    /// An append waits for room: keep the bytes as they are, give the connection no other frame, and give them back with
    /// [`Shard::resume`] when [`Shard::poll_resumable`] names the connection.
    Stalled,
    /// The client broke the protocol: close the connection.
    Close,
    /// There is no room for its reply: keep the bytes as they are, give the connection no other frame, and come again with
    /// them when memory comes back, or with [`Shard::handle_frame_alone`].
    NoRoom,
}

/// Whether more requests of a connection are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    Open,
    /// When its client has taken what it is owed.
    AfterReplies,
    /// When memory comes back from anybody; those that are there may be taken.
    AfterMemory,
    /// When requests and replies hold less; those that are there wait, too.
    AfterRoom,
}

/// What the driver is told about its connections.
#[derive(Debug, Default)]
struct Seat {
    generation: u32,
    connection: Option<Connection>,
    /// It is in the list of those with something to send.
    listed: bool,
    stalled: Option<PendingId>,
    /// It is to be closed.
    broken_off: bool,
    /// Which of the advertised endpoints the client came by.
    listener: usize,
}

/// One shard's state.
pub struct Shard<M> {
    place: ShardPlace,
    owner: Owner<M>,
    gathers: Gathers,
    /// To other shards, in order.
    outbox: VecDeque<(u16, Message)>,
    /// Questions to other shards without an answer yet.
    asked_afar: usize,
    /// Pieces of other shards' memory that replies here hold.
    lent_from_afar: usize,
    /// Until then another shard is known to want what replies here hold. Unit: ms of the steady clock.
    wanted_until_ms: i64,
    taking_answers: bool,
    pub(in crate::broker) config: Arc<BrokerConfig>,
    pub(in crate::broker) image: Arc<Image>,
    pub(in crate::broker) producer_ids: ProducerIds,
    pub(in crate::broker) asked: Asked,
    /// Steady clock of this turn, ms.
    pub(in crate::broker) now_ms: i64,
    /// The same, as finely as it is known. Unit: µs.
    pub(in crate::broker) turn_us: u32,
    figures: RequestFigures,
    questions: VecDeque<ControlQuestion>,
    seats: Vec<Seat>,
    free_seats: Vec<u32>,
    with_output: Vec<ConnectionId>,
    /// To be closed.
    broken_off: Vec<ConnectionId>,
    stalled: VecDeque<ConnectionId>,
    /// So many of them, from the front, may be tried again; those that find no room again go to the back.
    resumable: usize,
    writer: Writer,
    memory: Memory,
    /// The frame that is being handled needs no room.
    alone: bool,
    /// Partitions that are not led, since their logs have failed for good.
    offline: BTreeSet<TopicPartition>,
    /// Messages that are done with, to be used again.
    #[expect(clippy::vec_box, reason = "they are handed on by their address, and kept that way")]
    spare_appends: Vec<Box<Append>>,
}

impl<M: ArenaMemory> Shard<M> {
    /// A shard over recovered storage. Partitions are added by [`Self::handle_image`].
    #[must_use]
    pub fn new(
        log: ShardLog<M>,
        config: Arc<BrokerConfig>,
        image: Arc<Image>,
        partitions: Partitions,
    ) -> Self {
        let memory = Memory::new(&config);
        Self {
            place: partitions.place(),
            owner: Owner::new(log, Arc::clone(&config), partitions),
            gathers: Gathers::default(),
            outbox: VecDeque::new(),
            asked_afar: 0,
            lent_from_afar: 0,
            wanted_until_ms: i64::MIN,
            taking_answers: false,
            config,
            image,
            producer_ids: ProducerIds::default(),
            asked: Asked::default(),
            now_ms: 0,
            turn_us: 0,
            figures: RequestFigures::default(),
            questions: VecDeque::new(),
            seats: Vec::new(),
            free_seats: Vec::new(),
            with_output: Vec::new(),
            broken_off: Vec::new(),
            stalled: VecDeque::new(),
            resumable: 0,
            writer: Writer::new(),
            memory,
            alone: false,
            offline: BTreeSet::new(),
            spare_appends: Vec::new(),
        }
    }

    /// The same connections over a log that has begun anew: `revive` makes it from the old one's memory. Only when nothing waits
    /// on the old one and no reply holds its memory ([`Self::is_detached`]).
    #[must_use]
    pub fn renew(self, revive: impl FnOnce(M) -> (ShardLog<M>, Partitions, Arc<Image>)) -> Self {
        assert!(self.is_detached(), "replies hold the log's memory");
        let Self { owner, config, .. } = self;
        let now = owner.now();
        let (log, partitions, image) = revive(owner.into_memory());
        let mut owner = Owner::new(log, Arc::clone(&config), partitions);
        owner.set_now(now);
        Self { owner, config, image, offline: BTreeSet::new(), ..self }
    }

    /// Whether nothing but the log itself holds its memory, nobody waits for it, and nothing here holds other shards'.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.stalled.is_empty() && self.lent_from_afar == 0 && self.owner.is_detached()
    }

    /// Whether the log can only go on by beginning anew ([`Self::renew`]).
    #[must_use]
    pub fn must_begin_anew(&self) -> bool {
        self.owner.must_begin_anew()
    }

    /// Takes all partitions out of service, and tells whoever waits for one.
    pub fn fail_all(&mut self) {
        self.owner.fail_all();
        self.take_answers();
    }

    /// A client has connected by the listener of this number.
    pub fn open_connection(&mut self, listener: usize) -> ConnectionId {
        let index = self.free_seats.pop().unwrap_or_else(|| {
            self.seats.push(Seat::default());
            u32::try_from(self.seats.len() - 1).unwrap_or(u32::MAX)
        });
        let mut id = ConnectionId { shard: self.place.number, index, generation: 0 };
        if let Some(seat) = self.seats.get_mut(place(index)) {
            seat.generation = seat.generation.wrapping_add(1);
            seat.connection = Some(Connection::default());
            seat.listed = false;
            seat.stalled = None;
            seat.broken_off = false;
            seat.listener = listener;
            id.generation = seat.generation;
        }
        self.figures.note_opened(listener);
        id
    }

    /// The connection is gone. Replies that come later are dropped.
    pub fn close_connection(&mut self, id: ConnectionId) {
        let Some(seat) = self.seats.get_mut(place(id.index)) else { return };
        if seat.generation != id.generation {
            return;
        }
        let Some(mut connection) = seat.connection.take() else { return };
        self.figures.note_closed(seat.listener);
        self.memory.change_replies(connection.held_bytes(), 0);
        if let Some(stalled) = seat.stalled.take() {
            self.owner.handle(Ask::Abandon(stalled));
            if let Some(place) = self.stalled.iter().position(|other| *other == id) {
                self.stalled.remove(place);
                self.resumable -= usize::from(place < self.resumable);
            }
        }
        self.release(connection.drain_records());
        self.forget(id);
        self.free_seats.push(id.index);
    }

    /// A whole frame, without its length.
    pub fn handle_frame(&mut self, id: ConnectionId, frame: Inbound<'_>) -> FrameFate {
        let fate = handlers::handle(self, id, frame);
        self.apply_fate(id, fate)
    }

    /// A whole frame that is taken even if there is no room for its reply: one at a time, so that all get through some time.
    pub fn handle_frame_alone(&mut self, id: ConnectionId, frame: Inbound<'_>) -> FrameFate {
        self.alone = true;
        let fate = self.handle_frame(id, frame);
        self.alone = false;
        fate
    }

    /// Whether the frame that is being handled was let through though there is no room.
    pub(in crate::broker) const fn handles_alone(&self) -> bool {
        self.alone
    }

    /// The frame that had stalled, unchanged.
    pub fn resume(&mut self, id: ConnectionId, bytes: &[u8]) -> FrameFate {
        let stalled = self.seat(id).and_then(|seat| seat.stalled.take());
        let Some(stalled) = stalled else { return FrameFate::Done };
        self.ask_owner(Ask::Resume(stalled, bytes));
        self.apply_fate(id, Fate::Done)
    }

    fn apply_fate(&mut self, id: ConnectionId, fate: Fate) -> FrameFate {
        match self.seat(id) {
            Some(seat) if fate == Fate::Done && !seat.broken_off => {
                if seat.stalled.is_some() {
                    FrameFate::Stalled
                } else {
                    FrameFate::Done
                }
            }
            Some(_) if fate == Fate::NoRoom => FrameFate::NoRoom,
            _ => {
                self.figures.note_broken();
                FrameFate::Close
            }
        }
    }

    /// Partitions that are not led, since their logs have failed for good.
    pub(in crate::broker) const fn offline(&self) -> &BTreeSet<TopicPartition> {
        &self.offline
    }

    /// The connection is to be closed, without an answer to its request, which has these errors.
    pub(in crate::broker) fn break_off(&mut self, request: &RequestId, errors: &[(i16, u64)]) {
        let id = request.connection;
        if let Some(seat) = self.seat(id) {
            seat.broken_off = true;
            self.broken_off.push(id);
            self.figures.note_reply(request.api_key, request.begun_us, 0, errors);
        }
    }

    /// A reply has so many bytes of a topic's batches.
    pub(in crate::broker) fn count_fetched(&mut self, topic: TopicId, bytes: u64) {
        self.owner.count_fetched(topic, bytes);
    }

    /// The next connection that is to be closed, whatever its client does.
    pub fn poll_broken_off(&mut self) -> Option<ConnectionId> {
        self.broken_off.pop()
    }

    /// Whether a connection's frame waits for room.
    #[must_use]
    pub fn has_stalled(&self) -> bool {
        !self.stalled.is_empty()
    }

    /// The next connection whose stalled frame may be tried again.
    pub fn poll_resumable(&mut self) -> Option<ConnectionId> {
        self.resumable = self.resumable.checked_sub(1)?;
        self.stalled.pop_front()
    }

    /// A storage operation has ended.
    pub fn handle_completion(&mut self, completion: Completion) {
        self.owner.handle_completion(completion);
    }

    /// The next storage operation to carry out.
    pub fn poll_operation(&mut self) -> Option<Operation> {
        self.owner.poll_operation()
    }

    /// Looks at everything that storage has to say: acknowledges, wakes readers.
    pub fn handle_events(&mut self) {
        self.owner.handle_events();
        self.take_answers();
    }

    /// A turn begins.
    pub fn set_now(&mut self, now: Now) {
        self.now_ms = now.steady_ms;
        self.owner.set_now(now);
        self.owner.set_copied_bytes_left(wide(self.memory.room_bytes()));
        self.take_answers();
    }

    /// The same moment, for figures alone. Unit: µs of the steady clock.
    pub const fn begin_turn(&mut self, now_us: u64) {
        self.turn_us = lowest_bits(now_us);
    }

    /// Whether [`Self::end_turn`] has something to note.
    #[must_use]
    pub const fn has_ended_requests(&self) -> bool {
        self.figures.has_ended()
    }

    /// The turn's replies are about to be sent. Unit: µs of the steady clock.
    pub fn end_turn(&mut self, now_us: u64) {
        self.figures.end_turn(lowest_bits(now_us));
    }

    /// What its connections have done.
    #[must_use]
    pub const fn figures(&self) -> &RequestFigures {
        &self.figures
    }

    /// The partitions' side, to be looked at.
    #[must_use]
    pub const fn owner(&self) -> &Owner<M> {
        &self.owner
    }

    /// No request is taken any more, here or at another shard: what is under way is finished.
    pub fn begin_stop(&mut self) {
        self.owner.stop_waiting();
        self.take_answers();
    }

    /// Whether nothing of this shard's is under way at another one.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.asked_afar == 0 && self.outbox.is_empty()
    }

    /// All shards are quiet: everything in the logs is written and sealed.
    pub fn begin_close(&mut self) {
        self.owner.begin_close();
        self.take_answers();
    }

    /// Whether everything is sealed and every reply is given.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.owner.is_closed() && self.asked.is_empty() && self.is_quiet() && self.with_output.is_empty()
    }

    /// All partitions, for the manifest of a clean stop; `None` if some log has failed.
    #[must_use]
    pub fn describe_clean(&self) -> Option<Vec<CheckpointPartition>> {
        self.owner.describe_clean()
    }

    /// Does what is due.
    pub fn handle_time(&mut self, now: Now) {
        self.set_now(now);
        self.owner.handle_time();
        self.take_answers();
    }

    /// When [`Self::handle_time`] has something to do. Unit: ms of the steady clock.
    #[must_use]
    pub fn next_deadline_ms(&self) -> i64 {
        self.owner.next_deadline_ms()
    }

    /// The control thread has a new image, and perhaps answers.
    pub fn handle_image(&mut self, image: Arc<Image>) {
        // A log that has begun anew may know more than what was on its way meanwhile.
        if image.metadata_offset() < self.image.metadata_offset() {
            return;
        }
        self.owner.follow(&self.image, &image);
        self.offline.retain(|partition| image.topic_by_id(partition.topic_id).is_some());
        self.image = image;
        self.take_answers();
    }

    /// An answer of the control thread. The image that it speaks of has been handed over before.
    pub fn handle_answer(&mut self, answer: ControlAnswer) {
        control::handle_answer(self, answer);
    }

    /// The next question for the control thread.
    pub fn poll_question(&mut self) -> Option<ControlQuestion> {
        self.questions.pop_front()
    }

    pub(in crate::broker) fn ask(&mut self, question: ControlQuestion) {
        self.questions.push_back(question);
    }

    /// The next connection with something to send; the driver takes it when no send of that connection is under way.
    pub fn poll_output(&mut self) -> Option<ConnectionId> {
        let id = self.with_output.pop()?;
        if let Some(seat) = self.seat(id) {
            seat.listed = false;
        }
        Some(id)
    }

    /// What is ready to be sent on the connection.
    pub fn take_output(&mut self, id: ConnectionId) -> Vec<OutPiece> {
        self.connection(id).map(Connection::take_outgoing).unwrap_or_default()
    }

    /// What was taken last is sent.
    pub fn note_sent(&mut self, id: ConnectionId) {
        self.change(id, Connection::note_sent);
    }

    /// Whether the connection takes another request: its client reads its replies, and there is memory.
    pub fn intake(&mut self, id: ConnectionId) -> Intake {
        let (tight, full) = (self.memory.is_tight(), self.memory.is_full());
        let lacks_room = self.memory.lacks_room();
        match self.connection(id) {
            Some(connection)
                if !connection.takes_requests()
                    || tight && connection.reply_bytes() > TIGHT_REPLY_BYTES_MAX =>
            {
                Intake::AfterReplies
            }
            Some(_) if lacks_room => Intake::AfterRoom,
            Some(_) if full => Intake::AfterMemory,
            Some(_) => Intake::Open,
            None => Intake::AfterReplies,
        }
    }

    /// How often a partition was looked at for a fetch, since the start.
    #[must_use]
    pub const fn fetch_looks(&self) -> u64 {
        self.owner.fetch_looks()
    }

    /// What clients make this shard hold.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// A connection's buffer for parts of frames had a capacity of `before` bytes, and has one of `now`.
    pub const fn change_partial_frames(&mut self, before: usize, now: usize) {
        self.memory.change_partial_frames(before, now);
    }

    /// Bytes of memory that the connection's requests and replies hold.
    pub fn held_bytes(&mut self, id: ConnectionId) -> usize {
        self.connection(id).map_or(0, |connection| connection.held_bytes())
    }

    /// Bytes of replies of the connection that wait for the reply to another of its requests.
    pub fn blocked_bytes(&mut self, id: ConnectionId) -> usize {
        self.connection(id).map_or(0, |connection| connection.blocked_bytes())
    }

    /// Whether replies that are not taken keep others from theirs, here or at the shards whose memory they hold.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        let is_asked_for = self.lent_from_afar > 0 && self.now_ms < self.wanted_until_ms;
        self.memory.is_tight() || self.owner.keeps_readers_waiting() || is_asked_for
    }

    /// Whether requests of the connection wait for their replies.
    pub fn has_waiting(&mut self, id: ConnectionId) -> bool {
        self.connection(id).is_some_and(|connection| connection.waiting_count() > 0)
    }

    fn seat(&mut self, id: ConnectionId) -> Option<&mut Seat> {
        self.seats.get_mut(place(id.index)).filter(|seat| seat.generation == id.generation)
    }

    pub(in crate::broker) fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.seat(id)?.connection.as_mut()
    }

    /// Does something to a connection that may change what it holds.
    fn change<T>(&mut self, id: ConnectionId, act: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        let connection = self.connection(id)?;
        let before = connection.held_bytes();
        let result = act(connection);
        let now = connection.held_bytes();
        self.memory.change_replies(before, now);
        Some(result)
    }

    /// A slot for the reply to a request that holds so many bytes until it is answered.
    pub(in crate::broker) fn begin_request(&mut self, id: ConnectionId, held_bytes: usize) -> Option<u64> {
        self.change(id, |connection| connection.begin_request(held_bytes))
    }

    /// A request has been taken, from a frame of so many bytes.
    pub(in crate::broker) fn note_request(&mut self, api: ApiKey, frame_bytes: usize) {
        self.figures.note_request(api, frame_bytes);
    }

    /// The request, the newest of its connection, has not been looked at: it comes again.
    pub(in crate::broker) fn retract_request(&mut self, id: &RequestId) {
        self.change(id.connection, |connection| connection.retract_request(id.request));
    }

    /// Whether a reply may take so many bytes.
    pub(in crate::broker) const fn has_room_for_reply(&self, bytes: usize) -> bool {
        self.alone || bytes <= self.memory.room_bytes()
    }

    /// The request holds so many bytes more until it is answered.
    pub(in crate::broker) fn hold_more(&mut self, of: &RequestId, bytes: usize) {
        self.change(of.connection, |connection| connection.hold_more(of.request, bytes));
    }

    /// Which of the broker's listeners the client came by.
    pub(in crate::broker) fn listener_of(&mut self, id: ConnectionId) -> usize {
        self.seat(id).map_or(0, |seat| seat.listener)
    }

    /// Answers a request. `records`: what the response's external records stand for.
    pub(in crate::broker) fn reply<'m, R: Response<'m>>(
        &mut self,
        to: &RequestId,
        body: &R,
        records: Vec<OutPiece>,
    ) {
        self.reply_with(to, |writer| body.encode(writer, to.api_version), records);
    }

    /// The same with a body that `body` writes.
    pub(in crate::broker) fn reply_with(
        &mut self,
        to: &RequestId,
        body: impl FnOnce(&mut Writer) -> protocol::Result<()>,
        records: Vec<OutPiece>,
    ) {
        self.writer.clear();
        let (version, correlation_id) = (to.api_version, to.correlation_id);
        let encoded =
            frame::encode_response_with(&mut self.writer, to.api_key, version, correlation_id, body);
        if let Err(error) = encoded {
            // Only a fault of ours: a handler filled a field that the version does not carry.
            tracing::error!(%error, api = to.api_key.name(), version = to.api_version, "a reply could not be encoded");
            debug_assert!(false, "{error}");
        }
        let writer = std::mem::take(&mut self.writer);
        let mut dropped = Some(records);
        if let Some(seat) = self.seats.get_mut(place(to.connection.index))
            && seat.generation == to.connection.generation
            && let Some(connection) = &mut seat.connection
            && let Some(records) = dropped.take()
        {
            let before = connection.held_bytes();
            self.figures.note_reply(to.api_key, to.begun_us, writer.total_bytes(), writer.errors());
            connection.answer(to.request, &writer, records);
            self.memory.change_replies(before, connection.held_bytes());
            if connection.has_outgoing() && !seat.listed {
                seat.listed = true;
                self.with_output.push(to.connection);
            }
        }
        if writer.room_bytes() <= SPARE_REPLY_BYTES_MAX {
            self.writer = writer;
        }
        if let Some(dropped) = dropped {
            self.release_out(dropped);
        }
    }

    /// An empty message for a produce request.
    pub(in crate::broker) fn spare_append(&mut self, request: RequestId) -> Box<Append> {
        let Some(mut spare) = self.spare_appends.pop() else { return Box::new(Append::new(request)) };
        spare.request = request;
        spare
    }

    /// The message is done with.
    pub(in crate::broker) fn give_spare_append(&mut self, mut append: Box<Append>) {
        if self.spare_appends.len() < SPARE_APPENDS_MAX && append.clear() {
            self.spare_appends.push(append);
        }
    }

    /// A request that gets no reply (acks=0) is done.
    pub(in crate::broker) fn reply_nothing(&mut self, to: &RequestId) {
        if let Some(seat) = self.seats.get_mut(place(to.connection.index))
            && seat.generation == to.connection.generation
            && let Some(connection) = &mut seat.connection
        {
            let before = connection.held_bytes();
            self.figures.note_reply(to.api_key, to.begun_us, 0, &[]);
            connection.answer_nothing(to.request);
            self.memory.change_replies(before, connection.held_bytes());
            if connection.has_outgoing() && !seat.listed {
                seat.listed = true;
                self.with_output.push(to.connection);
            }
        }
    }
}

const fn lowest_bits(us: u64) -> u32 {
    let [.., a, b, c, d] = us.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

const fn place(index: u32) -> usize {
    index as usize
}
