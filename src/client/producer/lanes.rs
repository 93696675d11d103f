//! What a producer has to send, per partition: open batches, closed ones in order, and what became of each. Pure: it is
//! told the time and the answers, and says what may be sent next.
//!
//! A lane is one partition's queue. Its batches are sent in order, several at once; when one comes back unsent, nothing
//! more of the lane is sent until all that is on its way has come back, and then again from the oldest. An idempotent
//! batch keeps its sequence numbers while it is not certain that the broker does not have it. When a batch is given up,
//! or the broker does not know the numbers any more, the rest goes on under a new producer id from number 0, but only
//! after every uncertain batch is decided (KIP-98, KIP-360). A broker that does not know a producer id accepts whatever
//! number comes first: so the first batch under an id is sent alone, or one that overtook it would take its place. And it
//! knows its last five batches again, no older one: so no batch is sent that is more than four ahead of the oldest one
//! undecided.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::{Delivery, ProducerSettings};
use crate::client::settings::RETRY_PAUSE_MAX;
use crate::client::{Error, Result};
use crate::model::batch::{HEADER_BYTES, sequence_plus};
use crate::model::limits::PRODUCER_BATCHES_REMEMBERED;
use crate::model::number::wide;
use crate::model::{ErrorCode, Offset, PartitionIndex, ProducerEpoch, ProducerId};
use crate::protocol::records::{self, BatchBuilder, NewRecord, Stamp};

/// A lane's place among those of its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneId(usize);

/// A batch's number, unique in its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchId(u64);

/// What the broker said of a batch.
#[derive(Debug)]
pub(super) enum Answer {
    /// It stands in the log; where, if the broker said.
    Stored(Option<Offset>),
    /// It was not stored, or, if `uncertain`, nobody knows.
    Failed { error: Error, uncertain: bool },
}

/// All lanes of a producer.
#[derive(Debug)]
pub(super) struct Lanes {
    settings: ProducerSettings,
    retry_pause: Duration,
    names: BTreeMap<String, BTreeMap<PartitionIndex, LaneId>>,
    lanes: Vec<Lane>,
    /// Unit: bytes, of closed and open batches.
    queued_bytes: usize,
    next_batch: u64,
    identity: Option<(ProducerId, ProducerEpoch)>,
    /// A new identity is needed before anything new is numbered.
    renewing: bool,
    sequence_resets: u64,
    deliveries: VecDeque<Delivery>,
}

#[derive(Debug)]
struct Lane {
    topic: String,
    partition: PartitionIndex,
    open: Option<Open>,
    closed: VecDeque<Batch>,
    next_record: u64,
    next_ordinal: u64,
    /// How many batches, from the oldest undecided one on, may have been sent.
    window: usize,
    next_sequence: i32,
    sent_count: usize,
    /// The broker has a batch under the present producer id.
    is_known: bool,
    /// Something came back: nothing is sent until nothing is on its way.
    recovering: bool,
    pause: Duration,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    builder: BatchBuilder,
    first_record: u64,
    since: Instant,
}

#[derive(Debug)]
struct Batch {
    id: BatchId,
    bytes: Vec<u8>,
    /// Counts the lane's batches.
    ordinal: u64,
    first_record: u64,
    record_count: i32,
    stamp: Option<Stamp>,
    is_sent: bool,
    /// It was sent and no answer came, so that the broker may have it.
    is_uncertain: bool,
    deadline: Option<Instant>,
}

impl Lanes {
    pub(super) fn new(settings: ProducerSettings, retry_pause: Duration) -> Self {
        let renewing = settings.idempotent;
        Self {
            settings,
            retry_pause,
            names: BTreeMap::new(),
            lanes: Vec::new(),
            queued_bytes: 0,
            next_batch: 0,
            identity: None,
            renewing,
            sequence_resets: 0,
            deliveries: VecDeque::new(),
        }
    }

