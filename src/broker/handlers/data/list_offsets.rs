//! ListOffsets (key 2): the first, the next and the latest offset, and the first record at or after a time.

use std::collections::BTreeMap;

use crate::broker::handlers::data::fetch::{READ_COMMITTED, READ_UNCOMMITTED, epoch_error, error_of};
use crate::broker::shards::{RequestId, Shard};
use crate::model::error_code::ErrorCode;
use crate::model::{LeaderEpoch, Offset};
use crate::protocol::kafka::messages::list_offsets::{
    EARLIEST_LOCAL_TIMESTAMP, EARLIEST_PENDING_UPLOAD_TIMESTAMP, EARLIEST_TIMESTAMP, FLUSHED_TIMESTAMP,
    LATEST_TIERED_TIMESTAMP, LATEST_TIMESTAMP, MAX_TIMESTAMP,
};
use crate::protocol::kafka::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::protocol::records;
use crate::runtime::memory::ArenaMemory;
use crate::storage::PartitionSlot;
use crate::storage::partition::PartitionLog;

/// One partition of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    index: i32,
    slot: Option<PartitionSlot>,
    leader_epoch: i32,
    timestamp: i64,
    /// Refused before the log is asked.
    error: ErrorCode,
}

/// A request that waits for the disk.
#[derive(Clone, Debug)]
pub struct PendingList {
    pub request: RequestId,
    topics: Vec<(String, Vec<Part>)>,
}

enum Answer {
    Found { timestamp: i64, offset: i64, leader_epoch: i32 },
    Refused(ErrorCode),
    Pending,
}

/// From this version on answers carry leader epochs (KIP-320).
const EPOCHS_FROM_VERSION: i16 = 4;
/// What a batch may unpack to when a record is looked for in it. Unit: bytes.
const UNPACKED_BYTES_MAX: usize = 128 << 20;

const NOTHING: Answer = Answer::Found { timestamp: -1, offset: -1, leader_epoch: -1 };

pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: ListOffsetsRequest<'_>) {
    let known_isolation = matches!(request.isolation_level, READ_UNCOMMITTED | READ_COMMITTED);
    let error = if known_isolation { ErrorCode::None } else { ErrorCode::UnknownServerError };
    let mut topics: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let known = shard.image.topic(topic.name).map(|known| known.id);
        let parts = topics.entry(topic.name.to_owned()).or_default();
        parts.extend(topic.partitions.iter().map(|part| Part {
            index: part.partition_index,
            slot: known.and_then(|known| shard.partitions.slot(known, part.partition_index)),
            leader_epoch: part.current_leader_epoch,
            timestamp: part.timestamp,
            error,
        }));
    }
    topics.values_mut().for_each(refuse_repeated);
    try_answer(shard, PendingList { request: id, topics: topics.into_iter().collect() });
}

/// A partition that is named several times has one answer: that this is not allowed.
fn refuse_repeated(parts: &mut Vec<Part>) {
    parts.sort_by_key(|part| part.index);
    parts.dedup_by(|later, first| {
        let same = later.index == first.index;
        if same && first.error.is_none() {
            first.error = ErrorCode::InvalidRequest;
        }
        same
    });
}

fn try_answer<M: ArenaMemory>(shard: &mut Shard<M>, list: PendingList) {
    let mut pending = false;
    let mut topics = Vec::with_capacity(list.topics.len());
    for (name, parts) in &list.topics {
        let mut partitions = Vec::with_capacity(parts.len());
        for part in parts {
            let mut answer =
                ListOffsetsPartitionResponse { partition_index: part.index, ..Default::default() };
            match find(shard, part, list.request.api_version) {
                Answer::Found { timestamp, offset, leader_epoch } => {
                    answer.timestamp = timestamp;
                    answer.offset = offset;
                    if list.request.api_version >= EPOCHS_FROM_VERSION {
                        answer.leader_epoch = leader_epoch;
                    }
                }
                Answer::Refused(error) => answer.error_code = error.code(),
                Answer::Pending => pending = true,
            }
            partitions.push(answer);
        }
        topics.push(ListOffsetsTopicResponse { name, partitions });
    }
    if pending {
        shard.lists.push(list);
        return;
    }
    let request = list.request;
    shard.reply(&request, &ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }, Vec::new());
}

