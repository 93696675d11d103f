//! ListOffsets (key 2): the first, the next and the latest offset, and the first record at or after a time.

use std::collections::BTreeMap;

use crate::broker::handlers::data::fetch::{READ_COMMITTED, READ_UNCOMMITTED, epoch_error, error_of};
use crate::broker::purgatory::list_offsets::{ListAnswer, ListPart, ListSearch, PendingList};
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
use crate::protocol::records::{RecordSearch, RecordSearched};
use crate::runtime::memory::ArenaMemory;
use crate::storage::PartitionSlot;
use crate::storage::partition::PartitionLog;
use crate::storage::shard::{Searched, TimestampSearch};

/// From this version on answers carry leader epochs (KIP-320).
const EPOCHS_FROM_VERSION: i16 = 4;
/// What a batch may unpack to before the record that is looked for in it; behind that, it is refused as corrupt. Kafka has
/// no such limit. Unit: bytes.
const UNPACKED_BYTES_MAX: usize = 128 << 20;
/// What is unpacked at a time, and the work that it counts for. Unit: bytes.
const UNPACKED_BYTES_PER_STEP: usize = 64 << 10;
const WORK_PER_STEP: u32 = 1024;

const NOTHING: ListAnswer = ListAnswer::Found { timestamp: -1, offset: -1, leader_epoch: -1 };
const UNKNOWN: ListAnswer = ListAnswer::Refused(ErrorCode::UnknownTopicOrPartition);

/// What a look at a partition gave.
enum Looked {
    Answer(ListAnswer),
    /// Its batches must be searched for this time.
    Search(i64),
}

pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: ListOffsetsRequest<'_>) {
    let known_isolation = matches!(request.isolation_level, READ_UNCOMMITTED | READ_COMMITTED);
    let refused = (!known_isolation).then_some(ListAnswer::Refused(ErrorCode::UnknownServerError));
    let mut topics: BTreeMap<String, Vec<ListPart>> = BTreeMap::new();
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let known = shard.image.topic(topic.name).map(|known| known.id);
        let parts = topics.entry(topic.name.to_owned()).or_default();
        parts.extend(topic.partitions.iter().map(|part| ListPart {
            index: part.partition_index,
            slot: known.and_then(|known| shard.partitions.slot(known, part.partition_index)),
            leader_epoch: part.current_leader_epoch,
            timestamp: part.timestamp,
            answer: refused,
        }));
    }
    topics.values_mut().for_each(refuse_repeated);
    let mut list =
        PendingList { request: id, topics: topics.into_iter().collect(), place: (0, 0), search: None };
    for part in list.topics.iter_mut().flat_map(|(_, parts)| parts).filter(|part| part.answer.is_none()) {
        match look(shard, part, id.api_version) {
            Looked::Answer(answer) => part.answer = Some(answer),
            Looked::Search(timestamp) => part.timestamp = timestamp,
        }
    }
    if list.current().is_none() {
        return answer(shard, list);
    }
    shard.lists.push(list);
    proceed(shard);
}

/// A partition that is named several times has one answer: that this is not allowed.
fn refuse_repeated(parts: &mut Vec<ListPart>) {
    parts.sort_by_key(|part| part.index);
    parts.dedup_by(|later, first| {
        let same = later.index == first.index;
        if same && first.answer.is_none() {
            first.answer = Some(ListAnswer::Refused(ErrorCode::InvalidRequest));
        }
        same
    });
}

/// What can be said without a search.
fn look<M: ArenaMemory>(shard: &Shard<M>, part: &ListPart, version: i16) -> Looked {
    let Some(log) = part.slot.and_then(|slot| shard.log.partition(slot)) else {
        return Looked::Answer(UNKNOWN);
    };
    if let Some(error) = epoch_error(part.leader_epoch, log.leader_epoch().0) {
        return Looked::Answer(ListAnswer::Refused(error));
    }
    if log.has_failed() {
        return Looked::Answer(ListAnswer::Refused(ErrorCode::KafkaStorageError));
    }
    Looked::Answer(match part.timestamp {
        LATEST_TIMESTAMP => at(log, log.high_watermark(), Some(log.leader_epoch())),
        EARLIEST_TIMESTAMP => at(log, log.log_start_offset(), None),
        MAX_TIMESTAMP if version >= 7 => match log.max_timestamp() {
            Some((timestamp, _)) => return Looked::Search(timestamp),
            None => NOTHING,
        },
        EARLIEST_LOCAL_TIMESTAMP if version >= 8 => at(log, log.log_start_offset(), None),
        // Nothing is in remote storage, and nothing waits to go there.
        LATEST_TIERED_TIMESTAMP if version >= 9 => NOTHING,
        EARLIEST_PENDING_UPLOAD_TIMESTAMP if version >= 11 => NOTHING,
        FLUSHED_TIMESTAMP => ListAnswer::Found {
            timestamp: FLUSHED_TIMESTAMP,
            offset: log.flushed_offset().0,
            leader_epoch: log.leader_epoch().0,
        },
        timestamp if timestamp >= 0 => return Looked::Search(timestamp),
        _ => ListAnswer::Refused(ErrorCode::UnsupportedVersion),
    })
}

