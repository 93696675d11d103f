//! Appends, in the order in which they come, and their acknowledgement.

use std::collections::VecDeque;

use super::append::{Append, AppendPart, Batch};
use super::{Answer, Frame, Owner};
use crate::broker::purgatory::produce::PendingId;
use crate::broker::shards::ConnectionId;
use crate::model::error_code::ErrorCode;
use crate::runtime::memory::ArenaMemory;
use crate::storage::PartitionSlot;
use crate::storage::partition::PartitionLog;
use crate::storage::partition::producers::SequenceError;
use crate::storage::shard::AppendError;

/// Appends all parts: the answer goes out now, or when the last part is acknowledged.
pub(super) fn append<M: ArenaMemory>(owner: &mut Owner<M>, append: Box<Append>, frame: Frame<'_>) {
    let connection = append.request.connection;
    match frame {
        Frame::Lent(_) => {
            let body = frame.body(append.body_bytes);
            if let Some(pending) = append_rest(owner, None, append, body) {
                owner.answers.push_back(Answer::Stalled(connection, pending));
            }
        }
        frame => append_afar(owner, connection, append, frame.into_static()),
    }
}

/// The same for a connection of another shard, which goes on sending: what comes behind an append that waits for room waits too.
fn append_afar<M: ArenaMemory>(
    owner: &mut Owner<M>,
    connection: ConnectionId,
    mut append: Box<Append>,
    frame: Frame<'static>,
) {
    if owner.is_closing {
        append.refuse_rest(ErrorCode::NotLeaderOrFollower);
        return owner.answers.push_back(Answer::Appended(append));
    }
    if let Some(waiting) = owner.afar.get_mut(&connection) {
        waiting.push_back((owner.produces.insert(append), frame));
        return;
    }
    let body = frame.body(append.body_bytes);
    if let Some(pending) = append_rest(owner, None, append, body) {
        owner.afar.insert(connection, VecDeque::from([(pending, frame)]));
    }
}

/// There may be room for appends of connections of other shards: first for the one that found none first the last time, so that each
/// has its turn.
pub(super) fn resume_afar<M: ArenaMemory>(owner: &mut Owner<M>) {
    let mut first = std::mem::take(&mut owner.afar);
    let then = owner.afar_first.take().map(|id| first.split_off(&id)).unwrap_or_default();
    for (connection, mut waiting) in then.into_iter().chain(first) {
        while let Some((pending, frame)) = waiting.pop_front() {
            // Its time may be up: it has been answered then.
            let Some(append) = owner.produces.lend(pending) else { continue };
            let body = frame.body(append.body_bytes);
            if append_rest(owner, Some(pending), append, body).is_some() {
                waiting.push_front((pending, frame));
                break;
            }
        }
        if !waiting.is_empty() {
            owner.afar_first.get_or_insert(connection);
            owner.afar.insert(connection, waiting);
        }
    }
}

/// There will be no room: what waits for it is refused, and what of the same requests is in the log is acknowledged in time.
pub(super) fn refuse_afar<M: ArenaMemory>(owner: &mut Owner<M>) {
    for (pending, _) in std::mem::take(&mut owner.afar).into_values().flatten() {
        let Some(mut append) = owner.produces.lend(pending) else { continue };
        append.refuse_rest(ErrorCode::NotLeaderOrFollower);
        if append.acks != 0 && append.outstanding > 0 {
            let first_new = append.parts.len();
            owner.produces.put_back(pending, append, first_new);
        } else {
            owner.produces.remove_lent(pending, &append);
            owner.answers.push_back(Answer::Appended(append));
        }
    }
}

/// The connection is gone: what of it has not been appended is forgotten. Returns how many requests that were.
pub(super) fn forget_afar<M: ArenaMemory>(owner: &mut Owner<M>, connection: ConnectionId) -> usize {
    let waiting = owner.afar.remove(&connection).into_iter().flatten();
    // One whose time was up has been answered.
    waiting.filter_map(|(pending, _)| owner.produces.remove(pending)).count()
}

/// Goes on with a request that had found no room. `frame` is the whole frame, as before.
pub(super) fn resume<M: ArenaMemory>(owner: &mut Owner<M>, pending: PendingId, frame: &[u8]) {
    // Its time may have been up before there was room: it has been answered then.
    let Some(append) = owner.produces.lend(pending) else { return };
    let connection = append.request.connection;
    let body = Frame::Lent(frame);
    let body = body.body(append.body_bytes);
    if let Some(pending) = append_rest(owner, Some(pending), append, body) {
        owner.answers.push_back(Answer::Stalled(connection, pending));
    }
}

