//! Fetch (key 1): batches from an offset on, waiting for them if the client asks to (KIP-74 limits).
//!
//! No session is kept yet: the response says session 0, and clients go on with full requests (KIP-227).

use crate::broker::purgatory::fetch::{FetchPart, FetchTopicPart, PendingFetch, Waited};
use crate::broker::shards::{RequestId, Shard};
use crate::model::error_code::ErrorCode;
use crate::model::number::{index, wide};
use crate::model::{LeaderEpoch, Offset};
use crate::protocol::kafka::Records;
use crate::protocol::kafka::messages::fetch::{
    EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse,
    PartitionData,
};
use crate::runtime::memory::ArenaMemory;
use crate::storage::PartitionSlot;
use crate::storage::partition::PartitionLog;
use crate::storage::shard::{ReadError, ReadPiece};

/// With less than this left of what replies may hold, none is made. Unit: bytes.
pub const REPLY_BYTES_MIN: u64 = 1 << 10;
/// From this version on topics are named by id.
const TOPIC_IDS_FROM_VERSION: i16 = 13;

/// KIP-227: a request that names no session, and one that asks for a new one.
const NO_SESSION_EPOCH: i32 = -1;
const NEW_SESSION_EPOCH: i32 = 0;

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
    let topics = named.map(|topic| topic_part(shard, &id, topic, &request)).collect();
    let bytes_max = u64::try_from(request.max_bytes).unwrap_or(0).min(shard.config.fetch_max_bytes as u64);
    let fetch = PendingFetch {
        request: id,
        topics,
        bytes_min: u64::try_from(request.min_bytes).unwrap_or(0).min(bytes_max),
        bytes_max,
        bytes: 0,
        deadline_ms: shard.now_ms.saturating_add(i64::from(request.max_wait_ms.max(0))),
        read_committed: request.isolation_level == READ_COMMITTED,
    };
    try_answer(shard, fetch);
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
        aborted_transactions: Some(Vec::new()),
        ..failed(part.partition, error.code())
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

/// A part without records. Kafka has an empty list of transactions where it did not come to the log, and null where the
/// log was asked and failed.
fn failed(partition_index: i32, error_code: i16) -> PartitionData<'static> {
    PartitionData {
        partition_index,
        error_code,
        high_watermark: -1,
        records: Some(Records::External { bytes: 0 }),
        aborted_transactions: is_unknown(error_code).then(Vec::new),
        ..PartitionData::default()
    }
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
    let parts = topic
        .partitions
        .iter()
        .map(|part| {
            let mut slot = known.and_then(|known| shard.partitions.slot(known.id, part.partition));
            let mut error = if slot.is_some() { ErrorCode::None } else { unknown };
            if slot.is_some()
                && (replica_of(request) >= 0 || part.partition_max_bytes.min(request.max_bytes) < 0)
            {
                // There are no followers, and Kafka stumbles over limits below 0.
                error = if replica_of(request) >= 0 {
                    ErrorCode::NotLeaderOrFollower
                } else {
                    ErrorCode::UnknownServerError
                };
                slot = None;
            }
            FetchPart {
                index: part.partition,
                slot,
                offset: Offset(part.fetch_offset),
                bytes_max: u64::try_from(part.partition_max_bytes).unwrap_or(0),
                leader_epoch: part.current_leader_epoch,
                last_fetched_epoch: part.last_fetched_epoch,
                error: error.code(),
                waited: Waited::default(),
            }
        })
        .collect();
    FetchTopicPart { name: topic.topic.to_owned(), id: topic.topic_id, parts }
}

/// The follower that asks; below 0 it is a consumer.
const fn replica_of(request: &FetchRequest<'_>) -> i32 {
    if request.replica_id >= 0 { request.replica_id } else { request.replica_state.replica_id }
}

/// What one pass over a fetch's partitions has gathered.
#[derive(Default)]
struct Gathered {
    pieces: Vec<ReadPiece>,
    bytes: u64,
    bytes_max: u64,
    /// So much waits to be sent already that nothing is read.
    held_back: bool,
    /// Something that ends the wait at once: an error that the client must hear of.
    urgent: bool,
    /// A partition waits for the disk.
    pending: bool,
}

