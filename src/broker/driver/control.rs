//! The control thread: owns the metadata, answers the shard's questions, and brings the broker to its end.

use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::reserve::{self, RESERVE_BYTES};
use super::start::{self, Prepared, SHARDS, Started};
use crate::broker::shards::control::{ControlAnswer, ControlQuestion};
use crate::controller::Controller;
use crate::controller::state::Command;
use crate::model::image::Image;
use crate::runtime::disk::RealDisk;
use crate::runtime::mailbox::{Receiver, Sender, mailbox};
use crate::runtime::memory::Arena;
use crate::runtime::waker::Parker;
use crate::storage::recovery::write_base_of;

/// From the control thread to a shard.
pub(super) enum ToShard {
    Image(Arc<Image>),
    Answer(ControlAnswer),
    Stop,
}

/// From a shard to the control thread.
pub(super) enum FromShard {
    Question(ControlQuestion),
    /// The shard's thread ends; its result is in its handle.
    Ended,
}

/// Messages that may wait for the control thread. A shard with more keeps them.
const QUESTIONS_MAX: usize = 4_096;
/// While less room is kept for the next start than it may need, it is looked for so often.
const RESERVE_INTERVAL: Duration = Duration::from_secs(10);

/// Starts the shard and serves its questions until it ends.
pub(super) fn run(mut prepared: Prepared, on_started: impl FnOnce(&Started)) -> Result<(), Error> {
    let parker = Parker::new();
    let arena_path = prepared.arena_path();
    let (to_control, mut from_shard) = mailbox(QUESTIONS_MAX, parker.waker());
    let shard = start::start_shard(&mut prepared, to_control)?;
    prepared.stop.begin_serving(parker.waker());
    on_started(&prepared.started);
    let mut stopping = false;
    let mut keeps_reserve = reserve::keep(&prepared.disk, RESERVE_BYTES);
    let ended = loop {
        if prepared.stop.is_asked() && !stopping {
            stopping = true;
            tracing::info!("stopping");
            // Sealing may need it.
            if let Err(error) = reserve::release(&prepared.disk) {
                tracing::warn!(%error, "the room that is kept for it cannot be used");
            }
            let _ = shard.mail.send(ToShard::Stop);
        }
        if serve_questions(&mut prepared.controller, &mut from_shard, &shard.mail) {
            break shard.thread.join();
        }
        let timeout = (!keeps_reserve).then_some(RESERVE_INTERVAL);
        if !parker.park(timeout) && !keeps_reserve && !stopping {
            keeps_reserve = reserve::keep(&prepared.disk, RESERVE_BYTES);
        }
    };
    let stopped = ended.map_err(|_| Error::ShardEnded)??;
    // The log may have begun anew since the start.
    let incarnation = prepared.controller.image().start_count().0;
    let written = (stopped.clean)
        .map(|partitions| write_base_of(&prepared.disk, incarnation, SHARDS, true, partitions))
        .transpose();
    if let Err(error) = &written {
        tracing::warn!(%error, "that everything is sealed cannot be written down");
    }
    if let Ok(Some(())) = written {
        reserve::keep(&prepared.disk, RESERVE_BYTES);
        // Nothing is in the arena: its memory is the machine's again.
        if let Err(error) = Arena::remove(&arena_path) {
            tracing::warn!(%error, "the arena's memory is not given back");
        }
        tracing::info!("stopped, everything is sealed");
    } else {
        tracing::warn!("stopped, and not everything is known to be sealed; the next start recovers it");
    }
    Ok(())
}

/// Answers everything that has been asked, in one batch; true if the shard has ended.
fn serve_questions(
    controller: &mut Controller<RealDisk>,
    from_shard: &mut Receiver<FromShard>,
    to_shard: &Sender<ToShard>,
) -> bool {
    let mut messages = Vec::new();
    from_shard.take_all(&mut messages);
    let mut tokens = Vec::new();
    let mut commands: Vec<Command> = Vec::new();
    let mut ended = false;
    for message in messages {
        match message {
            FromShard::Question(question) => {
                tokens.push(question.token);
                commands.push(question.command);
            }
            FromShard::Ended => ended = true,
        }
    }
    if commands.is_empty() {
        return ended;
    }
    let before = controller.image().metadata_offset();
    let replies = controller.handle(&commands);
    let image = controller.image();
    // The image first: an answer speaks of what is in it.
    if image.metadata_offset() != before {
        let _ = to_shard.push(ToShard::Image(image));
    }
    for (token, reply) in tokens.into_iter().zip(replies) {
        let _ = to_shard.push(ToShard::Answer(ControlAnswer { token, reply }));
    }
    to_shard.wake();
    ended
}
