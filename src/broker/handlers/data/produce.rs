//! Produce (key 0): append batches, and acknowledge them when they have reached their topics' durability.
//!
//! Two sides, with one message between them ([`Append`]). The connection's side decodes, looks at every batch's bytes, and
//! encodes the answer; the partitions' side ([`crate::broker::shards::append`]) appends in order. If an append finds no room the
//! rest waits with its frame, and the connection with it, so that order is kept.

use super::super::Fate;
use crate::broker::purgatory::produce::PendingId;
use crate::broker::shards::append::{Append, AppendPart, Batch};
use crate::broker::shards::{RequestId, Shard};
use crate::model::batch::{BatchError, BatchHeader, LOG_OVERHEAD_BYTES};
use crate::model::error_code::ErrorCode;
use crate::model::{Offset, TopicId};
use crate::protocol::kafka::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use crate::protocol::kafka::{Message, Reader, Records, frame};
use crate::runtime::memory::ArenaMemory;
use crate::storage::PartitionSlot;
use crate::storage::partition::PartitionLog;
use crate::storage::partition::producers::SequenceError;
use crate::storage::shard::AppendError;

/// zstd came with version 7 (KIP-110); older clients could not read it back.
const ZSTD: i16 = 4;
const ZSTD_FROM_VERSION: i16 = 7;
/// From this version on topics are named by id.
const TOPIC_IDS_FROM_VERSION: i16 = 13;

/// Looks at every part, then has them appended. `body` is the request behind its header.
pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, body: &[u8]) -> Fate {
    let Ok(request) = ProduceRequest::decode(&mut Reader::new(body), id.api_version) else {
        return Fate::Close;
    };
    // As in Kafka, it is the batches that belong to a transaction; an id alone means nothing.
    if holds_transactional(&request) {
        return refuse(shard, id, &request, ErrorCode::TransactionalIdAuthorizationFailed);
    }
    let mut append = shard.spare_append(id);
    append.acks = request.acks;
    append.deadline_ms = shard.now_ms.saturating_add(i64::from(request.timeout_ms.max(0)));
    append.body_bytes = body.len();
    // Kafka's answer has no row for a topic without partitions.
    for topic in request.topic_data.iter().filter(|topic| !topic.partition_data.is_empty()) {
        let known = topic_named(shard, topic, id.api_version);
        append.begin_topic(topic.name, topic.topic_id);
        for part in &topic.partition_data {
            let records = part.records.and_then(Records::inline).unwrap_or_default();
            append.parts.push(match known {
                Ok(known) => examine(known, part.index, records, id.api_version, body),
                Err(error) => refused(None, part.index, error, None),
            });
        }
    }
    append_rest(shard, None, append, body)
}

fn topic_named<M>(
    shard: &Shard<M>,
    topic: &TopicProduceData<'_>,
    version: i16,
) -> Result<TopicId, ErrorCode> {
    if version >= TOPIC_IDS_FROM_VERSION {
        shard.image.topic_by_id(topic.topic_id).map(|found| found.id).ok_or(ErrorCode::UnknownTopicId)
    } else {
        shard.image.topic(topic.name).map(|found| found.id).ok_or(ErrorCode::UnknownTopicOrPartition)
    }
}

fn refused(topic: Option<TopicId>, index: i32, error: ErrorCode, message: Option<String>) -> AppendPart {
    let mut part = AppendPart::new(topic, index, Batch::Refused);
    part.refuse(error, message);
    part
}

/// Everything that can be said of a part from its bytes.
fn examine(topic: TopicId, index: i32, records: &[u8], version: i16, body: &[u8]) -> AppendPart {
    let refused = |(error, message)| refused(Some(topic), index, error, message);
    let in_log = |(error, message): (ErrorCode, String)| AppendPart {
        batch: Batch::RefusedInLog,
        ..refused((error, Some(message)))
    };
    let batch = match only_batch(records) {
        Ok(batch) => batch,
        Err(refusal) => return refused(refusal),
    };
    let header = match BatchHeader::check(batch) {
        Ok(header) => header,
        Err(error @ BatchError::Counts { .. }) => {
            return in_log((ErrorCode::InvalidRecord, error.to_string()));
        }
        Err(error) => return refused(refusal_of_batch(&error)),
    };
    if header.codec() == ZSTD && version < ZSTD_FROM_VERSION {
        let message = "Produce requests with version below 7 are not allowed to use ZStandard compression.";
        return refused((ErrorCode::UnsupportedCompressionType, Some(message.to_owned())));
    }
    if let Err(refusal) = check_header(&header) {
        return in_log(refusal);
    }
    let Some(bytes) = frame::position_in(body, batch) else {
        return refused((ErrorCode::UnknownServerError, None));
    };
    AppendPart::new(Some(topic), index, Batch::Sound { bytes, header })
}

/// Goes on with a request that had found no room. `frame` is the whole frame, as before.
pub fn resume<M: ArenaMemory>(shard: &mut Shard<M>, pending: PendingId, frame: &[u8]) -> Fate {
    // Its time may have been up before there was room: it has been answered then.
    let Some(append) = shard.produces.lend(pending) else { return Fate::Done };
    let body = frame.len().checked_sub(append.body_bytes).and_then(|start| frame.get(start..));
    append_rest(shard, Some(pending), append, body.unwrap_or_default())
}

