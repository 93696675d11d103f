//! The partitions' side of a shard: the log, and what waits on it.
//!
//! Lives: one per shard, on its thread. It is reached by messages alone: an [`Ask`] for each request that needs its
//! partitions, an [`Answer`] for what a connection must hear. It knows no connection, no image and no wire. With one shard
//! connections ask their own; the same messages go to another.

pub mod append;
mod fetch;
mod frame;
mod list_offsets;
pub mod partitions;
mod produce;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use self::append::Append;
use self::partitions::{Partitions, TopicFigures};
use super::connection::{LentPiece, OutPiece};
use super::purgatory::fetch::{FetchOutcome, Fetches, PendingFetch};
use super::purgatory::list_offsets::{Lists, PendingList};
use super::purgatory::produce::{PendingId, Produces};
use super::shards::ConnectionId;
use crate::config::BrokerConfig;
use crate::model::image::{Image, TopicImage};
use crate::model::number::wide;
use crate::model::{Now, TopicId, TopicPartition};
use crate::runtime::memory::ArenaMemory;
use crate::storage::PartitionSlot;
use crate::storage::checkpoint::CheckpointPartition;
use crate::storage::operation::{Completion, Operation};
use crate::storage::shard::{Event, ReadPiece, ShardLog};

pub use fetch::REPLY_BYTES_MIN;
pub use frame::Frame;

/// Pieces of a reply up to this size are copied out of the arena. Unit: bytes.
const COPIED_BYTES_MAX: usize = 8 << 10;
/// Replies pin at most one part in so many of the arena.
const PINNED_SHARE: u64 = 4;
/// One reply takes at most one part in so many of what replies may still pin.
const REPLY_SHARE: u64 = 2;

/// While readers wait for what replies at other shards hold, those are told so often. Unit: ms.
pub const WANTED_AGAIN_MS: i64 = 250;

/// What a connection's side asks of the partitions' side.
#[derive(Debug)]
pub enum Ask<'f> {
    /// Append these batches of this frame.
    Append(Box<Append>, Frame<'f>),
    /// Go on with what had found no room; the frame, as before. Of the same shard's connections only.
    Resume(PendingId, &'f [u8]),
    /// Nobody waits for it any more.
    Abandon(PendingId),
    Fetch(PendingFetch),
    /// Answer these requests of the connection with what there is. With `ends` nobody waits for more of them.
    Hasten {
        connection: ConnectionId,
        requests: Range<u64>,
        ends: bool,
    },
    ListOffsets(PendingList),
    /// The connection is gone; its appends stay until they are acknowledged, since they are in the log.
    Forget(ConnectionId),
    /// Records of a reply have been sent, or never will be; nothing else has them now.
    Release(Vec<ReadPiece>),
}

/// Who is to hear an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The shard of this number, whose connection has asked.
    One(u16),
    /// The connections of the owner's own shard.
    Own,
    /// Every shard.
    All,
}

/// What the connection's side must hear.
#[derive(Debug)]
pub enum Answer {
    /// Every part has its outcome.
    Appended(Box<Append>),
    /// The rest of an append waits for room: it needs its frame, and its connection must wait.
    Stalled(ConnectionId, PendingId),
    /// What had found no room may be tried again.
    Room,
    /// The partition has failed, and nothing brings it back before its log is recovered.
    Offline(TopicPartition),
    /// Replies hold so much that a fetch is not read: none that holds something shall wait behind another fetch.
    Pressed,
    /// Readers wait for what replies hold. Said again every [`WANTED_AGAIN_MS`] as long as they do.
    Wanted,
    Fetched(PendingFetch, FetchOutcome),
    Listed(PendingList),
    /// So many requests of a connection that is gone will not be answered; for the shard that had it.
    Forgotten {
        shard: u16,
        count: usize,
    },
}

impl Answer {
    #[must_use]
    pub const fn audience(&self) -> Audience {
        match self {
            Self::Appended(append) => Audience::One(append.request.connection.shard),
            Self::Fetched(fetch, _) => Audience::One(fetch.request.connection.shard),
            Self::Listed(list) => Audience::One(list.request.connection.shard),
            Self::Forgotten { shard, .. } => Audience::One(*shard),
            Self::Stalled(..) | Self::Room => Audience::Own,
            Self::Offline(_) | Self::Pressed | Self::Wanted => Audience::All,
        }
    }

