//! Append: check, assign offsets, copy once into the tail, publish, and put small synced ones into the commit log.

use super::{Event, PartitionSlot, ShardLog};
use crate::model::batch::{self, BatchHeader, HEADER_BYTES};
use crate::model::limits::{BLOCK_BYTES, DIRECT_APPEND_BYTES_MIN};
use crate::model::number::{index, round_down, wide};
use crate::model::{Durability, Offset};
use crate::runtime::memory::ArenaMemory;
use crate::storage::arena::table::ChunkLabel;
use crate::storage::commit_log::Entry;
use crate::storage::commit_log::frame::{FrameHeader, kind};
use crate::storage::partition::producers::{SequenceError, Verdict};
use crate::storage::partition::tail::TailChunk;
use crate::storage::partition::{PartitionLog, RESERVATION_RECORDS, reservation_end};
use crate::storage::seeded_bug::{SeededBug, planted};

/// A batch leaves one part in so many of the arena to others: a larger one might never find room.
const ARENA_SHARE_OF_OTHERS: usize = 8;
/// Appends to a `written` topic are told apart for flushing only this finely. Unit: bytes.
const WRITTEN_MERGE_BYTES: u64 = 256 << 10;
/// Full blocks that are worth a write of their own. Unit: bytes.
const WRITE_BEHIND_BYTES: u64 = 512 << 10;

/// Where an accepted batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    /// Offset behind the batch's last record. The batch is acknowledged when the high watermark has reached it.
    pub end_offset: Offset,
    /// Set if the topic stamps batches with the time of the append.
    pub log_append_time: Option<i64>,
    pub log_start_offset: Offset,
    /// It had been appended before, and is not again.
    pub is_duplicate: bool,
}

/// A batch's header with what the broker assigns.
struct Assigned {
    stored: BatchHeader,
    head: [u8; HEADER_BYTES],
    log_append_time: Option<i64>,
}

/// Why a batch was not appended. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("no such partition here")]
    UnknownPartition,
    #[error("the partition's storage has failed or is full")]
    Storage,
    #[error("no room in memory or in the commit log; try again when told")]
    Busy,
    #[error("the batch has {found} bytes, {limit} are allowed")]
    TooLarge { found: usize, limit: usize },
    #[error("the batch has {found} bytes, a segment {limit}")]
    LargerThanSegment { found: usize, limit: u64 },
    #[error("timestamp {found} is out of the allowed range")]
    Timestamp { found: i64 },
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    #[error("offsets are used up")]
    OffsetsExhausted,
}

impl<M: ArenaMemory> ShardLog<M> {
    /// Appends one batch whose `header` the caller has decoded and checked against its bytes (length, CRC, counts).
    /// What the broker assigns is written into the copy: others may hold `batch` too. It is acknowledged when the high
    /// watermark reaches the returned `end_offset`.
    ///
    /// # Errors
    /// Any [`AppendError`]; the batch is then not in the log.
    pub fn append(
        &mut self,
        slot: PartitionSlot,
        batch: &[u8],
        header: &BatchHeader,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.now_ms = self.now_ms.max(now_ms);
        if self.awaits_recovery {
            return Err(AppendError::Storage);
        }
        if let Some(duplicate) = self.judge(slot, header, now_ms)? {
            return Ok(duplicate);
        }
        let partition = self.partition(slot).ok_or(AppendError::UnknownPartition)?;
        let synced = partition.config.durability == Durability::Synced;
        let small = header.size_bytes < DIRECT_APPEND_BYTES_MIN;
        let room_in_commit_log = self.commit.has_room(header.size_bytes);
        if synced && small && !room_in_commit_log {
            self.starved = true;
            return Err(if self.commit.has_failed() { AppendError::Storage } else { AppendError::Busy });
        }
        if !self.make_room(slot, header.size_bytes, now_ms) {
            self.starved = true;
            return Err(AppendError::Busy);
        }
        if !self.make_room_for_producer(slot, header) {
            self.starved = true;
            return Err(AppendError::Busy);
        }
        // A large append does not wait until the segment before is sealed and the file of this one is made.
        let detour = room_in_commit_log && !self.partition(slot).is_some_and(PartitionLog::writes_at_once);
        let through_commit_log = synced && (small || detour);
        let Assigned { stored, head, log_append_time } = self.assign(slot, batch, header, now_ms)?;
        let records = batch.get(HEADER_BYTES..header.size_bytes).unwrap_or_default();
        let position = self.copy_into_tail(slot, &head, records);
        let appended =
            self.note_appended(slot, &stored, position, through_commit_log, now_ms, log_append_time)?;
        if through_commit_log {
            self.push_data_frame(slot, &stored, position, &head, records);
        }
        self.unflushed_bytes = self.unflushed_bytes.saturating_add(wide(header.size_bytes));
        self.after_append(slot, synced && !through_commit_log);
        Ok(appended)
    }

