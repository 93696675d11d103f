//! Requests whose partitions belong to several shards: cut into shares, one for each owner, and put together again.
//!
//! A request whose partitions have one owner goes there whole; nothing of it is kept here. Pure. Bounded: each gathering belongs
//! to a request that holds a slot of its connection.

use std::collections::BTreeMap;

use super::{ConnectionId, RequestId};
use crate::broker::connection::OutPiece;
use crate::broker::owner::append::Append;
use crate::broker::purgatory::fetch::{FetchOutcome, FetchPart, FetchTopicPart, PendingFetch};
use crate::broker::purgatory::list_offsets::{ListTopic, PendingList};
use crate::model::image::Image;
use crate::model::{ShardPlace, TopicId};
use crate::protocol::kafka::Records;
use crate::protocol::kafka::messages::fetch::PartitionData;

type Key = (ConnectionId, u64);

/// All of a shard's connections.
#[derive(Debug, Default)]
pub(super) struct Gathers {
    pub(super) appends: BTreeMap<Key, AppendGather>,
    pub(super) fetches: BTreeMap<Key, Box<FetchGather>>,
    pub(super) lists: BTreeMap<Key, Box<ListGather>>,
}

pub(super) const fn key_of(request: &RequestId) -> Key {
    (request.connection, request.request)
}

impl Gathers {
    /// Forgets the requests of a connection that is gone. Returns what they hold of others.
    pub(super) fn forget(&mut self, connection: ConnectionId) -> Vec<OutPiece> {
        let of_it = || (connection, 0)..=(connection, u64::MAX);
        self.appends.extract_if(of_it(), |_, _| true).for_each(drop);
        self.lists.extract_if(of_it(), |_, _| true).for_each(drop);
        let fetches = self.fetches.extract_if(of_it(), |_, _| true);
        fetches.flat_map(|(_, mut gather)| gather.take_pieces()).collect()
    }
}

/// An append of which shares are under way.
#[derive(Debug)]
pub(super) struct AppendGather {
    whole: Box<Append>,
    shares_left: usize,
}

/// The one owner of all parts of an append that have one; `None`: there are several.
pub(super) fn only_owner(place: ShardPlace, append: &Append) -> Option<u16> {
    if place.count == 1 {
        return Some(place.number);
    }
    let mut owners = append.parts.iter().filter_map(|part| Some(place.owner_of(part.topic?, part.index)));
    let first = owners.next().unwrap_or(place.number);
    owners.all(|owner| owner == first).then_some(first)
}

impl AppendGather {
    /// Cuts an append into shares, which are taken from `spare`.
    pub(super) fn cut(
        place: ShardPlace,
        mut whole: Box<Append>,
        mut spare: impl FnMut(RequestId) -> Box<Append>,
    ) -> (Self, Vec<(u16, Box<Append>)>) {
        let mut shares: BTreeMap<u16, Box<Append>> = BTreeMap::new();
        for (number, part) in (0..).zip(&mut whole.parts) {
            // Without a topic there is nothing to append, and the outcome is known.
            let Some(topic) = part.topic else { continue };
            let share = shares.entry(place.owner_of(topic, part.index)).or_insert_with(|| {
                let mut share = spare(whole.request);
                (share.acks, share.deadline_ms) = (whole.acks, whole.deadline_ms);
                share.body_bytes = whole.body_bytes;
                share
            });
            share.places.push(number);
            share.parts.push(part.take());
        }
        let gather = Self { whole, shares_left: shares.len() };
        (gather, shares.into_iter().collect())
    }

