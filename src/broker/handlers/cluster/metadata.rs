//! Metadata (key 3): brokers, topics, partitions; makes topics that are named and missing, if both sides agree to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{CLUSTER_OPERATIONS, TOPIC_OPERATIONS, endpoint_of};
use crate::broker::shards::control::Waiting as ControlWaiting;
use crate::broker::shards::{RequestId, Shard};
use crate::controller::state::{Command, CreateMode, NewTopic, Refusal, Reply};
use crate::model::error_code::ErrorCode;
use crate::model::image::{Image, TopicImage};
use crate::model::{PartitionIndex, TopicId, TopicPartition, topic_name};
use crate::protocol::kafka::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic, OPERATIONS_NOT_REQUESTED,
};
use crate::runtime::memory::ArenaMemory;

/// From this version on topics can be asked for by id (KIP-516).
const IDS_FROM_VERSION: i16 = 12;
/// Stands for the id of a leader that there is not.
const NO_LEADER: i32 = -1;

/// What a reply takes of a partition and of a topic without its name, at most. Unit: bytes.
const PARTITION_BYTES: usize = 34;
const TOPIC_BYTES: usize = 40;
/// And beside topics: an address is not long. Unit: bytes.
const HEAD_BYTES: usize = 1 << 10;

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
    operations: Operations,
}

/// Whether to say what the client may do.
#[derive(Clone, Copy, Debug)]
struct Operations {
    cluster: bool,
    topic: bool,
}

/// False, and nothing is done: there is no room for the reply.
pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: MetadataRequest<'_>) -> bool {
    let operations = Operations {
        cluster: request.include_cluster_authorized_operations,
        topic: request.include_topic_authorized_operations,
    };
    let named = match named_in(&request, id.api_version) {
        Ok(named) => named,
        Err(error) => {
            refuse(shard, &id, &request, error);
            return true;
        }
    };
    let reply_bytes = reply_bytes(&shard.image, &named);
    if !shard.has_room_for_reply(reply_bytes) {
        return false;
    }
    let may_create = shard.config.auto_create_topics_enable && request.allow_auto_topic_creation;
    let missing = if may_create { missing_topics(&shard.image, &named) } else { Vec::new() };
    if missing.is_empty() {
        answer(shard, &id, &named, operations, &BTreeMap::new());
        return true;
    }
    shard.hold_more(&id, reply_bytes + missing.len() * new_topic_bytes(shard));
    let command = Command::CreateTopics { topics: missing, mode: CreateMode::IfAbsent };
    shard.ask_controller(command, ControlWaiting::Metadata(Waiting { id, named, operations }));
    true
}

/// What the reply takes at most, but for topics that are made for it.
fn reply_bytes(image: &Image, named: &Named) -> usize {
    let known =
        |topic: &Arc<TopicImage>| topic.partitions().len() * PARTITION_BYTES + topic.name.len() + TOPIC_BYTES;
    let topics: usize = match named {
        Named::All => image.topics().map(known).sum(),
        Named::Topics(topics) => (topics.iter())
            .map(|(name, id)| match name {
                Some(name) => image.topic(name).map_or(name.len() + TOPIC_BYTES, known),
                None => image.topic_by_id(*id).map_or(TOPIC_BYTES, known),
            })
            .sum(),
    };
    topics + HEAD_BYTES
}

/// What the partitions of a topic take that is made with the defaults; its name has been counted.
fn new_topic_bytes<M>(shard: &Shard<M>) -> usize {
    usize::try_from(shard.config.num_partitions).unwrap_or_default() * PARTITION_BYTES
}

/// What is asked for, each topic once. Where one is named by id the names of others do not count, as in Kafka.
fn named_in(request: &MetadataRequest<'_>, version: i16) -> Result<Named, ErrorCode> {
    let topics = match &request.topics {
        None => return Ok(Named::All),
        Some(topics) if topics.is_empty() && version == 0 => return Ok(Named::All),
        Some(topics) => topics,
    };
    let ids = topics.iter().map(|topic| topic.topic_id).filter(|id| *id != TopicId::ZERO);
    let nameless = topics.iter().any(|topic| topic.name.is_none());
    let mut seen = BTreeSet::new();
    if version >= IDS_FROM_VERSION && ids.clone().next().is_some() {
        return Ok(Named::Topics(ids.filter(|id| seen.insert(*id)).map(|id| (None, id)).collect()));
    }
    // Versions 10 and 11 have a field for ids, but not their meaning.
    if version < IDS_FROM_VERSION && (nameless || ids.count() > 0) {
        return Err(ErrorCode::InvalidRequest);
    }
    if nameless {
        return Err(ErrorCode::UnknownServerError);
    }
    let mut seen = BTreeSet::new();
    let names = topics.iter().filter_map(|topic| topic.name).filter(|name| seen.insert(*name));
    Ok(Named::Topics(names.map(|name| (Some(name.to_owned()), TopicId::ZERO)).collect()))
}

