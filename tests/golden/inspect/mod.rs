//! `ringlog inspect` on files made here: whole ones, and ones that are damaged.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test, as it should")]

use std::fs;
use std::path::Path;

use ringlog::controller::log::{FileKind, FrameBuilder, Header, snapshot};
use ringlog::controller::state::{Record, State};
use ringlog::model::batch::{BatchHeader, assigned_prefix, with_log_append_time};
use ringlog::model::image::{BrokerImage, MetadataOffset, TopicImage};
use ringlog::model::{ClusterId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, StartCount, TopicId};
use ringlog::protocol::records::{self, BatchBuilder, Codec, NewRecord, Stamp, stamp};
use ringlog::storage::checkpoint::{CheckpointFile, CheckpointPartition, SegmentRecord};
use ringlog::storage::commit_log::frame::{FileHeader, FrameHeader, frame_bytes, kind};
use ringlog::storage::partition::producers::Producers;
use ringlog::storage::partition::segment::{IndexEntry, Segment};
use ringlog::storage::side_file::{encode_index, encode_producers};

use crate::{hold, run};

const BLOCK: usize = 4096;
const TOPIC: TopicId = TopicId([0xb6; 16]);
const CLUSTER: ClusterId = ClusterId([0xc1; 16]);

/// What an operator reads who looks into files, and the one line in which damage is told.
#[test]
fn files_of_a_data_directory_and_damaged_ones() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden-inspect");
    fs::create_dir_all(&folder).unwrap();
    let mut transcript = String::new();
    let mut show = |what: &str, line: &str, name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        transcript += &run(line, what, &path);
    };
    for line in ["inspect --help", "inspect segment --help", "inspect commit-log --help"] {
        show("", line, "none", &[]);
    }
    show_segments(&mut show);
    show_commit_logs(&mut show);
    show_side_files(&mut show);
    show_metadata(&mut show);
    hold("inspect/files.txt", &transcript);
}

type Show<'a> = &'a mut dyn FnMut(&str, &str, &str, &[u8]);