    /// The same for another shard, if it is for all.
    #[must_use]
    pub const fn again(&self) -> Option<Self> {
        match self {
            Self::Offline(partition) => Some(Self::Offline(*partition)),
            Self::Pressed => Some(Self::Pressed),
            Self::Wanted => Some(Self::Wanted),
            _ => None,
        }
    }
}

impl Ask<'_> {
    /// The same, which needs nothing of the asker's any more.
    #[must_use]
    pub fn into_static(self) -> Ask<'static> {
        match self {
            Self::Append(append, frame) => Ask::Append(append, frame.into_static()),
            Self::Resume(pending, _) | Self::Abandon(pending) => Ask::Abandon(pending),
            Self::Fetch(fetch) => Ask::Fetch(fetch),
            Self::Hasten { connection, requests, ends } => Ask::Hasten { connection, requests, ends },
            Self::ListOffsets(list) => Ask::ListOffsets(list),
            Self::Forget(connection) => Ask::Forget(connection),
            Self::Release(pieces) => Ask::Release(pieces),
        }
    }

    /// Whether an answer follows to whoever asks.
    #[must_use]
    pub const fn wants_answer(&self) -> bool {
        matches!(self, Self::Append(..) | Self::Fetch(_) | Self::ListOffsets(_))
    }
}

/// See the module.
pub struct Owner<M> {
    log: ShardLog<M>,
    config: Arc<BrokerConfig>,
    partitions: Partitions,
    produces: Produces,
    /// Of connections of other shards: appends that wait for room, in order, with their frames.
    afar: BTreeMap<ConnectionId, VecDeque<(PendingId, Frame<'static>)>>,
    /// Which of them is tried first when there is room.
    afar_first: Option<ConnectionId>,
    fetches: Fetches,
    lists: Lists,
    /// When this turn began.
    now: Now,
    /// Arena bytes that replies hold until they are sent.
    pinned_bytes: u64,
    /// What replies may still take beside the arena, as told last.
    copied_bytes_left: u64,
    /// When other shards are told again that readers wait for what they hold. Unit: ms of the steady clock.
    next_wanted_ms: i64,
    /// Everything is refused until the log has begun anew.
    begins_anew: bool,
    /// Nobody waits for data any more.
    is_stopping: bool,
    /// Nothing is appended any more.
    is_closing: bool,
    answers: VecDeque<Answer>,
}

impl<M: ArenaMemory> Owner<M> {
    /// An owner of recovered partitions; others are added by [`Self::follow`].
    #[must_use]
    pub fn new(log: ShardLog<M>, config: Arc<BrokerConfig>, partitions: Partitions) -> Self {
        let mut answers = VecDeque::new();
        if !log.awaits_recovery() {
            let offline = log.partitions().filter(|(_, log)| log.has_failed());
            answers.extend(offline.map(|(_, log)| Answer::Offline(log.topic_partition())));
        }
        Self {
            log,
            config,
            partitions,
            produces: Produces::default(),
            afar: BTreeMap::new(),
            afar_first: None,
            fetches: Fetches::default(),
            lists: Lists::default(),
            now: Now::default(),
            pinned_bytes: 0,
            copied_bytes_left: u64::MAX,
            next_wanted_ms: 0,
            begins_anew: false,
            is_stopping: false,
            is_closing: false,
            answers,
        }
    }

    /// The memory of the log, for the next one. Only when [`Self::is_detached`].
    #[must_use]
    pub fn into_memory(self) -> M {
        assert!(self.is_detached(), "replies hold the log's memory");
        self.log.into_memory()
    }

    /// Takes a message. What there is to say to it comes out of [`Self::poll_answer`], now or later.
    pub fn handle(&mut self, ask: Ask<'_>) {
        match ask {
            Ask::Append(append, frame) => produce::append(self, append, frame),
            Ask::Resume(pending, frame) => produce::resume(self, pending, frame),
            Ask::Hasten { connection, requests, ends } => fetch::hasten(self, connection, requests, ends),
            Ask::Abandon(pending) => drop(self.produces.remove(pending)),
            Ask::Fetch(fetch) => fetch::fetch(self, fetch),
            Ask::ListOffsets(list) => list_offsets::list(self, list),
            Ask::Forget(connection) => {
                let count = produce::forget_afar(self, connection)
                    + self.fetches.forget(connection)
                    + self.lists.forget(connection);
                if count > 0 && connection.shard != self.partitions.place().number {
                    self.answers.push_back(Answer::Forgotten { shard: connection.shard, count });
                }
            }
            Ask::Release(pieces) => {
                let gone: u64 = pieces.iter().map(arena_bytes).sum();
                self.pinned_bytes = self.pinned_bytes.saturating_sub(gone);
                self.log.release(pieces);
                fetch::handle_released(self);
            }
        }
    }

