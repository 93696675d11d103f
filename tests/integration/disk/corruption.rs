//! Damage that came over segments while the broker was down: it costs what is damaged, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use ringlog::client::Connection;
use ringlog::model::batch::{BatchError, RECORDS_START};
use ringlog::protocol::records::Batches;
use ringlog::storage::checkpoint::{CheckpointFile, CheckpointPartition};
use ringlog::storage::side_file::SEALED_INDEX_INTERVAL_BYTES;

use crate::load::STORAGE_ERROR;
use crate::process::{Broker, PATIENCE, Scratch, binary};
use crate::requests::{batch, fetch, produce};

/// Batches in partition 0: more than two segments.
const COUNT: i64 = 450;
/// The offset of the one that is damaged, in the first segment.
const DAMAGED: i64 = 20;
/// Unit: bytes. The index has an entry in the middle.
const SEGMENT_BYTES: u64 = 2 * SEALED_INDEX_INTERVAL_BYTES;

/// A topic with sealed segments in partition 0 and a batch in partition 1, after a clean stop.
struct Stopped {
    scratch: Scratch,
    segment: PathBuf,
    content: Vec<u8>,
    /// The offset with which the second segment begins.
    segment_end: i64,
}

impl Stopped {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let broker = scratch.start(&[]);
        broker.create_topic("t", 2, &[("segment.bytes", &SEGMENT_BYTES.to_string())]);
        let mut connection = broker.connect();
        for offset in 0..COUNT {
            assert_eq!(produce(&mut connection, "t", 0, &sent()), (0, offset));
        }
        assert_eq!(produce(&mut connection, "t", 1, &sent()), (0, 0));
        stop(broker);
        let segment = scratch.data.join("t-0/00000000000000000000.log");
        let content = fs::read(&segment).unwrap();
        let segment_end = i64::try_from(content.len() / sent().len()).unwrap();
        assert!(2 * segment_end < COUNT, "{segment_end} of {COUNT} in the first segment");
        Self { scratch, segment, content, segment_end }
    }

    /// A start with these bits of a byte of the damaged batch flipped.
    fn start_with(&self, place: usize, bits: u8) -> (Broker, Vec<u8>) {
        let mut content = self.content.clone();
        content[position_of(DAMAGED) + place] ^= bits;
        fs::write(&self.segment, &content).unwrap();
        (self.scratch.start(&[]), content)
    }
}

fn stop(broker: Broker) {
    broker.signal("TERM");
    let ended = broker.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
}

fn sent() -> Vec<u8> {
    batch(7, 10_000)
}

/// Where the batch of an offset lies in the first segment.
fn position_of(offset: i64) -> usize {
    usize::try_from(offset).unwrap() * sent().len()
}

/// The error code of a fetch of one batch, and that batch's offset if it is sound.
fn first_at(connection: &mut Connection, partition: i32, offset: i64) -> (i16, Option<i64>) {
    let rows = fetch(connection, "t", &[(partition, offset)], 1);
    let first = Batches::new(&rows[0].1).next().and_then(Result::ok);
    (rows[0].0, first.map(|batch| batch.header.base_offset.0))
}

/// An index entry leads past the damage to what lies far enough behind it.
#[test]
fn a_damaged_batch_header_in_a_sealed_segment_is_a_storage_error_to_those_who_come_to_it_alone() {
    const ERROR: (i16, Option<i64>) = (STORAGE_ERROR, None);
    let stopped = Stopped::new("corrupt-header");
    let indexed =
        (0..COUNT).find(|&offset| position_of(offset) as u64 >= SEALED_INDEX_INTERVAL_BYTES).unwrap();
    assert!(DAMAGED < indexed && indexed < stopped.segment_end);
    // A length that a batch may have is believed by those who ask for it, and it comes as it lies; what it leads to is no batch.
    for (damage, place, bits, at_damage) in [
        ("another magic", 16, 0x01, ERROR),
        ("a negative length", 8, 0x80, ERROR),
        ("a length into the middle of its own records", 10, 0x27, (0, None)),
        ("a length into the middle of a batch behind", 10, 0x08, (0, None)),
        ("a length that no batch of the topic has", 9, 0x10, ERROR),
        ("a length beyond the segment", 9, 0x40, ERROR),
    ] {
        let (broker, content) = stopped.start_with(place, bits);
        let mut connection = broker.connect();
        for offset in (0..DAMAGED).chain(indexed..COUNT) {
            assert_eq!(first_at(&mut connection, 0, offset), (0, Some(offset)), "{damage}");
        }
        assert_eq!(first_at(&mut connection, 0, DAMAGED), at_damage, "{damage}");
        for offset in DAMAGED + 1..indexed {
            assert_eq!(first_at(&mut connection, 0, offset), ERROR, "{damage}: from {offset}");
        }
        // One who reads on from before comes to the damage behind all that is sound, and finds it.
        let rows = fetch(&mut connection, "t", &[(0, 0), (1, 0)], 1 << 20);
        assert_eq!((rows[0].0, rows[1].0), (0, 0), "{damage}");
        assert_eq!(rows[0].1, content[..rows[0].1.len()], "{damage}");
        let read: Vec<bool> = Batches::new(&rows[0].1).map(|batch| batch.is_ok()).collect();
        // What is longer than the answer may go on in the next one.
        let found = if place == 9 { vec![] } else { vec![false] };
        assert_eq!(read, [vec![true; 20], found].concat(), "{damage}");
        assert_eq!(first_at(&mut connection, 1, 0), (0, Some(0)), "{damage}");
        assert_eq!(produce(&mut connection, "t", 1, &sent()).0, 0, "{damage}");
        stop(broker);
    }
}