fn show_segments(show: Show<'_>) {
    const NAME: &str = "00000000000000000100.log";
    let [first, second, third] = batches();
    let segment = [first.as_slice(), &second, &third].concat();
    let in_second = first.len() + 70;
    let active = [segment.as_slice(), &[0; 2 * BLOCK]].concat();
    show("three batches", "inspect segment FILE", NAME, &segment);
    show("their records", "inspect segment FILE --records", NAME, &segment);
    show("for programs", "inspect segment FILE --records --json", NAME, &segment);
    show("an active segment: space allocated ahead", "inspect segment FILE", NAME, &active);
    show("an empty one", "inspect segment FILE", NAME, &[]);
    show("a byte of the second batch flipped", "inspect segment FILE", NAME, &flipped(&segment, in_second));
    show("the same for programs", "inspect segment FILE --json", NAME, &flipped(&segment, in_second));
    show("cut in the last batch", "inspect segment FILE", NAME, &segment[..segment.len() - 1]);
    let hole = [first.as_slice(), &third].concat();
    show("a batch missing", "inspect segment FILE", NAME, &hole);
    show("under the name of another one", "inspect segment FILE", "00000000000000000101.log", &segment);
    show("no segment", "inspect segment FILE", NAME, b"version: 0\ntopic_id: nonsense");
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// Two records with keys and headers, one idempotent batch, one with the broker's time.
fn batches() -> [Vec<u8>; 3] {
    let headers =
        [records::Header { key: b"trace", value: Some(b"7f") }, records::Header { key: b"raw", value: None }];
    let first = [
        NewRecord { timestamp: 1_700_000_000_000, key: Some(b"k 1"), value: Some(b"one"), headers: &headers },
        NewRecord { timestamp: 1_700_000_000_005, key: None, value: Some(b"\xff\x00"), headers: &[] },
    ];
    let single = NewRecord { timestamp: 1_700_000_000_010, value: Some(b"two"), ..NewRecord::default() };
    let mut numbered = batch(&[single]);
    let by = Stamp { producer_id: ProducerId(4000), producer_epoch: ProducerEpoch(1), base_sequence: 17 };
    stamp(&mut numbered, by).unwrap();
    let mut stamped = batch(&[single]);
    let header = with_log_append_time(stamped.first_chunk().unwrap(), stamped.len(), 1_700_000_009_999);
    stamped[..header.len()].copy_from_slice(&header);
    [placed(batch(&first), 100, 3), placed(numbered, 102, 3), placed(stamped, 103, 5)]
}

fn batch(records: &[NewRecord<'_>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for record in records {
        builder.push(record).unwrap();
    }
    builder.finish().unwrap()
}

fn placed(mut batch: Vec<u8>, base_offset: i64, leader_epoch: i32) -> Vec<u8> {
    let prefix = assigned_prefix(Offset(base_offset), batch.len(), LeaderEpoch(leader_epoch));
    batch[..prefix.len()].copy_from_slice(&prefix);
    batch
}

fn show_commit_logs(show: Show<'_>) {
    const NAME: &str = "0-00000000.clog";
    let file = commit_log();
    show("two groups", "inspect commit-log FILE", NAME, &file);
    show("for programs", "inspect commit-log FILE --json", NAME, &file);
    show("made ahead, not used yet", "inspect commit-log FILE", NAME, &[0; 2 * BLOCK]);
    show("the first group damaged", "inspect commit-log FILE", NAME, &flipped(&file, BLOCK + 120));
    show("the last group torn", "inspect commit-log FILE", NAME, &flipped(&file, 2 * BLOCK + 60));
    show("the header damaged", "inspect commit-log FILE", NAME, &flipped(&file, 9));
    show("cut", "inspect commit-log FILE", NAME, &file[..40]);
}

/// A group of two frames, a group of one; then what an older use of the file left.
fn commit_log() -> Vec<u8> {
    let mut file = vec![0; 4 * BLOCK];
    FileHeader::new(7, 3, 90, [0xd1; 16], 0).encode_into(&mut file[..BLOCK]);
    let frame = |sequence, kind, offset: i64, body: &[u8]| {
        let header = FrameHeader {
            incarnation: 7,
            sequence,
            topic_id: TOPIC.0,
            partition: 2,
            leader_epoch: 5,
            base_offset: offset,
            end_offset: offset + 1,
            segment: 100,
            position: 4096,
            kind,
            body_bytes: u32::try_from(body.len()).unwrap(),
            ..FrameHeader::blank()
        };
        let mut bytes = [header.encode([body, &[]]).as_slice(), body].concat();
        bytes.resize(frame_bytes(body.len()), 0);
        bytes
    };
    let first = [frame(90, kind::DATA, 104, &batches()[0]), frame(91, kind::TRUNCATE, 104, &[])].concat();
    for (at, bytes) in
        [(1, first), (2, frame(92, kind::LOG_START, 101, &[])), (3, frame(12, kind::RESERVE, 9, &[]))]
    {
        file[at * BLOCK..at * BLOCK + bytes.len()].copy_from_slice(&bytes);
    }
    file
}

fn show_side_files(show: Show<'_>) {
    let mut indexed = Segment::new(Offset(100), 0, 0);
    indexed.size = 9000;
    (indexed.max_timestamp, indexed.max_timestamp_offset) = (1_700_000_000_099, Offset(180));
    let entry =
        |offset, position, max_timestamp| IndexEntry { offset: Offset(offset), position, max_timestamp };
    let entries = [entry(100, 0, 1_700_000_000_005), entry(150, 4500, 1_700_000_000_050)];
    let index = encode_index(Offset(100), &indexed, &entries);
    show("an index", "inspect index FILE", "i.index", &index);
    let backwards = encode_index(Offset(100), &indexed, &[entries[1], entries[0]]);
    show("not in order", "inspect index FILE", "i.index", &backwards);
    show("damaged", "inspect index FILE", "i.index", &flipped(&index, 40));
    show("cut", "inspect index FILE", "i.index", &index[..index.len() - 1]);
    show("not for this command", "inspect snapshot FILE", "i.index", &index);

    let producers = encode_producers(Offset(104), &producers().snapshot(Offset(104)));
    show("producer state", "inspect snapshot FILE", "p.snapshot", &producers);
    show("of a newer Ringlog", "inspect snapshot FILE", "p.snapshot", &with_version(&producers, 2));
    show("a checkpoint", "inspect snapshot FILE", "base", &checkpoint().encode());
    show("for programs", "inspect snapshot FILE --json", "base", &checkpoint().encode());
    show("not for this command", "inspect index FILE", "base", &checkpoint().encode());
}

fn with_version(bytes: &[u8], version: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[12] = version;
    bytes
}

/// What is remembered of the second batch's producer, twice.
fn producers() -> Producers {
    let mut producers = Producers::default();
    let header = BatchHeader::parse(&batches()[1]).unwrap();
    for base_sequence in [17, 18] {
        producers.note(&BatchHeader { base_sequence, ..header }, 1_700_000_000_011, Offset::ZERO);
    }
    producers
}

fn checkpoint() -> CheckpointFile {
    let partition = CheckpointPartition {
        topic_id: TOPIC.0,
        partition: 2,
        log_start_offset: 100,
        flushed_offset: 104,
        reserved_offset: 1_048_680,
        recovery_segment: 104,
        recovery_offset: 104,
        control_sequence: 9,
        max_timestamp: -1,
        max_timestamp_offset: -1,
        epochs: vec![(3, 100), (5, 103)],
        producers: producers().snapshot(Offset(104)).iter().map(Into::into).collect(),
        segments: vec![SegmentRecord {
            base_offset: 100,
            size: 277,
            max_timestamp: 1_700_000_009_999,
            max_timestamp_offset: 103,
        }],
        segments_end: 104,
        ..CheckpointPartition::default()
    };
    let partitions = vec![partition];
    CheckpointFile { incarnation: 7, shard: 1, clean: true, oldest_sequence: 0, partitions }
}

fn show_metadata(show: Show<'_>) {
    let topic = TopicImage {
        id: TOPIC,
        name: "orders".into(),
        internal: false,
        partition_count: 3,
        created_at_start: StartCount(1),
        configs: vec![("retention.ms".to_owned(), "1000".to_owned())],
    };
    let changes = vec![("retention.ms".to_owned(), None)];
    let records = [
        Record::BrokerStarted { start_count: StartCount(1) },
        Record::ProducerIdsAllocated { next_producer_id: ProducerId(1000) },
        Record::TopicCreated { topic },
        Record::TopicConfigsChanged { topic_id: TOPIC, changes },
        Record::TopicDeleted { topic_id: TOPIC },
    ];
    let header = Header {
        kind: FileKind::Log,
        cluster_id: CLUSTER,
        number: 4,
        offset: MetadataOffset(20),
        body_bytes: 0,
        body_crc: 0,
    };
    let mut log = header.encode().to_vec();
    let mut ends = Vec::new();
    for (number, record) in (20..).zip(&records) {
        let mut frame = FrameBuilder::new(MetadataOffset(number));
        frame.push(record);
        log.extend_from_slice(&frame.finish(header.crc()));
        ends.push(log.len());
    }
    show("a log of the metadata", "inspect snapshot FILE", "m.log", &log);
    show("its last write interrupted", "inspect snapshot FILE", "m.log", &log[..log.len() - 1]);
    show("damaged in the middle", "inspect snapshot FILE", "m.log", &flipped(&log, ends[1] + 30));
    show("the header damaged", "inspect snapshot FILE", "m.log", &flipped(&log, 20));

    let mut state = State::new(CLUSTER, BrokerImage::default());
    for record in &records[..3] {
        state.apply(record).unwrap();
    }
    let bytes = snapshot::encode(&state, 5);
    show("a snapshot of the metadata", "inspect snapshot FILE", "m.snapshot", &bytes);
    show("for programs", "inspect snapshot FILE --json", "m.snapshot", &bytes);
    show("damaged", "inspect snapshot FILE", "m.snapshot", &flipped(&bytes, bytes.len() - 20));
    show("none of these", "inspect snapshot FILE", "meta.properties", b"node.id=0\n");
}
