//! Producer state: what each idempotent producer appended last, to refuse gaps and recognise duplicates (KIP-98).
//!
//! Rules are those of Kafka 4.x: without state any first sequence is accepted; a new epoch over known state begins at 0.
//! State advances at append. What a snapshot describes is cut at an offset that is durable.

use std::collections::{BTreeMap, VecDeque};

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

/// All producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    known: BTreeMap<i64, Producer>,
}

impl Producers {
    /// Judges an idempotent batch. Changes nothing.
    ///
    /// # Errors
    /// `Fenced`, `OutOfOrder`.
    pub fn check(&self, header: &BatchHeader) -> Result<Verdict, SequenceError> {
        let Some(producer) = self.known.get(&header.producer_id.0) else { return Ok(Verdict::Append) };
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
        let producer = self.known.entry(header.producer_id.0).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            batches: VecDeque::new(),
            last_append_ms: now_ms,
        });
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
    }

    /// Forgets producers that appended nothing since `deadline_ms`.
    pub fn expire(&mut self, deadline_ms: i64) {
        self.known.retain(|_, producer| producer.last_append_ms >= deadline_ms);
    }

    /// Forgets batches at or behind `end_offset` (truncation). A producer left without batches is forgotten.
    pub fn truncate(&mut self, end_offset: Offset) {
        self.known.retain(|_, producer| {
            producer.batches.retain(|batch| batch.end_offset <= end_offset);
            if let Some(last) = producer.batches.back() {
                producer.epoch = last.epoch;
            }
            !producer.batches.is_empty()
        });
    }

    /// The state as it was when the log ended at `flushed_offset`: at most five batches per producer.
    #[must_use]
    pub fn snapshot(&self, flushed_offset: Offset) -> Vec<(ProducerId, i64, Vec<ProducedBatch>)> {
        let mut entries = Vec::new();
        for (&id, producer) in &self.known {
            let durable: Vec<ProducedBatch> =
                producer.batches.iter().filter(|batch| batch.end_offset <= flushed_offset).copied().collect();
            let skipped = durable.len().saturating_sub(PRODUCER_BATCHES_REMEMBERED);
            if let Some(kept) = durable.get(skipped..)
                && !kept.is_empty()
            {
                entries.push((ProducerId(id), producer.last_append_ms, kept.to_vec()));
            }
        }
        entries
    }

    /// Takes one producer of a snapshot.
    pub fn restore(&mut self, id: ProducerId, last_append_ms: i64, batches: Vec<ProducedBatch>) {
        if let Some(last) = batches.last() {
            let producer = Producer { epoch: last.epoch, last_append_ms, batches: batches.into() };
            self.known.insert(id.0, producer);
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
