//! What a connection asks of the partitions that it produces to, and what comes back: one message per request.
//!
//! The connection's side looks at the bytes and names the partitions; their owner appends, waits until the batches are
//! acknowledged, writes the outcome beside each part and sends the message back. The frame travels beside the message: nothing
//! in it is changed. A message that is done is used again, so that a small request allocates nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use crate::broker::shards::RequestId;
use crate::model::batch::BatchHeader;
use crate::model::error_code::ErrorCode;
use crate::model::{Offset, TopicId};
use crate::storage::PartitionSlot;

/// Parts that a message may have had room for to be kept.
const SPARE_PARTS_MAX: usize = 64;
/// Bytes of names that it may have had room for.
const SPARE_NAME_BYTES_MAX: usize = 4 << 10;

/// A produce request under way.
#[derive(Debug)]
pub struct Append {
    pub request: RequestId,
    pub acks: i16,
    /// Unit: ms of the steady clock.
    pub deadline_ms: i64,
    /// The body is the last so many bytes of the frame.
    pub body_bytes: usize,
    pub parts: Vec<AppendPart>,
    /// The last so many of them belong to no topic, and the answer says nothing of them.
    unanswered: usize,
    topics: Vec<AppendTopic>,
    /// The topics' names, one behind the other.
    names: String,
    /// The first part that has not been appended or refused.
    pub next: usize,
    /// Parts whose batches are not yet acknowledged.
    pub outstanding: u32,
    /// Of a share of a larger request: where its parts stand there. Empty: it is a whole one.
    pub places: Vec<u32>,
}

/// One topic of a request: by name until version 12, by id from 13.
#[derive(Debug)]
struct AppendTopic {
    name: Range<usize>,
    id: TopicId,
    parts_start: usize,
}

/// What is known of a part's batch from its bytes alone.
#[derive(Clone, Debug)]
pub enum Batch {
    /// It lies there in the body.
    Sound { bytes: Range<usize>, header: BatchHeader },
    /// The part's error says why not. Its log has nothing to do with it.
    Refused,
    /// Refused too, for something that Kafka sees where it looks into the log: the answer tells where the log starts.
    RefusedInLog,
    /// Kafka sees this in the log as well, but the answer does not tell.
    Damaged,
}

/// One partition's part of a request.
#[derive(Debug)]
pub struct AppendPart {
    /// `None`: no such topic.
    pub topic: Option<TopicId>,
    pub index: i32,
    pub batch: Batch,
    /// Where its owner has found the partition, and what must be reached until it is acknowledged.
    pub waits: Option<(PartitionSlot, Offset)>,
    pub error: ErrorCode,
    pub error_message: Option<String>,
    pub base_offset: i64,
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
}

impl AppendPart {
    /// A part without an outcome.
    #[must_use]
    pub const fn new(topic: Option<TopicId>, index: i32, batch: Batch) -> Self {
        Self {
            topic,
            index,
            batch,
            waits: None,
            error: ErrorCode::None,
            error_message: None,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
        }
    }

    /// The part, which leaves an empty one behind.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(None, self.index, Batch::Refused))
    }

    /// The part has come to nothing.
    pub fn refuse(&mut self, error: ErrorCode, message: Option<String>) {
        self.error = error;
        self.error_message = message;
        self.base_offset = -1;
    }
}

impl Append {
    #[must_use]
    pub const fn new(request: RequestId) -> Self {
        Self {
            request,
            acks: 0,
            deadline_ms: 0,
            body_bytes: 0,
            parts: Vec::new(),
            unanswered: 0,
            topics: Vec::new(),
            names: String::new(),
            next: 0,
            outstanding: 0,
            places: Vec::new(),
        }
    }

    /// What so many parts of so many topics hold at most until they are answered, with their places among what waits and what
    /// is said of those that are refused, beside the topics' names. Unit: bytes.
    #[must_use]
    pub const fn held_bytes(topics: usize, parts: usize) -> usize {
        const WAITER_BYTES: usize = 32;
        const MESSAGE_BYTES: usize = 128;
        const PART_BYTES: usize = size_of::<AppendPart>() + WAITER_BYTES + MESSAGE_BYTES;
        topics.saturating_mul(size_of::<AppendTopic>()).saturating_add(parts.saturating_mul(PART_BYTES))
    }

