//! Producer state: what each idempotent producer appended last, to refuse gaps and recognise duplicates (KIP-98).
//!
//! Rules are those of Kafka 4.x: without state any first sequence is accepted; a new epoch over known state begins at 0.
//! State advances at append. What a snapshot describes is cut at an offset that is durable.
//!
//! Any id that a client makes up is a producer: who holds the state bounds it with [`Producers::forget_idle`]. A producer that was
//! forgotten is as one that expired, never an error.

mod recency;

use std::collections::VecDeque;

use self::recency::Recency;
use crate::model::batch::{BatchHeader, sequence_plus};
use crate::model::limits::PRODUCER_BATCHES_REMEMBERED;
use crate::model::{Offset, ProducerEpoch, ProducerId};

/// A batch that a producer appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducedBatch {
    pub epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub base_offset: Offset,
    pub end_offset: Offset,
    pub timestamp: i64,
}

/// What one producer appended last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    /// Oldest first. Batches that are not yet durable are kept beyond the remembered five, so that a snapshot can be cut.
    batches: VecDeque<ProducedBatch>,
    last_append_ms: i64,
}

/// What the table says of a batch before it is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Append,
    /// It was appended before, here.
    Duplicate(ProducedBatch),
}

/// Why a batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    #[error("producer epoch {found} is older than {current}")]
    Fenced { current: ProducerEpoch, found: ProducerEpoch },
    #[error("sequence {found} does not follow {expected}")]
    OutOfOrder { expected: i32, found: i32 },
}

/// Room for more batches than this is given back once they are durable.
const BATCHES_ROOM: usize = 16;

/// All producers of one partition, in the order of their last appends.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    known: Recency<Producer>,
}

impl Producers {
    /// Judges an idempotent batch. Changes nothing.
    ///
    /// # Errors
    /// `Fenced`, `OutOfOrder`.
    pub fn check(&self, header: &BatchHeader) -> Result<Verdict, SequenceError> {
        let Some(producer) = self.known.get(header.producer_id.0) else { return Ok(Verdict::Append) };
        if header.producer_epoch < producer.epoch {
            return Err(SequenceError::Fenced { current: producer.epoch, found: header.producer_epoch });
        }
        if header.producer_epoch > producer.epoch {
            if header.base_sequence != 0 {
                return Err(SequenceError::OutOfOrder { expected: 0, found: header.base_sequence });
            }
            return Ok(Verdict::Append);
        }
        let last_sequence = header.last_sequence();
        let same = producer.batches.iter().rev().take(PRODUCER_BATCHES_REMEMBERED).find(|batch| {
            batch.epoch == header.producer_epoch
                && batch.base_sequence == header.base_sequence
                && batch.last_sequence == last_sequence
        });
        if let Some(batch) = same {
            return Ok(Verdict::Duplicate(*batch));
        }
        let expected = producer.batches.back().map(|last| sequence_plus(last.last_sequence, 1));
        match expected {
            Some(expected) if expected != header.base_sequence => {
                Err(SequenceError::OutOfOrder { expected, found: header.base_sequence })
            }
            _ => Ok(Verdict::Append),
        }
    }

    /// Takes note of an idempotent batch that stands in the log. `flushed_offset`: batches before it need not be kept beyond five.
    pub fn note(&mut self, header: &BatchHeader, now_ms: i64, flushed_offset: Offset) {
        let batch = ProducedBatch {
            epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            end_offset: header.end_offset(),
            timestamp: header.max_timestamp,
        };
        let new =
            || Producer { epoch: header.producer_epoch, batches: VecDeque::new(), last_append_ms: now_ms };
        let Some(producer) = self.known.use_or_insert(header.producer_id.0, new) else { return };
        producer.epoch = header.producer_epoch;
        producer.last_append_ms = now_ms;
        producer.batches.push_back(batch);
        // The front may go when five durable ones stand behind it.
        while producer
            .batches
            .get(PRODUCER_BATCHES_REMEMBERED)
            .is_some_and(|batch| batch.end_offset <= flushed_offset)
        {
            producer.batches.pop_front();
        }
        let capacity = producer.batches.capacity();
        if capacity > BATCHES_ROOM && producer.batches.len() < capacity / 4 {
            producer.batches.shrink_to((capacity / 2).max(BATCHES_ROOM));
        }
    }

    /// Whether something is known of this producer.
    #[must_use]
    pub fn contains(&self, id: ProducerId) -> bool {
        self.known.get(id.0).is_some()
    }

    /// Whether the producer that has been idle longest has nothing at or behind `acknowledged`: then it may be forgotten.
    #[must_use]
    pub fn has_idle(&self, acknowledged: Offset) -> bool {
        let last = self.known.oldest().and_then(|producer| producer.batches.back());
        last.is_some_and(|last| last.end_offset <= acknowledged)
    }

    /// Forgets those that have been idle longest until `count` are left, but none with a batch that ends behind
    /// `acknowledged`.
    pub fn forget_idle(&mut self, count: usize, acknowledged: Offset) {
        while self.known.len() > count && self.has_idle(acknowledged) {
            self.known.forget_oldest();
        }
    }

    /// Forgets producers that appended nothing since `deadline_ms`.
    pub fn expire(&mut self, deadline_ms: i64) {
        self.known.retain(|producer| producer.last_append_ms >= deadline_ms);
    }

    /// Forgets batches at or behind `end_offset` (truncation). A producer left without batches is forgotten.
    pub fn truncate(&mut self, end_offset: Offset) {
        self.known.retain(|producer| {
            producer.batches.retain(|batch| batch.end_offset <= end_offset);
            if let Some(last) = producer.batches.back() {
                producer.epoch = last.epoch;
            }
            !producer.batches.is_empty()
        });
    }

    /// The state as it was when the log ended at `flushed_offset`: at most five batches per producer. In the order of their last
    /// appends.
    #[must_use]
    pub fn snapshot(&self, flushed_offset: Offset) -> Vec<(ProducerId, i64, Vec<ProducedBatch>)> {
        let mut entries = Vec::with_capacity(self.known.len());
        for (id, producer) in self.known.iter() {
            let durable = producer.batches.partition_point(|batch| batch.end_offset <= flushed_offset);
            let skipped = durable.saturating_sub(PRODUCER_BATCHES_REMEMBERED);
            if durable > 0 {
                let kept = producer.batches.range(skipped..durable).copied().collect();
                entries.push((ProducerId(id), producer.last_append_ms, kept));
            }
        }
        entries
    }

    /// Takes one producer of a snapshot, as the one that appended last.
    pub fn restore(&mut self, id: ProducerId, last_append_ms: i64, batches: Vec<ProducedBatch>) {
        if let Some(last) = batches.last() {
            let epoch = last.epoch;
            let new = || Producer { epoch, last_append_ms, batches: VecDeque::new() };
            if let Some(known) = self.known.use_or_insert(id.0, new) {
                *known = Producer { epoch, last_append_ms, batches: batches.into() };
            }
        }
    }

    /// Number of producers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests;
