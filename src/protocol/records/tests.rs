use proptest::prelude::*;

use super::*;
use crate::model::batch::{self, BatchError, BatchHeader, HEADER_BYTES};
use crate::model::{Offset, ProducerEpoch, ProducerId};

const LIMIT: usize = 1 << 20;

/// What a test wants to send, owned.
type Sent = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn build(codec: Codec, sent: &[Sent]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for (timestamp, key, value, headers) in sent {
        let headers: Vec<Header<'_>> =
            headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        let record = NewRecord {
            timestamp: *timestamp,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: &headers,
        };
        let expected = builder.size_bytes() + builder.growth_bytes(&record);
        builder.push(&record).unwrap();
        assert_eq!(builder.size_bytes(), expected);
    }
    builder.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<(Offset, Sent)>> {
    let batch = Batch::check(bytes)?;
    let mut scratch = Vec::new();
    let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    batch
        .records(&mut scratch, LIMIT)?
        .map(|record| {
            let record = record?;
            let headers: Vec<_> = record.headers.iter().map(|h| (h.key.to_vec(), own(h.value))).collect();
            assert_eq!(headers.len(), record.headers.len());
            Ok((record.offset, (record.timestamp, own(record.key), own(record.value), headers)))
        })
        .collect()
}

/// Three records, of which the middle one has everything.
fn three() -> Vec<Sent> {
    vec![
        (1000, None, Some(b"first".to_vec()), vec![]),
        (
            999,
            Some(b"key".to_vec()),
            Some(vec![7; 300]),
            vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"a".to_vec(), None)],
        ),
        (1005, Some(vec![]), None, vec![(vec![0xff], Some(vec![]))]),
    ]
}

/// The batch `header` says, around these plain records.
fn around(header: BatchHeader, records: &[u8]) -> Vec<u8> {
    let header = BatchHeader { size_bytes: HEADER_BYTES + records.len(), ..header };
    let crc = batch::crc_of(&header.encode(), records);
    [&BatchHeader { crc, ..header }.encode(), records].concat()
}

#[test]
fn records_read_back_as_they_were_sent_with_every_codec() {
    for codec in Codec::ALL {
        let bytes = build(codec, &three());
        let header = BatchHeader::check(&bytes).unwrap();
        header.check_dense().unwrap();
        assert_eq!(
            (header.codec(), header.base_timestamp, header.max_timestamp),
            (codec.attributes(), 1000, 1005)
        );
        assert!(!header.is_idempotent());
        let found = read(&bytes).unwrap();
        let expected: Vec<_> = (0..).map(Offset).zip(three()).collect();
        assert_eq!(found, expected, "{codec}");
    }
}

#[test]
fn a_stamp_numbers_a_batch_and_can_be_changed() {
    let mut bytes = build(Codec::Lz4, &three());
    let plain = bytes.clone();
    for base_sequence in [0, 17] {
        let (producer_id, producer_epoch) = (ProducerId(5), ProducerEpoch(2));
        stamp(&mut bytes, Stamp { producer_id, producer_epoch, base_sequence }).unwrap();
        let header = BatchHeader::check(&bytes).unwrap();
        assert_eq!((header.producer_id, header.producer_epoch), (producer_id, producer_epoch));
        assert_eq!(header.last_sequence(), base_sequence + 2);
    }
    stamp(&mut bytes, Stamp::NONE).unwrap();
    assert_eq!(bytes, plain);
    assert!(stamp(&mut [0; 10], Stamp::NONE).is_err());
}

#[test]
fn log_append_time_is_the_time_of_every_record() {
    let bytes = build(Codec::None, &three());
    let header = BatchHeader::check(&bytes).unwrap();
    let stamped = batch::with_log_append_time(bytes.first_chunk().unwrap(), bytes.len(), 77);
    let bytes = [&stamped[..], &bytes[HEADER_BYTES..]].concat();
    let times: Vec<i64> = read(&bytes).unwrap().into_iter().map(|(_, sent)| sent.0).collect();
    assert_eq!(times, [77; 3]);
    assert_eq!(header.base_timestamp, 1000);
}

/// Compaction leaves gaps, but never changes the order; offsets stay inside what the header says.
#[test]
fn offset_deltas_may_have_gaps_and_must_ascend_within_the_header() {
    let record = |delta: u8| [12, 0, 0, delta << 1, 1, 1, 0];
    let header = BatchHeader::check(&build(Codec::None, &three()[..1])).unwrap();
    let header = BatchHeader { base_offset: Offset(100), last_offset_delta: 9, record_count: 2, ..header };
    let offsets = |deltas: [u8; 2]| {
        read(&around(header, &deltas.map(record).concat()))
            .map(|records| records.into_iter().map(|(offset, _)| offset.0).collect::<Vec<_>>())
    };
    assert_eq!(offsets([2, 9]), Ok(vec![102, 109]));
    assert_eq!(offsets([2, 2]), Err(RecordsError::OffsetDelta { found: 2, previous: 2, last: 9 }));
    assert_eq!(offsets([2, 10]), Err(RecordsError::OffsetDelta { found: 10, previous: 2, last: 9 }));
}

