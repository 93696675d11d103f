//! Recovery of files that a test has made and damaged: what may have been acknowledged stays.

mod damage;
mod producers;

use super::held::HeldWriter;
use super::*;
use crate::model::batch::{BatchHeader, HEADER_BYTES, crc_of};
use crate::model::limits::BLOCK_BYTES;
use crate::model::number::index;
use crate::model::{Durability, Offset, ProducerEpoch, ProducerId};
use crate::runtime::file::{Access, BlockingFile as _, Caching};
use crate::runtime::sim::{SimDisk, SimFaults, SimMemory, SimRandom, SimSteps};
use crate::storage::arena::ChunkId;
use crate::storage::arena::table::{ChunkLabel, in_use};
use crate::storage::commit_log::FILE_BYTES_MIN;
use crate::storage::commit_log::frame::{FileHeader, FrameHeader, kind};
use crate::storage::driver::write_index;
use crate::storage::operation::PREPARED_NAME;
use crate::storage::partition::RESERVATION_RECORDS;
use crate::storage::partition::segment::{file_name, index_path, metadata_file};
use crate::storage::side_file::SideFile;

const DIRECTORY: [u8; 16] = [1; 16];
const FOLDER: &str = "t-0";
const PARTITION: TopicPartition = TopicPartition { topic_id: TopicId([2; 16]), partition: PartitionIndex(0) };
/// The life that has ended.
const LAST: u64 = 6;
const BOOT: [u8; 16] = [3; 16];
const RESERVED: i64 = 7_000_000;

pub(super) const OPTIONS: RecoveryOptions = RecoveryOptions {
    directory_id: DIRECTORY,
    boot_id: BOOT,
    incarnation: LAST + 1,
    shard_count: 1,
    now_ms: 1_700_000_000_000,
    knows_all_topics: true,
    threads: 1,
    gathered_bytes_max: 16 << 10,
    seeded_bug: None,
};

/// A data directory of one partition, after a death in life [`LAST`].
struct Directory {
    disk: SimDisk,
    durability: Durability,
    boot_id: [u8; 16],
    next_incarnation: u64,
    knows_all_topics: bool,
}

impl Directory {
    fn new(durability: Durability) -> Self {
        let disk = SimDisk::new(SimSteps::default(), SimRandom::new(1));
        for folder in [FOLDER, "checkpoints", "commit-log"] {
            disk.create_directories(Path::new(folder)).unwrap();
        }
        let directory =
            Self { disk, durability, boot_id: BOOT, next_incarnation: LAST + 1, knows_all_topics: true };
        directory.put_stream(1);
        directory
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let file = self.disk.open(Path::new(path), Access::Create, Caching::Buffered).unwrap();
        file.set_length(0).unwrap();
        file.write_at(0, bytes).unwrap();
    }

    fn get(&self, path: &str) -> Vec<u8> {
        self.disk.read_file(Path::new(path), 1 << 30).unwrap()
    }

    fn damage(&self, path: &str) {
        let mut bytes = self.get(path);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.put(path, &bytes);
    }

    /// A stream of the last life without frames, whose first would have had this number.
    fn put_stream(&self, first_sequence: u64) {
        self.put_stream_of(0, first_sequence);
    }

    fn put_stream_of(&self, shard: u32, first_sequence: u64) {
        let mut file = vec![0; index(FILE_BYTES_MIN)];
        FileHeader::new(LAST, 1, first_sequence, DIRECTORY, shard).encode_into(&mut file[..BLOCK_BYTES]);
        self.put(&format!("commit-log/{shard}-00000000.clog"), &file);
    }

    fn put_segment(&self, base_offset: i64, bytes: &[u8]) {
        self.put(&path_of(base_offset, "log"), bytes);
    }

    /// Gaps between all of them. Returns the bytes.
    fn put_segments(&self, bases: &[i64]) -> Vec<Vec<u8>> {
        let contents: Vec<_> = bases.iter().map(|&base| batches(base, 5, 100)).collect();
        for (&base, bytes) in bases.iter().zip(&contents) {
            self.put_segment(base, bytes);
        }
        contents
    }

    fn start(&mut self) -> Result<Recovered, RecoveryError> {
        self.start_with(&[])
    }

