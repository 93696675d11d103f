//! The control thread: owns the metadata, answers the shards' questions, and brings the broker to its end.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::Error;
use super::figures::{ShardFigures, Watch};
use super::reserve::{self, RESERVE_BYTES};
use super::revival::Revival;
use super::start::{self, Prepared, RunningShard, Started};
use crate::broker::shards::control::{ControlAnswer, ControlQuestion};
use crate::model::image::Image;
use crate::runtime::mailbox::{Receiver, mailbox};
use crate::runtime::memory::Arena;
use crate::runtime::waker::Parker;
use crate::storage::recovery::write_base_of;

/// From the control thread to a shard.
pub(super) enum ToShard {
    Image(Arc<Image>),
    Answer(ControlAnswer),
    /// The logs begin anew: the log is to come to rest. False: that could not be written down.
    BeginAnew(bool),
    /// All have come to rest: the log's memory is to be given away.
    HandOver,
    /// Somebody wants to know how it is.
    Describe {
        with_partitions: bool,
        tell: Box<dyn FnOnce(Box<ShardFigures>) + Send>,
        /// To be cleared when it is taken: no second question waits behind it.
        is_asked: Arc<AtomicBool>,
    },
    Stop,
}

/// From a shard to the control thread.
pub(super) enum FromShard {
    Question {
        shard: u16,
        question: ControlQuestion,
    },
    /// A log cannot go on as it is.
    BeginsAnew,
    /// The shard of this number has come to rest.
    Detached(u16),
    Arena {
        shard: u16,
        arena: Arena,
    },
    /// A shard's thread ends; its result is in its handle.
    Ended,
}

/// Messages that may wait for the control thread. A shard with more keeps them.
const QUESTIONS_MAX: usize = 4_096;
/// While less room is kept for the next start than it may need, it is looked for so often.
const RESERVE_INTERVAL: Duration = Duration::from_secs(10);

/// What the control thread has while the shards run.
struct Control {
    prepared: Prepared,
    from_shards: Receiver<FromShard>,
    shards: Vec<RunningShard>,
    revival: Revival,
    /// Shards that have ended.
    ended: usize,
}

/// Starts the shards and serves their questions until they end.
pub(super) fn run(mut prepared: Prepared, on_started: impl FnOnce(&Started, Watch)) -> Result<(), Error> {
    let parker = Parker::new();
    let (to_control, from_shards) = mailbox(QUESTIONS_MAX, parker.waker());
    let shards = start::start_shards(&mut prepared, &to_control)?;
    prepared.stop.begin_serving(parker.waker());
    let watch = Watch::new(shards.iter().map(|shard| shard.mail.clone()));
    on_started(&prepared.started, watch);
    let mut stopping = false;
    let mut keeps_reserve = reserve::keep(&prepared.disk, RESERVE_BYTES);
    let mut control = Control { prepared, from_shards, shards, revival: Revival::default(), ended: 0 };
    loop {
        let asked = control.prepared.stop.is_asked();
        if (asked || control.ended > 0) && !stopping {
            stopping = true;
            if asked {
                tracing::info!("stopping");
            }
            // Sealing may need it.
            if let Err(error) = reserve::release(&control.prepared.disk) {
                tracing::warn!(%error, "the room that is kept for it cannot be used");
            }
            for shard in &control.shards {
                let _ = shard.mail.send(ToShard::Stop);
            }
        }
        control.serve();
        if control.ended == control.shards.len() {
            break;
        }
        let timeout = (!keeps_reserve).then_some(RESERVE_INTERVAL);
        if !parker.park(timeout) && !keeps_reserve && !stopping {
            keeps_reserve = reserve::keep(&control.prepared.disk, RESERVE_BYTES);
        }
    }
    control.end()
}

impl Control {
    /// Takes what the shards have sent; all that has been asked is answered in one batch.
    fn serve(&mut self) {
        let mut messages = Vec::new();
        self.from_shards.take_all(&mut messages);
        let mut asked = Vec::new();
        for message in messages {
            let lives = &mut self.prepared.lives;
            match message {
                FromShard::Question { shard, question } => asked.push((shard, question)),
                FromShard::BeginsAnew => self.revival.begin(&mut self.prepared.controller, &self.shards),
                FromShard::Detached(shard) => self.revival.note_detached(shard, &self.shards),
                FromShard::Arena { shard, arena } => {
                    let image = self.prepared.controller.image();
                    self.revival.take_arena(shard, arena, lives, image, &self.shards);
                }
                FromShard::Ended => {
                    self.ended += 1;
                    self.revival.give_up(lives, &self.prepared.controller.image(), &self.shards);
                }
            }
        }
        if !asked.is_empty() {
            self.answer(asked);
        }
    }

    fn answer(&mut self, asked: Vec<(u16, ControlQuestion)>) {
        let controller = &mut self.prepared.controller;
        let before = controller.image().metadata_offset();
        let (askers, commands): (Vec<(u16, u64)>, Vec<_>) =
            asked.into_iter().map(|(shard, question)| ((shard, question.token), question.command)).unzip();
        let replies = controller.handle(&commands);
        let image = controller.image();
        // The image first, to all: an answer speaks of what is in it, and who hears of it asks the others.
        if image.metadata_offset() != before {
            for shard in &self.shards {
                let _ = shard.mail.push(ToShard::Image(Arc::clone(&image)));
            }
        }
        for ((shard, token), reply) in askers.into_iter().zip(replies) {
            if let Some(shard) = self.shards.get(usize::from(shard)) {
                let _ = shard.mail.push(ToShard::Answer(ControlAnswer { token, reply }));
            }
        }
        for shard in &self.shards {
            shard.mail.wake();
        }
    }

    /// All shards have ended.
    fn end(self) -> Result<(), Error> {
        let Self { prepared, shards, .. } = self;
        let mut clean = Some(Vec::new());
        for shard in shards {
            let stopped = shard.thread.join().map_err(|_| Error::ShardEnded)??;
            clean = clean.zip(stopped.clean).map(|(mut all, own)| {
                all.extend(own);
                all
            });
        }
        // The log may have begun anew since the start.
        let incarnation = prepared.controller.image().start_count().0;
        let count = u32::from(prepared.lives.count());
        let written = clean
            .map(|partitions| write_base_of(&prepared.disk, incarnation, count, true, partitions))
            .transpose();
        if let Err(error) = &written {
            tracing::warn!(%error, "that everything is sealed cannot be written down");
        }
        if let Ok(Some(())) = written {
            reserve::keep(&prepared.disk, RESERVE_BYTES);
            // Nothing is in the arenas: their memory is the machine's again. The last first: those of numbers that are not used any
            // more are looked for up to the first that is missing.
            for number in prepared.lives.numbers().rev() {
                if let Err(error) = Arena::remove(&prepared.lives.arena_path(number)) {
                    tracing::warn!(%error, "the arena's memory is not given back");
                }
            }
            tracing::info!("stopped, everything is sealed");
        } else {
            tracing::warn!("stopped, and not everything is known to be sealed; the next start recovers it");
        }
        Ok(())
    }
}