    /// Everything that can refuse a batch without touching the log; `Some` for a duplicate, which is not appended again.
    fn judge(
        &self,
        slot: PartitionSlot,
        header: &BatchHeader,
        now_ms: i64,
    ) -> Result<Option<Appended>, AppendError> {
        let partition = self.partition(slot).ok_or(AppendError::UnknownPartition)?;
        if partition.failed || partition.stall.is_some() {
            return Err(AppendError::Storage);
        }
        if self.closing || partition.hold.is_some() {
            return Err(AppendError::Busy);
        }
        let config = &partition.config;
        let capacity = index(self.arena.capacity_bytes());
        let arena_limit = capacity - capacity / ARENA_SHARE_OF_OTHERS;
        if header.size_bytes > arena_limit {
            return Err(AppendError::TooLarge { found: header.size_bytes, limit: arena_limit });
        }
        if header.size_bytes > config.batch_bytes_max {
            return Err(AppendError::TooLarge { found: header.size_bytes, limit: config.batch_bytes_max });
        }
        if wide(header.size_bytes) > config.segment_bytes {
            let limit = config.segment_bytes;
            return Err(AppendError::LargerThanSegment { found: header.size_bytes, limit });
        }
        if !config.log_append_time {
            let newest = now_ms.saturating_add(config.timestamp_after_max_ms);
            let oldest = now_ms.saturating_sub(config.timestamp_before_max_ms);
            let latest = header.max_timestamp.max(header.base_timestamp);
            if latest > newest {
                return Err(AppendError::Timestamp { found: latest });
            }
            if header.base_timestamp >= 0 && header.base_timestamp < oldest {
                return Err(AppendError::Timestamp { found: header.base_timestamp });
            }
        }
        if partition.log_end_offset.0 > i64::MAX - i64::from(i32::MAX) - 1 {
            return Err(AppendError::OffsetsExhausted);
        }
        if header.is_idempotent()
            && let Verdict::Duplicate(original) = partition.producers.check(header)?
        {
            let early = planted(self.options.seeded_bug, SeededBug::ReplyToDuplicateEarly);
            return Ok(Some(Appended {
                base_offset: original.base_offset,
                end_offset: if early { Offset::ZERO } else { original.end_offset },
                // As Kafka answers, whoever stamped the batch.
                log_append_time: Some(original.timestamp),
                log_start_offset: partition.log_start_offset,
                is_duplicate: true,
            }));
        }
        Ok(None)
    }

    /// Sees to an active segment with room for the batch, and to chunks for its bytes. False: no memory now.
    fn make_room(&mut self, slot: PartitionSlot, bytes: usize, now_ms: i64) -> bool {
        let Some(partition) = self.partition_mut(slot) else { return false };
        if partition.is_roll_due(wide(bytes), now_ms) {
            partition.close_active();
        }
        if partition.active_ref().is_none() {
            partition.begin_segment(now_ms);
        }
        let Some(active) = partition.active() else { return false };
        let segment = active.base_offset;
        let (segment_start, end) = (active.start, active.end());
        let needed_end = end + wide(bytes);
        loop {
            let Some(partition) = self.partition_mut(slot) else { return false };
            // Without a chunk of the segment, what it has ends on a block, and stands in its file.
            let written_end = round_down(end, wide(BLOCK_BYTES));
            let capacity_end = partition.tail.capacity_end(segment).unwrap_or(written_end);
            if capacity_end >= needed_end {
                return true;
            }
            let class = partition.tail.choose_class(needed_end - capacity_end, now_ms);
            let label = ChunkLabel {
                topic_partition: partition.topic_partition,
                leader_epoch: partition.leader_epoch,
                segment,
                position: capacity_end - segment_start,
            };
            let Some((id, class)) = self.allocate_chunk(class, &label) else {
                self.give_up_unused_chunks(slot);
                return false;
            };
            self.holders.insert(slot);
            let chunk = TailChunk { id, class, start: capacity_end, segment, clean: false };
            if let Some(partition) = self.partition_mut(slot) {
                partition.tail.chunks.push_back(chunk);
            }
        }
    }