/// The same error for the whole request.
fn refuse<M: ArenaMemory>(
    shard: &mut Shard<M>,
    id: &RequestId,
    request: &MetadataRequest<'_>,
    error: ErrorCode,
) {
    let topics = request
        .topics
        .iter()
        .flatten()
        .map(|topic| MetadataResponseTopic {
            error_code: error.code(),
            name: Some(topic.name.unwrap_or_default()),
            topic_id: topic.topic_id,
            ..MetadataResponseTopic::default()
        })
        .collect();
    let response = MetadataResponse { topics, error_code: error.code(), ..MetadataResponse::default() };
    shard.reply(id, &response, Vec::new());
}

fn missing_topics(image: &Image, named: &Named) -> Vec<NewTopic> {
    let Named::Topics(topics) = named else { return Vec::new() };
    let mut missing: Vec<NewTopic> = Vec::new();
    for (name, _) in topics {
        let Some(name) = name else { continue };
        if image.topic(name).is_none() && topic_name::check(name).is_ok() {
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
    let refused: BTreeMap<String, ErrorCode> = match reply {
        Ok(Reply::CreateTopics(outcomes)) => outcomes
            .into_iter()
            .filter_map(|outcome| Some((outcome.name, outcome.result.err()?.error_code())))
            .collect(),
        _ => BTreeMap::new(),
    };
    answer(shard, &waiting.id, &waiting.named, waiting.operations, &refused);
}

fn answer<M: ArenaMemory>(
    shard: &mut Shard<M>,
    id: &RequestId,
    named: &Named,
    operations: Operations,
    refused: &BTreeMap<String, ErrorCode>,
) {
    let endpoint = endpoint_of(shard, id);
    let image = Arc::clone(&shard.image);
    let broker_id = image.broker().id.0;
    let cluster_id = image.cluster_id().to_string();
    let offline = shard.offline().clone();
    let mut topics: Vec<MetadataResponseTopic<'_>> = match named {
        Named::All => image.topics().map(|topic| describe(&image, topic, &offline)).collect(),
        Named::Topics(topics) => topics
            .iter()
            .map(|(name, topic_id)| match name {
                Some(name) => by_name(&image, name, refused, &offline),
                None => by_id(&image, *topic_id, &offline),
            })
            .collect(),
    };
    if operations.topic {
        for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    let cluster_authorized_operations =
        if operations.cluster { CLUSTER_OPERATIONS } else { OPERATIONS_NOT_REQUESTED };
    let response = MetadataResponse {
        cluster_authorized_operations,
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
    refused: &BTreeMap<String, ErrorCode>,
    offline: &BTreeSet<TopicPartition>,
) -> MetadataResponseTopic<'a> {
    if let Some(topic) = image.topic(name) {
        return describe(image, topic, offline);
    }
    let error = match refused.get(name) {
        Some(error) => *error,
        None if topic_name::check(name).is_err() => ErrorCode::InvalidTopicException,
        None => ErrorCode::UnknownTopicOrPartition,
    };
    MetadataResponseTopic { error_code: error.code(), name: Some(name), ..MetadataResponseTopic::default() }
}

fn by_id<'a>(
    image: &'a Image,
    topic_id: TopicId,
    offline: &BTreeSet<TopicPartition>,
) -> MetadataResponseTopic<'a> {
    image.topic_by_id(topic_id).map_or_else(
        || MetadataResponseTopic {
            error_code: ErrorCode::UnknownTopicId.code(),
            topic_id,
            ..MetadataResponseTopic::default()
        },
        |topic| describe(image, topic, offline),
    )
}

/// `offline`: partitions without a leader, whose only replica cannot serve; as in Kafka when a log directory has failed.
fn describe<'a>(
    image: &Image,
    topic: &'a TopicImage,
    offline: &BTreeSet<TopicPartition>,
) -> MetadataResponseTopic<'a> {
    let broker_id = image.broker().id.0;
    let leader_epoch = image.leader_epoch(topic).0;
    let describe = |partition: PartitionIndex| {
        let led = MetadataResponsePartition {
            partition_index: partition.0,
            leader_id: broker_id,
            leader_epoch,
            replica_nodes: vec![broker_id],
            isr_nodes: vec![broker_id],
            ..MetadataResponsePartition::default()
        };
        if !offline.contains(&TopicPartition { topic_id: topic.id, partition }) {
            return led;
        }
        MetadataResponsePartition {
            error_code: ErrorCode::LeaderNotAvailable.code(),
            leader_id: NO_LEADER,
            isr_nodes: Vec::new(),
            offline_replicas: vec![broker_id],
            ..led
        }
    };
    MetadataResponseTopic {
        name: Some(&topic.name),
        topic_id: topic.id,
        is_internal: topic.internal,
        partitions: topic.partitions().map(describe).collect(),
        ..MetadataResponseTopic::default()
    }
}
