//! Idempotent producers that repeat themselves, and what the broker must answer them (KIP-98).

use std::collections::VecDeque;

use ringlog::model::batch::{BatchHeader, sequence_plus};
use ringlog::storage::partition::producers::SequenceError;
use ringlog::storage::shard::AppendError;

use crate::batches::{Sequence, Stored, Wish};
use crate::model::PartitionModel;

/// Batches that a producer has in flight at most, and that the broker remembers.
pub const REMEMBERED: usize = 5;

/// One producer of one partition.
pub struct Client {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub next_sequence: i32,
    /// What it sent last, oldest first.
    pub sent: VecDeque<Wish>,
    /// After a restart: how many of `sent` were sent again.
    pub repeated: usize,
}

/// A batch that the broker remembers.
#[derive(Clone, Copy, Debug)]
pub struct KnownBatch {
    pub sequence: Sequence,
    pub last_sequence: i32,
}

/// What the broker must do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Append,
    Duplicate,
    Fenced,
    OutOfOrder,
    /// Its memory of the producer is not certain.
    Anything,
}

impl Client {
    pub fn new(producer_id: i64) -> Self {
        Self { producer_id, producer_epoch: 0, next_sequence: 0, sent: VecDeque::new(), repeated: REMEMBERED }
    }

    pub fn sequence(&self) -> Sequence {
        Sequence {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.next_sequence,
        }
    }

    pub fn note_sent(&mut self, wish: Wish) {
        self.next_sequence = sequence_plus(self.next_sequence, wish.record_count);
        self.sent.push_back(wish);
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
        self.repeated = self.sent.len();
    }
}

impl PartitionModel {
    /// The rules, written down a second time.
    pub fn expected(&self, header: &BatchHeader) -> Expected {
        let producer_id = header.producer_id.0;
        if self.uncertain.contains(&producer_id) {
            return Expected::Anything;
        }
        let Some(known) = self.known.get(&producer_id).filter(|known| !known.is_empty()) else {
            return Expected::Append;
        };
        let last = known[known.len() - 1];
        if header.producer_epoch.0 != last.sequence.producer_epoch {
            return match (header.producer_epoch.0 > last.sequence.producer_epoch, header.base_sequence) {
                (false, _) => Expected::Fenced,
                (true, 0) => Expected::Append,
                (true, _) => Expected::OutOfOrder,
            };
        }
        let same = known.iter().any(|batch| {
            batch.sequence.producer_epoch == header.producer_epoch.0
                && batch.sequence.base_sequence == header.base_sequence
                && batch.last_sequence == header.last_sequence()
        });
        if same {
            Expected::Duplicate
        } else if header.base_sequence == sequence_plus(last.last_sequence, 1) {
            Expected::Append
        } else {
            Expected::OutOfOrder
        }
    }

    /// Takes note of a batch that stands in the log now.
    pub fn remember(&mut self, stored: &Stored) {
        let header = &stored.header;
        if !header.is_idempotent() {
            return;
        }
        let known = self.known.entry(header.producer_id.0).or_default();
        known.push_back(KnownBatch {
            sequence: Sequence {
                producer_id: header.producer_id.0,
                producer_epoch: header.producer_epoch.0,
                base_sequence: header.base_sequence,
            },
            last_sequence: header.last_sequence(),
        });
        if known.len() > REMEMBERED {
            known.pop_front();
        }
    }

    /// After a recovery the broker knows what the log says.
    pub fn remember_all(&mut self) {
        self.known.clear();
        for stored in &self.log.clone() {
            self.remember(stored);
        }
        for client in &mut self.clients {
            client.repeated = 0;
        }
    }
}

/// Whether the answer is the expected one.
pub fn agrees<T>(expected: Expected, appended: bool, answer: &Result<T, AppendError>) -> bool {
    match (expected, answer) {
        (Expected::Append, Ok(_)) => appended,
        (Expected::Duplicate, Ok(_)) => !appended,
        (Expected::Anything, Ok(_) | Err(AppendError::Sequence(_))) => true,
        (Expected::Fenced, Err(AppendError::Sequence(SequenceError::Fenced { .. }))) => true,
        (Expected::OutOfOrder, Err(AppendError::Sequence(SequenceError::OutOfOrder { .. }))) => true,
        (_, Err(AppendError::Sequence(_)) | Ok(_)) => false,
        // Refused before the sequence was looked at.
        (_, Err(_)) => true,
    }
}