    fn start_with(&mut self, arenas: &[&SimMemory]) -> Result<Recovered, RecoveryError> {
        let options = self.options(1);
        let known = KnownPartition {
            topic_partition: PARTITION,
            folder: FOLDER.to_owned(),
            config: LogConfig { durability: self.durability, ..LogConfig::default() },
            leader_epoch: LeaderEpoch(9),
        };
        let recovered = recover(&self.disk, arenas, &[known], &options);
        if let Ok(recovered) = &recovered {
            self.next_incarnation += 1;
            self.write_indices(&recovered.logs[0]);
        }
        recovered
    }

    const fn options(&self, threads: usize) -> RecoveryOptions {
        RecoveryOptions {
            boot_id: self.boot_id,
            incarnation: self.next_incarnation,
            knows_all_topics: self.knows_all_topics,
            threads,
            ..OPTIONS
        }
    }

    /// What a shard has done first with a recovered log.
    fn write_indices(&self, log: &PartitionLog) {
        for segment in log.segments.iter().filter(|segment| segment.index.due) {
            let path = index_path(FOLDER, segment.base_offset);
            write_index(&self.disk, &path, &SideFile::of_index(segment, segment.index.entries())).unwrap();
        }
    }

    /// Starts, and finds these segments as they were, and the log's end behind them.
    #[track_caller]
    fn starts_with(&mut self, bases: &[i64], contents: &[Vec<u8>]) {
        let recovered = self.start().unwrap();
        assert_eq!(recovered.report.offline, []);
        let log = &recovered.logs[0];
        let found: Vec<_> = log.segments.iter().map(|segment| segment.base_offset.0).collect();
        assert_eq!(found, bases);
        assert_eq!(log.log_end_offset, Offset(bases.last().unwrap() + 5));
        for (&base, content) in bases.iter().zip(contents) {
            assert_eq!(&self.get(&path_of(base, "log")), content, "segment {base}");
        }
    }

    fn checkpoint(incarnation: u64, partition: CheckpointPartition) -> Vec<u8> {
        let partitions = vec![partition];
        CheckpointFile { incarnation, shard: 0, clean: false, oldest_sequence: 1, partitions }.encode()
    }
}

fn memory_of_last_life() -> SimMemory {
    let mut memory = SimMemory::new(ARENA_BYTES_MIN, SimSteps::default(), SimRandom::new(1));
    let owner = ArenaOwner { directory_id: DIRECTORY, boot_id: BOOT, shard: 0, incarnation: LAST };
    memory.write(0, &owner.encode());
    memory
}

fn path_of(base_offset: i64, suffix: &str) -> String {
    format!("{FOLDER}/{}", file_name(Offset(base_offset), suffix))
}

/// A batch of `count` records, in `records_bytes` bytes of something that differs from one to the next.
pub(in crate::storage) fn batch(
    base_offset: i64,
    count: i32,
    leader_epoch: i32,
    records_bytes: usize,
) -> Vec<u8> {
    let records = vec![base_offset.to_le_bytes()[0] | 0x80; records_bytes];
    let mut header = BatchHeader {
        base_offset: Offset(base_offset),
        size_bytes: HEADER_BYTES + records_bytes,
        leader_epoch: LeaderEpoch(leader_epoch),
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: -1,
        record_count: count,
    };
    header.crc = crc_of(&header.encode(), &records);
    [header.encode().as_slice(), &records].concat()
}

pub(super) fn batches(base_offset: i64, count: i64, records_bytes: usize) -> Vec<u8> {
    (base_offset..base_offset + count).flat_map(|offset| batch(offset, 1, 1, records_bytes)).collect()
}

const GAPS: [i64; 3] = [0, 1000, 5000];

#[test]
fn a_log_with_gaps_outlives_the_loss_of_what_can_be_rebuilt() {
    for durability in [Durability::Synced, Durability::Written] {
        for segments in [&GAPS[..], &GAPS[1..]] {
            let mut directory = Directory::new(durability);
            let contents = directory.put_segments(segments);
            // Its memory is not lost.
            let memory = memory_of_last_life();
            let recovered = directory.start_with(&[&memory]).unwrap();
            assert_eq!(recovered.logs[0].log_end_offset, Offset(5005), "there was no base");
            directory.starts_with(segments, &contents);
            directory.disk.remove(Path::new("commit-log/0-00000000.clog")).unwrap();
            for damaged in [BASE_PATH, &path_of(1000, "index"), &path_of(5000, "index")] {
                directory.damage(damaged);
                directory.starts_with(segments, &contents);
                directory.disk.remove(Path::new(damaged)).unwrap();
                directory.starts_with(segments, &contents);
            }
        }
    }
}

