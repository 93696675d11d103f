//! Fetches: batches from an offset on, or a wait for them (KIP-74 limits).

use std::ops::Range;

use super::{Answer, Owner};
use crate::broker::purgatory::fetch::{FetchOutcome, FetchPart, FetchTopicPart, PendingFetch, Waited};
use crate::broker::shards::ConnectionId;
use crate::model::LeaderEpoch;
use crate::model::error_code::ErrorCode;
use crate::model::number::{index, wide};
use crate::protocol::kafka::Records;
use crate::protocol::kafka::messages::fetch::{EpochEndOffset, PartitionData};
use crate::runtime::memory::ArenaMemory;
use crate::storage::PartitionSlot;
use crate::storage::partition::PartitionLog;
use crate::storage::shard::{ReadError, ReadPiece};

/// With less than this left of what replies may hold, none is made. Unit: bytes.
pub const REPLY_BYTES_MIN: u64 = 1 << 10;

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

/// Finds the partitions, then answers or waits.
pub(super) fn fetch<M: ArenaMemory>(owner: &mut Owner<M>, mut fetch: PendingFetch) {
    for topic in &mut fetch.topics {
        for part in &mut topic.parts {
            match topic.known.and_then(|known| owner.partitions.slot(known, part.index)) {
                None => part.error = topic.unknown.code(),
                Some(slot) => part.slot = (part.error == ErrorCode::None.code()).then_some(slot),
            }
        }
    }
    if owner.is_stopping {
        return give_up(owner, fetch);
    }
    try_answer(owner, fetch);
}

/// What one pass over a fetch's partitions has gathered.
#[derive(Default)]
struct Gathered {
    pieces: Vec<ReadPiece>,
    bytes: u64,
    bytes_max: u64,
    /// So much waits to be sent already that nothing is read.
    held_back: bool,
    /// Something that ends the wait at once: an error that the client must hear of, or data behind which there is more that this
    /// reply cannot give, as Kafka answers a fetch that begins in an older segment than the last.
    urgent: bool,
    /// A partition waits for the disk.
    pending: bool,
    /// Those that do.
    reading: Vec<PartitionSlot>,
}

/// Reads what the fetch's partitions have for it.
fn gather<M: ArenaMemory>(
    owner: &mut Owner<M>,
    fetch: &PendingFetch,
) -> (Vec<PartitionData<'static>>, Gathered) {
    let budget = owner.reply_bytes_left();
    let mut gathered = Gathered {
        bytes_max: fetch.bytes_max.min(budget),
        held_back: budget < REPLY_BYTES_MIN,
        urgent: fetch.topics.iter().all(|topic| topic.parts.is_empty()),
        ..Gathered::default()
    };
    let none_known = fetch.topics.iter().all(is_unknown_topic);
    let parts = fetch.topics.iter().flat_map(|topic| &topic.parts);
    let parts = parts.map(|part| read_part(owner, fetch, none_known, part, &mut gathered)).collect();
    (parts, gathered)
}

/// Answers the fetch if it has enough, has an error to tell, or its time is up; else it waits.
fn try_answer<M: ArenaMemory>(owner: &mut Owner<M>, mut fetch: PendingFetch) {
    let (parts, gathered) = gather(owner, &fetch);
    let is_late = owner.now.steady_ms >= fetch.deadline_ms;
    let expired = is_late || fetch.is_hastened;
    // Data that is on its way from the disk is worth a wait even at the deadline, unless there is some already.
    let waits_for_disk = gathered.pending && gathered.bytes == 0 && !gathered.urgent;
    let enough = gathered.bytes >= fetch.bytes_min.min(gathered.bytes_max) && gathered.bytes > 0
        || fetch.bytes_min == 0;
    if waits_for_disk || !(enough || gathered.urgent || expired) {
        owner.log.put_back(gathered.pieces);
        let bytes: Vec<u64> = parts.iter().map(|part| records_bytes(part.records.as_ref())).collect();
        if is_late {
            // What the disk gives is the answer, however little it is.
            fetch.deadline_ms = i64::MAX;
            fetch.is_hastened = true;
        }
        fetch.reading = gathered.reading;
        wait(owner, fetch, bytes, gathered.held_back);
    } else {
        answer(owner, fetch, parts, gathered);
    }
}

fn answer<M: ArenaMemory>(
    owner: &mut Owner<M>,
    fetch: PendingFetch,
    parts: Vec<PartitionData<'static>>,
    gathered: Gathered,
) {
    let pieces = owner.lend(gathered.pieces);
    // Where replies hold so much that this one could not have enough, asking again would be answered the same.
    let is_cut_short = gathered.bytes_max < fetch.bytes_min;
    let is_late = owner.now.steady_ms >= fetch.deadline_ms;
    let ends = gathered.urgent || is_cut_short || fetch.bytes_min == 0 || is_late;
    let outcome = FetchOutcome { parts, pieces, bytes: gathered.bytes, ends };
    owner.answers.push_back(Answer::Fetched(fetch, outcome));
}