    /// Begins a topic; the parts that follow are its.
    pub fn begin_topic(&mut self, name: &str, id: TopicId) {
        let start = self.names.len();
        self.names.push_str(name);
        self.topics.push(AppendTopic { name: start..self.names.len(), id, parts_start: self.parts.len() });
    }

    /// Whether a partition is named more than once.
    #[must_use]
    pub fn names_again(&self) -> bool {
        if self.parts.len() < 2 {
            return false;
        }
        let mut topics: Vec<(&str, TopicId)> = self.topics().map(|(name, id, _)| (name, id)).collect();
        topics.sort_unstable();
        !topics.is_sorted_by(|one, other| one < other)
            || self.topics().any(|(_, _, parts)| {
                let mut indices: Vec<i32> = parts.iter().map(|part| part.index).collect();
                indices.sort_unstable();
                !indices.is_sorted_by(|one, other| one < other)
            })
    }

    /// As Kafka, which keeps the parts in maps: a topic that is named again is the same topic, and of a partition that is
    /// named again the last part counts. Those that never come to the log are in a map of their own, and it is they that are
    /// answered: what is for the log is appended, and nobody hears of it.
    pub fn merge_repeated(&mut self) {
        let mut firsts: BTreeMap<(&str, TopicId), usize> = BTreeMap::new();
        let firsts: Vec<(usize, usize)> = (self.topics().enumerate())
            .map(|(place, (name, id, parts))| (*firsts.entry((name, id)).or_insert(place), parts.len()))
            .collect();
        let (mut answered, mut logged) = (BTreeMap::new(), BTreeMap::new());
        let mut parts = std::mem::take(&mut self.parts).into_iter();
        for &(first, count) in &firsts {
            for part in parts.by_ref().take(count) {
                let is_refused = matches!(part.batch, Batch::Refused);
                let target = if is_refused { &mut answered } else { &mut logged };
                target.insert((first, part.index), part);
            }
        }
        let mut unanswered = Vec::new();
        for (key, part) in logged {
            match answered.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(part);
                }
                Entry::Occupied(_) => unanswered.push(part),
            }
        }
        let mut answered = answered.into_iter().peekable();
        let topics = std::mem::take(&mut self.topics);
        for (place, topic) in topics.into_iter().enumerate() {
            let parts_start = self.parts.len();
            while let Some((_, part)) = answered.next_if(|((first, _), _)| *first == place) {
                self.parts.push(part);
            }
            if self.parts.len() > parts_start {
                self.topics.push(AppendTopic { parts_start, ..topic });
            }
        }
        self.unanswered = unanswered.len();
        self.parts.append(&mut unanswered);
    }

    /// Each topic's name, id and parts.
    pub fn topics(&self) -> impl Iterator<Item = (&str, TopicId, &[AppendPart])> {
        let end = self.parts.len().saturating_sub(self.unanswered);
        let ends = self.topics.iter().skip(1).map(|topic| topic.parts_start).chain([end]);
        self.topics.iter().zip(ends).map(|(topic, end)| {
            let name = self.names.get(topic.name.clone()).unwrap_or_default();
            (name, topic.id, self.parts.get(topic.parts_start..end).unwrap_or_default())
        })
    }

    /// Whether every part has been appended or refused.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.next >= self.parts.len()
    }

    /// What has not been appended will not be.
    pub fn refuse_rest(&mut self, error: ErrorCode) {
        for part in self.parts.iter_mut().skip(self.next).filter(|part| part.error.is_none()) {
            part.refuse(error, None);
        }
        self.next = self.parts.len();
    }

    /// Its time is up: whether what is in the log will be acknowledged is not known; what waits for room is forgotten.
    pub fn expire(&mut self) {
        for (place, part) in self.parts.iter_mut().enumerate() {
            if part.waits.is_some() || place >= self.next && part.error.is_none() {
                part.error = ErrorCode::RequestTimedOut;
            }
        }
    }

    /// Empties a message that is done, to be used for another request; false if it has grown too large to be kept.
    pub fn clear(&mut self) -> bool {
        self.parts.clear();
        self.unanswered = 0;
        self.topics.clear();
        self.names.clear();
        self.next = 0;
        self.outstanding = 0;
        self.places.clear();
        self.parts.capacity() <= SPARE_PARTS_MAX && self.names.capacity() <= SPARE_NAME_BYTES_MAX
    }
}