    /// Chunks behind the end of the log were taken for an append that then did not fit: others may need them, and the next
    /// segment may begin before them.
    fn give_up_unused_chunks(&mut self, slot: PartitionSlot) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        while let Some(last) = partition.tail.chunks.back().copied()
            && last.start >= partition.end
        {
            partition.tail.chunks.pop_back();
            self.arena.disown(last.id);
        }
    }

    /// The header as it is to be stored.
    fn assign(
        &self,
        slot: PartitionSlot,
        batch_bytes: &[u8],
        header: &BatchHeader,
        now_ms: i64,
    ) -> Result<Assigned, AppendError> {
        let partition = self.partition(slot).ok_or(AppendError::UnknownPartition)?;
        let mut stored = *header;
        stored.base_offset = partition.log_end_offset;
        stored.leader_epoch = partition.leader_epoch;
        // As the batch has it: what is not known of a header is kept too.
        let mut head = batch_bytes.first_chunk().copied().unwrap_or_else(|| header.encode());
        let log_append_time = partition.config.log_append_time.then_some(now_ms);
        if let Some(time) = log_append_time {
            head = batch::with_log_append_time(&head, header.size_bytes, time);
            stored.max_timestamp = time;
        }
        if let Some(prefix) = head.first_chunk_mut() {
            *prefix = batch::assigned_prefix(stored.base_offset, header.size_bytes, stored.leader_epoch);
        }
        Ok(Assigned { stored, head, log_append_time })
    }

    /// The one copy. Bytes first, then the lengths that publish them. Returns the log position of the batch.
    fn copy_into_tail(&mut self, slot: PartitionSlot, head: &[u8], records: &[u8]) -> u64 {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return 0;
        };
        let Some(at) = partition.active_ref().map(|active| active.end()) else { return 0 };
        let publish_first = planted(self.options.seeded_bug, SeededBug::PublishBeforeBytes);
        let mut rest = [head, records];
        let mut position = at;
        for chunk in partition.tail.chunks_from(at) {
            let inside = position - chunk.start;
            let room = index(chunk.class.bytes() - inside);
            let left: usize = rest.iter().map(|part| part.len()).sum();
            let end = inside + wide(room.min(left));
            if publish_first {
                self.arena.publish(chunk.id, end);
            }
            let mut filled = inside;
            for part in &mut rest {
                let (now, later) = part.split_at(index(end - filled).min(part.len()));
                self.arena.write(chunk.id, filled, now);
                filled += wide(now.len());
                *part = later;
            }
            self.arena.publish(chunk.id, end);
            position += end - inside;
            if room >= left {
                return at;
            }
        }
        assert!(rest.iter().all(|part| part.is_empty()), "an append did not fit the room made for it");
        at
    }

    fn note_appended(
        &mut self,
        slot: PartitionSlot,
        stored: &BatchHeader,
        position: u64,
        through_commit_log: bool,
        now_ms: i64,
        log_append_time: Option<i64>,
    ) -> Result<Appended, AppendError> {
        let partition = self.partition_mut(slot).ok_or(AppendError::UnknownPartition)?;
        let interval_bytes = partition.config.index_interval_bytes;
        let end = position + wide(stored.size_bytes);
        let end_offset = stored.end_offset();
        let leader_epoch = partition.leader_epoch;
        if let Some(active) = partition.active() {
            let inside = position - active.start;
            if active.size == 0 {
                active.first_append_ms = now_ms;
            }
            active.note_batch(stored, inside, interval_bytes);
            active.size += wide(stored.size_bytes);
        }
        partition.end = end;
        partition.epochs.note(leader_epoch, stored.base_offset);
        let merge = if partition.config.durability == Durability::Written { WRITTEN_MERGE_BYTES } else { 0 };
        partition.pending.push(position, end, end_offset, through_commit_log, merge);
        assert!(end_offset > partition.log_end_offset, "the log end offset went back");
        partition.log_end_offset = end_offset;
        partition.touched = true;
        let log_start_offset = partition.log_start_offset;
        if stored.is_idempotent() {
            self.change_producers(slot, |partition| {
                partition.producers.note(stored, now_ms, partition.flushed_offset);
            });
        }
        let base_offset = stored.base_offset;
        Ok(Appended { base_offset, end_offset, log_append_time, log_start_offset, is_duplicate: false })
    }

    fn push_data_frame(
        &mut self,
        slot: PartitionSlot,
        stored: &BatchHeader,
        position: u64,
        head: &[u8],
        records: &[u8],
    ) {
        let Some(partition) = self.partition(slot) else { return };
        let Some(active) = partition.active_ref() else { return };
        let header = FrameHeader {
            kind: kind::DATA,
            topic_id: partition.topic_partition.topic_id.0,
            partition: partition.topic_partition.partition.0,
            leader_epoch: partition.leader_epoch.0,
            base_offset: stored.base_offset.0,
            end_offset: stored.end_offset().0,
            segment: active.base_offset.0,
            position: position - active.start,
            ..FrameHeader::blank()
        };
        let end = position + wide(stored.size_bytes);
        self.commit.push(header, [head, records], Entry::Data { slot, end });
    }

    /// What an append sets in motion: acknowledgement of `written`, write-behind, reservations, rounds; its own write if it is a
    /// `direct` one.
    fn after_append(&mut self, slot: PartitionSlot, direct: bool) {
        let now_ms = self.now_ms;
        let flush_interval_ms = self.options.flush_interval_ms;
        let Some(partition) = self.partition_mut(slot) else { return };
        let written_topic = partition.config.durability == Durability::Written;
        let mut pump = false;
        if !partition.dirty {
            partition.dirty = true;
            self.dirty.insert(slot);
            self.next_round_ms = self.next_round_ms.min(now_ms.saturating_add(flush_interval_ms));
        }
        self.changed = true;
        let Some(partition) = self.partition_mut(slot) else { return };
        if written_topic {
            let (due, deadline) = partition.note_flush_rules(now_ms);
            pump |= due;
            if let Some(deadline) = deadline {
                self.flush_deadlines.insert((deadline, slot));
            }
        } else if direct {
            partition.flush_goal = partition.end;
            pump = true;
        }
        let Some(partition) = self.partition_mut(slot) else { return };
        let unwritten = partition.active_ref().map_or(0, |active| active.size - active.written);
        pump |= unwritten >= WRITE_BEHIND_BYTES && !partition.busy;
        pump |= partition.segments.len() > 1 && !partition.busy;
        if written_topic {
            self.reserve_ahead(slot);
            if self.partition_mut(slot).is_some_and(PartitionLog::advance) {
                self.events.push_back(Event::Advanced(slot));
            }
        }
        if pump {
            self.pump(slot);
        }
        let (used, capacity) = self.commit.used_and_capacity_bytes();
        if used * 2 > capacity || self.is_much_unflushed() {
            self.begin_round();
        }
    }

    /// The stream has room again: what could not be reserved is.
    pub(super) fn reserve_what_waits(&mut self) {
        while self.commit.has_room(0)
            && let Some(slot) = self.without_reservation.pop_first()
        {
            self.reserve_ahead(slot);
        }
    }

    /// Keeps a durable reservation of offsets ahead of a `written` topic's appends.
    fn reserve_ahead(&mut self, slot: PartitionSlot) {
        let Some(partition) = self.partition(slot) else { return };
        let left = partition.reserved_offset.since(partition.log_end_offset);
        if partition.failed || partition.reserving.is_some() || left > RESERVATION_RECORDS / 2 {
            return;
        }
        if !self.commit.has_room(0) {
            self.without_reservation.insert(slot);
            return;
        }
        let upto = reservation_end(partition.log_start_offset, partition.log_end_offset);
        self.push_control(slot, kind::RESERVE, upto, super::files::Control::Reserve { upto });
        if let Some(partition) = self.partition_mut(slot) {
            partition.reserving = Some(upto);
        }
    }
}
