use super::*;
use crate::model::LeaderEpoch;
use crate::model::limits::PRODUCERS_PER_PARTITION_MAX;

fn batch(epoch: i16, base_sequence: i32, base_offset: i64, records: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(base_offset),
        size_bytes: 100,
        leader_epoch: LeaderEpoch(0),
        crc: 0,
        attributes: 0,
        last_offset_delta: records - 1,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: ProducerId(9),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence,
        record_count: records,
    }
}

fn with(batches: &[BatchHeader]) -> Producers {
    let mut producers = Producers::default();
    for header in batches {
        producers.note(header, 0, Offset(i64::MAX));
    }
    producers
}

#[test]
fn without_state_any_first_sequence_is_accepted() {
    assert_eq!(Producers::default().check(&batch(0, 77, 0, 1)), Ok(Verdict::Append));
}

#[test]
fn a_gap_is_refused_and_the_next_sequence_accepted() {
    let producers = with(&[batch(0, 0, 0, 3)]);
    assert_eq!(producers.check(&batch(0, 3, 3, 1)), Ok(Verdict::Append));
    let gap = producers.check(&batch(0, 4, 3, 1));
    assert_eq!(gap, Err(SequenceError::OutOfOrder { expected: 3, found: 4 }));
}

#[test]
fn the_last_five_batches_are_recognised_and_the_sixth_is_out_of_order() {
    let all: Vec<BatchHeader> = (0..6).map(|n| batch(0, n * 2, i64::from(n) * 2, 2)).collect();
    let producers = with(&all);
    for known in &all[1..] {
        assert!(
            matches!(producers.check(known), Ok(Verdict::Duplicate(found)) if found.base_offset == known.base_offset)
        );
    }
    assert!(matches!(producers.check(&all[0]), Err(SequenceError::OutOfOrder { .. })));
}

#[test]
fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
    let producers = with(&[batch(0, 0, 0, 3), batch(1, 0, 3, 1)]);
    assert!(matches!(producers.check(&batch(0, 3, 4, 1)), Err(SequenceError::Fenced { .. })));
    assert!(matches!(
        producers.check(&batch(2, 1, 4, 1)),
        Err(SequenceError::OutOfOrder { expected: 0, .. })
    ));
    assert_eq!(producers.check(&batch(2, 0, 4, 1)), Ok(Verdict::Append));
}

#[test]
fn sequences_wrap() {
    let producers = with(&[batch(0, i32::MAX - 1, 0, 2)]);
    assert_eq!(producers.check(&batch(0, 0, 2, 1)), Ok(Verdict::Append));
}

#[test]
fn a_snapshot_is_the_state_at_the_durable_offset_and_restores() {
    let all: Vec<BatchHeader> = (0..9).map(|n| batch(0, n, i64::from(n), 1)).collect();
    let mut producers = Producers::default();
    for header in &all {
        producers.note(header, 5, Offset(3));
    }
    let mut restored = Producers::default();
    for (id, last_append_ms, batches) in producers.snapshot(Offset(6)) {
        assert_eq!(batches.len(), 5);
        restored.restore(id, last_append_ms, batches);
    }
    assert_eq!(restored.check(&all[6]), Ok(Verdict::Append));
    assert!(matches!(restored.check(&all[5]), Ok(Verdict::Duplicate(_))));
    producers.truncate(Offset(6));
    assert_eq!(producers.check(&all[6]), Ok(Verdict::Append));
    producers.expire(6);
    assert!(producers.is_empty());
}

fn of_producer(id: i64, base_sequence: i32, base_offset: i64) -> BatchHeader {
    BatchHeader { producer_id: ProducerId(id), ..batch(0, base_sequence, base_offset, 1) }
}

#[test]
fn of_a_hundred_thousand_made_up_producers_the_newest_are_kept_within_the_bound() {
    let mut producers = Producers::default();
    let count = 100_000;
    let id = |number: i64| number.wrapping_mul(0x1234_5678_9abc_def1) & i64::MAX;
    for number in 0..count {
        producers.note(&of_producer(id(number), 3, number), number, Offset(number));
        // One that goes on is not idle, however long it is known.
        producers.note(&of_producer(7, i32::try_from(number).unwrap(), number), number, Offset(number));
        producers.forget_idle(PRODUCERS_PER_PARTITION_MAX, Offset(i64::MAX));
        assert!(producers.len() <= PRODUCERS_PER_PARTITION_MAX);
    }
    let kept = count - i64::try_from(PRODUCERS_PER_PARTITION_MAX).unwrap() + 1;
    for number in 0..count {
        assert_eq!(producers.contains(ProducerId(id(number))), number >= kept);
    }
    assert_eq!(producers.snapshot(Offset(count)).len(), PRODUCERS_PER_PARTITION_MAX);
    assert!(matches!(producers.check(&of_producer(id(kept), 3, 0)), Ok(Verdict::Duplicate(_))));
    assert!(matches!(producers.check(&of_producer(7, 99_999, 0)), Ok(Verdict::Duplicate(_))));
    assert_eq!(producers.check(&of_producer(id(0), 9, 0)), Ok(Verdict::Append));
    producers.expire(count - 10);
    assert_eq!(producers.len(), 11);
}

#[test]
fn what_is_not_acknowledged_is_kept_and_with_it_all_that_is_newer() {
    let mut producers = Producers::default();
    for id in 0..10 {
        producers.note(&of_producer(id, 0, id), 0, Offset(0));
    }
    producers.forget_idle(2, Offset(3));
    assert_eq!((producers.len(), producers.has_idle(Offset(3))), (7, false));
    producers.forget_idle(2, Offset(10));
    assert!(producers.len() == 2 && producers.contains(ProducerId(8)) && producers.contains(ProducerId(9)));
}

#[test]
fn room_for_batches_under_way_is_given_back() {
    let mut producers = Producers::default();
    for number in 0..10_000 {
        producers.note(&batch(0, number, i64::from(number), 1), 0, Offset(0));
    }
    for number in 10_000..10_020 {
        producers.note(&batch(0, number, i64::from(number), 1), 0, Offset(i64::from(number)));
    }
    let producer = producers.known.oldest().unwrap();
    assert!(producer.batches.len() <= 6 && producer.batches.capacity() <= BATCHES_ROOM);
}
