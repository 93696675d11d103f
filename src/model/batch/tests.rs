use super::*;

/// A batch of `record_count` records whose bytes are `records`, with a valid CRC.
fn batch(record_count: i32, records: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend_from_slice(records);
    let size = bytes.len();
    bytes[..16].copy_from_slice(&assigned_prefix(Offset(7), size, LeaderEpoch(3)));
    bytes[16] = 2;
    bytes[23..27].copy_from_slice(&(record_count - 1).to_be_bytes());
    bytes[43..51].copy_from_slice(&(-1i64).to_be_bytes());
    bytes[57..61].copy_from_slice(&record_count.to_be_bytes());
    let crc = crc::crc32c(&bytes[CRC_START..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn a_valid_batch_passes_and_any_flipped_bit_behind_the_crc_fails() {
    let good = batch(3, b"some records");
    let header = BatchHeader::check(&good).unwrap();
    assert_eq!(header.base_offset, Offset(7));
    assert_eq!(header.leader_epoch, LeaderEpoch(3));
    assert_eq!(header.end_offset(), Offset(10));
    assert_eq!(header.size_bytes, good.len());
    header.check_dense().unwrap();
    for at in CRC_START..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(matches!(BatchHeader::check(&bad), Err(BatchError::Crc { .. })), "byte {at}");
    }
}

#[test]
fn cut_and_absurd_lengths_are_named() {
    let good = batch(1, b"x");
    for end in 0..16 {
        assert_eq!(BatchHeader::parse(&good[..end]), Err(BatchError::HeaderCut { found: end }));
    }
    assert!(matches!(BatchHeader::check(&good[..61]), Err(BatchError::BodyCut { expected: 62, found: 61 })));
    for length in [i32::MIN, -1, 0, 48, i32::MAX] {
        let mut bad = good.clone();
        bad[8..12].copy_from_slice(&length.to_be_bytes());
        assert!(BatchHeader::check(&bad).is_err(), "length {length}");
    }
    let mut old = good;
    old[16] = 1;
    assert_eq!(BatchHeader::parse(&old), Err(BatchError::Magic { found: 1 }));
}

#[test]
fn log_append_time_gives_the_crc_that_a_full_pass_would() {
    for records_bytes in [0, 1, 1000] {
        let good = batch(2, &vec![9; records_bytes]);
        let new = with_log_append_time(good.first_chunk().unwrap(), good.len(), 1_234_567);
        let mut stored = good;
        stored[..HEADER_BYTES].copy_from_slice(&new);
        let header = BatchHeader::check(&stored).unwrap();
        assert!(header.is_log_append_time());
        assert_eq!(header.max_timestamp, 1_234_567);
    }
}

#[test]
fn kip_98_sequences_wrap_to_zero() {
    assert_eq!(sequence_plus(i32::MAX, 1), 0);
    assert_eq!(sequence_plus(i32::MAX - 1, 3), 1);
    assert_eq!(sequence_plus(5, 2), 7);
}