/// The shard's checkpoint alone knew that the log begins at 1000: the base is older, and the frames are gone.
#[test]
fn a_log_outlives_the_loss_of_the_shards_checkpoint() {
    for is_missing in [false, true] {
        for at_base in [&[][..], &[0, 500]] {
            let mut directory = Directory::new(Durability::Synced);
            let contents = directory.put_segments(&GAPS[1..]);
            let record = |&base_offset: &i64| SegmentRecord {
                base_offset,
                size: 4096,
                max_timestamp: 0,
                max_timestamp_offset: base_offset,
            };
            let base = CheckpointPartition {
                flushed_offset: 1000,
                recovery_segment: 1000,
                recovery_offset: 1000,
                segments_end: 1000,
                segments: at_base.iter().map(record).collect(),
                ..CheckpointPartition::fresh(PARTITION)
            };
            let base = if at_base.is_empty() { CheckpointPartition::fresh(PARTITION) } else { base };
            write_base_of(&directory.disk, LAST, 1, false, vec![base]).unwrap();
            if is_missing {
                directory.put_stream(17);
            } else {
                directory.put(&shard_checkpoint_path(0), b"no checkpoint");
            }
            directory.starts_with(&GAPS[1..], &contents);
        }
    }
}

#[test]
fn without_a_base_a_start_over_a_damaged_sealed_segment_is_refused_and_nothing_is_removed() {
    let mut directory = Directory::new(Durability::Synced);
    directory.put_segments(&GAPS);
    directory.start().unwrap();
    directory.disk.remove(Path::new(BASE_PATH)).unwrap();
    directory.damage(&path_of(1000, "log"));
    let contents: Vec<_> = GAPS.iter().map(|&base| directory.get(&path_of(base, "log"))).collect();
    let refused = directory.start().unwrap_err();
    assert!(
        matches!(&refused, RecoveryError::Unknown { reason, .. } if reason.contains("1000")),
        "{refused}"
    );
    for (&base, content) in GAPS.iter().zip(&contents) {
        assert_eq!(&directory.get(&path_of(base, "log")), content, "segment {base}");
    }
}

#[test]
fn segments_that_overlap_are_not_removed_without_a_base() {
    let mut directory = Directory::new(Durability::Synced);
    let contents = directory.put_segments(&[0, 3, 1000]);
    assert!(matches!(directory.start(), Err(RecoveryError::Unknown { .. })));
    for (&base, content) in [0, 3, 1000].iter().zip(&contents) {
        assert_eq!(&directory.get(&path_of(base, "log")), content, "segment {base}");
    }
}

/// The log of a `written` topic whose memory is lost as well.
#[test]
fn a_reservation_is_kept_without_the_base_and_guessed_without_anything() {
    let known = CheckpointPartition {
        reserved_offset: RESERVED,
        flushed_offset: 5003,
        recovery_segment: 5000,
        recovery_offset: 5000,
        ..CheckpointPartition::fresh(PARTITION)
    };
    let guessed = 5005 + RESERVATION_RECORDS;
    // The shards before the one that had it may have said nothing yet.
    for (shard, damaged, expected) in [(0, false, RESERVED), (3, false, RESERVED), (0, true, guessed)] {
        let mut directory = Directory::new(Durability::Written);
        let contents = directory.put_segments(&GAPS);
        directory.put(&shard_checkpoint_path(shard), &Directory::checkpoint(LAST, known.clone()));
        if damaged {
            directory.damage(&shard_checkpoint_path(shard));
        }
        let recovered = directory.start().unwrap();
        assert_eq!(recovered.logs[0].log_end_offset, Offset(expected));
        for (&base, content) in GAPS.iter().zip(&contents) {
            assert_eq!(&directory.get(&path_of(base, "log")), content, "segment {base}");
        }
    }
}