/// Takes note of what each partition gave, so that an append to one does not make all be looked at again.
fn wait<M: ArenaMemory>(owner: &mut Owner<M>, mut fetch: PendingFetch, bytes: Vec<u64>, held_back: bool) {
    fetch.bytes = bytes.iter().sum();
    let parts = fetch.topics.iter_mut().flat_map(|topic| &mut topic.parts);
    for (part, bytes) in parts.zip(bytes) {
        let log = part.slot.and_then(|slot| owner.log.partition(slot));
        part.waited = Waited { bytes, end: log.map_or(0, PartitionLog::high_watermark_end) };
        // There is some: what comes from the disk is more. At a log's end, the disk has nothing for it.
        if bytes > 0 {
            fetch.reading.extend(part.slot);
        }
    }
    let was_pressed = owner.fetches.has_held_back();
    owner.fetches.insert(fetch, held_back);
    tell_pressed(owner, was_pressed);
}

/// Whoever has replies that wait behind a fetch is to know that they are wanted. While fetches are held back none is read, so that
/// no more such replies come.
fn tell_pressed<M: ArenaMemory>(owner: &mut Owner<M>, was_pressed: bool) {
    if !was_pressed && owner.fetches.has_held_back() {
        owner.answers.push_back(Answer::Pressed);
    }
}

/// Answers these fetches of the connection with what there is.
pub(super) fn hasten<M: ArenaMemory>(
    owner: &mut Owner<M>,
    connection: ConnectionId,
    requests: Range<u64>,
    ends: bool,
) {
    for mut fetch in owner.fetches.take_of(connection, requests) {
        if ends {
            give_up(owner, fetch);
        } else {
            fetch.is_hastened = true;
            try_answer(owner, fetch);
        }
    }
}

fn records_bytes(records: Option<&Records<'_>>) -> u64 {
    match records {
        Some(Records::External { bytes }) => wide(*bytes),
        _ => 0,
    }
}

fn read_part<M: ArenaMemory>(
    owner: &mut Owner<M>,
    fetch: &PendingFetch,
    none_known: bool,
    part: &FetchPart,
    gathered: &mut Gathered,
) -> PartitionData<'static> {
    owner.fetches.note_look();
    let mut data = failed(part.index, part.error);
    let Some(log) = part.slot.and_then(|slot| owner.log.partition(slot)) else {
        if data.error_code == 0 {
            data = failed(part.index, ErrorCode::UnknownTopicOrPartition.code());
        }
        // As in Kafka, a partition that is not known does not end the wait for those that are.
        gathered.urgent |= !is_unknown(data.error_code) || none_known;
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
    match owner.log.read(slot, part.offset, limit, first, &mut gathered.pieces) {
        Ok(done) => {
            gathered.urgent |= done.cut;
            if done.pending {
                gathered.pending = true;
                gathered.reading.push(slot);
            }
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
pub(super) fn handle_advanced<M: ArenaMemory>(owner: &mut Owner<M>, slot: PartitionSlot) {
    if owner.fetches.is_empty() {
        return;
    }
    // Where nothing would be read, it is not tried before replies hold less.
    if owner.reply_bytes_left() < REPLY_BYTES_MIN {
        let was_pressed = owner.fetches.has_held_back();
        owner.fetches.hold_back(slot);
        tell_pressed(owner, was_pressed);
        return;
    }
    let Some(log) = owner.log.partition(slot) else { return };
    let (end, start) = (log.high_watermark_end(), log.log_start_offset());
    for fetch in owner.fetches.take_satisfied(slot, end, start) {
        try_answer(owner, fetch);
    }
}

/// The disk has answered: fetches that it is read for are tried again, and no others that wait on the partition.
pub(super) fn handle_read<M: ArenaMemory>(owner: &mut Owner<M>, slot: PartitionSlot) {
    for fetch in owner.fetches.take_reading(slot) {
        try_answer(owner, fetch);
    }
}

/// Partitions are gone: fetches that wait on some of them are tried again, each once.
pub(super) fn handle_gone<M: ArenaMemory>(owner: &mut Owner<M>, slots: &[PartitionSlot]) {
    for fetch in owner.fetches.take_waiting_on_any(slots) {
        try_answer(owner, fetch);
    }
}

/// The partition was cut, or has failed: fetches that wait on it are tried again.
pub(super) fn handle_ready<M: ArenaMemory>(owner: &mut Owner<M>, slot: PartitionSlot) {
    for fetch in owner.fetches.take_waiting_on(slot) {
        try_answer(owner, fetch);
    }
}

/// Replies hold less than they did: fetches that were not read for their sake are.
pub(super) fn handle_released<M: ArenaMemory>(owner: &mut Owner<M>) {
    let mut has_answered = false;
    while owner.fetches.has_held_back()
        && owner.reply_bytes_left() >= REPLY_BYTES_MIN
        && let Some(fetch) = owner.fetches.poll_held_back()
    {
        try_answer(owner, fetch);
        has_answered = true;
    }
    // What was answered now may wait behind another one.
    tell_pressed(owner, !has_answered);
}

/// Answers all fetches with what there is, whatever is still on its way from the disk.
pub(super) fn give_up_all<M: ArenaMemory>(owner: &mut Owner<M>) {
    while let Some(fetch) = owner.fetches.poll_expired(i64::MAX) {
        give_up(owner, fetch);
    }
}

fn give_up<M: ArenaMemory>(owner: &mut Owner<M>, fetch: PendingFetch) {
    let (parts, mut gathered) = gather(owner, &fetch);
    gathered.urgent = true;
    answer(owner, fetch, parts, gathered);
}

/// Answers fetches whose time is up, with whatever there is.
pub(super) fn handle_time<M: ArenaMemory>(owner: &mut Owner<M>) {
    while let Some(fetch) = owner.fetches.poll_expired(owner.now.steady_ms) {
        try_answer(owner, fetch);
    }
}
