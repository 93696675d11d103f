//! Produce (key 0): append batches, and acknowledge them when they have reached their topics' durability.
//!
//! Two steps: the request is decoded and every part judged by itself; then the accepted batches are appended in order. If an
//! append finds no room the rest waits with its frame, and the connection with it, so that order is kept.

use std::ops::Range;

use super::super::Fate;
use crate::broker::purgatory::produce::{PartitionResult, PendingId, PendingProduce, TopicResult};
use crate::broker::shards::{RequestId, Shard};
use crate::model::batch::{BatchError, BatchHeader, LOG_OVERHEAD_BYTES};
use crate::model::error_code::ErrorCode;
use crate::model::{Offset, TopicId};
use crate::protocol::kafka::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use crate::protocol::kafka::{Message, Reader, frame};
use crate::runtime::memory::ArenaMemory;
use crate::storage::PartitionSlot;
use crate::storage::partition::PartitionLog;
use crate::storage::partition::producers::SequenceError;
use crate::storage::shard::AppendError;

/// zstd came with version 7 (KIP-110); older clients could not read it back.
const ZSTD: i16 = 4;
const ZSTD_FROM_VERSION: i16 = 7;

/// A batch to be appended: where it lies in the body, and whose result it is.
#[derive(Clone, Debug)]
struct Work {
    slot: PartitionSlot,
    bytes: Range<usize>,
    header: BatchHeader,
    topic: u32,
    partition: u32,
}

/// A request in the middle of its appends.
#[derive(Debug)]
pub struct Stalled {
    pub pending: PendingId,
    work: Vec<Work>,
    next: usize,
    /// The body is the last so many bytes of the frame.
    body_bytes: usize,
}

/// Judges every part, then appends. `body` is the request behind its header.
pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, body: &mut [u8]) -> Fate {
    let Ok(request) = ProduceRequest::decode(&mut Reader::new(body), id.api_version) else {
        return Fate::Close;
    };
    let acks_are_known = matches!(request.acks, -1..=1);
    // As in Kafka, it is the batches that belong to a transaction; an id alone means nothing.
    if holds_transactional(&request) {
        return refuse(shard, id, &request, ErrorCode::TransactionalIdAuthorizationFailed);
    }
    let mut work = Vec::new();
    let mut topics = Vec::with_capacity(request.topic_data.len());
    // Kafka's answer has no row for a topic without partitions.
    for topic in request.topic_data.iter().filter(|topic| !topic.partition_data.is_empty()) {
        let known = if id.api_version >= 13 {
            shard.image.topic_by_id(topic.topic_id).map(|found| found.id).ok_or(ErrorCode::UnknownTopicId)
        } else {
            shard.image.topic(topic.name).map(|found| found.id).ok_or(ErrorCode::UnknownTopicOrPartition)
        };
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for part in &topic.partition_data {
            let records = part.records.and_then(crate::protocol::kafka::Records::inline).unwrap_or_default();
            let judged = judge(shard, &id, request.acks, known, part.index, records);
            let mut result = PartitionResult {
                index: part.index,
                error: ErrorCode::None,
                base_offset: -1,
                log_append_time_ms: -1,
                log_start_offset: -1,
                error_message: None,
            };
            match (judged, frame::position_in(body, records)) {
                (Ok(_), _) if !acks_are_known => result.error = ErrorCode::InvalidRequiredAcks,
                (Ok((slot, header)), Some(bytes)) => work.push(Work {
                    slot,
                    bytes: bytes.start..bytes.start + header.size_bytes,
                    header,
                    topic: count(topics.len()),
                    partition: count(partitions.len()),
                }),
                (Ok(_), None) => result.error = ErrorCode::UnknownServerError,
                (Err(refusal), _) => {
                    result.error = refusal.error;
                    result.error_message = refusal.message;
                    result.log_start_offset = refusal.log_start_offset;
                }
            }
            partitions.push(result);
        }
        topics.push(TopicResult { name: topic.name.to_owned(), id: topic.topic_id, partitions });
    }
    let deadline_ms = shard.now_ms.saturating_add(i64::from(request.timeout_ms.max(0)));
    let pending = PendingProduce {
        request: id,
        acks: request.acks,
        deadline_ms,
        topics,
        outstanding: 0,
        complete: false,
    };
    let pending = shard.produces.insert(pending);
    append_all(shard, pending, work, 0, body, body.len())
}