/// What the memory of the other shard held is as good as lost with the power.
#[test]
fn without_the_base_the_streams_tell_how_many_memories_there_were() {
    for (streams, is_lost) in [(1, false), (2, true)] {
        let mut directory = Directory::new(Durability::Written);
        directory.put_segments(&GAPS);
        (0..streams).for_each(|shard| directory.put_stream_of(shard, 1));
        let memory = memory_of_last_life();
        let recovered = directory.start_with(&[&memory]).unwrap();
        assert_eq!(recovered.report.arena_lost, is_lost, "{streams} streams");
    }
}

/// With a base that can be read, what does not follow is a torn tail: the segment before was not on stable media.
#[test]
fn what_had_not_become_a_segment_yet_is_removed() {
    let mut directory = Directory::new(Durability::Synced);
    let contents = directory.put_segments(&[0]);
    let prepared = format!("{FOLDER}/{PREPARED_NAME}");
    directory.put(&prepared, &[0; 8192]);
    directory.starts_with(&[0], &contents);
    assert!(directory.disk.read_file(Path::new(&prepared), 1 << 20).unwrap_err().is_not_found());
}

#[test]
fn with_its_base_a_segment_behind_a_torn_one_goes() {
    let mut directory = Directory::new(Durability::Written);
    let contents = directory.put_segments(&[0, 5]);
    directory.put_segment(0, &contents[0][..contents[0].len() - 1]);
    write_base_of(&directory.disk, LAST, 0, false, vec![CheckpointPartition::fresh(PARTITION)]).unwrap();
    let recovered = directory.start().unwrap();
    assert_eq!(recovered.logs[0].log_end_offset, Offset(4));
    assert_eq!(recovered.logs[0].segments.len(), 1);
}

/// The file has batches 0 to 29 and knows of 0 to 9 that they are on stable media; the memory has all 60.
#[test]
fn damage_in_the_memory_costs_nothing_that_is_in_the_file() {
    let content = batches(0, 60, 300);
    let damages = ["none", "bytes", "position", "segment", "partition", "shorter", "longer", "no base"];
    for damage in damages {
        let mut directory = Directory::new(Durability::Written);
        directory.put_segment(0, &content[..content.len() / 2]);
        if damage != "no base" {
            let state = CheckpointPartition {
                flushed_offset: 10,
                recovery_position: content.len() as u64 / 6,
                recovery_offset: 10,
                ..CheckpointPartition::fresh(PARTITION)
            };
            write_base_of(&directory.disk, LAST, 1, false, vec![state]).unwrap();
        }
        let recovered = directory.start_with(&[&memory_with(&content, damage)]).unwrap();
        assert_eq!(recovered.report.offline, [], "{damage}");
        // The damage lies in what the file has.
        assert_eq!(recovered.logs[0].log_end_offset, Offset(60), "{damage}");
        assert_eq!(recovered.logs[0].segments.len(), 1, "{damage}");
        assert_eq!(directory.get(&path_of(0, "log")), content, "{damage}");
        assert!(
            directory.disk.open(Path::new(&path_of(20, "log")), Access::Read, Caching::Buffered).is_err()
        );
    }
}

/// A memory with `content` in chunks of 4 KiB, the second of which is damaged.
fn memory_with(content: &[u8], damage: &str) -> SimMemory {
    let mut memory = memory_of_last_life();
    let layout = Layout::of(memory.len());
    for (number, bytes) in (0..).zip(content.chunks(4096)) {
        let chunk = ChunkId(number);
        let mut label = ChunkLabel {
            topic_partition: PARTITION,
            leader_epoch: LeaderEpoch(1),
            segment: Offset(0),
            position: u64::from(number) * 4096,
        };
        let (mut bytes, mut valid_bytes) = (bytes.to_vec(), bytes.len() as u64);
        match damage {
            "bytes" if number == 1 => bytes.fill(7),
            "position" if number == 1 => label.position = 0,
            "segment" if number == 1 => label.segment = Offset(20),
            "partition" if number == 1 => label.topic_partition.partition = PartitionIndex(1),
            "shorter" if number == 1 => valid_bytes = 5,
            "longer" if number == 1 => valid_bytes = 100_000,
            _ => {}
        }
        let entry = layout.entry_position(chunk);
        memory.write(entry + 8, &label.encode());
        memory.write(layout.chunk_position(chunk), &bytes);
        memory.publish(entry, in_use(valid_bytes));
    }
    memory
}