#[test]
fn a_record_must_fill_its_length_and_the_batch_its_records() {
    let header = BatchHeader::check(&build(Codec::None, &three()[..1])).unwrap();
    let found = |records: &[u8]| read(&around(header, records)).map(|records| records.len());
    assert_eq!(found(&[12, 0, 0, 0, 1, 1, 0]), Ok(1));
    assert_eq!(found(&[14, 0, 0, 0, 1, 1, 0, 9]), Err(RecordsError::RecordSize { expected: 1, found: 0 }));
    assert_eq!(found(&[12, 0, 0, 0, 1, 1, 2]), Err(RecordsError::Cut { needed: 1, remaining: 0 }));
    assert_eq!(
        found(&[12, 0, 0, 0, 1, 3, 0]),
        Err(RecordsError::Length { field: "the length of a value", found: -2 })
    );
    assert_eq!(found(&[1]), Err(RecordsError::Length { field: "the length of a record", found: -1 }));
    assert_eq!(found(&[]), Err(RecordsError::Cut { needed: 1, remaining: 0 }));
    let trailing = RecordsError::TrailingBytes { bytes: 1, record_count: 1 };
    assert_eq!(found(&[12, 0, 0, 0, 1, 1, 0, 9]), Err(trailing));
}

#[test]
fn what_unpacks_to_more_than_the_limit_is_refused() {
    let zeros = vec![0; 8 << 20];
    for codec in Codec::ALL {
        let mut packed = Vec::new();
        codec.pack(&zeros, &mut packed).unwrap();
        let mut plain = Vec::new();
        let limit = zeros.len() - 1;
        assert_eq!(
            codec.unpack(&packed, &mut plain, limit),
            Err(RecordsError::TooLarge { codec, bytes_max: limit })
        );
        assert!(plain.len() <= zeros.len());
        codec.unpack(&packed, &mut plain, zeros.len()).unwrap();
        assert_eq!(plain, zeros);
        codec.unpack(&packed, &mut plain, usize::MAX).unwrap();
    }
    // A raw snappy block that claims 4 GiB, and has 5 bytes.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let broken = RecordsError::Broken { codec: Codec::Snappy };
    assert_eq!(Codec::Snappy.unpack(&claim, &mut Vec::new(), usize::MAX), Err(broken));
}

/// A zstd frame header whose window is 2^41 bytes: refused before memory is taken for it.
#[test]
fn a_zstd_window_beyond_the_bound_is_refused() {
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 1, 0, 0];
    let broken = RecordsError::Broken { codec: Codec::Zstd };
    assert_eq!(Codec::Zstd.unpack(&frame, &mut Vec::new(), LIMIT), Err(broken));
}

#[test]
fn snappy_is_read_without_a_frame_and_from_joined_frames() {
    let mut plain = Vec::new();
    let raw = snap::raw::Encoder::new().compress_vec(b"no frame").unwrap();
    Codec::Snappy.unpack(&raw, &mut plain, 100).unwrap();
    assert_eq!(plain, b"no frame");

    let mut joined = Vec::new();
    Codec::Snappy.pack(&[1; 70_000], &mut joined).unwrap();
    Codec::Snappy.pack(b"tail", &mut joined).unwrap();
    Codec::Snappy.unpack(&joined, &mut plain, LIMIT).unwrap();
    assert_eq!(plain, [&[1; 70_000][..], b"tail"].concat());

    for cut in 1..joined.len().min(60) {
        let result = Codec::Snappy.unpack(&joined[..joined.len() - cut], &mut plain, LIMIT);
        // Without the last block, and without the head before it, the stream is whole again.
        let whole = [10, 26].contains(&cut);
        assert_eq!(result.is_ok(), whole, "{cut} bytes cut off");
    }
}

/// KAFKA-4293 and others: every member of a gzip stream counts.
#[test]
fn gzip_and_zstd_are_read_from_joined_streams() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let (mut joined, mut plain) = (Vec::new(), Vec::new());
        codec.pack(b"one ", &mut joined).unwrap();
        codec.pack(b"two", &mut joined).unwrap();
        codec.unpack(&joined, &mut plain, LIMIT).unwrap();
        assert_eq!(plain, b"one two", "{codec}");
    }
}