    /// Adds a record to the partition's open batch; one that it does not fit into is closed first. Returns the record's
    /// number in its lane, and whether a batch was closed.
    ///
    /// # Errors
    /// `RecordTooLarge`, `Record`.
    pub(super) fn push(
        &mut self,
        topic: &str,
        partition: PartitionIndex,
        record: &NewRecord<'_>,
        now: Instant,
    ) -> Result<(u64, bool)> {
        let id = self.lane_of(topic, partition);
        let batch_bytes = self.settings.batch_bytes;
        let open = self.lane(id).and_then(|lane| lane.open.as_ref()).map(|open| &open.builder);
        let is_full = |builder: &BatchBuilder| {
            builder.size_bytes().saturating_add(builder.growth_bytes(record)) > batch_bytes
        };
        let closes = open.is_some_and(is_full);
        if closes {
            self.close(id, now);
        }
        let codec = self.settings.codec;
        let Some(lane) = self.lanes.get_mut(id.0) else { return Ok((0, closes)) };
        let first_record = lane.next_record;
        let open = lane.open.get_or_insert_with(|| Open {
            builder: BatchBuilder::new(codec),
            first_record,
            since: now,
        });
        let (before, grows) = (open.builder.size_bytes(), open.builder.growth_bytes(record));
        let bytes = before.saturating_add(grows);
        if bytes > self.settings.request_bytes_max {
            if open.builder.is_empty() {
                lane.open = None;
            }
            return Err(Error::RecordTooLarge { bytes, bytes_max: self.settings.request_bytes_max });
        }
        open.builder.push(record).map_err(|error| Error::Record { error })?;
        lane.next_record = first_record.saturating_add(1);
        self.queued_bytes = self.queued_bytes.saturating_add(grows);
        Ok((first_record, closes))
    }

    /// Closes the batches that have been open for `linger`.
    pub(super) fn close_due(&mut self, now: Instant, linger: Duration) {
        for place in 0..self.lanes.len() {
            let open = self.lanes.get(place).and_then(|lane| lane.open.as_ref());
            if open.is_some_and(|open| now.saturating_duration_since(open.since) >= linger) {
                self.close(LaneId(place), now);
            }
        }
    }

    /// The lanes of which a batch may be sent now.
    pub(super) fn poll_ready(&self, now: Instant) -> Vec<LaneId> {
        let is_ready = |lane: &Lane| {
            lane.not_before.is_none_or(|not_before| not_before <= now)
                && lane.next_to_send(self.settings.idempotent && self.renewing).is_some()
        };
        let places = self.lanes.iter().enumerate().filter(|(_, lane)| is_ready(lane));
        places.map(|(place, _)| LaneId(place)).collect()
    }