/// A directory of a `written` partition that has reserved offsets, with this segment, of which nothing was flushed.
fn unflushed(content: &[u8]) -> Directory {
    let directory = Directory::new(Durability::Written);
    directory.put_segment(0, content);
    let state = CheckpointPartition { reserved_offset: RESERVED, ..CheckpointPartition::fresh(PARTITION) };
    write_base_of(&directory.disk, LAST, 1, false, vec![state]).unwrap();
    directory
}

/// What the memory has is not put in place, and nothing is written down: the next recovery finds all of it again.
#[test]
fn on_a_full_disk_nothing_is_void_before_there_is_room() {
    let content = batches(0, 60, 300);
    let mut directory = unflushed(&content[..10 * 361]);
    let memory = memory_with(&content, "none");
    let base = directory.get(BASE_PATH);
    for _ in 0..2 {
        directory.disk.set_faults(SimFaults { full: true, ..SimFaults::default() });
        let recovered = directory.start_with(&[&memory]).unwrap();
        assert!(recovered.report.lacks_room && recovered.logs[0].has_failed());
        assert_eq!((directory.get(BASE_PATH), directory.get(&path_of(0, "log")).len()), (base.clone(), 3610));
        directory.next_incarnation = LAST + 1;
    }
    directory.disk.set_faults(SimFaults::default());
    let recovered = directory.start_with(&[&memory]).unwrap();
    assert!(!recovered.report.lacks_room);
    assert_eq!(recovered.logs[0].log_end_offset, Offset(60));
}

/// Nothing is to be put in place: what is there can be read, even if that cannot be written down.
#[test]
fn on_a_full_disk_a_partition_without_need_of_room_is_recovered_to_be_read() {
    let mut directory = Directory::new(Durability::Synced);
    let contents = directory.put_segments(&[0]);
    directory.start().unwrap();
    directory.disk.set_faults(SimFaults { full: true, ..SimFaults::default() });
    let recovered = directory.start().unwrap();
    assert!(recovered.report.lacks_room && !recovered.logs[0].has_failed());
    assert_eq!(recovered.logs[0].log_end_offset, Offset(5));
    directory.disk.set_faults(SimFaults::default());
    directory.starts_with(&[0], &contents);
}

/// An append that the death of the process cut short, after some of its chunks were published, was shown to nobody. Where a chunk
/// is missing, readers may have seen what was in it.
#[test]
fn a_gap_in_the_memory_costs_the_reservation_and_an_append_cut_short_does_not() {
    let content = batches(0, 60, 300);
    for cut in [1, 60, 61, 62, 300, 360] {
        let memory = memory_with(&content[..59 * 361 + cut], "none");
        let recovered = unflushed(&content[..1000]).start_with(&[&memory]).unwrap();
        assert_eq!(recovered.logs[0].log_end_offset, Offset(59), "{cut} bytes of it");
    }
    for damage in ["bytes", "position", "segment", "partition", "shorter"] {
        let recovered = unflushed(&content[..1000]).start_with(&[&memory_with(&content, damage)]).unwrap();
        let log = &recovered.logs[0];
        assert_eq!(log.log_end_offset, Offset(RESERVED), "{damage}");
        assert_eq!(log.segments[0].size, 4096 / 361 * 361, "{damage}");
    }
}

/// What of a `written` partition was in its file, not flushed, had no chunk any more: the power took it.
#[test]
fn a_partition_put_aside_goes_on_at_its_reservation_if_the_power_went_since() {
    let content = batches(0, 60, 300);
    for (boot_id, is_memory_lost, expected) in
        [(BOOT, false, 40), (BOOT, true, RESERVED), ([4; 16], false, RESERVED)]
    {
        let mut directory = unflushed(&content[..40 * 361]);
        let mut held = HeldWriter::begin(&directory.disk, LAST).unwrap();
        held.push_mark(PARTITION, is_memory_lost, &BOOT).unwrap();
        held.finish().unwrap();
        directory.boot_id = boot_id;
        let recovered = directory.start().unwrap();
        assert_eq!(recovered.logs[0].log_end_offset, Offset(expected));
    }
}

