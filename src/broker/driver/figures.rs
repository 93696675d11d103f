//! What a shard tells about itself, and how it is asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::control::ToShard;
use super::shard_loop::ShardLoop;
use crate::broker::owner::partitions::TopicFigures;
use crate::broker::shards::figures::RequestFigures;
use crate::model::Histogram;
use crate::model::image::TopicImage;
use crate::model::number::wide;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::mailbox::Sender;
use crate::storage::shard::figures::LogFigures;

/// A turn's stage that takes longer holds the shard for too long: it is counted and logged. Unit: µs.
const STALL_US: u64 = 10_000;
/// Partitions of one shard that are told apart: more would hold it for too long.
pub const PARTITIONS_MAX: usize = 10_000;
/// No more than one line about stalls in this time. Unit: µs.
const STALL_LINE_INTERVAL_US: u64 = 1_000_000;

/// What a shard may be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardState {
    Serving,
    /// Its log has failed and begins anew.
    Recovering,
    Stopping,
}

/// One shard at one moment. Everything that is counted is counted since the start, or since its log began anew.
#[derive(Clone, Debug)]
pub struct ShardFigures {
    pub number: u16,
    pub state: ShardState,
    pub requests: RequestFigures,
    /// Those that something was done to, in no order.
    pub topics: Vec<(Arc<TopicImage>, TopicFigures)>,
    /// Only if they were asked for, and at most [`PARTITIONS_MAX`]; in no order.
    pub partitions: Vec<PartitionFigures>,
    pub log: LogFigures,
    pub device: DeviceFigures,
    pub turns: TurnFigures,
    pub memory: MemoryFigures,
    /// Messages to other shards that have found no room in a queue.
    pub mesh_waiting: u64,
}

/// One partition's log.
#[derive(Clone, Debug)]
pub struct PartitionFigures {
    pub topic: Arc<TopicImage>,
    pub partition: usize,
    pub log_start_offset: i64,
    pub high_watermark: i64,
    pub log_end_offset: i64,
    pub flushed_offset: i64,
    pub size_bytes: u64,
}

/// What a shard's account says. Unit: bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryFigures {
    /// Requests that wait, replies that are not sent, and parts of frames.
    pub held: u64,
    /// Large frames.
    pub large_frames: u64,
}

/// A shard's I/O on files, as it sees it: from handing an operation over to looking at its end.
#[derive(Clone, Debug, Default)]
pub struct DeviceFigures {
    pub writes: Histogram,
    /// Writes that end when they are on stable media.
    pub durable_writes: Histogram,
    pub flushes: Histogram,
    pub reads: Histogram,
    pub written_bytes: u64,
    pub read_bytes: u64,
}

/// A stage of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Requests, and ends of operations.
    Completions,
    /// Of other shards and of the control thread, and what is due.
    Messages,
    /// What all that sets in motion: storage, replies.
    Settling,
}

/// The turns of a shard's loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct TurnFigures {
    pub turns: u64,
    /// How often another thread has woken it.
    pub wakeups: u64,
    /// By stages.
    stalls: [u64; STAGES.len()],
    /// The longest stage there was. Unit: µs.
    pub longest_us: u64,
    stage_began_us: u64,
    last_line_us: u64,
}

/// All stages, in their order.
pub const STAGES: [Stage; 3] = [Stage::Completions, Stage::Messages, Stage::Settling];

impl Stage {
    /// What it is called in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::Messages => "messages",
            Self::Settling => "settling",
        }
    }
}

impl TurnFigures {
    /// How often the stage has held the shard for more than 10 ms.
    #[must_use]
    pub fn stalls(&self, stage: Stage) -> u64 {
        self.stalls.get(stage as usize).copied().unwrap_or(0)
    }

    pub(super) const fn begin_turn(&mut self, now_us: u64) {
        self.turns += 1;
        self.stage_began_us = now_us;
    }

    /// Returns how long a line should say that it took. Unit: µs.
    pub(super) fn end_stage(&mut self, stage: Stage, now_us: u64) -> Option<u64> {
        let took_us = now_us.saturating_sub(self.stage_began_us);
        self.stage_began_us = now_us;
        self.longest_us = self.longest_us.max(took_us);
        if took_us < STALL_US {
            return None;
        }
        if let Some(stalls) = self.stalls.get_mut(stage as usize) {
            *stalls += 1;
        }
        if now_us < self.last_line_us.saturating_add(STALL_LINE_INTERVAL_US) {
            return None;
        }
        self.last_line_us = now_us;
        Some(took_us)
    }
}

/// Steady clock. Unit: µs.
pub(super) fn now_us() -> u64 {
    SystemClock.now().nanoseconds() / 1_000
}