    /// Takes the outcomes of a share. Returns the whole append when this was the last.
    pub(super) fn join(mut self, share: &mut Append) -> Result<Box<Append>, Self> {
        for (place, part) in share.places.drain(..).zip(share.parts.drain(..)) {
            if let Some(seat) = self.whole.parts.get_mut(place as usize) {
                *seat = part;
            }
        }
        self.shares_left = self.shares_left.saturating_sub(1);
        if self.shares_left == 0 { Ok(self.whole) } else { Err(self) }
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Cut<G, R> {
    /// One owner has all of it.
    Whole(u16, R),
    /// Its shares, each for an owner.
    Shares(Box<G>, Vec<(u16, R)>),
}

/// A fetch of which shares are under way. A share waits for its part of the least bytes; the first that has an answer hastens
/// the others, and if all together are too few, they are asked again for more than they had.
#[derive(Debug)]
pub(super) struct FetchGather {
    whole: PendingFetch,
    shares: Vec<FetchShare>,
    has_hastened: bool,
}

#[derive(Debug)]
struct FetchShare {
    owner: u16,
    /// Which part of which topic of the whole its parts are.
    places: Vec<(usize, usize)>,
    outcome: Option<FetchOutcome>,
}

/// What is to be done when a share has come.
#[derive(Debug)]
pub(super) enum Joined {
    /// The others are to answer with what they have.
    Hasten(Vec<u16>),
    /// The others are still under way.
    Waits,
    /// It was not enough: these are to be asked, and these pieces go back.
    Again(Vec<(u16, PendingFetch)>, Vec<OutPiece>),
    /// The answer to the whole, and pieces that have no room in it.
    Done(PendingFetch, FetchOutcome, Vec<OutPiece>),
}

/// By owner, the parts of a fetch. What is not known in the image goes with the rest: alone, it would end the wait for it.
fn places_of(place: ShardPlace, image: &Image, fetch: &PendingFetch) -> BTreeMap<u16, Vec<(usize, usize)>> {
    let is_there = |topic: &FetchTopicPart, part: &FetchPart| {
        let known = topic.known.and_then(|known| image.topic_by_id(known));
        known.is_some_and(|known| {
            usize::try_from(part.index).is_ok_and(|index| index < known.partitions().len())
        })
    };
    let mut places: BTreeMap<u16, Vec<(usize, usize)>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for (topic_place, topic) in fetch.topics.iter().enumerate() {
        for (part_place, part) in topic.parts.iter().enumerate() {
            let at = (topic_place, part_place);
            match topic.known.filter(|_| is_there(topic, part)) {
                Some(known) => places.entry(place.owner_of(known, part.index)).or_default().push(at),
                None => unknown.push(at),
            }
        }
    }
    match places.first_entry() {
        Some(mut first) => first.get_mut().append(&mut unknown),
        None => drop(places.insert(place.number, unknown)),
    }
    places
}

impl FetchGather {
    /// Cuts a fetch into shares.
    pub(super) fn cut(place: ShardPlace, image: &Image, whole: PendingFetch) -> Cut<Self, PendingFetch> {
        let places = places_of(place, image, &whole);
        if places.len() <= 1 {
            return Cut::Whole(places.keys().next().copied().unwrap_or(place.number), whole);
        }
        let shares =
            places.into_iter().map(|(owner, places)| FetchShare { owner, places, outcome: None }).collect();
        let mut gather = Box::new(Self { whole, shares, has_hastened: false });
        let asks = gather.ask(&[]);
        Cut::Shares(gather, asks)
    }

    /// The shares to be asked, each for its part of the bytes that are wanting beside those that it `had`.
    fn ask(&mut self, had: &[u64]) -> Vec<(u16, PendingFetch)> {
        self.has_hastened = false;
        let all: u64 = had.iter().sum();
        let wanting = self.whole.bytes_min.saturating_sub(all);
        let part_of_it = wanting.div_ceil(self.shares.len().max(1) as u64);
        let mut asks = Vec::with_capacity(self.shares.len());
        for (number, share) in self.shares.iter_mut().enumerate() {
            share.outcome = None;
            let had = had.get(number).copied().unwrap_or(0);
            let bytes_min = if self.whole.bytes_min == 0 { 0 } else { had.saturating_add(part_of_it.max(1)) };
            let mut topics: Vec<(usize, FetchTopicPart)> = Vec::new();
            for &(topic_place, part_place) in &share.places {
                let Some(topic) = self.whole.topics.get(topic_place) else { continue };
                let Some(part) = topic.parts.get(part_place) else { continue };
                if topics.last().is_none_or(|(last, _)| *last != topic_place) {
                    let (known, unknown) = (topic.known, topic.unknown);
                    let same = FetchTopicPart {
                        name: String::new(),
                        id: topic.id,
                        known,
                        unknown,
                        parts: Vec::new(),
                    };
                    topics.push((topic_place, same));
                }
                if let Some((_, last)) = topics.last_mut() {
                    last.parts.push(*part);
                }
            }
            let topics = topics.into_iter().map(|(_, topic)| topic).collect();
            asks.push((
                share.owner,
                PendingFetch { topics, bytes_min, bytes: 0, ..self.whole.without_topics() },
            ));
        }
        asks
    }

    /// Takes the outcome of a share.
    pub(super) fn join(
        mut self: Box<Self>,
        owner: u16,
        outcome: FetchOutcome,
        now_ms: i64,
    ) -> (Option<Box<Self>>, Joined) {
        if let Some(share) = self.shares.iter_mut().find(|share| share.owner == owner) {
            share.outcome = Some(outcome);
        }
        let late: Vec<u16> =
            self.shares.iter().filter(|share| share.outcome.is_none()).map(|share| share.owner).collect();
        if !late.is_empty() {
            let joined = if self.has_hastened { Joined::Waits } else { Joined::Hasten(late) };
            self.has_hastened = true;
            return (Some(self), joined);
        }
        let outcomes = || self.shares.iter().filter_map(|share| share.outcome.as_ref());
        let had: Vec<u64> = outcomes().map(|outcome| outcome.bytes).collect();
        let all: u64 = had.iter().sum();
        let ends = outcomes().any(|outcome| outcome.ends) || now_ms >= self.whole.deadline_ms;
        if ends || all > 0 && all >= self.whole.bytes_min.min(self.whole.bytes_max) {
            let (whole, outcome, left) = self.put_together();
            return (None, Joined::Done(whole, outcome, left));
        }
        let pieces = self.take_pieces();
        let asks = self.ask(&had);
        (Some(self), Joined::Again(asks, pieces))
    }

    /// The rows in the order of the request, with no more bytes than it may have, but for the first part that has any.
    fn put_together(mut self) -> (PendingFetch, FetchOutcome, Vec<OutPiece>) {
        let mut rows: BTreeMap<(usize, usize), (PartitionData<'static>, Vec<OutPiece>)> = BTreeMap::new();
        for share in &mut self.shares {
            let Some(outcome) = share.outcome.take() else { continue };
            let mut pieces = outcome.pieces.into_iter();
            for (&place, data) in share.places.iter().zip(outcome.parts) {
                let mut left = records_bytes(&data);
                let mut own = Vec::new();
                while left > 0 {
                    let Some(piece) = pieces.next() else { break };
                    left = left.saturating_sub(piece.bytes());
                    own.push(piece);
                }
                rows.insert(place, (data, own));
            }
        }
        let mut outcome = FetchOutcome { parts: Vec::new(), pieces: Vec::new(), bytes: 0, ends: true };
        let mut left = Vec::new();
        for (_, (mut data, mut pieces)) in rows {
            let bytes = records_bytes(&data) as u64;
            if outcome.bytes > 0 && outcome.bytes.saturating_add(bytes) > self.whole.bytes_max {
                data.records = Some(Records::External { bytes: 0 });
                left.append(&mut pieces);
            } else {
                outcome.bytes = outcome.bytes.saturating_add(bytes);
                outcome.pieces.append(&mut pieces);
            }
            outcome.parts.push(data);
        }
        (self.whole, outcome, left)
    }

    fn take_pieces(&mut self) -> Vec<OutPiece> {
        let outcomes = self.shares.iter_mut().filter_map(|share| share.outcome.as_mut());
        outcomes.flat_map(|outcome| std::mem::take(&mut outcome.pieces)).collect()
    }
}

fn records_bytes(data: &PartitionData<'_>) -> usize {
    match data.records {
        Some(Records::External { bytes }) => bytes,
        _ => 0,
    }
}

/// A search for offsets of which shares are under way.
#[derive(Debug)]
pub(super) struct ListGather {
    whole: PendingList,
    shares: BTreeMap<u16, Vec<(usize, usize)>>,
}

impl ListGather {
    /// Cuts a request into shares.
    pub(super) fn cut(place: ShardPlace, whole: PendingList) -> Cut<Self, PendingList> {
        let owner_of = |known: Option<TopicId>, index: i32| {
            known.map_or(place.number, |known| place.owner_of(known, index))
        };
        let mut shares: BTreeMap<u16, Vec<(usize, usize)>> = BTreeMap::new();
        for (topic_place, (_, topic)) in whole.topics.iter().enumerate() {
            for (part_place, part) in topic.parts.iter().enumerate() {
                shares.entry(owner_of(topic.known, part.index)).or_default().push((topic_place, part_place));
            }
        }
        if shares.len() <= 1 {
            return Cut::Whole(shares.keys().next().copied().unwrap_or(place.number), whole);
        }
        let gather = Box::new(Self { whole, shares });
        let asks = gather.shares.iter().map(|(&owner, places)| (owner, gather.share(places))).collect();
        Cut::Shares(gather, asks)
    }

    fn share(&self, places: &[(usize, usize)]) -> PendingList {
        let mut topics: Vec<(usize, ListTopic)> = Vec::new();
        for &(topic_place, part_place) in places {
            let Some((_, topic)) = self.whole.topics.get(topic_place) else { continue };
            let Some(part) = topic.parts.get(part_place) else { continue };
            if topics.last().is_none_or(|(last, _)| *last != topic_place) {
                topics.push((topic_place, ListTopic { known: topic.known, parts: Vec::new() }));
            }
            if let Some((_, last)) = topics.last_mut() {
                last.parts.push(*part);
            }
        }
        let topics = topics.into_iter().map(|(_, topic)| (String::new(), topic)).collect();
        PendingList { request: self.whole.request, topics, place: (0, 0), search: None }
    }

    /// Takes the answers of a share. Returns the whole request when this was the last.
    pub(super) fn join(
        mut self: Box<Self>,
        owner: u16,
        share: &PendingList,
    ) -> Result<Box<PendingList>, Box<Self>> {
        let places = self.shares.remove(&owner).unwrap_or_default();
        let answered = share.topics.iter().flat_map(|(_, topic)| &topic.parts);
        for ((topic_place, part_place), answered) in places.into_iter().zip(answered) {
            let topic = self.whole.topics.get_mut(topic_place);
            if let Some(part) = topic.and_then(|(_, topic)| topic.parts.get_mut(part_place)) {
                part.answer = answered.answer;
            }
        }
        if self.shares.is_empty() { Ok(Box::new(self.whole)) } else { Err(self) }
    }
}