/// Appends what has not been appended: the answer goes out now, or when the last part is acknowledged.
fn append_rest<M: ArenaMemory>(
    shard: &mut Shard<M>,
    pending: Option<PendingId>,
    mut append: Box<Append>,
    body: &[u8],
) -> Fate {
    let first_new = append.next;
    let acks = append.acks;
    let mut stalled = false;
    while let Some(part) = append.parts.get_mut(append.next) {
        if append_part(shard, acks, part, body).is_err() {
            stalled = true;
            break;
        }
        append.outstanding += u32::from(part.waits.is_some());
        append.next += 1;
    }
    if stalled || acks != 0 && append.outstanding > 0 {
        let pending = match pending {
            Some(pending) => {
                shard.produces.put_back(pending, append, first_new);
                pending
            }
            None => shard.produces.insert(append),
        };
        return if stalled { Fate::Stalled(pending) } else { Fate::Done };
    }
    if let Some(pending) = pending {
        shard.produces.remove_lent(pending, &append);
    }
    if acks == 0 && append.parts.iter().any(|part| !part.error.is_none()) {
        // A client that waits for no answer learns of an error by losing its connection, as with Kafka.
        return Fate::Close;
    }
    answer(shard, append);
    Fate::Done
}

/// There is no room for the batch now.
struct Busy;

fn append_part<M: ArenaMemory>(
    shard: &mut Shard<M>,
    acks: i16,
    part: &mut AppendPart,
    body: &[u8],
) -> Result<(), Busy> {
    let Some(topic) = part.topic else { return Ok(()) };
    let Some((slot, min_insync_replicas)) = shard.partitions.find(topic, part.index) else {
        part.refuse(ErrorCode::UnknownTopicOrPartition, None);
        return Ok(());
    };
    if acks == -1 && min_insync_replicas > 1 {
        // This broker is the only replica there is.
        part.refuse(ErrorCode::NotEnoughReplicas, None);
        return Ok(());
    }
    let (bytes, header) = match &part.batch {
        Batch::Sound { .. } if !matches!(acks, -1..=1) => {
            part.refuse(ErrorCode::InvalidRequiredAcks, None);
            return Ok(());
        }
        Batch::Sound { bytes, header } => (body.get(bytes.clone()).unwrap_or_default(), header),
        Batch::Refused => return Ok(()),
        Batch::RefusedInLog => {
            part.log_start_offset = log_start_offset(shard, slot);
            return Ok(());
        }
    };
    match shard.log.append(slot, bytes, header, shard.now_ms) {
        Err(AppendError::Busy) => return Err(Busy),
        Ok(appended) => {
            part.base_offset = appended.base_offset.0;
            part.log_append_time_ms = appended.log_append_time.unwrap_or(-1);
            part.log_start_offset = appended.log_start_offset.0;
            let reached = shard.log.partition(slot).map(PartitionLog::high_watermark);
            let waits = reached.is_none_or(|reached| reached < appended.end_offset);
            part.waits = waits.then_some((slot, appended.end_offset));
        }
        Err(error) => {
            part.refuse(error_of(&error), Some(error.to_string()));
            if matches!(error, AppendError::Timestamp { .. } | AppendError::Sequence(_)) {
                part.log_start_offset = log_start_offset(shard, slot);
            }
        }
    }
    Ok(())
}

fn log_start_offset<M: ArenaMemory>(shard: &Shard<M>, slot: PartitionSlot) -> i64 {
    shard.log.partition(slot).map_or(-1, |log| log.log_start_offset().0)
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
fn answer<M: ArenaMemory>(shard: &mut Shard<M>, append: Box<Append>) {
    if append.acks == 0 {
        shard.reply_nothing(&append.request);
    } else {
        let responses = append
            .topics()
            .map(|(name, topic_id, parts)| TopicProduceResponse {
                name,
                topic_id,
                partition_responses: parts.iter().map(partition_response).collect(),
            })
            .collect();
        let response = ProduceResponse { responses, ..ProduceResponse::default() };
        shard.reply(&append.request, &response, Vec::new());
    }
    shard.give_spare_append(append);
}

fn partition_response(part: &AppendPart) -> PartitionProduceResponse<'_> {
    PartitionProduceResponse {
        index: part.index,
        error_code: part.error.code(),
        base_offset: if part.error.is_none() { part.base_offset } else { -1 },
        log_append_time_ms: part.log_append_time_ms,
        log_start_offset: part.log_start_offset,
        error_message: part.error_message.as_deref(),
        ..PartitionProduceResponse::default()
    }
}

/// The partition's high watermark has moved: acknowledges what it has reached.
pub fn handle_advanced<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) {
    let Some(reached) = shard.log.partition(slot).map(PartitionLog::high_watermark) else { return };
    while let Some(done) = shard.produces.poll_acknowledged(slot, reached) {
        answer(shard, done);
    }
}

/// The partition's storage has failed: what waits on it will not be acknowledged.
pub fn handle_failed<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) {
    while let Some(done) = shard.produces.poll_failed(slot, ErrorCode::KafkaStorageError) {
        answer(shard, done);
    }
}

/// The partition was deleted.
pub fn handle_deleted<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) {
    while let Some(done) = shard.produces.poll_failed(slot, ErrorCode::UnknownTopicOrPartition) {
        answer(shard, done);
    }
}

/// Answers requests whose time is up.
pub fn handle_time<M: ArenaMemory>(shard: &mut Shard<M>) {
    while let Some(expired) = shard.produces.poll_expired(shard.now_ms) {
        // Its frame may be among those that wait for room, and is not needed any more.
        shard.retry_stalled();
        answer(shard, expired);
    }
}
