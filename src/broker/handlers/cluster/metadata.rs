//! Metadata (key 3): brokers, topics, partitions; makes topics that are named and missing, if both sides agree to it.

use super::endpoint_of;
use crate::broker::shards::control::Waiting as ControlWaiting;
use crate::broker::shards::{RequestId, Shard};
use crate::controller::state::{Command, CreateMode, NewTopic, Refusal, Reply};
use crate::model::error_code::ErrorCode;
use crate::model::image::{Image, TopicImage};
use crate::model::{TopicId, topic_name};
use crate::protocol::kafka::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use crate::runtime::memory::ArenaMemory;

/// From this version on topics can be asked for by id (KIP-516).
const IDS_FROM_VERSION: i16 = 12;

/// What a request names.
#[derive(Clone, Debug)]
enum Named {
    All,
    Topics(Vec<(Option<String>, TopicId)>),
}

/// A request that waits for topics to be made.
#[derive(Debug)]
pub struct Waiting {
    id: RequestId,
    named: Named,
}

pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: MetadataRequest<'_>) {
    let named = match &request.topics {
        None => Named::All,
        Some(topics) if topics.is_empty() && id.api_version == 0 => Named::All,
        Some(topics) => Named::Topics(
            topics.iter().map(|topic| (topic.name.map(str::to_owned), topic.topic_id)).collect(),
        ),
    };
    let may_create = shard.config.auto_create_topics_enable && request.allow_auto_topic_creation;
    let missing = if may_create { missing_topics(&shard.image, &named) } else { Vec::new() };
    if missing.is_empty() {
        answer(shard, &id, &named, &[]);
        return;
    }
    let command = Command::CreateTopics { topics: missing, mode: CreateMode::IfAbsent };
    shard.ask_controller(command, ControlWaiting::Metadata(Waiting { id, named }));
}

fn missing_topics(image: &Image, named: &Named) -> Vec<NewTopic> {
    let Named::Topics(topics) = named else { return Vec::new() };
    let mut missing: Vec<NewTopic> = Vec::new();
    for (name, _) in topics {
        let Some(name) = name else { continue };
        if image.topic(name).is_none()
            && topic_name::check(name).is_ok()
            && !missing.iter().any(|known| known.name == *name)
        {
            missing.push(NewTopic {
                name: name.clone(),
                partition_count: -1,
                replication_factor: -1,
                ..NewTopic::default()
            });
        }
    }
    missing
}

/// The controller has made what was missing, or not.
pub fn handle_answer<M: ArenaMemory>(shard: &mut Shard<M>, waiting: &Waiting, reply: Result<Reply, Refusal>) {
    let refused: Vec<(String, ErrorCode)> = match reply {
        Ok(Reply::CreateTopics(outcomes)) => outcomes
            .into_iter()
            .filter_map(|outcome| Some((outcome.name, outcome.result.err()?.error_code())))
            .collect(),
        _ => Vec::new(),
    };
    answer(shard, &waiting.id, &waiting.named, &refused);
}

fn answer<M: ArenaMemory>(
    shard: &mut Shard<M>,
    id: &RequestId,
    named: &Named,
    refused: &[(String, ErrorCode)],
) {
    let endpoint = endpoint_of(shard, id);
    let image = std::sync::Arc::clone(&shard.image);
    let broker_id = image.broker().id.0;
    let cluster_id = image.cluster_id().to_string();
    let topics = match named {
        Named::All => image.topics().map(|topic| describe(&image, topic)).collect(),
        Named::Topics(topics) => topics
            .iter()
            .map(|(name, topic_id)| match name {
                Some(name) => by_name(&image, name, refused),
                None if id.api_version >= IDS_FROM_VERSION => by_id(&image, *topic_id),
                // Versions 10 and 11 have the field, and no way to answer it: Kafka refuses it likewise.
                None => MetadataResponseTopic {
                    error_code: ErrorCode::InvalidRequest.code(),
                    name: Some(""),
                    topic_id: *topic_id,
                    ..MetadataResponseTopic::default()
                },
            })
            .collect(),
    };
    let response = MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: broker_id,
            host: &endpoint.host,
            port: i32::from(endpoint.port),
            rack: None,
        }],
        cluster_id: Some(&cluster_id),
        controller_id: broker_id,
        topics,
        ..MetadataResponse::default()
    };
    shard.reply(id, &response, Vec::new());
}

fn by_name<'a>(
    image: &'a Image,
    name: &'a str,
    refused: &[(String, ErrorCode)],
) -> MetadataResponseTopic<'a> {
    if let Some(topic) = image.topic(name) {
        return describe(image, topic);
    }
    let error = match refused.iter().find(|(known, _)| known == name) {
        Some((_, error)) => *error,
        None if topic_name::check(name).is_err() => ErrorCode::InvalidTopicException,
        None => ErrorCode::UnknownTopicOrPartition,
    };
    MetadataResponseTopic { error_code: error.code(), name: Some(name), ..MetadataResponseTopic::default() }
}

fn by_id(image: &Image, topic_id: TopicId) -> MetadataResponseTopic<'_> {
    image.topic_by_id(topic_id).map_or_else(
        || MetadataResponseTopic {
            error_code: ErrorCode::UnknownTopicId.code(),
            topic_id,
            ..MetadataResponseTopic::default()
        },
        |topic| describe(image, topic),
    )
}

fn describe<'a>(image: &Image, topic: &'a TopicImage) -> MetadataResponseTopic<'a> {
    let broker_id = image.broker().id.0;
    let leader_epoch = image.leader_epoch(topic).0;
    MetadataResponseTopic {
        name: Some(&topic.name),
        topic_id: topic.id,
        is_internal: topic.internal,
        partitions: topic
            .partitions()
            .map(|partition| MetadataResponsePartition {
                partition_index: partition.0,
                leader_id: broker_id,
                leader_epoch,
                replica_nodes: vec![broker_id],
                isr_nodes: vec![broker_id],
                ..MetadataResponsePartition::default()
            })
            .collect(),
        ..MetadataResponseTopic::default()
    }
}