/// Goes on with a request that had found no room. `frame` is the whole frame, as before.
pub fn resume<M: ArenaMemory>(shard: &mut Shard<M>, stalled: Stalled, frame: &mut [u8]) -> Fate {
    let start = frame.len().saturating_sub(stalled.body_bytes);
    let Some(body) = frame.get_mut(start..) else { return Fate::Close };
    if shard.produces.get_mut(stalled.pending).is_none() {
        // Its time was up before there was room, and it has been answered.
        return Fate::Done;
    }
    append_all(shard, stalled.pending, stalled.work, stalled.next, body, stalled.body_bytes)
}

fn append_all<M: ArenaMemory>(
    shard: &mut Shard<M>,
    pending: PendingId,
    work: Vec<Work>,
    from: usize,
    body: &mut [u8],
    body_bytes: usize,
) -> Fate {
    let now_ms = shard.now_ms;
    for (place, item) in work.iter().enumerate().skip(from) {
        let Some(batch) = body.get_mut(item.bytes.clone()) else { continue };
        let appended = shard.log.append(item.slot, batch, &item.header, now_ms);
        if matches!(appended, Err(AppendError::Busy)) {
            // Who waits for no answer waits for room as long as it takes.
            if shard.produces.get_mut(pending).is_some_and(|produce| produce.acks != 0) {
                shard.produces.arm(pending);
            }
            return Fate::Stalled(Stalled { pending, work, next: place, body_bytes });
        }
        let log = shard.log.partition(item.slot);
        let high_watermark = log.map(PartitionLog::high_watermark);
        let log_start_offset = log.map_or(-1, |log| log.log_start_offset().0);
        let mut waits_for = None;
        let Some(produce) = shard.produces.get_mut(pending) else { return Fate::Done };
        let topic = produce.topics.get_mut(item.topic as usize);
        let Some(result) = topic.and_then(|topic| topic.partitions.get_mut(item.partition as usize)) else {
            continue;
        };
        match appended {
            Ok(appended) => {
                result.base_offset = appended.base_offset.0;
                result.log_append_time_ms = appended.log_append_time.unwrap_or(-1);
                result.log_start_offset = appended.log_start_offset.0;
                if high_watermark.is_none_or(|reached| reached < appended.end_offset) {
                    waits_for = Some(appended.end_offset);
                    produce.outstanding += 1;
                }
            }
            Err(error) => {
                result.error = error_of(&error);
                result.error_message = Some(error.to_string());
                if matches!(error, AppendError::Timestamp { .. } | AppendError::Sequence(_)) {
                    result.log_start_offset = log_start_offset;
                }
            }
        }
        if let Some(end_offset) = waits_for {
            shard.produces.wait(item.slot, end_offset, pending, item.topic, item.partition);
        }
    }
    finish_appends(shard, pending)
}

/// All appends are made: the reply goes out now, or when the last of them is acknowledged.
fn finish_appends<M: ArenaMemory>(shard: &mut Shard<M>, pending: PendingId) -> Fate {
    let Some(produce) = shard.produces.get_mut(pending) else { return Fate::Done };
    produce.complete = true;
    let mut results = produce.topics.iter().flat_map(|topic| &topic.partitions);
    if produce.acks == 0 && results.any(|result| !result.error.is_none()) {
        // A client that waits for no answer learns of an error by losing its connection, as with Kafka.
        shard.produces.abandon(pending);
        return Fate::Close;
    }
    if produce.acks == 0 || produce.outstanding == 0 {
        answer(shard, pending);
    } else {
        shard.produces.arm(pending);
    }
    Fate::Done
}

/// Why a part is not appended.
struct Refusal {
    error: ErrorCode,
    message: Option<String>,
    /// That of the partition's log, which Kafka tells of batches that are looked at there; else -1.
    log_start_offset: i64,
}

