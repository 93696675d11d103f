//! Offsets by name and by time: at once where the log knows them, else by searches that go on turn by turn.

use super::{Answer, Owner};
use crate::broker::owner::fetch::{epoch_error, error_of};
use crate::broker::purgatory::list_offsets::{ListAnswer, ListPart, ListSearch, PendingList};
use crate::model::error_code::ErrorCode;
use crate::model::{LeaderEpoch, Offset};
use crate::protocol::kafka::messages::list_offsets::{
    EARLIEST_LOCAL_TIMESTAMP, EARLIEST_PENDING_UPLOAD_TIMESTAMP, EARLIEST_TIMESTAMP, FLUSHED_TIMESTAMP,
    LATEST_TIERED_TIMESTAMP, LATEST_TIMESTAMP, MAX_TIMESTAMP,
};
use crate::protocol::records::{RecordSearch, RecordSearched};
use crate::runtime::memory::ArenaMemory;
use crate::storage::PartitionSlot;
use crate::storage::partition::PartitionLog;
use crate::storage::shard::{Searched, TimestampSearch};

/// What a batch may unpack to before the record that is looked for in it; behind that, it is refused as corrupt. Kafka has
/// no such limit. Unit: bytes.
const UNPACKED_BYTES_MAX: usize = 128 << 20;
/// What is unpacked at a time, and the work that it counts for. Unit: bytes.
const UNPACKED_BYTES_PER_STEP: usize = 64 << 10;
const WORK_PER_STEP: u32 = 1024;

const NOTHING: ListAnswer = ListAnswer::Found { timestamp: -1, offset: -1, leader_epoch: -1 };

/// What a look at a partition gave.
enum Looked {
    Answer(ListAnswer),
    /// Its batches must be searched for this time.
    Search(i64),
}

/// Finds the partitions, answers what is known, and searches for the rest.
pub(super) fn list<M: ArenaMemory>(owner: &mut Owner<M>, mut list: PendingList) {
    let version = list.request.api_version;
    for (_, topic) in &mut list.topics {
        for part in topic.parts.iter_mut().filter(|part| part.answer.is_none()) {
            part.slot = topic.known.and_then(|known| owner.partitions.slot(known, part.index));
            match look(owner, part, version) {
                Looked::Answer(answer) => part.answer = Some(answer),
                Looked::Search(timestamp) => part.timestamp = timestamp,
            }
        }
    }
    if list.current().is_none() {
        owner.answers.push_back(Answer::Listed(list));
        return;
    }
    owner.lists.push(list);
    proceed(owner);
}

/// What can be said without a search.
fn look<M: ArenaMemory>(owner: &Owner<M>, part: &ListPart, version: i16) -> Looked {
    let Some(log) = part.slot.and_then(|slot| owner.log.partition(slot)) else {
        return Looked::Answer(ListAnswer::UNKNOWN);
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
fn proceed<M: ArenaMemory>(owner: &mut Owner<M>) {
    while let Some(list) = owner.lists.pop() {
        proceed_list(owner, list);
    }
}

/// Takes the request as far as it goes now.
fn proceed_list<M: ArenaMemory>(owner: &mut Owner<M>, mut list: PendingList) {
    while let Some(&mut ListPart { slot: Some(slot), timestamp, .. }) = list.current() {
        let step = match list.search.take() {
            Some(ListSearch::Record(search)) => search_record(owner, slot, search),
            Some(ListSearch::Batch(search)) => search_batch(owner, slot, search),
            None => search_batch(owner, slot, TimestampSearch::new(timestamp)),
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
                return owner.lists.wait(slot, list);
            }
            Step::Unfinished(search) => {
                list.search = Some(search);
                return owner.lists.push(list);
            }
        }
    }
    owner.answers.push_back(Answer::Listed(list));
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
    owner: &mut Owner<M>,
    slot: PartitionSlot,
    mut search: TimestampSearch,
) -> Step {
    match owner.log.search_timestamp(slot, &mut search, owner.lists.work_left()) {
        Ok(Searched::Missing) => Step::Answer(NOTHING),
        Ok(Searched::Pending) => Step::Pending(ListSearch::Batch(search)),
        Ok(Searched::Unfinished) => Step::Unfinished(ListSearch::Batch(search)),
        Ok(Searched::Found(batch)) => {
            let first = owner.log.partition(slot).map_or(Offset::ZERO, PartitionLog::log_start_offset);
            RecordSearch::new(batch, search.timestamp(), first, UNPACKED_BYTES_MAX)
                .map_or(Step::Answer(ListAnswer::Refused(ErrorCode::CorruptMessage)), |search| {
                    Step::Search(ListSearch::Record(Box::new(search)))
                })
        }
        Err(error) => Step::Answer(ListAnswer::Refused(error_of(error))),
    }
}

fn search_record<M: ArenaMemory>(
    owner: &mut Owner<M>,
    slot: PartitionSlot,
    mut search: Box<RecordSearch>,
) -> Step {
    let Some(log) = owner.log.partition(slot) else { return Step::Answer(ListAnswer::UNKNOWN) };
    let work = owner.lists.work_left();
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

/// The disk has answered for a partition, or it has failed or gone: what waits for it goes on.
pub(super) fn handle_ready<M: ArenaMemory>(owner: &mut Owner<M>, slot: PartitionSlot) {
    owner.lists.wake(slot);
    proceed(owner);
}

/// A turn of the owner: searches go on.
pub(super) fn handle_time<M: ArenaMemory>(owner: &mut Owner<M>) {
    owner.lists.begin_turn();
    proceed(owner);
}