fn find<M: ArenaMemory>(shard: &mut Shard<M>, part: &Part, version: i16) -> Answer {
    if !part.error.is_none() {
        return Answer::Refused(part.error);
    }
    let Some(slot) = part.slot else { return Answer::Refused(ErrorCode::UnknownTopicOrPartition) };
    let Some(log) = shard.log.partition(slot) else {
        return Answer::Refused(ErrorCode::UnknownTopicOrPartition);
    };
    if let Some(error) = epoch_error(part.leader_epoch, log.leader_epoch().0) {
        return Answer::Refused(error);
    }
    if log.has_failed() {
        return Answer::Refused(ErrorCode::KafkaStorageError);
    }
    match part.timestamp {
        LATEST_TIMESTAMP => at(log, log.high_watermark(), Some(log.leader_epoch())),
        EARLIEST_TIMESTAMP => at(log, log.log_start_offset(), None),
        MAX_TIMESTAMP if version >= 7 => max_timestamp(shard, slot),
        EARLIEST_LOCAL_TIMESTAMP if version >= 8 => at(log, log.log_start_offset(), None),
        // Nothing is in remote storage, and nothing waits to go there.
        LATEST_TIERED_TIMESTAMP if version >= 9 => NOTHING,
        EARLIEST_PENDING_UPLOAD_TIMESTAMP if version >= 11 => NOTHING,
        FLUSHED_TIMESTAMP => Answer::Found {
            timestamp: FLUSHED_TIMESTAMP,
            offset: log.flushed_offset().0,
            leader_epoch: log.leader_epoch().0,
        },
        timestamp if timestamp >= 0 => by_timestamp(shard, slot, timestamp),
        _ => Answer::Refused(ErrorCode::UnsupportedVersion),
    }
}

fn at(log: &PartitionLog, offset: Offset, known: Option<LeaderEpoch>) -> Answer {
    // Where nothing is, the next record will stand in the current epoch.
    let next = (offset >= log.log_end_offset()).then(|| log.leader_epoch());
    let leader_epoch = known.or_else(|| log.epochs().epoch_of(offset)).or(next).map_or(-1, |found| found.0);
    Answer::Found { timestamp: -1, offset: offset.0, leader_epoch }
}

fn max_timestamp<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) -> Answer {
    let Some((timestamp, _)) = shard.log.partition(slot).and_then(PartitionLog::max_timestamp) else {
        return NOTHING;
    };
    by_timestamp(shard, slot, timestamp)
}

/// The first record not older than `timestamp`: the batch by its header, the record by looking into it.
fn by_timestamp<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot, timestamp: i64) -> Answer {
    let found = match shard.log.find_timestamp(slot, timestamp) {
        Ok((_, true)) => return Answer::Pending,
        Ok((None, false)) => return NOTHING,
        Ok((Some(found), false)) => found,
        Err(error) => return Answer::Refused(error_of(error)),
    };
    let Some(log) = shard.log.partition(slot) else {
        return Answer::Refused(ErrorCode::UnknownTopicOrPartition);
    };
    match first_record(&found.batch, timestamp, log.log_start_offset()) {
        Ok(Some((time, offset))) => {
            let leader_epoch = log.epochs().epoch_of(offset).map_or(-1, |epoch| epoch.0);
            Answer::Found { timestamp: time, offset: offset.0, leader_epoch }
        }
        Ok(None) => NOTHING,
        Err(_) => Answer::Refused(ErrorCode::CorruptMessage),
    }
}

/// The first record of the batch that is not older than `timestamp` and not before the log's start.
fn first_record(
    batch: &[u8],
    timestamp: i64,
    log_start_offset: Offset,
) -> Result<Option<(i64, Offset)>, records::RecordsError> {
    let Ok(batch) = records::Batch::parse(batch) else { return Ok(None) };
    if batch.header.is_log_append_time() {
        let offset = batch.header.base_offset.max(log_start_offset);
        return Ok(Some((batch.header.max_timestamp, offset)));
    }
    let mut scratch = Vec::new();
    for record in batch.records(&mut scratch, UNPACKED_BYTES_MAX)? {
        let record = record?;
        if record.timestamp >= timestamp && record.offset >= log_start_offset {
            return Ok(Some((record.timestamp, record.offset)));
        }
    }
    Ok(None)
}

/// The disk has answered for a partition: everything that waits is tried again.
pub fn handle_ready<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) {
    if shard.lists.is_empty() {
        return;
    }
    let concerned = |list: &PendingList| {
        list.topics.iter().flat_map(|(_, parts)| parts).any(|part| part.slot == Some(slot))
    };
    let (tried, left): (Vec<_>, Vec<_>) = std::mem::take(&mut shard.lists).into_iter().partition(concerned);
    shard.lists = left;
    for list in tried {
        try_answer(shard, list);
    }
}