/// Folders by these names, of another topic and of a partition that this one does not have.
const GONE: &str = "gone-0";
const BEYOND: &str = "t-7";

fn put_unknown_folders(directory: &Directory) {
    for (folder, topic_id) in [(GONE, TopicId([7; 16])), (BEYOND, PARTITION.topic_id)] {
        directory.disk.create_directories(Path::new(folder)).unwrap();
        let (name, contents) = metadata_file(topic_id);
        directory.put(&format!("{folder}/{name}"), &contents);
    }
}

#[test]
fn the_folder_of_a_deleted_topic_is_removed_and_that_of_one_that_may_be_lost_is_kept() {
    let id = TopicId([7; 16]);
    let (trash, stray) = (format!(".deleted-{id}-{GONE}"), format!(".stray-{id}-{GONE}"));
    let beyond = format!(".stray-{}-{BEYOND}", PARTITION.topic_id);
    let first_start = |directory: &mut Directory| drop(directory.start().unwrap());
    let after = |prepare: &dyn Fn(&mut Directory)| {
        let mut directory = Directory::new(Durability::Synced);
        let contents = directory.put_segments(&[0]);
        prepare(&mut directory);
        put_unknown_folders(&directory);
        let mut report = directory.start().unwrap().report;
        assert_eq!(directory.get(&path_of(0, "log")), contents[0]);
        let left = directory.disk.list(Path::new("")).unwrap().into_iter().map(|entry| entry.name);
        let mut left: Vec<String> =
            left.filter(|name| ![FOLDER, "checkpoints", "commit-log"].contains(&&**name)).collect();
        left.sort_unstable();
        report.strays.sort_unstable();
        (left, report.trash, report.strays)
    };
    let mut kept = vec![stray, beyond.clone()];
    kept.sort_unstable();
    assert_eq!(after(&first_start), (vec![trash.clone(), beyond.clone()], vec![trash], vec![beyond]));
    // The metadata was damaged, or is older than the data, or of the data nothing is known.
    let doubtful: [&dyn Fn(&mut Directory); 3] = [
        &|directory| {
            first_start(directory);
            directory.knows_all_topics = false;
        },
        &|directory| {
            first_start(directory);
            directory.next_incarnation = LAST + 1;
        },
        &|_| {},
    ];
    for (number, prepare) in doubtful.into_iter().enumerate() {
        assert_eq!(after(prepare), (kept.clone(), Vec::new(), kept.clone()), "{number}");
    }
}

