//! Record batches: no input makes a check panic, and what passes a check is as the check says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringlog::model::batch::{self, BatchHeader, CRC_START, HEADER_BYTES};
use ringlog::model::crc;

fuzz_target!(|bytes: &[u8]| {
    let _ = BatchHeader::check(bytes);
    let Ok(header) = BatchHeader::parse(bytes) else { return };
    assert!(header.size_bytes >= HEADER_BYTES);
    let Some(body) = bytes.get(CRC_START..header.size_bytes) else { return };

    // Random bytes never carry the right sum: give it to them, so that the checks behind it are reached.
    let mut batch = bytes[..header.size_bytes].to_vec();
    batch[17..21].copy_from_slice(&crc::crc32c(body).to_be_bytes());
    let Ok(header) = BatchHeader::check(&batch) else { return };
    assert!(
        header.record_count >= 0 && header.record_count <= header.last_offset_delta.saturating_add(1).max(1)
    );

    let prefix = batch.first_chunk::<HEADER_BYTES>().expect("a checked batch holds a header");
    let stamped = batch::with_log_append_time(prefix, batch.len(), 42);
    batch[..HEADER_BYTES].copy_from_slice(&stamped);
    let stamped = BatchHeader::check(&batch).expect("the combined sum is the sum");
    assert!(stamped.is_log_append_time() && stamped.max_timestamp == 42);
});
