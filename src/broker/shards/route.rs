//! From connections to the owners of partitions and back, on this shard and on the others.

use std::sync::Arc;

use super::gather::{AppendGather, Cut, FetchGather, Joined, ListGather, key_of, only_owner};
use super::message::Message;
use super::{ConnectionId, Shard};
use crate::broker::connection::frames::Inbound;
use crate::broker::connection::{Connection, LentPiece, OutPiece};
use crate::broker::handlers::data;
use crate::broker::owner::append::{Append, Batch};
use crate::broker::owner::{Answer, Ask, Audience, Frame, WANTED_AGAIN_MS};
use crate::broker::purgatory::fetch::{FetchOutcome, PendingFetch};
use crate::broker::purgatory::list_offsets::PendingList;
use crate::runtime::memory::ArenaMemory;

/// So long another shard is taken to want its memory back after it has said so; it says so again sooner. Unit: ms.
const WANTED_MS: i64 = 2 * WANTED_AGAIN_MS;

impl<M: ArenaMemory> Shard<M> {
    /// Has all parts appended by their owners. `body` is the end of the frame.
    pub(in crate::broker) fn append(&mut self, append: Box<Append>, frame: Inbound<'_>, body: &[u8]) {
        if let Some(owner) = only_owner(self.place, &append) {
            return self.append_at(owner, append, frame, body);
        }
        let key = key_of(&append.request);
        let (gather, shares) = AppendGather::cut(self.place, append, |request| self.spare_append(request));
        self.gathers.appends.insert(key, gather);
        for (owner, share) in shares {
            self.append_at(owner, share, frame, body);
        }
    }

    fn append_at(&mut self, owner: u16, mut append: Box<Append>, frame: Inbound<'_>, body: &[u8]) {
        let frame = match frame {
            _ if owner == self.place.number => Frame::Lent(body),
            Inbound::Large(buffer) => Frame::Shared(Arc::clone(buffer)),
            Inbound::Small(_) => Frame::Copied(copy_batches(&mut append, body)),
        };
        self.ask_at(owner, Ask::Append(append, frame));
    }

    /// Has all parts fetched by their owners.
    pub(in crate::broker) fn fetch(&mut self, fetch: PendingFetch) {
        if self.place.count == 1 {
            return self.ask_owner(Ask::Fetch(fetch));
        }
        let key = key_of(&fetch.request);
        match FetchGather::cut(self.place, &self.image, fetch) {
            Cut::Whole(owner, fetch) => self.ask_at(owner, Ask::Fetch(fetch)),
            Cut::Shares(gather, asks) => {
                self.gathers.fetches.insert(key, gather);
                self.fetch_shares(asks);
            }
        }
    }

    /// One's own share last: it may be answered at once, and hasten the others, who must know of theirs by then.
    fn fetch_shares(&mut self, asks: Vec<(u16, PendingFetch)>) {
        let number = self.place.number;
        let (own, others): (Vec<_>, Vec<_>) = asks.into_iter().partition(|(owner, _)| *owner == number);
        for (owner, ask) in others.into_iter().chain(own) {
            self.ask_at(owner, Ask::Fetch(ask));
        }
    }

    /// Has all parts looked up by their owners.
    pub(in crate::broker) fn list(&mut self, list: PendingList) {
        if self.place.count == 1 {
            return self.ask_owner(Ask::ListOffsets(list));
        }
        let key = key_of(&list.request);
        match ListGather::cut(self.place, list) {
            Cut::Whole(owner, list) => self.ask_at(owner, Ask::ListOffsets(list)),
            Cut::Shares(gather, asks) => {
                self.gathers.lists.insert(key, gather);
                for (owner, ask) in asks {
                    self.ask_at(owner, Ask::ListOffsets(ask));
                }
            }
        }
    }