#[test]
fn a_cut_batch_at_the_end_is_left_out_and_a_broken_one_ends_the_walk() {
    let (first, second) = (build(Codec::None, &three()), build(Codec::Gzip, &three()));
    let both = [&first[..], &second[..]].concat();
    for end in first.len()..both.len() {
        let mut batches = Batches::new(&both[..end]);
        assert!(matches!(batches.next(), Some(Ok(_))));
        assert!(batches.next().is_none(), "{end}");
        assert_eq!(batches.remaining(), end - first.len());
    }
    assert_eq!(Batches::new(&both).filter(std::result::Result::is_ok).count(), 2);

    let mut broken = both.clone();
    broken[first.len() - 1] ^= 1;
    let found: Vec<_> = Batches::new(&broken).collect();
    assert!(matches!(found[..], [Err(BatchError::Crc { .. })]));
    let mut old = both;
    old[16] = 1;
    assert!(matches!(Batches::new(&old).next(), Some(Err(BatchError::Magic { found: 1 }))));
}

#[test]
fn an_unknown_codec_is_named() {
    let mut header = BatchHeader::check(&build(Codec::None, &three())).unwrap();
    header.attributes = 6;
    assert_eq!(read(&around(header, b"x")), Err(RecordsError::UnknownCodec { found: 6 }));
    for codec in Codec::ALL {
        assert_eq!(codec.name().parse(), Ok(codec));
    }
    assert!("LZ4".parse::<Codec>().is_err());
}

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50))
}

fn records() -> impl Strategy<Value = Vec<Sent>> {
    let name = bytes().prop_map(Option::unwrap_or_default);
    let headers = proptest::collection::vec((name, bytes()), 0..4);
    proptest::collection::vec((any::<i64>(), bytes(), bytes(), headers), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_records_read_back(sent in records(), codec in 0..5_usize) {
        let found = read(&build(Codec::ALL[codec], &sent)).unwrap();
        let found: Vec<Sent> = found.into_iter().map(|(_, sent)| sent).collect();
        prop_assert_eq!(found, sent);
    }

    /// What an established encoder makes of the same records, byte for byte (timestamps as it can take them: its base
    /// is the smallest, Java's and ours the first).
    #[test]
    fn batches_are_what_the_oracle_makes(sent in records()) {
        let mut sent: Vec<Sent> = sent.into_iter().map(|(time, key, value, headers)| {
            let headers = headers.into_iter().enumerate().map(|(n, (_, value))| (format!("h{n}").into_bytes(), value));
            (time.unsigned_abs().cast_signed().max(0) >> 20, key, value, headers.collect())
        }).collect();
        sent.sort_by_key(|(time, ..)| *time);
        prop_assert_eq!(build(Codec::None, &sent), oracle::encode(&sent));
    }

    #[test]
    fn no_damage_behind_the_crc_panics(sent in records(), codec in 0..5_usize, at in any::<usize>(), byte in any::<u8>()) {
        let good = build(Codec::ALL[codec], &sent);
        let mut records = good[HEADER_BYTES..].to_vec();
        let at = at % records.len();
        records[at] = byte;
        let header = BatchHeader::check(&good).unwrap();
        if let Ok(found) = read(&around(header, &records)) {
            prop_assert_eq!(found.len(), sent.len());
        }
    }
}

/// The test oracle: the crate `kafka-protocol`.
mod oracle {
    use kafka_protocol::indexmap::IndexMap;
    use kafka_protocol::protocol::StrBytes;
    use kafka_protocol::records::{
        Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
        RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };

    pub(super) fn encode(sent: &[super::Sent]) -> Vec<u8> {
        let records: Vec<Record> = (0..).zip(sent).map(record).collect();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        let mut buffer = Vec::new();
        RecordBatchEncoder::encode(&mut buffer, &records, &options).unwrap();
        buffer
    }

    fn record((offset, (timestamp, key, value, headers)): (i64, &super::Sent)) -> Record {
        let headers: IndexMap<StrBytes, _> = headers
            .iter()
            .map(|(key, value)| {
                let key = StrBytes::from_string(String::from_utf8(key.clone()).unwrap());
                (key, value.clone().map(Into::into))
            })
            .collect();
        Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            timestamp_type: TimestampType::Creation,
            timestamp: *timestamp,
            // Ascending from none, or it makes a batch of each record.
            sequence: NO_SEQUENCE + i32::try_from(offset).unwrap(),
            offset,
            key: key.clone().map(Into::into),
            value: value.clone().map(Into::into),
            headers,
        }
    }
}
