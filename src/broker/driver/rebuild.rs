//! When the log cannot go on, or could not be recovered for want of room: it begins anew.
//!
//! A commit-log write that failed is not tried again, since nobody knows what it left. All partitions refuse with
//! KAFKA_STORAGE_ERROR, what is under way ends, and then the log is recovered from disk and arena as after a death of the process,
//! onto a new stream and with higher leader epochs. All shards' logs begin anew together, since a life is the broker's: each gives
//! its memory to the control thread (`revival.rs`) and waits. The connections stay. If the disk does not let recovery succeed, it is
//! tried again later, and meanwhile everything is refused. Where nothing but room is wanting, at a start too, what can be read is
//! read meanwhile.

use std::time::Duration;

use super::control::FromShard;
use super::reserve;
use super::revival::Revived;
use super::shard_loop::ShardLoop;
use crate::model::limits::BLOCK_BYTES;
use crate::model::number::wide;
use crate::runtime::disk::RealDisk;
use crate::runtime::mailbox::Refused;
use crate::storage::recovery::Recovered;

/// Clients get so long to read replies whose records lie in the arena; then they are disconnected. Unit: ms.
const DETACH_MS_MAX: i64 = 1_000;
/// Time between two attempts, doubled after each up to the maximum: a disk that keeps failing is not hammered. Unit: ms.
const PAUSE_MS_MIN: i64 = 100;
const PAUSE_MS_MAX: i64 = 30_000;
/// While the disk is full, between two attempts, or looks at how much room there is. Unit: ms.
const FULL_PAUSE_MS: i64 = 1_000;
/// With so much more room than there was, a recovery for which that did not do is tried again. Unit: bytes.
const ROOM_BYTES_MIN: u64 = 1 << 20;

/// Where a rebuild stands.
#[derive(Debug, Default)]
pub(super) struct Rebuild {
    step: Step,
    pause_ms: i64,
    not_before_ms: i64,
    /// The log, of which what can be read is, waits for more room than this to be recovered; 0: it does not. Unit: bytes.
    wanted_bytes: u64,
    next_look_ms: i64,
    /// When it is tried with any room more than there was.
    next_try_ms: i64,
    /// What was recovered could not be opened here: the logs must begin anew once more.
    has_failed: bool,
}

#[derive(Debug, Default)]
enum Step {
    #[default]
    Idle,
    /// The control thread has been asked for a new life.
    Asked,
    /// Operations end, replies leave. `is_told`: the control thread knows that they have.
    Draining { deadline_ms: i64, is_told: bool },
    /// All shards are ready to give their memory away.
    HandingOver { deadline_ms: i64 },
}

impl Rebuild {
    /// That of a log that a start has recovered, or of one that waits for room.
    pub(super) fn after_start(recovered: &Recovered, disk: &RealDisk, now_ms: i64) -> Self {
        let available_bytes = reserve::available(disk).unwrap_or_default();
        let mut this = Self::default();
        this.note_recovered(recovered, available_bytes, now_ms);
        this
    }

    /// Whether the log has failed, or could not be recovered yet.
    pub(super) const fn is_under_way(&self) -> bool {
        !matches!(self.step, Step::Idle) || self.has_failed || self.wanted_bytes > 0
    }

    /// Whether no storage operation may be started any more.
    pub(super) const fn is_draining(&self) -> bool {
        matches!(self.step, Step::Draining { .. } | Step::HandingOver { .. })
    }

    /// Whether [`ShardLoop::proceed_rebuild`] has something to look at. `failed`: the log has.
    pub(super) const fn is_due(&self, failed: bool, now_ms: i64) -> bool {
        match self.step {
            Step::Idle => (failed || self.has_failed) && now_ms >= self.not_before_ms,
            _ => true,
        }
    }

    /// When it has, if nothing else happens. Unit: ms.
    pub(super) fn next_deadline_ms(&self, failed: bool) -> i64 {
        match self.step {
            Step::Idle if failed || self.has_failed => self.not_before_ms,
            Step::Idle if self.wanted_bytes > 0 => self.next_look_ms.max(self.not_before_ms),
            Step::Draining { deadline_ms, .. } | Step::HandingOver { deadline_ms } => deadline_ms,
            _ => i64::MAX,
        }
    }

    /// The control thread has a new life for all shards, or could not write one down.
    pub(super) fn handle_granted(&mut self, granted: bool, now_ms: i64) {
        match self.step {
            _ if granted => {
                self.has_failed = false;
                let deadline_ms = now_ms.saturating_add(DETACH_MS_MAX);
                self.step = Step::Draining { deadline_ms, is_told: false };
            }
            Step::Asked => {
                self.pause(now_ms, PAUSE_MS_MAX);
                self.step = Step::Idle;
            }
            _ => {}
        }
    }

    /// All shards have come to rest.
    pub(super) const fn handle_hand_over(&mut self, now_ms: i64) {
        self.step = Step::HandingOver { deadline_ms: now_ms.saturating_add(DETACH_MS_MAX) };
    }

    /// Whether a log that waits for room to be recovered is to be tried again.
    pub(super) fn has_room_come(&mut self, disk: &RealDisk, now_ms: i64) -> bool {
        if self.wanted_bytes == 0 || now_ms < self.next_look_ms || !matches!(self.step, Step::Idle) {
            return false;
        }
        self.next_look_ms = now_ms.saturating_add(FULL_PAUSE_MS);
        let more_bytes = if now_ms >= self.next_try_ms { wide(BLOCK_BYTES) } else { ROOM_BYTES_MIN };
        let wanted_bytes = self.wanted_bytes.saturating_add(more_bytes);
        reserve::available(disk).is_ok_and(|available_bytes| available_bytes >= wanted_bytes)
    }