    /// The next thing that a connection's side must hear.
    pub fn poll_answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    /// Looks at everything that storage has to say: acknowledges, wakes readers.
    pub fn handle_events(&mut self) {
        while let Some(event) = self.log.poll_event() {
            match event {
                Event::Advanced(slot) => {
                    produce::handle_advanced(self, slot);
                    fetch::handle_advanced(self, slot);
                }
                Event::Failed(slot) => {
                    self.tell_offline(slot);
                    produce::handle_failed(self, slot);
                    fetch::handle_ready(self, slot);
                    list_offsets::handle_ready(self, slot);
                }
                Event::ReadReady(slot) => {
                    fetch::handle_read(self, slot);
                    list_offsets::handle_ready(self, slot);
                }
                Event::Room => {
                    self.answers.push_back(Answer::Room);
                    produce::resume_afar(self);
                }
                Event::Truncated(slot) => fetch::handle_ready(self, slot),
            }
        }
    }

    /// A partition that fails with all others, because the log begins anew, is back soon.
    fn tell_offline(&mut self, slot: PartitionSlot) {
        let is_back_soon = self.begins_anew || self.log.must_begin_anew() || self.log.awaits_recovery();
        if let Some(log) = self.log.partition(slot)
            && !is_back_soon
        {
            self.answers.push_back(Answer::Offline(log.topic_partition()));
        }
    }

    /// When this turn began.
    #[must_use]
    pub const fn now(&self) -> Now {
        self.now
    }

    /// Replies may take so many bytes more beside the arena: fetches that were not read for want of it are.
    pub fn set_copied_bytes_left(&mut self, bytes: u64) {
        self.copied_bytes_left = bytes;
        if self.fetches.has_held_back() {
            fetch::handle_released(self);
        }
    }

    /// A turn begins.
    pub fn set_now(&mut self, now: Now) {
        if now.wall_ms < self.now.wall_ms {
            self.log.handle_clock_set_back(now.wall_ms);
        }
        self.now = now;
    }

    /// Does what is due.
    pub fn handle_time(&mut self) {
        if self.now.wall_ms >= self.log.next_deadline_ms() {
            self.log.handle_time(self.now.wall_ms);
        }
        fetch::handle_time(self);
        produce::handle_time(self);
        list_offsets::handle_time(self);
        if self.now.steady_ms >= self.next_wanted_ms && self.wants_memory_of_others() {
            self.next_wanted_ms = self.now.steady_ms.saturating_add(WANTED_AGAIN_MS);
            self.answers.push_back(Answer::Wanted);
        }
    }

    /// Whether readers wait for what replies hold, which may be those of other shards.
    fn wants_memory_of_others(&self) -> bool {
        // Without pins, it is the shard's own replies that hold too much.
        let is_pinned = self.fetches.has_held_back() && self.pinned_bytes > 0;
        let readers_wait = is_pinned || self.log.has_waiting_reads();
        self.partitions.place().count > 1 && readers_wait
    }

    /// When [`Self::handle_time`] has something to do. Unit: ms of the steady clock.
    #[must_use]
    pub fn next_deadline_ms(&self) -> i64 {
        let Now { steady_ms, wall_ms } = self.now;
        if self.lists.has_work() {
            return steady_ms;
        }
        // The log's are of the wall clock, which it stamps batches and judges their age by.
        let log_deadline_ms = match self.log.next_deadline_ms() {
            i64::MAX => i64::MAX,
            when => steady_ms.saturating_add(when.saturating_sub(wall_ms)),
        };
        let wanted_ms = if self.wants_memory_of_others() { self.next_wanted_ms } else { i64::MAX };
        let requests_ms = self.fetches.next_deadline_ms().min(self.produces.next_deadline_ms());
        log_deadline_ms.min(requests_ms).min(wanted_ms)
    }

    /// Makes, changes and deletes partitions so that they are those of the image `new`.
    pub fn follow(&mut self, old: &Image, new: &Image) {
        partitions::follow(self, old, new);
    }

    /// Whether nothing but the log itself holds its memory, and nobody waits for it.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.pinned_bytes == 0
            && self.produces.is_empty()
            && self.fetches.is_empty()
            && self.lists.is_empty()
            && self.answers.is_empty()
    }