/// Answers the fetch if it has enough, has an error to tell, or its time is up; else it waits.
fn try_answer<M: ArenaMemory>(shard: &mut Shard<M>, mut fetch: PendingFetch) {
    let budget = shard.reply_bytes_left();
    let mut gathered = Gathered {
        bytes_max: fetch.bytes_max.min(budget),
        held_back: budget < REPLY_BYTES_MIN,
        ..Gathered::default()
    };
    let responses: Vec<FetchableTopicResponse<'_>> = fetch
        .topics
        .iter()
        .map(|topic| FetchableTopicResponse {
            topic: &topic.name,
            topic_id: topic.id,
            partitions: topic
                .parts
                .iter()
                .map(|part| read_part(shard, &fetch, part, &mut gathered))
                .collect(),
        })
        .collect();
    let expired = shard.now_ms >= fetch.deadline_ms;
    // Data that is on its way from the disk is worth a wait even at the deadline, unless there is some already.
    let waits_for_disk = gathered.pending && gathered.bytes == 0 && !gathered.urgent;
    let enough = gathered.bytes >= fetch.bytes_min && gathered.bytes > 0 || fetch.bytes_min == 0;
    if waits_for_disk || !(enough || gathered.urgent || expired) {
        shard.log.put_back(gathered.pieces);
        let parts = responses.iter().flat_map(|topic| &topic.partitions);
        let bytes: Vec<u64> = parts.map(|part| records_bytes(part.records.as_ref())).collect();
        if expired {
            fetch.deadline_ms = i64::MAX;
        }
        wait(shard, fetch, bytes);
        return;
    }
    let response = FetchResponse { responses, ..FetchResponse::default() };
    shard.reply(&fetch.request, &response, gathered.pieces);
}

/// Takes note of what each partition gave, so that an append to one does not make all be looked at again.
fn wait<M: ArenaMemory>(shard: &mut Shard<M>, mut fetch: PendingFetch, bytes: Vec<u64>) {
    fetch.bytes = bytes.iter().sum();
    let parts = fetch.topics.iter_mut().flat_map(|topic| &mut topic.parts);
    for (part, bytes) in parts.zip(bytes) {
        let log = part.slot.and_then(|slot| shard.log.partition(slot));
        part.waited = Waited { bytes, end: log.map_or(0, PartitionLog::high_watermark_end) };
    }
    shard.fetches.insert(fetch);
}

fn records_bytes(records: Option<&Records<'_>>) -> u64 {
    match records {
        Some(Records::External { bytes }) => wide(*bytes),
        _ => 0,
    }
}

fn read_part<M: ArenaMemory>(
    shard: &mut Shard<M>,
    fetch: &PendingFetch,
    part: &FetchPart,
    gathered: &mut Gathered,
) -> PartitionData<'static> {
    shard.fetches.note_look();
    let mut data = failed(part.index, part.error);
    let Some(log) = part.slot.and_then(|slot| shard.log.partition(slot)) else {
        if data.error_code == 0 {
            data = failed(part.index, ErrorCode::UnknownTopicOrPartition.code());
        }
        // As in Kafka, a partition that is not known does not end the wait for those that are.
        gathered.urgent |= !is_unknown(data.error_code) || fetch.topics.iter().all(is_unknown_topic);
        return data;
    };
    // A negative epoch asks for no check here, whichever it is.
    let epoch_fault = epoch_error(part.leader_epoch.max(-1), log.leader_epoch().0);
    let checked = epoch_fault.map_or_else(|| check_last_epoch(log, part), Err);
    match checked {
        Ok(diverging) => data.diverging_epoch = diverging.unwrap_or_default(),
        Err(error) => {
            data.error_code = error.code();
            gathered.urgent = true;
            return data;
        }
    }
    data.high_watermark = log.high_watermark().0;
    data.last_stable_offset = log.high_watermark().0;
    data.log_start_offset = log.log_start_offset().0;
    if data.diverging_epoch != EpochEndOffset::default() {
        gathered.urgent = true;
        return data;
    }
    data.aborted_transactions = fetch.read_committed.then(Vec::new);
    let left = gathered.bytes_max.saturating_sub(gathered.bytes);
    let first = gathered.bytes == 0;
    if gathered.held_back {
        return data;
    }
    let limit = part.bytes_max.min(left);
    let Some(slot) = part.slot else { return data };
    match shard.log.read(slot, part.offset, limit, first, &mut gathered.pieces) {
        Ok(done) => {
            gathered.pending |= done.pending;
            gathered.bytes += done.bytes;
            data.records = Some(Records::External { bytes: index(done.bytes) });
        }
        Err(error) => {
            data.error_code = error_of(error).code();
            data.high_watermark = -1;
            data.last_stable_offset = -1;
            data.log_start_offset = -1;
            data.aborted_transactions = None;
            gathered.urgent = true;
        }
    }
    data
}