impl Directory {
    /// A stream file of the last life with `groups` groups of one frame each, which apply to no partition.
    fn put_groups(&self, file_sequence: u64, first_sequence: u64, groups: u64) -> String {
        let mut file = vec![0; index(FILE_BYTES_MIN)];
        FileHeader::new(LAST, file_sequence, first_sequence, DIRECTORY, 0)
            .encode_into(&mut file[..BLOCK_BYTES]);
        for group in 0..groups {
            let sequence = first_sequence + group;
            let header =
                FrameHeader { incarnation: LAST, sequence, kind: kind::RESERVE, ..FrameHeader::blank() };
            let at = BLOCK_BYTES * (1 + index(group));
            let bytes = header.encode([&[], &[]]);
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        let path = format!("commit-log/0-{file_sequence:08}.clog");
        self.put(&path, &file);
        path
    }

    fn flip(&self, path: &str, position: usize) {
        let mut bytes = self.get(path);
        bytes[position] ^= 1;
        self.put(path, &bytes);
    }

    #[track_caller]
    fn starts_with_damaged_streams(&mut self, count: u32) {
        assert_eq!(self.start().unwrap().report.damaged_streams, count);
    }
}

#[test]
fn a_commit_log_that_lacks_a_group_in_its_middle_is_told() {
    // Up to 16 groups can have been in flight together, and the power can have taken the first of them alone.
    for (groups, damaged) in [(12 + 16, 0), (12 + 17, 1)] {
        let mut directory = Directory::new(Durability::Synced);
        directory
            .put("checkpoints/base", &Directory::checkpoint(LAST, CheckpointPartition::fresh(PARTITION)));
        directory.disk.remove(Path::new("commit-log/0-00000000.clog")).unwrap();
        let path = directory.put_groups(1, 1, groups);
        directory.flip(&path, BLOCK_BYTES * 12 + 20);
        directory.starts_with_damaged_streams(damaged);
    }
}

#[test]
fn a_commit_log_that_lacks_its_beginning_is_told() {
    for (groups, damaged) in [(16, 0), (17, 1)] {
        let mut directory = Directory::new(Durability::Synced);
        let fresh = CheckpointPartition::fresh(PARTITION);
        write_base_of(&directory.disk, LAST, 1, false, vec![fresh.clone()]).unwrap();
        directory.put("checkpoints/shard-0", &Directory::checkpoint(LAST, fresh));
        directory.disk.remove(Path::new("commit-log/0-00000000.clog")).unwrap();
        let path = directory.put_groups(1, 1, 5);
        directory.put_groups(2, 6, groups);
        directory.flip(&path, 20);
        directory.starts_with_damaged_streams(damaged);
    }
}

#[test]
fn a_commit_log_of_which_nothing_is_needed_lacks_nothing() {
    let mut directory = Directory::new(Durability::Synced);
    let fresh = CheckpointPartition::fresh(PARTITION);
    write_base_of(&directory.disk, LAST, 1, false, vec![fresh.clone()]).unwrap();
    let later = CheckpointFile {
        incarnation: LAST,
        shard: 0,
        clean: false,
        oldest_sequence: 100,
        partitions: vec![fresh],
    };
    directory.put("checkpoints/shard-0", &later.encode());
    directory.put_groups(1, 1, 40);
    directory.starts_with_damaged_streams(0);
}

#[test]
fn many_threads_recover_what_one_does() {
    let recover_with = |threads: usize| {
        let directory = Directory::new(Durability::Synced);
        let partitions: Vec<KnownPartition> = (0..40)
            .map(|number| {
                let folder = format!("p-{number}");
                directory.disk.create_directories(Path::new(&folder)).unwrap();
                let path = format!("{folder}/{}", file_name(Offset(0), "log"));
                let mut content = batches(0, 3 + i64::from(number), 100);
                // A torn tail, of another length each; and one that is no batch at all.
                content.truncate(content.len() - usize::try_from(number).unwrap());
                if number == 7 {
                    content.fill(7);
                }
                directory.put(&path, &content);
                KnownPartition {
                    topic_partition: TopicPartition { partition: PartitionIndex(number), ..PARTITION },
                    folder,
                    config: LogConfig::default(),
                    leader_epoch: LeaderEpoch(9),
                }
            })
            .collect();
        let memory = memory_of_last_life();
        let recovered =
            recover(&directory.disk, &[&memory], &partitions, &directory.options(threads)).unwrap();
        let logs: Vec<_> =
            recovered.logs.iter().map(|log| (log.folder.clone(), log.log_end_offset)).collect();
        (logs, recovered.report)
    };
    let (logs, report) = recover_with(1);
    assert_eq!(logs[..2], [("p-0".to_owned(), Offset(3)), ("p-1".to_owned(), Offset(3))]);
    assert_eq!(logs[7].1, Offset(0));
    assert_eq!(report.offline, []);
    assert!(report.bytes_cut > 40 * 100);
    for threads in [2, 8] {
        assert_eq!(recover_with(threads), (logs.clone(), report.clone()));
    }
}

#[test]
fn an_index_that_a_death_has_prevented_is_made_by_the_next_start() {
    let mut directory = Directory::new(Durability::Synced);
    directory.put_segments(&GAPS[..1]);
    let memory = memory_of_last_life();
    directory.start_with(&[&memory]).unwrap();
    // The base knows the segment. Its index was written by nobody.
    directory.disk.remove(Path::new(&path_of(0, "index"))).unwrap();
    let recovered = directory.start().unwrap();
    assert!(recovered.report.bytes_scanned > 0);
    directory.get(&path_of(0, "index"));
    let recovered = directory.start().unwrap();
    assert_eq!((recovered.report.bytes_scanned, recovered.logs[0].segments.len()), (0, 1));
}
