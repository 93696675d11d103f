//! Produce (key 0): append batches, and acknowledge them when they have reached their topics' durability.
//!
//! Here is the connection's side: it decodes, looks at every batch's bytes, and encodes the answer. The partitions' side
//! ([`crate::broker::owner`]) appends in order; between the two goes one message ([`Append`]).

use super::super::{Fate, reader_of};
use crate::broker::connection::frames::Inbound;
use crate::broker::owner::append::{Append, AppendPart, Batch};
use crate::broker::shards::{RequestId, Shard};
use crate::model::batch::{BatchError, BatchHeader, LOG_OVERHEAD_BYTES};
use crate::model::error_code::ErrorCode;
use crate::model::{Offset, TopicId};
use crate::protocol;
use crate::protocol::kafka::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, ProduceResponseWriter, TopicProduceData,
    TopicProduceResponse,
};
use crate::protocol::kafka::{Message, Records, Writer, frame};
use crate::runtime::memory::ArenaMemory;

/// zstd came with version 7 (KIP-110); older clients could not read it back.
const ZSTD: i16 = 4;
const ZSTD_FROM_VERSION: i16 = 7;
/// What the parts of a request may always hold. Unit: bytes.
const FEW_PARTS_BYTES: usize = 64 << 10;
/// From this version on topics are named by id.
const TOPIC_IDS_FROM_VERSION: i16 = 13;

/// Looks at every part, then has them appended. `body` is the request behind its header.
pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, body: &[u8], frame: Inbound<'_>) -> Fate {
    let Ok(request) = ProduceRequest::decode(&mut reader_of(shard, body), id.api_version) else {
        return Fate::Close;
    };
    if let Some(fate) = refuse_parts(shard, id, &request) {
        return fate;
    }
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
    if append.names_again() {
        append.merge_repeated();
    }
    shard.append(append, frame, body);
    Fate::Done
}

/// Counts what a request of many parts holds. One of more than a request may take cannot be answered within it either; one that
/// there is no room for now may come again.
fn refuse_parts<M: ArenaMemory>(
    shard: &mut Shard<M>,
    id: RequestId,
    request: &ProduceRequest<'_>,
) -> Option<Fate> {
    let topics = request.topic_data.len();
    let parts: usize = request.topic_data.iter().map(|topic| topic.partition_data.len()).sum();
    if topics <= 1 && parts <= 1 {
        return None;
    }
    let names: usize = request.topic_data.iter().map(|topic| topic.name.len()).sum();
    let bytes = Append::held_bytes(topics, parts).saturating_add(names);
    if bytes > shard.memory().request_bytes_max() {
        return Some(Fate::Close);
    }
    if bytes > FEW_PARTS_BYTES && !shard.memory().has_room_for(bytes) {
        return Some(refuse(shard, id, request, ErrorCode::RequestTimedOut));
    }
    shard.hold_more(&id, bytes);
    None
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
        Err(error @ BatchError::Crc { .. }) => {
            return AppendPart { batch: Batch::Damaged, ..refused(refusal_of_batch(&error)) };
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

/// Every part has its outcome.
pub fn answer<M: ArenaMemory>(shard: &mut Shard<M>, append: Box<Append>) {
    if append.acks != 0 {
        let version = append.request.api_version;
        shard.reply_with(&append.request, |writer| encode(&append, writer, version), Vec::new());
    } else if append.parts.iter().any(|part| !part.error.is_none()) {
        // A client that waits for no answer learns of an error by losing its connection, as with Kafka.
        let errors = append.parts.iter().map(|part| part.error).filter(|error| !error.is_none());
        let errors: Vec<(i16, u64)> = errors.map(|error| (error.code(), 1)).collect();
        shard.break_off(&append.request, &errors);
    } else {
        shard.reply_nothing(&append.request);
    }
    shard.give_spare_append(append);
}

fn encode(append: &Append, writer: &mut Writer, version: i16) -> protocol::Result<()> {
    let mut response = ProduceResponseWriter::begin(writer, version, append.topics().count())?;
    for (name, id, parts) in append.topics() {
        response.begin_topic(name, id, parts.len())?;
        for part in parts {
            let base_offset = if part.error.is_none() { part.base_offset } else { -1 };
            let offsets = [base_offset, part.log_start_offset];
            let message = part.error_message.as_deref();
            response.part(part.index, part.error.code(), part.log_append_time_ms, offsets, message)?;
        }
        response.end_topic();
    }
    response.end();
    Ok(())
}
