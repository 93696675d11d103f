//! Claims of the batches in a log file.

use super::*;
use crate::controller::log::FileKind;
use crate::model::{ClusterId, ProducerId, StartCount};

fn header(number: u64) -> Header {
    let offset = MetadataOffset(10);
    Header { kind: FileKind::Log, cluster_id: ClusterId([3; 16]), number, offset, body_bytes: 0, body_crc: 0 }
}

fn record(number: u64) -> Record {
    Record::BrokerStarted { start_count: StartCount(number) }
}

/// A file with batches of so many records each, and where each batch begins.
fn file(header: &Header, batches: &[u64]) -> (Vec<u8>, Vec<usize>) {
    let mut file = header.encode().to_vec();
    let mut starts = Vec::new();
    let mut offset = header.offset;
    for &record_count in batches {
        let mut frame = FrameBuilder::new(offset);
        for _ in 0..record_count {
            frame.push(&record(offset.0));
            offset.0 += 1;
        }
        starts.push(file.len());
        file.extend_from_slice(&frame.finish(header.crc()));
    }
    (file, starts)
}

fn scan_all(file: &[u8], header: &Header) -> Result<(ScanEnd, Vec<u64>), Fault> {
    let mut seen = Vec::new();
    let end = scan(file, header, |offset, found| {
        assert_eq!(found, record(offset.0));
        seen.push(offset.0);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((end, seen))
}

#[test]
fn batches_are_read_in_order_to_the_end() {
    let header = header(1);
    let (bytes, _) = file(&header, &[1, 3, 2]);
    let (end, seen) = scan_all(&bytes, &header).unwrap();
    assert_eq!(seen, [10, 11, 12, 13, 14, 15]);
    assert_eq!(end, ScanEnd { offset: MetadataOffset(16), position: bytes.len(), torn_bytes: 0 });
}

#[test]
fn two_builders_make_one_batch() {
    let mut whole = FrameBuilder::new(MetadataOffset(0));
    let mut first = whole.clone();
    let mut second = FrameBuilder::new(MetadataOffset(1));
    assert!(first.is_empty());
    first.push(&record(1));
    second.push(&Record::ProducerIdsAllocated { next_producer_id: ProducerId(7) });
    whole.push(&record(1));
    whole.push(&Record::ProducerIdsAllocated { next_producer_id: ProducerId(7) });
    first.append(&second);
    assert_eq!(first.finish(5), whole.finish(5));
}

#[test]
fn a_file_cut_at_any_byte_yields_the_whole_batches_before_it() {
    let header = header(1);
    let (bytes, starts) = file(&header, &[1, 3, 2]);
    for length in HEADER_BYTES..bytes.len() {
        let whole = starts.iter().filter(|&&start| start <= length).count() - 1;
        let (end, seen) = scan_all(&bytes[..length], &header).unwrap();
        assert_eq!(seen.len(), [0, 1, 4][whole], "length {length}");
        assert_eq!((end.position, end.torn_bytes), (starts[whole], length - starts[whole]));
    }
}

#[test]
fn a_last_batch_of_which_only_some_bytes_arrived_is_cut() {
    let header = header(1);
    let (bytes, starts) = file(&header, &[1, 3, 2]);
    for position in starts[2]..bytes.len() {
        for fill in [0, 0xff] {
            let mut torn = bytes.clone();
            torn[position..].fill(fill);
            if torn == bytes {
                continue;
            }
            let (end, seen) = scan_all(&torn, &header).unwrap();
            assert_eq!((seen.len(), end.position), (4, starts[2]));
            let mut torn = bytes.clone();
            torn[starts[2]..=position].fill(fill);
            if torn != bytes {
                assert_eq!(scan_all(&torn, &header).unwrap().0.position, starts[2]);
            }
        }
    }
}

#[test]
fn a_bad_batch_with_a_good_one_behind_it_is_damage() {
    let header = header(1);
    let (bytes, starts) = file(&header, &[1, 3, 2]);
    for position in starts[0]..starts[2] {
        let bad = usize::from(position >= starts[1]);
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        let expected = Fault::DamagedMiddle { position: starts[bad], next_position: starts[bad + 1] };
        assert_eq!(scan_all(&damaged, &header).unwrap_err(), expected, "byte {position}");
    }
}

#[test]
fn batches_of_another_file_are_not_taken_for_this_ones() {
    let (bytes, _) = file(&header(2), &[1, 1]);
    let (end, seen) = scan_all(&bytes, &header(1)).unwrap();
    assert_eq!((end.position, seen.len()), (HEADER_BYTES, 0));
}

#[test]
fn a_good_batch_out_of_order_is_refused() {
    let header = header(1);
    let (mut bytes, starts) = file(&header, &[1, 1, 1]);
    bytes.drain(starts[1]..starts[2]);
    let expected = Fault::Order { position: starts[1], expected: 11, found: 12 };
    assert_eq!(scan_all(&bytes, &header).unwrap_err(), expected);
}

#[test]
fn the_visitor_may_end_the_scan() {
    let header = header(1);
    let (bytes, starts) = file(&header, &[1, 1, 1]);
    let end = scan(&bytes, &header, |offset, _| {
        Ok(if offset.0 == 11 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    assert_eq!(end, Ok(ScanEnd { offset: MetadataOffset(11), position: starts[1], torn_bytes: 0 }));
}
