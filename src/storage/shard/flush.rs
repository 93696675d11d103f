//! Flush rounds: everything unflushed goes to stable media in its segments, then a checkpoint says so.
//!
//! A round runs every few seconds while something is unflushed, and at once when the commit log is half full or
//! much has been appended since the last. It keeps
//! recovery short and the commit log's files reusable. At most [`ROUND_WIDTH`] partitions are flushed at once.

use std::collections::{BTreeSet, VecDeque};

use super::{PartitionSlot, ShardLog};
use crate::model::number::wide;
use crate::runtime::memory::ArenaMemory;
use crate::storage::seeded_bug::{SeededBug, planted};

/// Partitions of a round that are flushed at the same time.
const ROUND_WIDTH: usize = 64;

/// What a partition should have at least before a round comes for its bytes' sake. Unit: bytes.
const ROUND_PARTITION_BYTES: u64 = 512 << 10;

/// A round under way.
#[derive(Debug, Default)]
pub(super) struct Round {
    queue: VecDeque<PartitionSlot>,
    active: BTreeSet<PartitionSlot>,
}

impl<M: ArenaMemory> ShardLog<M> {
    /// Whether so much has come since the last round that a start after a death would have to read for long. Many partitions
    /// may have more: flushing each of them for a little costs more than it is worth.
    pub(super) fn is_much_unflushed(&self) -> bool {
        let in_writes = wide(self.dirty.len()).saturating_mul(ROUND_PARTITION_BYTES);
        self.unflushed_bytes >= self.options.flush_bytes.max(in_writes)
    }

    /// Starts a round, unless one is under way or nothing has changed since the last.
    pub(super) fn begin_round(&mut self) {
        if self.round.is_some() || self.checkpoint_in_flight || !self.changed {
            return;
        }
        self.changed = false;
        self.unflushed_bytes = 0;
        if planted(self.options.seeded_bug, SeededBug::RecycleEarly) {
            self.recycle_early();
        }
        let oldest: Vec<PartitionSlot> = self.commit.slots_of_oldest().collect();
        let first: BTreeSet<PartitionSlot> = oldest.iter().copied().collect();
        let mut queue: VecDeque<PartitionSlot> = first.iter().copied().collect();
        queue.extend(self.dirty.iter().copied().filter(|slot| !first.contains(slot)));
        self.round = Some(Round { queue, active: BTreeSet::new() });
        self.fill_round();
    }

    /// Lets waiting partitions into the round; when none is left, the checkpoint is due.
    fn fill_round(&mut self) {
        loop {
            let Some(round) = &mut self.round else { return };
            if round.active.len() >= ROUND_WIDTH {
                return;
            }
            let Some(slot) = round.queue.pop_front() else {
                if round.active.is_empty() {
                    self.round = None;
                    self.begin_checkpoint();
                }
                return;
            };
            if !self.is_flushable(slot) {
                continue;
            }
            let Some(partition) = self.partition_mut(slot) else { continue };
            partition.flush_goal = partition.end;
            partition.round_goal = Some(partition.end);
            if let Some(round) = &mut self.round {
                round.active.insert(slot);
            }
            self.pump(slot);
        }
    }

    /// Whether a round can do anything for this partition.
    pub(super) fn is_flushable(&self, slot: PartitionSlot) -> bool {
        self.partition(slot).is_some_and(|partition| {
            // A truncation that has cut memory holds its partition still, and the checkpoint says what was before it.
            let excused = partition.failed || partition.is_stalled() || partition.described.is_some();
            !excused && partition.segment_synced_end() < partition.end
        })
    }

    /// The partition's segments reach further, or it has failed: perhaps the round need not wait for it any more.
    pub(super) fn note_round_progress(&mut self, slot: PartitionSlot) {
        let reached = self.partition(slot).is_none_or(|partition| {
            partition.failed || partition.round_goal.is_none_or(|goal| partition.segment_synced_end() >= goal)
        });
        if reached {
            self.finish_round_partition(slot);
        }
    }

    /// The round does not wait for this partition any more.
    pub(super) fn finish_round_partition(&mut self, slot: PartitionSlot) {
        if let Some(partition) = self.partition_mut(slot) {
            partition.round_goal = None;
        }
        let Some(round) = &mut self.round else { return };
        if round.active.remove(&slot) {
            self.fill_round();
        }
    }

    /// When the next round is due, after one has ended.
    pub(super) fn schedule_round(&mut self, delay_ms: i64) {
        if self.changed || !self.dirty.is_empty() {
            self.changed = true;
            self.next_round_ms = self.next_round_ms.min(self.now_ms.saturating_add(delay_ms));
        }
    }

    /// Topics with `flush.ms`: what is due goes to stable media.
    pub(super) fn flush_due_partitions(&mut self) {
        while let Some(&(when, slot)) = self.flush_deadlines.first()
            && when <= self.now_ms
        {
            self.flush_deadlines.pop_first();
            if let Some(partition) = self.partition_mut(slot) {
                partition.flush_goal = partition.end;
                partition.unflushed_since_ms = None;
                self.pump(slot);
            }
        }
    }
}
