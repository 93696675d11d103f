//! Questions to the control thread, and what waits for its answers.
//!
//! A change of the metadata goes there as a command, and comes back as a new image followed by the answer. Bounded: each
//! question belongs to a request that holds a slot of its connection, or is the one for producer ids.

use std::collections::BTreeMap;

use super::{RequestId, Shard};
use crate::broker::handlers;
use crate::controller::state::{Command, ProducerIdBlock, Refusal, Reply};
use crate::runtime::memory::ArenaMemory;

/// A command for the controller; `token` comes back with the answer.
#[derive(Debug)]
pub struct ControlQuestion {
    pub token: u64,
    pub command: Command,
}

/// What the controller said.
#[derive(Debug)]
pub struct ControlAnswer {
    pub token: u64,
    pub reply: Result<Reply, Refusal>,
}

/// What a request wants to do when its answer comes.
#[derive(Debug)]
pub enum Waiting {
    CreateTopics(handlers::topics::create_topics::Waiting),
    DeleteTopics(handlers::topics::delete_topics::Waiting),
    AlterConfigs(handlers::configs::incremental_alter_configs::Waiting),
    /// Topics are being made because Metadata named them.
    Metadata(handlers::cluster::metadata::Waiting),
    ProducerIds,
}

/// Questions that have no answer yet.
#[derive(Debug, Default)]
pub struct Asked {
    next_token: u64,
    waiting: BTreeMap<u64, Waiting>,
}

impl Asked {
    /// Whether everything is answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Producer ids that this shard may give out, and requests that wait for more.
#[derive(Debug, Default)]
pub struct ProducerIds {
    next: i64,
    end: i64,
    asking: bool,
    waiting: Vec<RequestId>,
}

impl ProducerIds {
    /// An id that nobody else has.
    pub fn take(&mut self) -> Option<i64> {
        (self.next < self.end).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    fn refill(&mut self, block: ProducerIdBlock) {
        self.next = block.first.0;
        self.end = block.first.0.saturating_add(block.count);
    }
}

impl<M: ArenaMemory> Shard<M> {
    /// Sends a command to the controller.
    pub(in crate::broker) fn ask_controller(&mut self, command: Command, waiting: Waiting) {
        let token = self.asked.next_token;
        self.asked.next_token += 1;
        self.asked.waiting.insert(token, waiting);
        self.ask(ControlQuestion { token, command });
    }

    /// The request gets a producer id when there are some again.
    pub(in crate::broker) fn wait_for_producer_ids(&mut self, request: RequestId) {
        self.producer_ids.waiting.push(request);
        if !self.producer_ids.asking {
            self.producer_ids.asking = true;
            self.ask_controller(Command::AllocateProducerIds, Waiting::ProducerIds);
        }
    }
}

pub(super) fn handle_answer<M: ArenaMemory>(shard: &mut Shard<M>, answer: ControlAnswer) {
    let Some(waiting) = shard.asked.waiting.remove(&answer.token) else { return };
    match waiting {
        Waiting::CreateTopics(waiting) => {
            handlers::topics::create_topics::handle_answer(shard, &waiting, answer.reply);
        }
        Waiting::DeleteTopics(waiting) => {
            handlers::topics::delete_topics::handle_answer(shard, &waiting, answer.reply);
        }
        Waiting::AlterConfigs(waiting) => {
            handlers::configs::incremental_alter_configs::handle_answer(shard, waiting, answer.reply);
        }
        Waiting::Metadata(waiting) => {
            handlers::cluster::metadata::handle_answer(shard, &waiting, answer.reply)
        }
        Waiting::ProducerIds => {
            shard.producer_ids.asking = false;
            let requests = std::mem::take(&mut shard.producer_ids.waiting);
            if let Ok(Reply::AllocateProducerIds(block)) = answer.reply {
                shard.producer_ids.refill(block);
                for request in requests {
                    handlers::data::init_producer_id::answer(shard, &request);
                }
            } else {
                for request in requests {
                    handlers::data::init_producer_id::refuse(shard, &request);
                }
            }
        }
    }
}
