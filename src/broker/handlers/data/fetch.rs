//! Fetch (key 1): batches from an offset on, waiting for them if the client asks to (KIP-74 limits).
//!
//! No session is kept yet: the response says session 0, and clients go on with full requests (KIP-227).

use std::collections::BTreeMap;

use crate::broker::purgatory::fetch::{FetchOutcome, FetchPart, FetchTopicPart, PendingFetch, Waited};
use crate::broker::shards::{RequestId, Shard};
use crate::model::error_code::ErrorCode;
use crate::model::number::wide;
use crate::model::{Offset, TopicId};
use crate::protocol::kafka::Records;
use crate::protocol::kafka::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
};
use crate::runtime::memory::ArenaMemory;

/// From this version on topics are named by id.
const TOPIC_IDS_FROM_VERSION: i16 = 13;

/// KIP-227: a request that names no session, and one that asks for a new one.
const NO_SESSION_EPOCH: i32 = -1;
const NEW_SESSION_EPOCH: i32 = 0;

/// Where those who wait hold much memory already, nobody waits for data longer. Unit: ms.
const SHORT_WAIT_MS_MAX: i32 = 500;

pub(super) const READ_UNCOMMITTED: i8 = 0;
pub(super) const READ_COMMITTED: i8 = 1;

/// Decodes into owned parts, since the request may wait.
pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: FetchRequest<'_>) {
    if !matches!(request.session_epoch, NO_SESSION_EPOCH | NEW_SESSION_EPOCH) {
        // A session that this broker never gave.
        let response = FetchResponse {
            error_code: ErrorCode::FetchSessionIdNotFound.code(),
            ..FetchResponse::default()
        };
        shard.reply(&id, &response, Vec::new());
        return;
    }
    if !matches!(request.isolation_level, READ_UNCOMMITTED | READ_COMMITTED) {
        refuse(shard, &id, &request, ErrorCode::UnknownServerError);
        return;
    }
    // Kafka's answer has no row for a topic without partitions.
    let named = request.topics.iter().filter(|topic| !topic.partitions.is_empty());
    let topics = merge_repeated(named.map(|topic| topic_part(shard, &id, topic, &request)).collect());
    let bytes_max = u64::try_from(request.max_bytes).unwrap_or(0).min(shard.config.fetch_max_bytes as u64);
    let wait_ms_max = match shard.memory().may_wait_long() {
        // The next of those that are let through alone waits for it.
        _ if shard.handles_alone() => 0,
        true => i32::MAX,
        false => SHORT_WAIT_MS_MAX,
    };
    let fetch = PendingFetch {
        request: id,
        topics,
        bytes_min: u64::try_from(request.min_bytes).unwrap_or(0).min(bytes_max),
        bytes_max,
        bytes: 0,
        reading: Vec::new(),
        is_hastened: false,
        deadline_ms: shard.now_ms.saturating_add(i64::from(request.max_wait_ms.clamp(0, wait_ms_max))),
        read_committed: request.isolation_level == READ_COMMITTED,
    };
    shard.fetch(fetch);
}

/// A partition that is named again counts once, as it is named last: Kafka keeps them in a map.
fn merge_repeated(topics: Vec<FetchTopicPart>) -> Vec<FetchTopicPart> {
    let mut places: BTreeMap<(String, TopicId), usize> = BTreeMap::new();
    let mut merged: Vec<FetchTopicPart> = Vec::with_capacity(topics.len());
    let is_alone = topics.len() == 1;
    for mut topic in topics {
        if !is_alone {
            let place = *places.entry((topic.name.clone(), topic.id)).or_insert(merged.len());
            if let Some(first) = merged.get_mut(place) {
                first.parts.append(&mut topic.parts);
                continue;
            }
        }
        merged.push(topic);
    }
    for topic in &mut merged {
        if topic.parts.is_sorted_by(|one, other| one.index < other.index) {
            continue;
        }
        let mut places: BTreeMap<i32, usize> = BTreeMap::new();
        let mut parts: Vec<FetchPart> = Vec::with_capacity(topic.parts.len());
        for part in &topic.parts {
            let place = *places.entry(part.index).or_insert(parts.len());
            match parts.get_mut(place) {
                Some(first) => *first = *part,
                None => parts.push(*part),
            }
        }
        topic.parts = parts;
    }
    merged
}