    /// When a lane that waits after an error may go on; `None` if none waits.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.lanes.iter().filter(|lane| !lane.closed.is_empty()).filter_map(|lane| lane.not_before).min()
    }

    /// Marks the lane's next batch as sent, and numbers it.
    pub(super) fn poll_send(&mut self, id: LaneId) -> Option<BatchId> {
        let numbering = self.settings.idempotent;
        let (identity, renewing) = (self.identity, self.renewing);
        let lane = self.lanes.get_mut(id.0)?;
        let place = lane.next_to_send(numbering && renewing)?;
        let batch = lane.closed.get_mut(place)?;
        if numbering && batch.stamp.is_none() {
            let (producer_id, producer_epoch) = identity?;
            let stamp = Stamp { producer_id, producer_epoch, base_sequence: lane.next_sequence };
            records::stamp(&mut batch.bytes, stamp).ok()?;
            batch.stamp = Some(stamp);
            lane.next_sequence = sequence_plus(lane.next_sequence, batch.record_count);
        }
        batch.is_sent = true;
        lane.sent_count = lane.sent_count.saturating_add(1);
        Some(batch.id)
    }

    /// Bytes of the lane's next batch.
    pub(super) fn next_bytes(&self, id: LaneId) -> usize {
        let next = |lane: &Lane| {
            let place = lane.next_to_send(self.settings.idempotent && self.renewing)?;
            lane.closed.get(place).map(|batch| batch.bytes.len())
        };
        self.lane(id).and_then(next).unwrap_or(0)
    }

    /// Bytes of a batch that was handed out.
    pub(super) fn bytes(&self, id: LaneId, batch: BatchId) -> &[u8] {
        let found = self.lane(id).and_then(|lane| lane.closed.iter().find(|known| known.id == batch));
        found.map(|batch| batch.bytes.as_slice()).unwrap_or_default()
    }

    /// What became of a batch that was sent.
    pub(super) fn handle_answer(&mut self, id: LaneId, batch: BatchId, answer: Answer, now: Instant) {
        let Some(lane) = self.lanes.get_mut(id.0) else { return };
        let Some(place) = lane.closed.iter().position(|known| known.id == batch) else { return };
        lane.sent_count = lane.sent_count.saturating_sub(1);
        match answer {
            Answer::Stored(base_offset) => {
                lane.pause = self.retry_pause;
                lane.not_before = None;
                lane.is_known = true;
                self.finish(id, place, Ok(base_offset));
            }
            Answer::Failed { error, uncertain } => self.handle_failure(id, place, error, uncertain, now),
        }
        if let Some(lane) = self.lanes.get_mut(id.0)
            && lane.sent_count == 0
        {
            lane.recovering = false;
        }
    }

    /// The lane's next batch could not be sent at all.
    pub(super) fn handle_unsent(&mut self, id: LaneId, error: Error, now: Instant) {
        let Some(lane) = self.lanes.get_mut(id.0) else { return };
        let Some(place) = lane.closed.iter().position(|batch| !batch.is_sent) else { return };
        // These stay as they are, however often one asks.
        if matches!(error, Error::NoSuchPartition { .. } | Error::Version { .. }) {
            return self.finish(id, place, Err(error));
        }
        lane.recovering = lane.sent_count > 0;
        lane.wait(now);
        self.keep(id, place, error, now);
    }

    fn handle_failure(&mut self, id: LaneId, place: usize, error: Error, uncertain: bool, now: Instant) {
        let numbering = self.settings.idempotent;
        let Some(lane) = self.lanes.get_mut(id.0) else { return };
        let Some(batch) = lane.closed.get_mut(place) else { return };
        batch.is_sent = false;
        batch.is_uncertain |= uncertain;
        match error.code() {
            Some(ErrorCode::DuplicateSequenceNumber) if numbering => {
                lane.is_known = true;
                return self.finish(id, place, Ok(None));
            }
            Some(ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId) if numbering => {
                // Had it been stored before, the broker would have known it again. Behind a batch that is not stored this
                // is a consequence; of the oldest it tells that the broker counts differently from us.
                batch.is_uncertain = false;
                if place == 0 {
                    self.sequence_resets = self.sequence_resets.saturating_add(u64::from(!self.renewing));
                    self.renewing = true;
                }
            }
            _ if error.is_retriable() => {}
            _ => return self.finish(id, place, Err(error)),
        }
        if !lane.recovering {
            lane.recovering = true;
            lane.wait(now);
        }
        self.keep(id, place, error, now);
    }

    /// Leaves a batch in its lane for another try, unless its time is over.
    fn keep(&mut self, id: LaneId, place: usize, error: Error, now: Instant) {
        let batch = self.lane(id).and_then(|lane| lane.closed.get(place));
        if batch.and_then(|batch| batch.deadline).is_some_and(|deadline| deadline <= now) {
            let after = self.settings.delivery_timeout;
            self.finish(id, place, Err(Error::GaveUp { after, last: Box::new(error) }));
        }
    }

    /// Takes a batch out of its lane, and says what became of it.
    fn finish(&mut self, id: LaneId, place: usize, outcome: Result<Option<Offset>>) {
        let Some(lane) = self.lanes.get_mut(id.0) else { return };
        let Some(batch) = lane.closed.remove(place) else { return };
        if outcome.is_err() && batch.stamp.is_some() {
            // Its numbers are used up, and the broker waits for them.
            self.renewing = true;
        }
        self.queued_bytes = self.queued_bytes.saturating_sub(batch.bytes.len());
        self.deliveries.push_back(Delivery {
            topic: lane.topic.clone(),
            partition: lane.partition,
            first_record: batch.first_record,
            record_count: batch.record_count,
            outcome,
        });
    }

    /// Whether a new producer id must be asked for before anything else can be sent.
    pub(super) fn needs_identity(&self) -> bool {
        let waits = self.lanes.iter().any(|lane| !lane.closed.is_empty());
        let undecided =
            |lane: &Lane| lane.sent_count > 0 || lane.closed.iter().any(|batch| batch.is_uncertain);
        self.settings.idempotent && self.renewing && waits && !self.lanes.iter().any(undecided)
    }

    /// A new producer id was given: everything that waits is numbered from 0.
    pub(super) fn handle_identity(&mut self, producer_id: ProducerId, producer_epoch: ProducerEpoch) {
        self.identity = Some((producer_id, producer_epoch));
        self.renewing = false;
        for lane in &mut self.lanes {
            lane.next_sequence = 0;
            lane.is_known = false;
            lane.closed.iter_mut().for_each(|batch| batch.stamp = None);
        }
    }

    /// Takes what became of batches, oldest first.
    pub(super) fn poll_delivery(&mut self) -> Option<Delivery> {
        self.deliveries.pop_front()
    }

    /// Nothing is open, waits, or is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.open.is_none() && lane.closed.is_empty())
    }

    pub(super) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) const fn sequence_resets(&self) -> u64 {
        self.sequence_resets
    }

    /// Topic and partition of a lane.
    pub(super) fn name(&self, id: LaneId) -> (&str, PartitionIndex) {
        self.lane(id).map_or(("", PartitionIndex(-1)), |lane| (&lane.topic, lane.partition))
    }

    fn lane(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.get(id.0)
    }

    fn lane_of(&mut self, topic: &str, partition: PartitionIndex) -> LaneId {
        if let Some(&id) = self.names.get(topic).and_then(|lanes| lanes.get(&partition)) {
            return id;
        }
        let id = LaneId(self.lanes.len());
        self.names.entry(topic.to_owned()).or_default().insert(partition, id);
        self.lanes.push(Lane {
            topic: topic.to_owned(),
            partition,
            open: None,
            closed: VecDeque::new(),
            next_record: 0,
            next_ordinal: 0,
            window: if self.settings.idempotent { PRODUCER_BATCHES_REMEMBERED } else { usize::MAX },
            next_sequence: 0,
            sent_count: 0,
            is_known: !self.settings.idempotent,
            recovering: false,
            pause: self.retry_pause,
            not_before: None,
        });
        id
    }

    fn close(&mut self, id: LaneId, now: Instant) {
        let Some(lane) = self.lanes.get_mut(id.0) else { return };
        let Some(open) = lane.open.take() else { return };
        let plain_bytes = open.builder.size_bytes().saturating_sub(HEADER_BYTES);
        let record_count = open.builder.record_count();
        let batch_id = BatchId(self.next_batch);
        self.next_batch = self.next_batch.saturating_add(1);
        // One that cannot be packed fails like one that cannot be sent.
        let (bytes, fault) = match open.builder.finish() {
            Ok(bytes) => (bytes, None),
            Err(error) => (Vec::new(), Some(Error::Record { error })),
        };
        self.queued_bytes = self.queued_bytes.saturating_sub(plain_bytes).saturating_add(bytes.len());
        lane.closed.push_back(Batch {
            id: batch_id,
            bytes,
            ordinal: lane.next_ordinal,
            first_record: open.first_record,
            record_count,
            stamp: None,
            is_sent: false,
            is_uncertain: false,
            deadline: now.checked_add(self.settings.delivery_timeout),
        });
        lane.next_ordinal = lane.next_ordinal.saturating_add(1);
        let last = lane.closed.len().saturating_sub(1);
        if let Some(error) = fault {
            self.finish(id, last, Err(error));
        }
    }
}

impl Lane {
    /// Place of the batch to be sent next: the oldest that is not on its way. While a new identity is `awaited`, only
    /// batches that may be stored already are sent, to find out.
    fn next_to_send(&self, awaited: bool) -> Option<usize> {
        if (self.recovering || !self.is_known) && self.sent_count > 0 {
            return None;
        }
        let place =
            self.closed.iter().position(|batch| !batch.is_sent && (!awaited || batch.is_uncertain))?;
        let (oldest, next) = (self.closed.front()?, self.closed.get(place)?);
        (next.ordinal.saturating_sub(oldest.ordinal) < wide(self.window)).then_some(place)
    }

    /// Sends nothing for a while, longer each time.
    fn wait(&mut self, now: Instant) {
        self.not_before = now.checked_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(RETRY_PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests;
