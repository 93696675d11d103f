//! Claims of the snapshot.

use super::*;
use crate::model::ClusterId;
use crate::model::image::{MetadataOffset, TopicImage};
use crate::model::{ProducerId, StartCount, TopicId};

fn state() -> State {
    let mut state = State::new(ClusterId([5; 16]), BrokerImage::default());
    let mut apply = |record| state.apply(&record).unwrap();
    apply(Record::BrokerStarted { start_count: StartCount(1) });
    apply(Record::BrokerStarted { start_count: StartCount(2) });
    apply(Record::ProducerIdsAllocated { next_producer_id: ProducerId(1_000) });
    for number in 0..300_u16 {
        let topic = TopicImage {
            id: numbered(number),
            name: format!("t.{number}").into(),
            internal: number % 2 == 0,
            partition_count: i32::from(number) + 1,
            created_at_start: StartCount(u64::from(number % 3)),
            configs: (0..number % 5).map(|key| (format!("key{key}"), "x".repeat(number.into()))).collect(),
        };
        apply(Record::TopicCreated { topic });
    }
    apply(Record::TopicDeleted { topic_id: numbered(7) });
    state
}

fn numbered(number: u16) -> TopicId {
    let mut id = TopicId([1; 16]);
    id.0[..2].copy_from_slice(&number.to_le_bytes());
    id
}

#[test]
fn a_snapshot_makes_the_same_state_again() {
    let state = state();
    let bytes = encode(&state, 9);
    let (header, again) = decode(&bytes, BrokerImage::default()).unwrap();
    assert_eq!(again, state);
    assert_eq!((header.number, header.offset), (9, MetadataOffset(304)));
    assert!(
        bytes.len() as u64 <= state.snapshot_bytes_max(),
        "{} {}",
        bytes.len(),
        state.snapshot_bytes_max()
    );
    let empty = State::new(ClusterId([5; 16]), BrokerImage::default());
    assert_eq!(decode(&encode(&empty, 0), BrokerImage::default()).unwrap().1, empty);
}

#[test]
fn a_damaged_or_cut_snapshot_is_refused_whole() {
    let bytes = encode(&state(), 9);
    for position in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1;
        assert!(decode(&damaged, BrokerImage::default()).is_err(), "byte {position}");
        assert!(decode(&bytes[..position], BrokerImage::default()).is_err(), "length {position}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let found = longer.len() as u64 - 64;
    assert_eq!(
        decode(&longer, BrokerImage::default()).unwrap_err(),
        Fault::Length { expected: found - 1, found }
    );
}
