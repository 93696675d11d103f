use super::*;
use crate::model::batch::{self, BatchHeader, HEADER_BYTES};
use crate::protocol::records::{BatchBuilder, Codec, NewRecord};

/// A batch of three records whose first has `base_offset`, changed by `change`.
fn batch_at(base_offset: i64, change: impl FnOnce(BatchHeader) -> BatchHeader) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::Zstd);
    for value in [b"a", b"b", b"c"] {
        builder.push(&NewRecord { value: Some(value), ..NewRecord::default() }).unwrap();
    }
    let bytes = builder.finish().unwrap();
    let header = BatchHeader { base_offset: Offset(base_offset), ..BatchHeader::check(&bytes).unwrap() };
    let header = change(header);
    let records = &bytes[HEADER_BYTES..];
    let crc = batch::crc_of(&header.encode(), records);
    [&BatchHeader { crc, ..header }.encode(), records].concat()
}

/// What is seen from `next` on, stopping behind `stop` records, and the position afterwards.
fn walked(bytes: &[u8], next: i64, stop: usize) -> (Vec<i64>, i64) {
    let mut next = Offset(next);
    let mut seen = Vec::new();
    let batch = Batch::check(bytes).unwrap();
    let flow = walk(&batch, &mut next, &mut Vec::new(), 1000, &mut |record| {
        seen.push(record.offset.0);
        if seen.len() == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(flow.unwrap().is_break(), seen.len() == stop);
    (seen, next.0)
}

#[test]
fn reading_begins_inside_a_batch_and_ends_where_it_was_stopped() {
    let bytes = batch_at(10, |header| header);
    assert_eq!(walked(&bytes, 0, 9), (vec![10, 11, 12], 13));
    assert_eq!(walked(&bytes, 11, 9), (vec![11, 12], 13));
    assert_eq!(walked(&bytes, 11, 1), (vec![11], 12));
    assert_eq!(walked(&bytes, 13, 9), (vec![], 13));
}

#[test]
fn a_position_moves_over_what_compaction_took_and_over_markers() {
    let compacted = batch_at(10, |header| BatchHeader { last_offset_delta: 9, ..header });
    assert_eq!(walked(&compacted, 12, 9), (vec![12], 20));
    assert_eq!(walked(&compacted, 15, 9), (vec![], 20));
    let marker = batch_at(10, |header| BatchHeader { attributes: header.attributes | 0x20, ..header });
    assert_eq!(walked(&marker, 0, 9), (vec![], 13));
}

#[test]
fn a_batch_that_unpacks_to_too_much_is_an_error() {
    let bytes = batch_at(0, |header| header);
    let batch = Batch::check(&bytes).unwrap();
    let result = walk(&batch, &mut Offset(0), &mut Vec::new(), 5, &mut |_| ControlFlow::Continue(()));
    assert_eq!(result, Err(RecordsError::TooLarge { codec: Codec::Zstd, bytes_max: 5 }));
}