    /// Records of a reply have been sent, or never will be.
    pub fn release(&mut self, pieces: Vec<LentPiece>) {
        let (number, mut own) = (self.place.number, Vec::with_capacity(pieces.len()));
        let mut others: Vec<LentPiece> = Vec::new();
        for lent in pieces {
            if lent.owner == number { own.push(lent.piece) } else { others.push(lent) }
        }
        self.lent_from_afar = self.lent_from_afar.saturating_sub(others.len());
        while let Some(first) = others.pop() {
            let owner = first.owner;
            let same = others.extract_if(.., |lent| lent.owner == owner).map(|lent| lent.piece);
            let pieces = std::iter::once(first.piece).chain(same).collect();
            self.ask_at(owner, Ask::Release(pieces));
        }
        if !own.is_empty() {
            self.ask_owner(Ask::Release(own));
        }
    }

    pub(super) fn release_out(&mut self, pieces: Vec<OutPiece>) {
        self.release(pieces.into_iter().filter_map(OutPiece::into_records).collect());
    }

    /// The connection is gone: nobody waits for what it has asked.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.owner.handle(Ask::Forget(id));
        for other in self.place.others() {
            self.ask_at(other, Ask::Forget(id));
        }
        let pieces = self.gathers.forget(id);
        self.release_out(pieces);
    }

    fn ask_at(&mut self, owner: u16, ask: Ask<'_>) {
        if owner == self.place.number {
            return self.ask_owner(ask);
        }
        self.asked_afar += usize::from(ask.wants_answer());
        let image = self.image.metadata_offset();
        self.outbox.push_back((owner, Message::Ask { image, ask: ask.into_static() }));
    }

    /// Sends a message to the partitions' side here, and hears what there is to say at once.
    pub(in crate::broker) fn ask_owner(&mut self, ask: Ask<'_>) {
        self.owner.handle(ask);
        self.take_answers();
    }

    /// The next message to another shard, and its number.
    pub fn poll_message(&mut self) -> Option<(u16, Message)> {
        self.outbox.pop_front()
    }

    /// Whether a message speaks of what this shard does not know yet: it is to be handled after the image that is on its way.
    #[must_use]
    pub fn is_ahead(&self, message: &Message) -> bool {
        matches!(message, Message::Ask { image, .. } if *image > self.image.metadata_offset())
    }

    /// A message from the shard of this number.
    pub fn handle_message(&mut self, from: u16, message: Message) {
        match message {
            Message::Ask { ask, .. } => self.ask_owner(ask),
            Message::Answer(answer) => {
                let answered = match &answer {
                    Answer::Appended(_) | Answer::Fetched(..) | Answer::Listed(_) => 1,
                    Answer::Forgotten { count, .. } => *count,
                    _ => 0,
                };
                self.asked_afar = self.asked_afar.saturating_sub(answered);
                match &answer {
                    Answer::Fetched(_, outcome) => self.lent_from_afar += lent_count(&outcome.pieces),
                    Answer::Wanted => self.wanted_until_ms = self.now_ms.saturating_add(WANTED_MS),
                    _ => {}
                }
                self.hear(from, answer);
                self.take_answers();
            }
        }
    }

    pub(super) fn take_answers(&mut self) {
        // An answer whose connection is gone gives its records back, which is a message too.
        if std::mem::replace(&mut self.taking_answers, true) {
            return;
        }
        let number = self.place.number;
        while let Some(answer) = self.owner.poll_answer() {
            match answer.audience() {
                Audience::One(shard) if shard != number => {
                    self.outbox.push_back((shard, Message::Answer(answer)));
                }
                Audience::All => {
                    for other in self.place.others() {
                        self.outbox.extend(answer.again().map(|again| (other, Message::Answer(again))));
                    }
                    self.hear(number, answer);
                }
                _ => self.hear(number, answer),
            }
        }
        self.taking_answers = false;
    }

    /// What the owner of this number says to a connection here.
    fn hear(&mut self, from: u16, answer: Answer) {
        match answer {
            Answer::Appended(append) => self.hear_appended(append),
            Answer::Fetched(fetch, outcome) => self.hear_fetched(from, fetch, outcome),
            Answer::Listed(list) => self.hear_listed(from, list),
            Answer::Offline(partition) => drop(self.offline.insert(partition)),
            Answer::Pressed => self.hasten_blocking(),
            Answer::Forgotten { .. } | Answer::Wanted => {}
            Answer::Room => self.resumable = self.stalled.len(),
            Answer::Stalled(id, pending) => {
                if let Some(seat) = self.seat(id) {
                    seat.stalled = Some(pending);
                    self.stalled.push_back(id);
                }
            }
        }
    }

    fn hear_appended(&mut self, mut append: Box<Append>) {
        if append.places.is_empty() {
            return data::produce::answer(self, append);
        }
        let key = key_of(&append.request);
        // Without one, its connection is gone.
        if let Some(gather) = self.gathers.appends.remove(&key) {
            match gather.join(&mut append) {
                Ok(whole) => data::produce::answer(self, whole),
                Err(gather) => drop(self.gathers.appends.insert(key, gather)),
            }
        }
        self.give_spare_append(append);
    }

    fn hear_fetched(&mut self, from: u16, fetch: PendingFetch, outcome: FetchOutcome) {
        let key = key_of(&fetch.request);
        let Some(gather) = self.gathers.fetches.remove(&key) else {
            return data::fetch::answer(self, &fetch, outcome);
        };
        let (gather, joined) = gather.join(from, outcome, self.now_ms);
        if let Some(gather) = gather {
            self.gathers.fetches.insert(key, gather);
        }
        match joined {
            Joined::Waits => {}
            Joined::Hasten(owners) => {
                let (connection, request) = key;
                for owner in owners {
                    let requests = request..request.saturating_add(1);
                    self.ask_at(owner, Ask::Hasten { connection, requests, ends: false });
                }
            }
            Joined::Again(asks, pieces) => {
                self.release_out(pieces);
                self.fetch_shares(asks);
            }
            Joined::Done(whole, outcome, pieces) => {
                data::fetch::answer(self, &whole, outcome);
                self.release_out(pieces);
            }
        }
    }

    fn hear_listed(&mut self, from: u16, list: PendingList) {
        let key = key_of(&list.request);
        match self.gathers.lists.remove(&key).map(|gather| gather.join(from, &list)) {
            None => data::list_offsets::answer(self, &list),
            Some(Ok(whole)) => data::list_offsets::answer(self, &whole),
            Some(Err(gather)) => drop(self.gathers.lists.insert(key, gather)),
        }
    }

    /// Others wait for what replies hold: those that wait for replies to fetches before them are to leave.
    fn hasten_blocking(&mut self) {
        let number = self.place.number;
        let mut blocked = Vec::new();
        for (index, seat) in (0..).zip(&self.seats) {
            let last = seat.connection.as_ref().and_then(Connection::last_blocked);
            let id = ConnectionId { shard: number, index, generation: seat.generation };
            blocked.extend(last.map(|request| (id, request)));
        }
        for (connection, request) in blocked {
            let ask = || Ask::Hasten { connection, requests: 0..request, ends: true };
            self.owner.handle(ask());
            for other in self.place.others() {
                self.ask_at(other, ask());
            }
        }
    }
}

/// Records that lie in their owner's memory.
fn lent_count(pieces: &[OutPiece]) -> usize {
    pieces.iter().filter(|piece| matches!(piece, OutPiece::Records(_))).count()
}

/// A copy of the batches, and their places in it.
fn copy_batches(append: &mut Append, body: &[u8]) -> Vec<u8> {
    let mut copy = Vec::new();
    for part in &mut append.parts {
        if let Batch::Sound { bytes, .. } = &mut part.batch {
            let start = copy.len();
            copy.extend_from_slice(body.get(bytes.clone()).unwrap_or_default());
            *bytes = start..copy.len();
        }
    }
    append.body_bytes = copy.len();
    copy
}
