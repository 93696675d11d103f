//! Claims of the records' bytes.

use super::*;
use proptest::prelude::*;

/// One record of every kind.
pub(in crate::controller) fn every_kind() -> [Record; 5] {
    let topic = TopicImage {
        id: TopicId([0xaa; 16]),
        name: "orders-and-more".into(),
        internal: true,
        partition_count: 3,
        created_at_start: StartCount(2),
        configs: vec![("retention.ms".to_owned(), "60000".to_owned())],
    };
    let changes = vec![("retention.ms".to_owned(), Some("1".to_owned())), ("segment.ms".to_owned(), None)];
    [
        Record::BrokerStarted { start_count: StartCount(2) },
        Record::ProducerIdsAllocated { next_producer_id: ProducerId(3_000) },
        Record::TopicCreated { topic },
        Record::TopicConfigsChanged { topic_id: TopicId([0xaa; 16]), changes },
        Record::TopicDeleted { topic_id: TopicId([0xaa; 16]) },
    ]
}

fn hex(bytes: &[u8]) -> Vec<String> {
    bytes.chunks(16).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
}

/// What is on somebody's disk. If this fails, a new version of the record is needed, not a new expectation.
#[test]
fn version_1_of_every_kind_is_these_bytes() {
    let mut bytes = Vec::new();
    for record in every_kind() {
        encode(&record, &mut bytes);
    }
    let expected = [
        "01000100080000000200000000000000",
        "0200010008000000b80b000000000000",
        "03000100600000006f72646572732d61",
        "6e642d6d6f7265726574656e74696f6e",
        "2e6d73008c000000f3ffffff36303030",
        "30ffffff00000000aaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaaa8f000000c0ffffff",
        "01000000030000000200000000000000",
        "c4ffffff010000000400010058000000",
        "726574656e74696f6e2e6d737365676d",
        "656e742e6d7300008c000000e8ffffff",
        "0100000031ffffffffffffff8a000000",
        "e0ffffff000000000000000000000000",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "c8ffffff020000000500010010000000",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ];
    assert_eq!(hex(&bytes), expected);
    let mut rest = bytes.as_slice();
    for record in every_kind() {
        assert_eq!(decode(&mut rest, 0), Ok(record));
    }
    assert!(rest.is_empty());
}

#[test]
fn an_unknown_kind_or_version_is_a_newer_format() {
    let mut bytes = Vec::new();
    encode(&every_kind()[0], &mut bytes);
    let with = |position: usize, value: u8| {
        let mut changed = bytes.clone();
        changed[position] = value;
        decode(&mut changed.as_slice(), 0)
    };
    assert_eq!(with(0, 99), Err(Fault::NewerRecord { kind: 99, version: 1 }));
    assert_eq!(with(2, 2), Err(Fault::NewerRecord { kind: 1, version: 2 }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(
        kind in 0_u16..7,
        length in 0_u32..200,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut file = Vec::new();
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&1_u16.to_le_bytes());
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&bytes);
        let _ = decode(&mut file.as_slice(), 0);
    }

    /// The checksum would catch it; the decoder must not depend on that.
    #[test]
    fn no_changed_byte_makes_it_panic(which in 0_usize..5, position in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = Vec::new();
        encode(&every_kind()[which], &mut bytes);
        let position = position.index(bytes.len());
        bytes[position] = value;
        let _ = decode(&mut bytes.as_slice(), 0);
    }
}