fn at(log: &PartitionLog, offset: Offset, known: Option<LeaderEpoch>) -> ListAnswer {
    // Where nothing is, the next record will stand in the current epoch.
    let next = (offset >= log.log_end_offset()).then(|| log.leader_epoch());
    let leader_epoch = known.or_else(|| log.epochs().epoch_of(offset)).or(next).map_or(-1, |found| found.0);
    ListAnswer::Found { timestamp: -1, offset: offset.0, leader_epoch }
}

/// Works on searches as long as this turn may.
fn proceed<M: ArenaMemory>(shard: &mut Shard<M>) {
    while let Some(list) = shard.lists.pop() {
        proceed_list(shard, list);
    }
}

/// Takes the request as far as it goes now.
fn proceed_list<M: ArenaMemory>(shard: &mut Shard<M>, mut list: PendingList) {
    while let Some(&mut ListPart { slot: Some(slot), timestamp, .. }) = list.current() {
        let step = match list.search.take() {
            Some(ListSearch::Record(search)) => search_record(shard, slot, search),
            Some(ListSearch::Batch(search)) => search_batch(shard, slot, search),
            None => search_batch(shard, slot, TimestampSearch::new(timestamp)),
        };
        match step {
            Step::Answer(found) => {
                if let Some(part) = list.current() {
                    part.answer = Some(found);
                }
            }
            Step::Search(search) => list.search = Some(search),
            Step::Pending(search) => {
                list.search = Some(search);
                return shard.lists.wait(slot, list);
            }
            Step::Unfinished(search) => {
                list.search = Some(search);
                return shard.lists.push(list);
            }
        }
    }
    answer(shard, list);
}

/// What a search has come to.
enum Step {
    Answer(ListAnswer),
    /// On to this one.
    Search(ListSearch),
    /// It waits for the disk.
    Pending(ListSearch),
    /// The turn's work is used up.
    Unfinished(ListSearch),
}

fn search_batch<M: ArenaMemory>(
    shard: &mut Shard<M>,
    slot: PartitionSlot,
    mut search: TimestampSearch,
) -> Step {
    match shard.log.search_timestamp(slot, &mut search, shard.lists.work_left()) {
        Ok(Searched::Missing) => Step::Answer(NOTHING),
        Ok(Searched::Pending) => Step::Pending(ListSearch::Batch(search)),
        Ok(Searched::Unfinished) => Step::Unfinished(ListSearch::Batch(search)),
        Ok(Searched::Found(batch)) => {
            let first = shard.log.partition(slot).map_or(Offset::ZERO, PartitionLog::log_start_offset);
            RecordSearch::new(batch, search.timestamp(), first, UNPACKED_BYTES_MAX)
                .map_or(Step::Answer(ListAnswer::Refused(ErrorCode::CorruptMessage)), |search| {
                    Step::Search(ListSearch::Record(Box::new(search)))
                })
        }
        Err(error) => Step::Answer(ListAnswer::Refused(error_of(error))),
    }
}

fn search_record<M: ArenaMemory>(
    shard: &mut Shard<M>,
    slot: PartitionSlot,
    mut search: Box<RecordSearch>,
) -> Step {
    let Some(log) = shard.log.partition(slot) else { return Step::Answer(UNKNOWN) };
    let work = shard.lists.work_left();
    loop {
        if *work == 0 {
            return Step::Unfinished(ListSearch::Record(search));
        }
        *work = work.saturating_sub(WORK_PER_STEP);
        return Step::Answer(match search.proceed(UNPACKED_BYTES_PER_STEP) {
            Ok(RecordSearched::Unfinished) => continue,
            Ok(RecordSearched::Missing) => NOTHING,
            Ok(RecordSearched::Found { timestamp, offset }) => {
                let leader_epoch = log.epochs().epoch_of(offset).map_or(-1, |epoch| epoch.0);
                ListAnswer::Found { timestamp, offset: offset.0, leader_epoch }
            }
            Err(_) => ListAnswer::Refused(ErrorCode::CorruptMessage),
        });
    }
}

/// All parts have their answers.
fn answer<M: ArenaMemory>(shard: &mut Shard<M>, list: PendingList) {
    let has_epochs = list.request.api_version >= EPOCHS_FROM_VERSION;
    let answer_of = |part: &ListPart| {
        let mut row = ListOffsetsPartitionResponse { partition_index: part.index, ..Default::default() };
        match part.answer.unwrap_or(UNKNOWN) {
            ListAnswer::Found { timestamp, offset, leader_epoch } => {
                row.timestamp = timestamp;
                row.offset = offset;
                if has_epochs {
                    row.leader_epoch = leader_epoch;
                }
            }
            ListAnswer::Refused(error) => row.error_code = error.code(),
        }
        row
    };
    let topics = list
        .topics
        .iter()
        .map(|(name, parts)| ListOffsetsTopicResponse {
            name,
            partitions: parts.iter().map(answer_of).collect(),
        })
        .collect();
    let response = ListOffsetsResponse { topics, ..ListOffsetsResponse::default() };
    shard.reply(&list.request, &response, Vec::new());
}

/// The disk has answered for a partition, or it has failed or gone: what waits for it goes on.
pub fn handle_ready<M: ArenaMemory>(shard: &mut Shard<M>, slot: PartitionSlot) {
    shard.lists.wake(slot);
    proceed(shard);
}

/// A turn of the shard: searches go on.
pub fn handle_time<M: ArenaMemory>(shard: &mut Shard<M>) {
    shard.lists.begin_turn();
    proceed(shard);
}