/// The same error for the request, and for every part of it where topics have names.
fn refuse<M: ArenaMemory>(
    shard: &mut Shard<M>,
    id: &RequestId,
    request: &FetchRequest<'_>,
    error: ErrorCode,
) {
    let mut response = FetchResponse { error_code: error.code(), ..FetchResponse::default() };
    let part = |part: &FetchPartition| PartitionData {
        partition_index: part.partition,
        error_code: error.code(),
        high_watermark: -1,
        records: Some(Records::External { bytes: 0 }),
        aborted_transactions: Some(Vec::new()),
        ..PartitionData::default()
    };
    if id.api_version < TOPIC_IDS_FROM_VERSION {
        response.responses = request
            .topics
            .iter()
            .map(|topic| FetchableTopicResponse {
                topic: topic.topic,
                partitions: topic.partitions.iter().map(part).collect(),
                ..FetchableTopicResponse::default()
            })
            .collect();
    }
    shard.reply(id, &response, Vec::new());
}

fn topic_part<M>(
    shard: &Shard<M>,
    id: &RequestId,
    topic: &FetchTopic<'_>,
    request: &FetchRequest<'_>,
) -> FetchTopicPart {
    let known = if id.api_version >= TOPIC_IDS_FROM_VERSION {
        shard.image.topic_by_id(topic.topic_id)
    } else {
        shard.image.topic(topic.topic)
    };
    let unknown = if id.api_version >= TOPIC_IDS_FROM_VERSION && known.is_none() {
        ErrorCode::UnknownTopicId
    } else {
        ErrorCode::UnknownTopicOrPartition
    };
    let parts = topic.partitions.iter().map(|part| FetchPart {
        index: part.partition,
        slot: None,
        offset: Offset(part.fetch_offset),
        bytes_max: u64::try_from(part.partition_max_bytes).unwrap_or(0),
        leader_epoch: part.current_leader_epoch,
        last_fetched_epoch: part.last_fetched_epoch,
        error: error_of_part(part, request).code(),
        waited: Waited::default(),
    });
    FetchTopicPart {
        name: topic.topic.to_owned(),
        id: topic.topic_id,
        known: known.map(|known| known.id),
        unknown,
        parts: parts.collect(),
    }
}

/// What is wrong with a part whose partition is there.
fn error_of_part(part: &FetchPartition, request: &FetchRequest<'_>) -> ErrorCode {
    if replica_of(request) >= 0 {
        // There are no followers.
        ErrorCode::NotLeaderOrFollower
    } else if part.partition_max_bytes.min(request.max_bytes) < 0 {
        // Kafka stumbles over them.
        ErrorCode::UnknownServerError
    } else {
        ErrorCode::None
    }
}

/// The follower that asks; below 0 it is a consumer.
const fn replica_of(request: &FetchRequest<'_>) -> i32 {
    if request.replica_id >= 0 { request.replica_id } else { request.replica_state.replica_id }
}

fn records_bytes(records: Option<&Records<'_>>) -> u64 {
    match records {
        Some(Records::External { bytes }) => wide(*bytes),
        _ => 0,
    }
}

/// Every part has its outcome.
pub fn answer<M: ArenaMemory>(shard: &mut Shard<M>, fetch: &PendingFetch, outcome: FetchOutcome) {
    let mut rows = outcome.parts.into_iter();
    let mut responses = Vec::with_capacity(fetch.topics.len());
    for topic in &fetch.topics {
        let partitions: Vec<PartitionData<'_>> = rows.by_ref().take(topic.parts.len()).collect();
        let bytes: u64 = partitions.iter().map(|part| records_bytes(part.records.as_ref())).sum();
        if let Some(known) = topic.known.filter(|_| bytes > 0) {
            shard.count_fetched(known, bytes);
        }
        responses.push(FetchableTopicResponse { topic: &topic.name, topic_id: topic.id, partitions });
    }
    let response = FetchResponse { responses, ..FetchResponse::default() };
    shard.reply(&fetch.request, &response, outcome.pieces);
}