/// As in Kafka: the broker sends what it has, and checks no batch again that it has checked when it came.
#[test]
fn damaged_records_in_a_sealed_segment_are_served_as_they_lie_and_found_by_the_reader() {
    let stopped = Stopped::new("corrupt-records");
    let (broker, content) = stopped.start_with(RECORDS_START + 5_000, 0x10);
    let mut connection = broker.connect();
    for offset in (0..DAMAGED).chain(DAMAGED + 1..COUNT) {
        assert_eq!(first_at(&mut connection, 0, offset), (0, Some(offset)));
    }
    let rows = fetch(&mut connection, "t", &[(0, DAMAGED)], 1 << 20);
    let (error_code, bytes) = &rows[0];
    let from = position_of(DAMAGED);
    assert_eq!((*error_code, &bytes[..]), (0, &content[from..from + bytes.len()]));
    assert!(matches!(Batches::new(bytes).next(), Some(Err(BatchError::Crc { .. }))));

    let read = ["consume", "t", "--partition", "0", "--json", "--bootstrap", &broker.address];
    let output = Command::new(binary()).args(read).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let words = format!("records at offset {DAMAGED} of t-0: CRC");
    assert!(!output.status.success() && said.contains(&words), "{said}");
    assert_eq!(output.stdout.split_inclusive(|&byte| byte == b'\n').count(), 20);
    stop(broker);
}

/// The recovery point of a checkpoint may be anywhere before what was flushed. That this one's is where the segment begins, and that
/// nothing else has the batch any more, makes it certain that the damage lies between the two.
#[test]
fn damage_in_what_a_start_after_a_death_scans_takes_the_partition_alone_offline() {
    let scratch = Scratch::new("corrupt-scanned");
    let settings = [
        "commit.log.file.bytes=1048576",
        "commit.log.bytes.max=4194304",
        "arena.bytes=8388608",
        "shard.cores=1",
    ];
    let broker = scratch.start(&settings);
    broker.create_topic("t", 2, &[]);
    let mut connection = broker.connect();
    let path = scratch.data.join("checkpoints/shard-0");
    go_on_until_flushed(&path, || {
        for partition in 0..2 {
            assert_eq!(produce(&mut connection, "t", partition, &sent()).0, 0);
        }
    });
    broker.kill();
    let mut checkpoint = CheckpointFile::decode(&fs::read(&path).unwrap()).unwrap();
    for partition in &mut checkpoint.partitions {
        assert_eq!(partition.recovery_segment, 0);
        (partition.recovery_position, partition.recovery_offset) = (0, 0);
    }
    let flushed = checkpoint.partitions.iter().find(|partition| partition.partition == 0).unwrap();
    let reason = format!("the log ends at 2, it was on stable media up to {}", flushed.flushed_offset);
    fs::write(&path, checkpoint.encode()).unwrap();
    for arena in scratch.arenas() {
        fs::remove_file(scratch.arena.join(arena)).unwrap();
    }
    let segment = scratch.data.join("t-0/00000000000000000000.log");
    let mut content = fs::read(&segment).unwrap();
    content[position_of(2) + RECORDS_START] ^= 1;
    fs::write(&segment, content).unwrap();

    let broker = scratch.start(&settings);
    let said = broker.said();
    assert!(said.contains("the partition is damaged and not served") && said.contains(&reason), "{said}");
    let mut connection = broker.connect();
    assert_eq!(first_at(&mut connection, 0, 0), (STORAGE_ERROR, None));
    assert_eq!(produce(&mut connection, "t", 0, &sent()).0, STORAGE_ERROR);
    assert_eq!(first_at(&mut connection, 1, 0), (0, Some(0)));
    assert_eq!(produce(&mut connection, "t", 1, &sent()).0, 0);
    stop(broker);
}

/// Does it until a checkpoint says that both partitions are flushed, and that the commit log has given up how they began.
fn go_on_until_flushed(path: &Path, mut go_on: impl FnMut()) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let checkpoint = fs::read(path).ok().and_then(|bytes| CheckpointFile::decode(&bytes).ok());
        let covers = |found: &CheckpointFile| {
            let flushed = |partition: &CheckpointPartition| partition.flushed_offset > 10;
            found.oldest_sequence > 20 && found.partitions.len() == 2 && found.partitions.iter().all(flushed)
        };
        if checkpoint.is_some_and(|found| covers(&found)) {
            return;
        }
        assert!(Instant::now() < deadline, "nothing is flushed");
        go_on();
    }
}
