//! When the commit log cannot be written: the shard's log begins anew.
//!
//! A write that failed is not tried again, since nobody knows what it left. All partitions refuse with KAFKA_STORAGE_ERROR,
//! what is under way ends, and then the log is recovered from disk and arena as after a death of the process, onto a new stream
//! and with higher leader epochs. The connections stay. The shard stands still for that time: it has nothing else to serve.

use std::time::Duration;

use super::control::ToShard;
use super::shard_loop::ShardLoop;

/// Clients get so long to read replies whose records lie in the arena; then they are disconnected. Unit: ms.
const DETACH_MS_MAX: i64 = 1_000;
/// Time between two attempts, doubled after each up to the maximum: a disk that keeps failing is not hammered. Unit: ms.
const PAUSE_MS_MIN: i64 = 100;
const PAUSE_MS_MAX: i64 = 30_000;
/// While recovery is repeated, it is looked so often whether the broker is to stop. Unit: ms.
const STOP_LOOK_MS: i64 = 100;

/// Where a rebuild stands.
#[derive(Debug, Default)]
pub(super) struct Rebuild {
    step: Step,
    pause_ms: i64,
    not_before_ms: i64,
}

#[derive(Debug, Default)]
enum Step {
    #[default]
    Idle,
    /// The controller has been asked for the number of a new life.
    Asked,
    /// Operations end, replies leave.
    Draining { deadline_ms: i64 },
}

/// The shard was told to stop while the disk refused: the next start recovers.
pub(super) struct StopWished;

impl Rebuild {
    /// Whether no storage operation may be started any more.
    pub(super) const fn is_draining(&self) -> bool {
        matches!(self.step, Step::Draining { .. })
    }

    /// Whether [`ShardLoop::proceed_rebuild`] has something to look at. `failed`: the commit log has.
    pub(super) const fn is_due(&self, failed: bool, now_ms: i64) -> bool {
        match self.step {
            Step::Idle => failed && now_ms >= self.not_before_ms,
            _ => true,
        }
    }

    /// When it has, if nothing else happens. Unit: ms.
    pub(super) const fn next_deadline_ms(&self, failed: bool) -> i64 {
        match self.step {
            Step::Idle if failed => self.not_before_ms,
            Step::Draining { deadline_ms } => deadline_ms,
            _ => i64::MAX,
        }
    }

    fn pause(&mut self, now_ms: i64) {
        self.pause_ms = (self.pause_ms * 2).clamp(PAUSE_MS_MIN, PAUSE_MS_MAX);
        self.not_before_ms = now_ms.saturating_add(self.pause_ms);
    }
}

impl ShardLoop {
    /// Takes the next step towards a log that works.
    pub(super) fn proceed_rebuild(mut self) -> Result<Self, StopWished> {
        match self.rebuild.step {
            Step::Idle => {
                tracing::error!(
                    "the commit log could not be written, or not be emptied: the log begins anew"
                );
                self.shard.ask_for_new_life();
                self.rebuild.step = Step::Asked;
            }
            Step::Asked => match self.shard.take_new_life() {
                None => {}
                Some(false) => {
                    self.rebuild.pause(self.now_ms);
                    self.rebuild.step = Step::Idle;
                }
                Some(true) => {
                    let deadline_ms = self.now_ms.saturating_add(DETACH_MS_MAX);
                    self.rebuild.step = Step::Draining { deadline_ms };
                }
            },
            Step::Draining { deadline_ms } => {
                if self.now_ms >= deadline_ms {
                    self.close_clients();
                    self.rebuild.step =
                        Step::Draining { deadline_ms: self.now_ms.saturating_add(DETACH_MS_MAX) };
                }
                // Again each time: a topic may have been made meanwhile, and somebody may wait for it.
                self.shard.fail_all();
                self.settle();
                if self.storage.is_idle() && self.shard.is_detached() {
                    return self.begin_anew();
                }
            }
        }
        Ok(self)
    }

    /// Recovers and goes on. As long as the disk refuses, it is tried again, and nothing is served.
    fn begin_anew(self) -> Result<Self, StopWished> {
        let mut this = self;
        this.storage.reset();
        let mut mail = Vec::new();
        let revived = this.shard.renew(|mut arena, image| {
            this.life.recovery.incarnation = image.start_count().0;
            loop {
                let error = match this.life.begin_again(&mut arena, image) {
                    Err(error) => error,
                    Ok(recovered) => match this.life.open(&mut this.storage, arena, image, recovered) {
                        Ok(opened) => return Ok(opened),
                        Err((memory, error)) => {
                            arena = memory;
                            this.storage.reset();
                            error
                        }
                    },
                };
                tracing::error!(%error, "the log cannot be recovered; it is tried again");
                this.rebuild.pause(this.now_ms);
                let mut left_ms = this.rebuild.pause_ms;
                while left_ms > 0 {
                    let step_ms = left_ms.min(STOP_LOOK_MS);
                    std::thread::sleep(Duration::from_millis(step_ms.unsigned_abs()));
                    left_ms -= step_ms;
                    this.from_control.take_all(&mut mail);
                    if mail.iter().any(|message| matches!(message, ToShard::Stop)) {
                        return Err(StopWished);
                    }
                }
            }
        })?;
        this.rebuild.step = Step::Idle;
        this.rebuild.pause(this.now_ms);
        let mut this = Self { shard: revived, ..this };
        for message in mail {
            this.handle_mail(message);
        }
        tracing::info!("the log has begun anew");
        Ok(this)
    }
}