/// Asks shards about themselves. From any thread.
#[derive(Clone)]
pub struct Watch {
    /// Of each shard, its mail, and whether it has been asked and has not looked at that yet.
    shards: Vec<(Sender<ToShard>, Arc<AtomicBool>)>,
}

impl Watch {
    pub(super) fn new(shards: impl Iterator<Item = Sender<ToShard>>) -> Self {
        Self { shards: shards.map(|mail| (mail, Arc::default())).collect() }
    }

    /// How many shards there are.
    #[must_use]
    pub const fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Has each shard call `tell`, on its own thread: it must not wait. One that has not looked at the last question yet is not asked
    /// again: however long a shard is held, one question waits for it.
    pub fn ask(&self, with_partitions: bool, tell: impl FnOnce(Box<ShardFigures>) + Clone + Send + 'static) {
        for (mail, is_asked) in &self.shards {
            if !is_asked.swap(true, Ordering::AcqRel) {
                let (tell, to_clear) = (Box::new(tell.clone()), Arc::clone(is_asked));
                let question = ToShard::Describe { with_partitions, tell, is_asked: to_clear };
                if mail.send(question).is_err() {
                    is_asked.store(false, Ordering::Release);
                }
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watch").field("shards", &self.shards.len()).finish()
    }
}

impl ShardLoop {
    /// The stage is over, in which so many things were handled; a stall is said.
    pub(super) fn end_stage(&mut self, stage: Stage, count: usize) {
        if let Some(took_us) = self.turns.end_stage(stage, now_us()) {
            let took = Duration::from_micros(took_us);
            let stalls = self.turns.stalls(stage);
            let shard = self.life.place.number;
            tracing::warn!(shard, stage = stage.name(), count, ?took, stalls, "the shard was held");
        }
    }

    pub(super) fn describe(&self, with_partitions: bool) -> ShardFigures {
        let owner = self.shard.owner();
        let state = match self.stop_deadline_ms {
            Some(_) => ShardState::Stopping,
            None if owner.is_out_of_service() || self.rebuild.is_under_way() => ShardState::Recovering,
            None => ShardState::Serving,
        };
        let (own_bytes, lone_bytes) = self.frames.in_use_bytes();
        // The one that all shards have in common is told by the first.
        let lone_bytes = if self.life.place.number == 0 { lone_bytes } else { 0 };
        let memory = MemoryFigures {
            held: wide(self.shard.memory().held_bytes()),
            large_frames: wide(own_bytes + lone_bytes),
        };
        ShardFigures {
            number: self.life.place.number,
            state,
            requests: self.shard.figures().clone(),
            topics: (owner.topics().filter(|(_, figures, _)| *figures != TopicFigures::default()))
                .map(|(topic, figures, _)| (Arc::clone(topic), figures))
                .collect(),
            partitions: if with_partitions { self.describe_partitions() } else { Vec::new() },
            log: owner.log().figures(),
            device: self.storage.figures().clone(),
            turns: self.turns,
            memory,
            mesh_waiting: wide(self.peers.waiting_count()),
        }
    }

    fn describe_partitions(&self) -> Vec<PartitionFigures> {
        let owner = self.shard.owner();
        let mut found = Vec::new();
        for (topic, _, slots) in owner.topics() {
            for (partition, slot) in slots {
                if found.len() == PARTITIONS_MAX {
                    return found;
                }
                let Some(log) = owner.log().partition(slot) else { continue };
                found.push(PartitionFigures {
                    topic: Arc::clone(topic),
                    partition,
                    log_start_offset: log.log_start_offset().0,
                    high_watermark: log.high_watermark().0,
                    log_end_offset: log.log_end_offset().0,
                    flushed_offset: log.flushed_offset().0,
                    size_bytes: log.size_bytes(),
                });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_holds_the_shard_is_counted_each_time_and_said_once_a_second() {
        let mut turns = TurnFigures::default();
        let mut now_us = 5_000_000;
        let mut turn = |stage, took_us, pause_us| {
            now_us += pause_us;
            turns.begin_turn(now_us);
            now_us += took_us;
            let said = turns.end_stage(stage, now_us);
            (said, turns.stalls(stage), turns.longest_us)
        };
        assert_eq!(turn(Stage::Settling, STALL_US - 1, 0), (None, 0, STALL_US - 1));
        assert_eq!(turn(Stage::Settling, STALL_US, 0), (Some(STALL_US), 1, STALL_US));
        assert_eq!(turn(Stage::Settling, 3 * STALL_US, 0), (None, 2, 3 * STALL_US));
        // What passes between turns is sleep.
        assert_eq!(turn(Stage::Messages, 1, 60_000_000), (None, 0, 3 * STALL_US));
        assert_eq!(turn(Stage::Messages, STALL_US, 0), (Some(STALL_US), 1, 3 * STALL_US));
    }
}