/// KIP-595: where the reader's log and this one part, if the last record that it has is not in this one.
fn check_last_epoch(log: &PartitionLog, part: &FetchPart) -> Result<Option<EpochEndOffset>, ErrorCode> {
    if part.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let asked = LeaderEpoch(part.last_fetched_epoch);
    let latest = log.epochs().latest().unwrap_or_else(|| log.leader_epoch());
    if asked > latest {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let end = log.epochs().end_offset_of(asked, log.log_end_offset());
    // Before everything that is known: it ended where this log begins.
    let (last, end_offset) = end.unwrap_or_else(|| (asked, log.log_start_offset()));
    let parts = last < asked || end_offset < part.offset;
    Ok(parts.then_some(EpochEndOffset::new(last.0, end_offset.0)))
}

fn is_unknown(error_code: i16) -> bool {
    [ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicId]
        .iter()
        .any(|known| known.code() == error_code)
}

fn is_unknown_topic(topic: &FetchTopicPart) -> bool {
    topic.parts.iter().all(|part| part.slot.is_none() && is_unknown(part.error))
}

/// KIP-320: a consumer whose epoch is old is fenced, one whose epoch is ahead knows more than this broker.
pub(super) fn epoch_error(believed: i32, current: i32) -> Option<ErrorCode> {
    match believed {
        -1 => None,
        older if older < current => Some(ErrorCode::FencedLeaderEpoch),
        newer if newer > current => Some(ErrorCode::UnknownLeaderEpoch),
        _ => None,
    }
}

/// The one map from a read's error to the wire.
pub(super) const fn error_of(error: ReadError) -> ErrorCode {
    match error {
        ReadError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        ReadError::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
        ReadError::Storage => ErrorCode::KafkaStorageError,
    }
}

/// New data on a partition: fetches that have enough by it are answered. The work is that of this partition, not of all that
/// they wait on.
pub fn handle_advanced<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) {
    // Where nothing would be read, it is not tried: what a partition has grown by is counted the next time.
    if shard.fetches.is_empty() || shard.reply_bytes_left() < REPLY_BYTES_MIN {
        return;
    }
    let Some(log) = shard.log.partition(slot) else { return };
    let (end, start) = (log.high_watermark_end(), log.log_start_offset());
    for fetch in shard.fetches.take_satisfied(slot, end, start) {
        try_answer(shard, fetch);
    }
}

/// The disk has answered, or the partition is gone or was cut: fetches that wait on it are tried again.
pub fn handle_ready<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) {
    for fetch in shard.fetches.take_waiting_on(slot) {
        try_answer(shard, fetch);
    }
}

/// Answers a fetch that has waited long enough.
pub fn give_up<M: ArenaMemory>(shard: &mut Shard<M>, mut fetch: PendingFetch) {
    fetch.bytes_min = 0;
    try_answer(shard, fetch);
}

/// Answers fetches whose time is up, with whatever there is.
pub fn handle_time<M: ArenaMemory>(shard: &mut Shard<M>) {
    while let Some(fetch) = shard.fetches.poll_expired(shard.now_ms) {
        try_answer(shard, fetch);
    }
}