    /// The log has been recovered, or waits for room.
    fn note_recovered(&mut self, recovered: &Recovered, available_bytes: u64, now_ms: i64) {
        self.wanted_bytes = if recovered.report.lacks_room { available_bytes.max(1) } else { 0 };
        self.next_look_ms = now_ms.saturating_add(FULL_PAUSE_MS);
        self.next_try_ms = now_ms.saturating_add(PAUSE_MS_MAX);
    }

    fn pause(&mut self, now_ms: i64, pause_ms_max: i64) {
        self.pause_ms = (self.pause_ms * 2).clamp(PAUSE_MS_MIN, pause_ms_max);
        self.not_before_ms = now_ms.saturating_add(self.pause_ms);
    }
}

impl ShardLoop {
    /// Takes the next step towards a log that works.
    pub(super) fn proceed_rebuild(mut self) -> Self {
        match self.rebuild.step {
            Step::Idle => {
                if self.shard.must_begin_anew() {
                    tracing::error!(
                        "the commit log could not be written, or not be emptied: the log begins anew"
                    );
                } else {
                    tracing::info!("the disk may have room to recover the log: it begins anew");
                }
                self.unsent.push_back(FromShard::BeginsAnew);
                self.send_questions();
                self.rebuild.step = Step::Asked;
            }
            Step::Asked => {}
            Step::Draining { deadline_ms, is_told } => {
                let is_detached = self.drain();
                let is_due = is_detached && self.now_ms >= self.rebuild.not_before_ms;
                if is_due && !is_told {
                    self.unsent.push_back(FromShard::Detached(self.life.place.number));
                    self.send_questions();
                }
                let deadline_ms = if is_due {
                    i64::MAX
                } else if is_detached {
                    self.rebuild.not_before_ms
                } else if self.now_ms >= deadline_ms {
                    self.close_clients();
                    self.now_ms.saturating_add(DETACH_MS_MAX)
                } else {
                    // What a client here has been lent since by another shard may have undone it.
                    deadline_ms.min(self.now_ms.saturating_add(DETACH_MS_MAX))
                };
                self.rebuild.step = Step::Draining { deadline_ms, is_told: is_told || is_due };
            }
            Step::HandingOver { deadline_ms } => {
                if self.drain() {
                    return self.begin_anew();
                }
                if self.now_ms >= deadline_ms {
                    self.close_clients();
                    let deadline_ms = self.now_ms.saturating_add(DETACH_MS_MAX);
                    self.rebuild.step = Step::HandingOver { deadline_ms };
                }
            }
        }
        self
    }

    /// Everything is refused, and ends. Returns whether nothing holds the log's memory any more.
    fn drain(&mut self) -> bool {
        // Again each time: a topic may have been made meanwhile, and somebody may wait for it.
        self.shard.fail_all();
        self.settle();
        self.storage.is_idle() && self.shard.is_detached()
    }

    /// Recovers and goes on, or refuses everything until it is tried again.
    fn begin_anew(self) -> Self {
        let mut this = self;
        this.storage.reset();
        let available_bytes = reserve::available(&this.life.disk).unwrap_or_default();
        let mut failed = None;
        let revived = this.shard.renew(|arena| {
            let shard = this.life.place.number;
            let mut message = FromShard::Arena { shard, arena };
            // The thread waits for it in any case.
            while let Err(Refused::Full(refused)) = this.to_control.send(message) {
                message = refused;
                std::thread::sleep(Duration::from_millis(1));
            }
            // The control thread gives it back whatever happens; where it has gone, so does the process.
            let Ok(Revived { mut arena, recovery, image, recovered }) = this.revives.recv() else {
                panic!("the control thread has gone with the log's memory")
            };
            this.life.recovery = recovery;
            match recovered {
                Err(is_full) => failed = Some(is_full),
                Ok(recovered) => {
                    this.rebuild.note_recovered(&recovered, available_bytes, this.now_ms);
                    match this.life.open(&mut this.storage, arena, &image, recovered) {
                        Ok((log, partitions)) => return (log, partitions, image),
                        Err((memory, error)) => {
                            tracing::error!(%error, "the recovered log cannot be opened; it is tried again");
                            arena = memory;
                            this.storage.reset();
                            this.rebuild.has_failed = true;
                        }
                    }
                }
            }
            let (log, partitions) = this.life.open_failed(arena, &image);
            (log, partitions, image)
        });
        let mut this = Self { shard: revived, ..this };
        if let Some(is_full) = failed {
            this.rebuild.pause(this.now_ms, if is_full { FULL_PAUSE_MS } else { PAUSE_MS_MAX });
            this.rebuild.step = Step::Draining { deadline_ms: this.rebuild.not_before_ms, is_told: false };
        } else {
            this.rebuild.step = Step::Idle;
            this.rebuild.pause(this.now_ms, PAUSE_MS_MAX);
            if this.rebuild.wanted_bytes == 0 && !this.rebuild.has_failed {
                tracing::info!("the log has begun anew");
            }
        }
        this
    }
}