impl From<(ErrorCode, Option<String>)> for Refusal {
    fn from((error, message): (ErrorCode, Option<String>)) -> Self {
        Self { error, message, log_start_offset: -1 }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Self {
        Self { error, message: None, log_start_offset: -1 }
    }
}

/// Everything that can be said of a part before its batch is appended.
fn judge<M: ArenaMemory>(
    shard: &Shard<M>,
    id: &RequestId,
    acks: i16,
    topic: Result<TopicId, ErrorCode>,
    index: i32,
    records: &[u8],
) -> Result<(PartitionSlot, BatchHeader), Refusal> {
    let topic = topic?;
    let slot = shard.partitions.slot(topic, index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if acks == -1 && shard.partitions.min_insync_replicas(topic) > 1 {
        // This broker is the only replica there is.
        return Err(ErrorCode::NotEnoughReplicas.into());
    }
    let batch = only_batch(records)?;
    let in_log = |(error, message): (ErrorCode, String)| Refusal {
        error,
        message: Some(message),
        log_start_offset: shard.log.partition(slot).map_or(-1, |log| log.log_start_offset().0),
    };
    let header = BatchHeader::check(batch).map_err(|error| match error {
        BatchError::Counts { .. } => in_log((ErrorCode::InvalidRecord, error.to_string())),
        _ => refusal_of_batch(&error).into(),
    })?;
    if header.codec() == ZSTD && id.api_version < ZSTD_FROM_VERSION {
        let message = "Produce requests with version below 7 are not allowed to use ZStandard compression.";
        return Err((ErrorCode::UnsupportedCompressionType, Some(message.to_owned())).into());
    }
    check_header(&header).map_err(in_log)?;
    Ok((slot, header))
}

/// What a producer may not say in a batch that is whole.
fn check_header(header: &BatchHeader) -> Result<(), (ErrorCode, String)> {
    let refused = |error: ErrorCode, message: &str| Err((error, message.to_owned()));
    let invalid = |message: &str| refused(ErrorCode::InvalidRecord, message);
    if let Err(error) = header.check_dense() {
        return invalid(&error.to_string());
    }
    if header.base_offset != Offset::ZERO {
        return invalid("The base offset of a batch is the broker's to say: it must be 0.");
    }
    if header.is_control() {
        return invalid("Clients are not allowed to write control records.");
    }
    if header.codec() > ZSTD {
        return refused(ErrorCode::UnknownServerError, "Unknown compression type.");
    }
    if header.is_idempotent() && header.base_sequence < 0 {
        return invalid("An idempotent batch needs a sequence number.");
    }
    if header.is_idempotent() && header.producer_epoch.0 < 0 {
        return refused(ErrorCode::InvalidProducerEpoch, "An idempotent batch needs a producer epoch.");
    }
    Ok(())
}

/// Whether some part's batch says that it belongs to a transaction.
fn holds_transactional(request: &ProduceRequest<'_>) -> bool {
    let parts = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let mut batches = parts.filter_map(|part| part.records?.inline());
    batches.any(|batch| BatchHeader::parse(batch).is_ok_and(|header| header.is_transactional()))
}

/// The one batch that `records` may hold. As Kafka does it: what is too short to be a batch ends the records, and is an
/// error only where nothing stands before it.
fn only_batch(records: &[u8]) -> Result<&[u8], (ErrorCode, Option<String>)> {
    let one = || {
        let message = "Produce requests must contain exactly one record batch per partition.";
        (ErrorCode::InvalidRecord, Some(message.to_owned()))
    };
    let batch = first_batch(records)?.ok_or_else(one)?;
    match first_batch(records.get(batch.len()..).unwrap_or_default())? {
        None => Ok(batch),
        Some(_) => Err(one()),
    }
}

/// The bytes of the batch at the start; `None` if they end before it does.
fn first_batch(bytes: &[u8]) -> Result<Option<&[u8]>, (ErrorCode, Option<String>)> {
    const MAGIC_END: usize = 17;
    const LENGTH_MIN: i32 = 14;
    let corrupt = |message: String| (ErrorCode::CorruptMessage, Some(message));
    let length = bytes.get(LOG_OVERHEAD_BYTES - 4..).and_then(<[u8]>::first_chunk);
    let Some(length) = length.copied().map(i32::from_be_bytes) else { return Ok(None) };
    if length < LENGTH_MIN {
        let message = format!("Record size {length} is less than the minimum record overhead ({LENGTH_MIN})");
        return Err(corrupt(message));
    }
    let Some(magic) = bytes.get(MAGIC_END - 1).map(|byte| byte.cast_signed()) else { return Ok(None) };
    if !matches!(magic, 0..=2) {
        return Err(corrupt(format!("Invalid magic found in record: {magic}")));
    }
    let size = usize::try_from(length).ok().and_then(|length| length.checked_add(LOG_OVERHEAD_BYTES));
    Ok(size.and_then(|size| bytes.get(..size)))
}

fn refusal_of_batch(error: &BatchError) -> (ErrorCode, Option<String>) {
    let code = match error {
        BatchError::Magic { .. } | BatchError::Counts { .. } => ErrorCode::InvalidRecord,
        BatchError::HeaderCut { .. }
        | BatchError::LengthOutOfBounds { .. }
        | BatchError::BodyCut { .. }
        | BatchError::Crc { .. } => ErrorCode::CorruptMessage,
    };
    (code, Some(error.to_string()))
}

/// The one map from an append's error to the wire.
const fn error_of(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        AppendError::Storage | AppendError::OffsetsExhausted | AppendError::Busy => {
            ErrorCode::KafkaStorageError
        }
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
        AppendError::Timestamp { .. } => ErrorCode::InvalidTimestamp,
        AppendError::Sequence(SequenceError::Fenced { .. }) => ErrorCode::InvalidProducerEpoch,
        AppendError::Sequence(SequenceError::OutOfOrder { .. }) => ErrorCode::OutOfOrderSequenceNumber,
    }
}

/// The same error for every part of a request.
fn refuse<M: ArenaMemory>(
    shard: &mut Shard<M>,
    id: RequestId,
    request: &ProduceRequest<'_>,
    error: ErrorCode,
) -> Fate {
    if request.acks == 0 {
        return Fate::Close;
    }
    let responses = request
        .topic_data
        .iter()
        .map(|topic| TopicProduceResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partition_responses: topic
                .partition_data
                .iter()
                .map(|part| PartitionProduceResponse {
                    index: part.index,
                    error_code: error.code(),
                    base_offset: -1,
                    ..PartitionProduceResponse::default()
                })
                .collect(),
        })
        .collect();
    shard.reply(&id, &ProduceResponse { responses, ..ProduceResponse::default() }, Vec::new());
    Fate::Done
}