    /// Takes all partitions out of service, and tells whoever waits for one.
    pub fn fail_all(&mut self) {
        self.begins_anew = true;
        self.log.fail_all();
        self.handle_events();
        // A fetch may wait on no partition at all.
        fetch::give_up_all(self);
    }

    /// Whether the log can only go on by beginning anew.
    #[must_use]
    pub fn must_begin_anew(&self) -> bool {
        self.log.must_begin_anew()
    }

    /// A storage operation has ended.
    pub fn handle_completion(&mut self, completion: Completion) {
        self.log.handle_completion(completion);
    }

    /// The next storage operation to carry out.
    pub fn poll_operation(&mut self) -> Option<Operation> {
        self.log.poll_operation()
    }

    /// Who waits for data gets what there is, from now on at once.
    pub fn stop_waiting(&mut self) {
        self.is_stopping = true;
        fetch::give_up_all(self);
    }

    /// Everything in the logs is written and sealed.
    pub fn begin_close(&mut self) {
        self.is_closing = true;
        self.log.begin_close();
        produce::refuse_afar(self);
    }

    /// Whether everything is sealed, and every search is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.log.is_closed() && self.lists.is_empty()
    }

    /// All partitions, for the manifest of a clean stop; `None` if some log has failed.
    #[must_use]
    pub fn describe_clean(&self) -> Option<Vec<CheckpointPartition>> {
        (!self.log.has_failures()).then(|| self.log.describe_all())
    }

    /// Its log, to be looked at.
    #[must_use]
    pub const fn log(&self) -> &ShardLog<M> {
        &self.log
    }

    /// Each topic, what is counted of it here, and the numbers and slots of its partitions here; in no order.
    pub fn topics(
        &self,
    ) -> impl Iterator<Item = (&Arc<TopicImage>, TopicFigures, impl Iterator<Item = (usize, PartitionSlot)>)>
    {
        self.partitions.topics()
    }

    /// A reply has so many bytes of a topic's batches, whichever shard they come from.
    pub fn count_fetched(&mut self, topic: TopicId, bytes: u64) {
        if let Some(figures) = self.partitions.figures_mut(topic) {
            figures.bytes_out += bytes;
        }
    }

    /// Whether no partition can be appended to before the log has begun anew.
    #[must_use]
    pub const fn is_out_of_service(&self) -> bool {
        self.begins_anew || self.log.awaits_recovery()
    }

    /// How often a partition was looked at for a fetch, since the start.
    #[must_use]
    pub const fn fetch_looks(&self) -> u64 {
        self.fetches.looks()
    }

    /// How many bytes one more reply may take: a share of what replies may still pin, so that readers that do not read
    /// never keep appends or other readers from the arena's memory; and no more than may be copied out of it.
    #[must_use]
    pub fn reply_bytes_left(&self) -> u64 {
        let (_, capacity) = self.log.arena_bytes();
        ((capacity / PINNED_SHARE).saturating_sub(self.pinned_bytes) / REPLY_SHARE)
            .min(self.copied_bytes_left)
    }

    /// Whether readers wait until replies hold less, of the arena or of the cache of what lies on disk.
    #[must_use]
    pub fn keeps_readers_waiting(&self) -> bool {
        self.reply_bytes_left() < REPLY_BYTES_MIN || self.log.has_waiting_reads()
    }

    /// What a reply takes of `pieces`: small ones are copied, so that a few bytes do not hold a whole chunk until a slow
    /// client has read them; large ones stay where they lie, and are counted.
    fn lend(&mut self, pieces: Vec<ReadPiece>) -> Vec<OutPiece> {
        let mut lent = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let bytes = self.log.bytes_of(&piece);
            if bytes.len() <= COPIED_BYTES_MAX {
                self.copied_bytes_left = self.copied_bytes_left.saturating_sub(wide(bytes.len()));
                lent.push(OutPiece::Bytes(bytes.to_vec()));
                self.log.release([piece]);
            } else {
                self.pinned_bytes += arena_bytes(&piece);
                lent.push(OutPiece::Records(LentPiece { owner: self.partitions.place().number, piece }));
            }
        }
        lent
    }
}

const fn arena_bytes(piece: &ReadPiece) -> u64 {
    match piece {
        ReadPiece::Arena { bytes, .. } => *bytes,
        ReadPiece::Cached { .. } => 0,
    }
}
