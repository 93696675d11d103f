//! What a shard keeps of partitions that are gone: nothing, and nothing of theirs reaches who has their place.

use super::*;
use crate::model::batch::BatchHeader;
use crate::model::{Durability, PartitionIndex, TopicId};
use crate::runtime::sim::{SimMemory, SimRandom, SimSteps};
use crate::storage::commit_log::FILE_BYTES_MIN;
use crate::storage::operation::{Completion, Fault, Outcome};
use crate::storage::partition::segment::Segment;
use crate::storage::recovery::tests::batch;
use crate::storage::side_file::SideFile;

const RECORDS_BYTES: usize = 3_000;

fn shard() -> ShardLog<SimMemory> {
    let memory = SimMemory::new(16 << 20, SimSteps::default(), SimRandom::new(1));
    let mut log = ShardLog::new(ShardOptions::default(), memory, 0);
    let file = log.fresh_file();
    log.add_commit_file(file, 0, FILE_BYTES_MIN);
    log
}

fn config(number: usize) -> LogConfig {
    let durability = if number.is_multiple_of(2) { Durability::Synced } else { Durability::Written };
    LogConfig { durability, flush_ms: Some(1 << 40), ..LogConfig::default() }
}

fn create(log: &mut ShardLog<SimMemory>, number: usize) -> PartitionSlot {
    let mut topic_id = [0; 16];
    topic_id[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    let id = TopicPartition { topic_id: TopicId(topic_id), partition: PartitionIndex(0) };
    log.create_partition(id, format!("t{number}-0"), config(number), LeaderEpoch(0))
}

fn append(log: &mut ShardLog<SimMemory>, slot: PartitionSlot, records_bytes: usize) -> Offset {
    let batch = batch(0, 1, 0, records_bytes);
    let header = BatchHeader::parse(&batch).unwrap();
    log.append(slot, &batch, &header, 0).unwrap().end_offset
}

/// The operations that are wanted now, without the bytes.
fn take_operations(log: &mut ShardLog<SimMemory>) -> Vec<Completion> {
    let take = || log.poll_operation();
    let operations = std::iter::from_fn(take).map(|operation| match operation {
        Operation::Write { id, pieces, .. } => Completion { id, outcome: Outcome::Done, pieces },
        Operation::Sync { id, .. } | Operation::Task { id, .. } => {
            Completion { id, outcome: Outcome::Done, pieces: Vec::new() }
        }
        Operation::Read { .. } => panic!("nothing is read"),
    });
    operations.collect()
}

/// Carries out everything, until nothing more is wanted.
fn settle(log: &mut ShardLog<SimMemory>) {
    loop {
        let completions = take_operations(log);
        if completions.is_empty() {
            break;
        }
        completions.into_iter().for_each(|completion| log.handle_completion(completion));
    }
    while log.poll_event().is_some() {}
}

#[test]
fn a_hundred_thousand_partitions_that_come_and_go_leave_nothing() {
    const AT_ONCE: usize = 100;
    let mut log = shard();
    let all = log.arena_bytes();
    for round in 0..1_000 {
        let slots: Vec<PartitionSlot> =
            (0..AT_ONCE).map(|number| create(&mut log, round * AT_ONCE + number)).collect();
        for (number, &slot) in slots.iter().enumerate() {
            // Those of `written` topics do not take the commit log's room; the second fills their first chunk.
            let records_bytes = if number.is_multiple_of(2) { RECORDS_BYTES } else { 3 * RECORDS_BYTES };
            append(&mut log, slot, records_bytes);
            append(&mut log, slot, records_bytes);
        }
        // Everything goes into segments, so that there are files and clean chunks; in some rounds not.
        if round % 4 != 0 {
            settle(&mut log);
            log.handle_time(i64::try_from(round).unwrap() * 10_000);
            settle(&mut log);
        }
        for slot in slots {
            log.delete_partitions([(slot, format!(".deleted-{round}-{}", slot.place))]);
            assert!(log.partition(slot).is_none());
        }
        settle(&mut log);
    }
    assert_eq!(log.partitions.place_count(), AT_ONCE);
    assert_eq!(log.arena_bytes(), all);
    assert!(log.open_count == 0 && log.in_flight.is_empty() && log.controls.is_empty());
    assert!(log.dirty.is_empty() && log.holders.is_empty() && log.flush_deadlines.is_empty());
    assert!(log.open_files.len() < 3 * AT_ONCE, "{} notes of files", log.open_files.len());
    assert!(log.clean.len() < 3 * AT_ONCE, "{} notes of chunks", log.clean.len());
}

#[test]
fn what_is_under_way_for_a_deleted_partition_does_not_reach_the_one_in_its_place() {
    let mut log = shard();
    let old = create(&mut log, 0);
    append(&mut log, old, RECORDS_BYTES);
    let mut late = take_operations(&mut log);
    // The segment is to be flushed: its file must be made.
    log.handle_time(10_000);
    late.extend(take_operations(&mut log));
    assert!(late.len() >= 2, "a group and an open");
    log.delete_partitions([(old, ".deleted-0".to_owned())]);
    let new = create(&mut log, 2);
    assert_eq!((new.place, new == old), (old.place, false));
    let end = append(&mut log, new, RECORDS_BYTES);
    for mut completion in late {
        if completion.pieces.is_empty() {
            completion.outcome = Outcome::Failed(Fault::Io);
        }
        log.handle_completion(completion);
    }
    while let Some(event) = log.poll_event() {
        assert!(!matches!(event, Event::Advanced(slot) | Event::Failed(slot) if slot == new), "{event:?}");
    }
    let partition = log.partition(new).unwrap();
    assert!(partition.high_watermark() < end, "acknowledged by another one's write");
    assert!(!partition.has_failed(), "failed by another one's fault");
    assert!(log.partition(old).is_none());
    settle(&mut log);
    assert_eq!(log.partition(new).unwrap().high_watermark(), end);
}

#[test]
fn deleting_many_partitions_takes_few_tasks_of_the_lane_in_which_files_are_made() {
    const MANY: usize = 1_000;
    let mut log = shard();
    let slots: Vec<PartitionSlot> = (0..MANY).map(|number| create(&mut log, number)).collect();
    log.delete_partitions(slots.into_iter().map(|slot| (slot, format!(".deleted-{}", slot.place))));
    let mut renamed = Vec::new();
    while let Some(operation) = log.poll_operation() {
        let Operation::Task { lane: Lane::Files, task: Task::RenameFolders { folders }, .. } = operation
        else {
            panic!("{operation:?}");
        };
        renamed.push(folders.len());
    }
    assert!(renamed.len() <= 4, "{renamed:?}");
    assert_eq!(renamed.iter().sum::<usize>(), MANY);
}

#[test]
fn a_round_comes_early_when_much_was_appended() {
    let mut log = shard();
    log.options.flush_bytes = 3 << 20;
    // With the setting of its own it would be flushed when its time has come.
    let slots: Vec<PartitionSlot> = (0..4).map(|number| create(&mut log, 2 * number + 1)).collect();
    let mut appended = 0;
    while log.round.is_none() {
        for &slot in &slots {
            append(&mut log, slot, RECORDS_BYTES);
            appended += RECORDS_BYTES;
        }
        assert!(appended < 4 << 20, "no round comes");
    }
    assert!(appended > 2 << 20, "a round came after {appended} bytes");
    assert_eq!(log.unflushed_bytes / (1 << 20), 0);
    settle(&mut log);
    assert!(log.round.is_none() && log.dirty.is_empty());

    // Many partitions may have more: half a MiB each.
    log.options.flush_bytes = 1 << 20;
    for &slot in &slots {
        append(&mut log, slot, RECORDS_BYTES);
    }
    log.unflushed_bytes = (2 << 20) - 1 - 2 * RECORDS_BYTES as u64;
    append(&mut log, slots[0], RECORDS_BYTES);
    assert!(log.round.is_none());
    append(&mut log, slots[0], 2 * RECORDS_BYTES);
    assert!(log.round.is_some());
}

#[test]
fn indices_that_recovery_has_made_are_written_first() {
    let mut log = shard();
    let id = TopicPartition { topic_id: TopicId([1; 16]), partition: PartitionIndex(0) };
    let mut segment = Segment::new(Offset(0), 0, 0);
    for offset in 0..100 {
        let header = BatchHeader::parse(&batch(offset, 1, 0, 10)).unwrap();
        segment.note_batch(&header, u64::try_from(offset).unwrap() * 10_000, 4_096);
    }
    segment.index.due = true;
    let segments = [segment].into();
    let recovered =
        PartitionLog::with_segments(id, "t-0".to_owned(), config(0), LeaderEpoch(0), segments, Offset(100));
    let slot = log.add_partition(recovered);
    let Some(Operation::Task { lane: Lane::Files, task, .. }) = log.poll_operation() else {
        panic!("no index is written")
    };
    let Task::WriteIndex { path, contents } = &task else { panic!("{task:?}") };
    let SideFile::Index(index) = &**contents else { panic!("{contents:?}") };
    assert_eq!((path.as_str(), index.entries.len()), ("t-0/00000000000000000000.index", 100));
    assert_eq!(task.folder(), Some("t-0"));
    let kept = &log.partition(slot).unwrap().segments[0].index;
    assert!(!kept.due && kept.len() < 3, "{kept:?}");
}

/// As Kafka, where jitter is at most the time itself.
#[test]
fn a_segment_is_closed_before_its_time_by_its_share_of_the_jitter_and_never_as_it_begins() {
    let mut log = shard();
    let ages: Vec<i64> = (0..50)
        .map(|number| {
            let slot = create(&mut log, number);
            let config = LogConfig { segment_ms: 1_000, segment_jitter_ms: i64::MAX, ..config(number) };
            log.set_config(slot, config);
            append(&mut log, slot, 100);
            let partition = log.partition(slot).unwrap();
            let active = partition.active_ref().unwrap();
            (0..=1_000).find(|&now_ms| partition.is_segment_old(active, now_ms)).unwrap()
        })
        .collect();
    assert!(ages.iter().all(|age| *age > 0), "{ages:?}");
    assert!(ages.iter().any(|age| *age < 500) && ages.iter().any(|age| *age > 500), "{ages:?}");
}