/// Appends what has not been appended. Returns its name if there is no room for some of it.
fn append_rest<M: ArenaMemory>(
    owner: &mut Owner<M>,
    pending: Option<PendingId>,
    mut append: Box<Append>,
    body: &[u8],
) -> Option<PendingId> {
    let (first_new, acks) = (append.next, append.acks);
    let mut stalled = false;
    while let Some(part) = append.parts.get_mut(append.next) {
        if append_part(owner, acks, part, body).is_err() {
            stalled = true;
            break;
        }
        append.outstanding += u32::from(part.waits.is_some());
        append.next += 1;
    }
    if stalled || acks != 0 && append.outstanding > 0 {
        let pending = match pending {
            Some(pending) => {
                owner.produces.put_back(pending, append, first_new);
                pending
            }
            None => owner.produces.insert(append),
        };
        return stalled.then_some(pending);
    }
    if let Some(pending) = pending {
        owner.produces.remove_lent(pending, &append);
    }
    owner.answers.push_back(Answer::Appended(append));
    None
}

/// There is no room for the batch now.
struct Busy;

fn append_part<M: ArenaMemory>(
    owner: &mut Owner<M>,
    acks: i16,
    part: &mut AppendPart,
    body: &[u8],
) -> Result<(), Busy> {
    let Some(topic) = part.topic else { return Ok(()) };
    let Some((slot, min_insync_replicas, figures)) = owner.partitions.find(topic, part.index) else {
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
        Batch::Refused | Batch::Damaged => return Ok(()),
        Batch::RefusedInLog => {
            part.log_start_offset = log_start_offset(owner, slot);
            return Ok(());
        }
    };
    match owner.log.append(slot, bytes, header, owner.now.wall_ms) {
        Err(AppendError::Busy) => return Err(Busy),
        Ok(appended) => {
            if !appended.is_duplicate {
                figures.batches_in += 1;
                figures.records_in += u64::from(header.record_count.unsigned_abs());
                figures.bytes_in += bytes.len() as u64;
            }
            part.base_offset = appended.base_offset.0;
            part.log_append_time_ms = appended.log_append_time.unwrap_or(-1);
            part.log_start_offset = appended.log_start_offset.0;
            let reached = owner.log.partition(slot).map(PartitionLog::high_watermark);
            let waits = reached.is_none_or(|reached| reached < appended.end_offset);
            part.waits = waits.then_some((slot, appended.end_offset));
        }
        Err(error) => {
            part.refuse(error_of(&error), Some(error.to_string()));
            if matches!(error, AppendError::Timestamp { .. } | AppendError::Sequence(_)) {
                part.log_start_offset = log_start_offset(owner, slot);
            }
        }
    }
    Ok(())
}

fn log_start_offset<M: ArenaMemory>(owner: &Owner<M>, slot: PartitionSlot) -> i64 {
    owner.log.partition(slot).map_or(-1, |log| log.log_start_offset().0)
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

/// The partition's high watermark has moved: acknowledges what it has reached.
pub(super) fn handle_advanced<M: ArenaMemory>(owner: &mut Owner<M>, slot: PartitionSlot) {
    let Some(reached) = owner.log.partition(slot).map(PartitionLog::high_watermark) else { return };
    while let Some(done) = owner.produces.poll_acknowledged(slot, reached) {
        owner.answers.push_back(Answer::Appended(done));
    }
}

/// The partition's storage has failed: what waits on it will not be acknowledged.
pub(super) fn handle_failed<M: ArenaMemory>(owner: &mut Owner<M>, slot: PartitionSlot) {
    while let Some(done) = owner.produces.poll_failed(slot, ErrorCode::KafkaStorageError) {
        owner.answers.push_back(Answer::Appended(done));
    }
}

/// The partition was deleted.
pub(super) fn handle_deleted<M: ArenaMemory>(owner: &mut Owner<M>, slot: PartitionSlot) {
    while let Some(done) = owner.produces.poll_failed(slot, ErrorCode::UnknownTopicOrPartition) {
        owner.answers.push_back(Answer::Appended(done));
    }
}

/// Answers requests whose time is up.
pub(super) fn handle_time<M: ArenaMemory>(owner: &mut Owner<M>) {
    let mut has_expired = false;
    while let Some(expired) = owner.produces.poll_expired(owner.now.steady_ms) {
        has_expired = true;
        // Its frame may be among those that wait for room, and is not needed any more.
        owner.answers.push_back(Answer::Room);
        owner.answers.push_back(Answer::Appended(expired));
    }
    if has_expired {
        resume_afar(owner);
    }
}
