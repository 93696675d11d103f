//! Fetch (key 1): batches from an offset on, waiting for them if the client asks to (KIP-74 limits).
//!
//! No session is kept yet: the response says session 0, and clients go on with full requests (KIP-227).

use crate::broker::purgatory::fetch::{FetchPart, FetchTopicPart, PendingFetch};
use crate::broker::shards::{RequestId, Shard};
use crate::model::Offset;
use crate::model::error_code::ErrorCode;
use crate::protocol::kafka::Records;
use crate::protocol::kafka::messages::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use crate::runtime::memory::ArenaMemory;
use crate::storage::PartitionSlot;
use crate::storage::shard::{ReadError, ReadPiece};

/// With less than this to give, a reply gives nothing more. Unit: bytes.
const REPLY_BYTES_MIN: u64 = 1 << 10;
/// From this version on topics are named by id.
const TOPIC_IDS_FROM_VERSION: i16 = 13;

/// Decodes into owned parts, since the request may wait.
pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: FetchRequest<'_>) {
    if request.session_id != 0 && request.session_epoch > 0 {
        // A session that this broker never gave.
        let response = FetchResponse {
            error_code: ErrorCode::FetchSessionIdNotFound.code(),
            ..FetchResponse::default()
        };
        shard.reply(&id, &response, Vec::new());
        return;
    }
    let topics = request.topics.iter().map(|topic| topic_part(shard, &id, topic)).collect();
    let bytes_max = u64::try_from(request.max_bytes).unwrap_or(0).min(shard.config.fetch_max_bytes as u64);
    let fetch = PendingFetch {
        request: id,
        topics,
        bytes_min: u64::try_from(request.min_bytes).unwrap_or(0).min(bytes_max),
        bytes_max,
        deadline_ms: shard.now_ms.saturating_add(i64::from(request.max_wait_ms.max(0))),
    };
    try_answer(shard, fetch);
}

fn topic_part<M>(
    shard: &Shard<M>,
    id: &RequestId,
    topic: &crate::protocol::kafka::messages::fetch::FetchTopic<'_>,
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
            let slot = known.and_then(|known| shard.partitions.slot(known.id, part.partition));
            FetchPart {
                index: part.partition,
                slot,
                offset: Offset(part.fetch_offset),
                bytes_max: u64::try_from(part.partition_max_bytes).unwrap_or(0),
                leader_epoch: part.current_leader_epoch,
                error: if slot.is_some() { 0 } else { unknown.code() },
            }
        })
        .collect();
    FetchTopicPart { name: topic.topic.to_owned(), id: topic.topic_id, parts }
}

/// What one pass over a fetch's partitions has gathered.
#[derive(Default)]
struct Gathered {
    pieces: Vec<ReadPiece>,
    bytes: u64,
    bytes_max: u64,
    /// Something that ends the wait at once: an error that the client must hear of.
    urgent: bool,
    /// A partition waits for the disk.
    pending: bool,
}

/// Answers the fetch if it has enough, has an error to tell, or its time is up; else it waits.
fn try_answer<M: ArenaMemory>(shard: &mut Shard<M>, fetch: PendingFetch) {
    let mut gathered =
        Gathered { bytes_max: fetch.bytes_max.min(shard.reply_bytes_left()), ..Gathered::default() };
    let responses = fetch
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
        shard.log.release(gathered.pieces);
        let mut fetch = fetch.clone();
        if expired {
            fetch.deadline_ms = i64::MAX;
        }
        shard.fetches.insert(fetch);
        return;
    }
    let response = FetchResponse { responses, ..FetchResponse::default() };
    shard.reply(&fetch.request, &response, gathered.pieces);
}

fn read_part<M: ArenaMemory>(
    shard: &mut Shard<M>,
    fetch: &PendingFetch,
    part: &FetchPart,
    gathered: &mut Gathered,
) -> PartitionData<'static> {
    let mut data = PartitionData {
        partition_index: part.index,
        error_code: part.error,
        high_watermark: -1,
        records: Some(Records::External { bytes: 0 }),
        ..PartitionData::default()
    };
    let Some(log) = part.slot.and_then(|slot| shard.log.partition(slot)) else {
        if data.error_code == 0 {
            data.error_code = ErrorCode::UnknownTopicOrPartition.code();
        }
        gathered.urgent = true;
        return data;
    };
    data.high_watermark = log.high_watermark().0;
    data.last_stable_offset = log.high_watermark().0;
    data.log_start_offset = log.log_start_offset().0;
    if let Some(error) = epoch_error(part.leader_epoch, log.leader_epoch().0) {
        data.error_code = error.code();
        gathered.urgent = true;
        return data;
    }
    let left = gathered.bytes_max.saturating_sub(gathered.bytes);
    let first = gathered.bytes == 0;
    if left < REPLY_BYTES_MIN && (!first || fetch.bytes_max >= REPLY_BYTES_MIN) {
        return data;
    }
    let limit = part.bytes_max.min(left);
    let Some(slot) = part.slot else { return data };
    match shard.log.read(slot, part.offset, limit, first, &mut gathered.pieces) {
        Ok(done) => {
            gathered.pending |= done.pending;
            gathered.bytes += done.bytes;
            data.records = Some(Records::External { bytes: crate::model::number::index(done.bytes) });
        }
        Err(error) => {
            data.error_code = error_of(error).code();
            data.high_watermark = -1;
            data.last_stable_offset = -1;
            data.log_start_offset = -1;
            gathered.urgent = true;
        }
    }
    data
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

/// New data on a partition: fetches that wait on it are tried again.
pub fn handle_advanced<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) {
    for fetch in shard.fetches.take_waiting_on(slot) {
        try_answer(shard, fetch);
    }
}

/// The disk has answered, or the partition is gone.
pub fn handle_ready<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) {
    handle_advanced(shard, slot);
}

/// Answers fetches whose time is up, with whatever there is.
pub fn handle_time<M: ArenaMemory>(shard: &mut Shard<M>) {
    while let Some(fetch) = shard.fetches.poll_expired(shard.now_ms) {
        try_answer(shard, fetch);
    }
}
