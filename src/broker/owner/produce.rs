//! Appends, in the order in which they come, and their acknowledgement.

use super::append::{Append, AppendPart, Batch};
use super::{Answer, Owner};
use crate::broker::purgatory::produce::PendingId;
use crate::model::error_code::ErrorCode;
use crate::runtime::memory::ArenaMemory;
use crate::storage::PartitionSlot;
use crate::storage::partition::PartitionLog;
use crate::storage::partition::producers::SequenceError;
use crate::storage::shard::AppendError;

/// Appends all parts: the answer goes out now, or when the last part is acknowledged.
pub(super) fn append<M: ArenaMemory>(owner: &mut Owner<M>, append: Box<Append>, body: &[u8]) {
    append_rest(owner, None, append, body);
}

/// Goes on with a request that had found no room. `frame` is the whole frame, as before.
pub(super) fn resume<M: ArenaMemory>(owner: &mut Owner<M>, pending: PendingId, frame: &[u8]) {
    // Its time may have been up before there was room: it has been answered then.
    let Some(append) = owner.produces.lend(pending) else { return };
    let body = frame.len().checked_sub(append.body_bytes).and_then(|start| frame.get(start..));
    append_rest(owner, Some(pending), append, body.unwrap_or_default());
}

/// Appends what has not been appended.
fn append_rest<M: ArenaMemory>(
    owner: &mut Owner<M>,
    pending: Option<PendingId>,
    mut append: Box<Append>,
    body: &[u8],
) {
    let first_new = append.next;
    let (acks, connection) = (append.acks, append.request.connection);
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
        if stalled {
            owner.answers.push_back(Answer::Stalled(connection, pending));
        }
        return;
    }
    if let Some(pending) = pending {
        owner.produces.remove_lent(pending, &append);
    }
    owner.answers.push_back(Answer::Appended(append));
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
    let Some((slot, min_insync_replicas)) = owner.partitions.find(topic, part.index) else {
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
    while let Some(expired) = owner.produces.poll_expired(owner.now.steady_ms) {
        // Its frame may be among those that wait for room, and is not needed any more.
        owner.answers.push_back(Answer::Room);
        owner.answers.push_back(Answer::Appended(expired));
    }
}
