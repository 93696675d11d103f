//! DeleteTopics (key 20): by name or by id; the name is free at once, the data goes in the background.

use crate::broker::shards::control::Waiting as ControlWaiting;
use crate::broker::shards::{RequestId, Shard};
use crate::controller::state::{Command, Refusal, Reply, TopicSelector};
use crate::model::TopicId;
use crate::model::error_code::ErrorCode;
use crate::protocol::kafka::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::runtime::memory::ArenaMemory;

const SELECTORS_FROM_VERSION: i16 = 6;

/// A request that waits for the controller.
#[derive(Debug)]
pub struct Waiting {
    id: RequestId,
    selectors: Vec<TopicSelector>,
}

pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: DeleteTopicsRequest<'_>) {
    let topics: Vec<TopicSelector> = if id.api_version >= SELECTORS_FROM_VERSION {
        let named = |name: Option<&str>| name.map(str::to_owned);
        request
            .topics
            .iter()
            .map(|topic| TopicSelector { name: named(topic.name), id: topic.topic_id })
            .collect()
    } else {
        let selector = |name: &&str| TopicSelector { name: Some((*name).to_owned()), id: TopicId::ZERO };
        request.topic_names.iter().map(selector).collect()
    };
    let waiting = ControlWaiting::DeleteTopics(Waiting { id, selectors: topics.clone() });
    shard.ask_controller(Command::DeleteTopics { topics }, waiting);
}

/// The controller has decided; the image without the topics is here.
pub fn handle_answer<M: ArenaMemory>(shard: &mut Shard<M>, waiting: &Waiting, reply: Result<Reply, Refusal>) {
    let rows: Vec<(Option<String>, TopicId, ErrorCode, Option<String>)> = match reply {
        Ok(Reply::DeleteTopics(outcomes)) => outcomes
            .into_iter()
            .map(|outcome| match outcome.result {
                Ok(()) => (outcome.name, outcome.id, ErrorCode::None, None),
                Err(refusal) => (outcome.name, outcome.id, refusal.error_code(), Some(refusal.message())),
            })
            .collect(),
        other => {
            let error = other.err().map_or(ErrorCode::UnknownServerError, |refusal| refusal.error_code());
            waiting.selectors.iter().map(|topic| (topic.name.clone(), topic.id, error, None)).collect()
        }
    };
    let nullable = waiting.id.api_version >= SELECTORS_FROM_VERSION;
    let responses = rows
        .iter()
        .map(|(name, topic_id, error, message)| DeletableTopicResult {
            name: name.as_deref().or(if nullable { None } else { Some("") }),
            topic_id: *topic_id,
            error_code: error.code(),
            error_message: message.as_deref(),
        })
        .collect();
    shard.reply(
        &waiting.id,
        &DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() },
        Vec::new(),
    );
}