/// Sends the reply of a request that waits for nothing more.
fn answer<M: ArenaMemory>(shard: &mut Shard<M>, pending: PendingId) {
    let Some(produce) = shard.produces.remove(pending) else { return };
    if produce.acks == 0 {
        shard.reply_nothing(&produce.request);
        return;
    }
    let responses = produce
        .topics
        .iter()
        .map(|topic| TopicProduceResponse {
            name: &topic.name,
            topic_id: topic.id,
            partition_responses: topic.partitions.iter().map(partition_response).collect(),
        })
        .collect();
    shard.reply(&produce.request, &ProduceResponse { responses, ..ProduceResponse::default() }, Vec::new());
}

fn partition_response(result: &PartitionResult) -> PartitionProduceResponse<'_> {
    PartitionProduceResponse {
        index: result.index,
        error_code: result.error.code(),
        base_offset: if result.error.is_none() { result.base_offset } else { -1 },
        log_append_time_ms: result.log_append_time_ms,
        log_start_offset: result.log_start_offset,
        error_message: result.error_message.as_deref(),
        ..PartitionProduceResponse::default()
    }
}

/// The partition's high watermark has moved: acknowledges what it has reached.
pub fn handle_advanced<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) {
    let Some(reached) = shard.log.partition(slot).map(PartitionLog::high_watermark) else { return };
    while let Some(pending) = shard.produces.poll_acknowledged(slot, reached) {
        answer(shard, pending);
    }
}

/// The partition's storage has failed: what waits on it will not be acknowledged.
pub fn handle_failed<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) {
    while let Some(pending) = shard.produces.poll_failed(slot, ErrorCode::KafkaStorageError) {
        answer(shard, pending);
    }
}

/// The partition was deleted.
pub fn handle_deleted<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) {
    while let Some(pending) = shard.produces.poll_failed(slot, ErrorCode::UnknownTopicOrPartition) {
        answer(shard, pending);
    }
}

/// Answers requests whose time is up.
pub fn handle_time<M: ArenaMemory>(shard: &mut Shard<M>) {
    while let Some(pending) = shard.produces.poll_expired(shard.now_ms) {
        // Its frame may be among those that wait for room, and is not needed any more.
        shard.retry_stalled();
        answer(shard, pending);
    }
}

fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
