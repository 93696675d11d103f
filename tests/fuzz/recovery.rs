//! The whole of recovery, on files whose sums are right and whose numbers are not: it ends with logs that hold together, a
//! partition out of service, or an error; a second start finds what the first one left.

#![no_main]

mod memory_disk;

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use memory_disk::MemoryDisk;
use ringlog::model::batch::{BatchHeader, HEADER_BYTES, crc_of};
use ringlog::model::{
    LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicPartition,
};
use ringlog::runtime::disk::BlockingDisk as _;
use ringlog::runtime::memory::ArenaMemory as _;
use ringlog::runtime::sim::{SimMemory, SimRandom, SimSteps};
use ringlog::storage::arena::ChunkId;
use ringlog::storage::arena::table::{ARENA_BYTES_MIN, ArenaOwner, ChunkLabel, Layout, in_use};
use ringlog::storage::checkpoint::{
    BASE_PATH, CheckpointFile, CheckpointPartition, ProducerRecord, SegmentRecord, shard_checkpoint_path,
};
use ringlog::storage::commit_log::FILE_BYTES_MIN;
use ringlog::storage::commit_log::frame::{FRAME_HEADER_BYTES, FileHeader, FrameHeader, frame_bytes};
use ringlog::storage::partition::LogConfig;
use ringlog::storage::partition::producers::Producers;
use ringlog::storage::recovery::{KnownPartition, RecoveryOptions, claim_arena, recover};

const BLOCK: usize = 4096;
const DIRECTORY: [u8; 16] = [1; 16];
const FOLDER: &str = "t-0";
const PARTITION: TopicPartition = TopicPartition { topic_id: TopicId([2; 16]), partition: PartitionIndex(0) };
const OPTIONS: RecoveryOptions = RecoveryOptions {
    directory_id: DIRECTORY,
    boot_id: [3; 16],
    incarnation: 7,
    shard_count: 1,
    now_ms: 1_700_000_000_000,
    knows_all_topics: true,
    threads: 1,
    gathered_bytes_max: 16 << 10,
    seeded_bug: None,
};

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices { rest: input };
    let disk = MemoryDisk::default();
    disk.create_directories(Path::new(FOLDER)).expect("a folder in memory");
    if choices.byte() % 8 > 0 {
        let clean = choices.byte() % 8 == 0;
        disk.put(BASE_PATH, choices.checkpoint(6, clean).encode());
    }
    if choices.byte() % 2 > 0 {
        let incarnation = 5 + u64::from(choices.byte() % 3);
        disk.put(&shard_checkpoint_path(0), choices.checkpoint(incarnation, false).encode());
    }
    for _ in 0..choices.byte() % 4 {
        let (base_offset, bytes) = choices.segment();
        disk.put(&format!("{FOLDER}/{base_offset:020}.log"), bytes);
    }
    if choices.byte() % 4 > 0 {
        disk.put("commit-log/0-00000000.clog", choices.commit_log());
    }
    let mut arena = SimMemory::new(ARENA_BYTES_MIN, SimSteps::default(), SimRandom::new(1));
    if choices.byte() % 2 > 0 {
        choices.arena(&mut arena);
    }
    for start in 0..2 {
        let options = RecoveryOptions { incarnation: OPTIONS.incarnation + start, ..OPTIONS };
        let known = KnownPartition {
            topic_partition: PARTITION,
            folder: FOLDER.to_owned(),
            config: LogConfig::default(),
            leader_epoch: LeaderEpoch(9),
        };
        let Ok(recovered) = recover(&disk, &[&arena], &[known], &options) else { return };
        assert_eq!(recovered.logs.len(), 1);
        claim_arena(&mut arena, &options, 0);
    }
});

