//! CreateTopics (key 19): the controller decides; the reply follows when the partitions exist here.

use crate::broker::shards::control::Waiting as ControlWaiting;
use crate::broker::shards::{RequestId, Shard};
use crate::config::{Entry, describe_topic};
use crate::controller::state::{Assignment, Command, CreateMode, CreateOutcome, NewTopic, Refusal, Reply};
use crate::model::error_code::ErrorCode;
use crate::protocol::kafka::messages::create_topics::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use crate::runtime::memory::ArenaMemory;

/// What a reply takes of a topic with its settings, beside what the request says of it. Unit: bytes.
const TOPIC_BYTES: usize = 2 << 10;

/// A request that waits for the controller.
#[derive(Debug)]
pub struct Waiting {
    id: RequestId,
    names: Vec<String>,
}

/// False, and nothing is done: there is no room for the reply.
pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: CreateTopicsRequest<'_>) -> bool {
    let reply_bytes = request.topics.len() * TOPIC_BYTES;
    if !shard.has_room_for_reply(reply_bytes) {
        return false;
    }
    let topics: Vec<NewTopic> = request
        .topics
        .iter()
        .map(|topic| NewTopic {
            name: topic.name.to_owned(),
            partition_count: topic.num_partitions,
            replication_factor: topic.replication_factor,
            assignments: topic
                .assignments
                .iter()
                .map(|given| Assignment {
                    partition: given.partition_index,
                    brokers: given.broker_ids.clone(),
                })
                .collect(),
            configs: topic
                .configs
                .iter()
                .map(|config| (config.name.to_owned(), config.value.map(str::to_owned)))
                .collect(),
        })
        .collect();
    if request.timeout_ms <= 0 {
        let names = topics.into_iter().map(|topic| topic.name).collect();
        refuse(shard, &Waiting { id, names }, ErrorCode::RequestTimedOut, None);
        return true;
    }
    shard.hold_more(&id, reply_bytes);
    let names = topics.iter().map(|topic| topic.name.clone()).collect();
    let mode = if request.validate_only { CreateMode::ValidateOnly } else { CreateMode::Create };
    let waiting = ControlWaiting::CreateTopics(Waiting { id, names });
    shard.ask_controller(Command::CreateTopics { topics, mode }, waiting);
    true
}

/// The controller has decided.
pub fn handle_answer<M: ArenaMemory>(shard: &mut Shard<M>, waiting: &Waiting, reply: Result<Reply, Refusal>) {
    match reply {
        Ok(Reply::CreateTopics(outcomes)) => answer(shard, waiting, &outcomes),
        Ok(_) => refuse(shard, waiting, ErrorCode::UnknownServerError, None),
        Err(refusal) => refuse(shard, waiting, refusal.error_code(), Some(&refusal.message())),
    }
}

fn answer<M: ArenaMemory>(shard: &mut Shard<M>, waiting: &Waiting, outcomes: &[CreateOutcome]) {
    let messages: Vec<Option<String>> =
        outcomes.iter().map(|outcome| outcome.result.as_ref().err().map(Refusal::message)).collect();
    let configs: Vec<Vec<Entry>> = outcomes.iter().map(|outcome| configs_of(shard, outcome)).collect();
    let topics = outcomes
        .iter()
        .zip(&messages)
        .zip(&configs)
        .map(|((outcome, message), configs)| match &outcome.result {
            Ok(topic) => CreatableTopicResult {
                name: &outcome.name,
                topic_id: topic.id,
                num_partitions: topic.partition_count,
                replication_factor: 1,
                configs: Some(configs.iter().map(config_result).collect()),
                ..CreatableTopicResult::default()
            },
            Err(refusal) => CreatableTopicResult {
                name: &outcome.name,
                error_code: refusal.error_code().code(),
                error_message: message.as_deref(),
                configs: Some(Vec::new()),
                ..CreatableTopicResult::default()
            },
        })
        .collect();
    shard.reply(&waiting.id, &CreateTopicsResponse { topics, ..CreateTopicsResponse::default() }, Vec::new());
}

fn configs_of<M>(shard: &Shard<M>, outcome: &CreateOutcome) -> Vec<Entry> {
    let Ok(topic) = &outcome.result else { return Vec::new() };
    let overrides: Vec<(String, String)> =
        topic.configs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    describe_topic(&shard.config, &overrides).unwrap_or_default()
}

fn config_result(entry: &Entry) -> CreatableTopicConfigs<'_> {
    CreatableTopicConfigs {
        name: entry.name,
        value: entry.value.as_deref(),
        read_only: entry.is_read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.is_sensitive,
    }
}

fn refuse<M: ArenaMemory>(shard: &mut Shard<M>, waiting: &Waiting, error: ErrorCode, message: Option<&str>) {
    let topics = waiting
        .names
        .iter()
        .map(|name| CreatableTopicResult {
            name,
            error_code: error.code(),
            error_message: message,
            configs: Some(Vec::new()),
            ..CreatableTopicResult::default()
        })
        .collect();
    shard.reply(&waiting.id, &CreateTopicsResponse { topics, ..CreateTopicsResponse::default() }, Vec::new());
}