/// What the input says, byte after byte; when it has ended, zeros.
struct Choices<'a> {
    rest: &'a [u8],
}

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        first
    }

    /// Mostly small, so that things meet; now and then out of all bounds.
    fn number(&mut self) -> i64 {
        match self.byte() {
            small @ 0..=239 => i64::from(small),
            240..=243 => i64::from(self.byte()) * 256,
            244..=246 => -i64::from(self.byte()),
            247..=249 => i64::MAX - i64::from(self.byte()),
            250..=252 => i64::MIN + i64::from(self.byte()),
            _ => 1 << (self.byte() % 63),
        }
    }

    fn position(&mut self) -> u64 {
        self.number().cast_unsigned()
    }

    fn small(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    fn checkpoint(&mut self, incarnation: u64, clean: bool) -> CheckpointFile {
        let partition = CheckpointPartition {
            topic_id: PARTITION.topic_id.0,
            partition: 0,
            log_start_offset: self.number(),
            flushed_offset: self.number(),
            reserved_offset: self.number(),
            recovery_segment: self.number(),
            recovery_position: self.position(),
            recovery_offset: self.number(),
            control_sequence: self.position(),
            max_timestamp: self.number(),
            max_timestamp_offset: self.number(),
            epochs: (0..self.small(3)).map(|_| (self.byte().into(), self.number())).collect(),
            producers: self.producers(),
            segments: (0..self.small(3)).map(|_| self.segment_record()).collect(),
            segments_end: self.number(),
        };
        let oldest_sequence = self.position();
        CheckpointFile { incarnation, shard: 1, clean, oldest_sequence, partitions: vec![partition] }
    }

    /// What a producer appended last.
    fn producers(&mut self) -> Vec<ProducerRecord> {
        let mut producers = Producers::default();
        for _ in 0..self.small(3) {
            let base_offset = self.number();
            let (batch, _) = self.batch(base_offset);
            let header = BatchHeader::parse(&batch).expect("a sound batch");
            producers.note(&header, self.number(), Offset(self.number()));
        }
        producers.snapshot(Offset(i64::MAX)).iter().map(Into::into).collect()
    }

    fn segment_record(&mut self) -> SegmentRecord {
        SegmentRecord {
            base_offset: self.number(),
            size: self.position(),
            max_timestamp: self.number(),
            max_timestamp_offset: self.number(),
        }
    }

    fn batch(&mut self, base_offset: i64) -> (Vec<u8>, i64) {
        let count = i32::from(self.small(4)) + 1;
        let records = vec![self.byte(); usize::from(self.small(8)) * 8];
        let header = BatchHeader {
            base_offset: Offset(base_offset),
            size_bytes: HEADER_BYTES + records.len(),
            leader_epoch: LeaderEpoch(self.small(4).into()),
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 0,
            max_timestamp: self.number(),
            producer_id: ProducerId(i64::from(self.small(3)) - 1),
            producer_epoch: ProducerEpoch(0),
            base_sequence: self.byte().into(),
            record_count: count,
        };
        let header = BatchHeader { crc: crc_of(&header.encode(), &records), ..header };
        ([header.encode().as_slice(), &records].concat(), base_offset.saturating_add(count.into()))
    }

    /// A base offset that can be a name, and batches one after another, with a flaw now and then.
    fn segment(&mut self) -> (i64, Vec<u8>) {
        let base_offset = self.number().max(0);
        let mut offset = base_offset;
        let mut bytes = Vec::new();
        for _ in 0..self.small(6) {
            let (batch, next) = self.batch(offset);
            bytes.extend_from_slice(&batch);
            offset = if self.byte() == 255 { self.number() } else { next };
        }
        bytes.resize(bytes.len() + usize::from(self.small(3)) * 100, 0);
        (base_offset, bytes)
    }

    fn commit_log(&mut self) -> Vec<u8> {
        let mut file = vec![0; FILE_BYTES_MIN as usize];
        FileHeader::new(6, 1, 1, DIRECTORY, 0).encode_into(&mut file[..BLOCK]);
        let mut at = BLOCK;
        for sequence in 1..=u64::from(self.small(16)) {
            let mut body = Vec::new();
            let base_offset = self.number();
            let mut end_offset = base_offset;
            for _ in 0..self.small(3) {
                let (batch, next) = self.batch(end_offset);
                body.extend_from_slice(&batch);
                end_offset = next;
            }
            let header = FrameHeader {
                incarnation: 6,
                sequence,
                topic_id: PARTITION.topic_id.0,
                leader_epoch: self.small(4).into(),
                base_offset,
                end_offset,
                segment: self.number(),
                position: self.position(),
                kind: self.small(6).into(),
                body_bytes: body.len() as u32,
                ..FrameHeader::blank()
            };
            file[at..at + FRAME_HEADER_BYTES].copy_from_slice(&header.encode([&body, &[]]));
            file[at + FRAME_HEADER_BYTES..at + FRAME_HEADER_BYTES + body.len()].copy_from_slice(&body);
            at += frame_bytes(body.len());
        }
        file
    }

    fn arena(&mut self, arena: &mut SimMemory) {
        let owner =
            ArenaOwner { directory_id: DIRECTORY, boot_id: OPTIONS.boot_id, shard: 0, incarnation: 6 };
        arena.write(0, &owner.encode());
        let layout = Layout::of(ARENA_BYTES_MIN);
        for _ in 0..self.small(4) {
            let chunk = ChunkId(u32::from(self.byte()) % layout.granule_count());
            let label = ChunkLabel {
                topic_partition: PARTITION,
                leader_epoch: LeaderEpoch(self.small(4).into()),
                segment: Offset(self.number()),
                position: self.position() & !4095,
            };
            let offset = self.number();
            let (batch, _) = self.batch(offset);
            let entry = layout.entry_position(chunk);
            arena.write(entry + 8, &label.encode());
            arena.write(layout.chunk_position(chunk), &batch);
            let word = if self.byte() == 0 { self.position() } else { in_use(batch.len() as u64) };
            arena.publish(entry, word);
        }
    }
}
