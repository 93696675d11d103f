//! Records in batches: no bytes make them panic, or unpack to more than is allowed; what is built is read back, with every
//! codec.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringlog::model::batch::{CRC_START, HEADER_BYTES, LOG_OVERHEAD_BYTES};
use ringlog::model::crc::crc32c;
use ringlog::protocol::records::{
    Batch, BatchBuilder, Batches, Codec, Header, NewRecord, RecordSearch, RecordSearched,
};

/// What a batch may unpack to. Unit: bytes.
const UNPACKED_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((&mode, bytes)) = input.split_first() else { return };
    match mode % 3 {
        0 => read_as_sent(bytes),
        1 => read_as_records(bytes, mode / 3),
        _ => build(bytes, Codec::ALL[usize::from(mode / 3) % Codec::ALL.len()]),
    }
});

fn read_as_sent(bytes: &[u8]) {
    let mut batches = Batches::new(bytes);
    for batch in batches.by_ref().flatten() {
        read(&batch);
    }
    assert!(batches.remaining() <= bytes.len());
}

/// Behind a header that fits, so that codecs and records are reached.
fn read_as_records(bytes: &[u8], count: u8) {
    let Some((&codec, packed)) = bytes.split_first() else { return };
    let mut batch = vec![0; HEADER_BYTES];
    batch.extend_from_slice(packed);
    let length = (batch.len() - LOG_OVERHEAD_BYTES) as u32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[16] = 2;
    batch[22] = codec & 0x0f;
    batch[26] = 254;
    batch[60] = count;
    let sum = crc32c(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&sum.to_be_bytes());
    read(&Batch::check(&batch).expect("the header fits"));
    search(&batch);
}

/// A search by time finds the record that reading all of them finds.
fn search(bytes: &[u8]) {
    let batch = Batch::check(bytes).expect("a sound batch");
    let mut scratch = Vec::new();
    let records = batch.records(&mut scratch, UNPACKED_BYTES_MAX);
    let read: Vec<_> = records
        .map(|records| {
            records.map_while(|record| record.ok().map(|record| (record.timestamp, record.offset)))
        })
        .map_or(Vec::new(), Iterator::collect);
    let time = read.get(read.len() / 2).map_or(0, |&(timestamp, _)| timestamp);
    let Ok(mut search) =
        RecordSearch::new(bytes.to_vec(), time, batch.header.base_offset, UNPACKED_BYTES_MAX)
    else {
        assert!(read.is_empty());
        return;
    };
    let found = loop {
        match search.proceed(512) {
            Ok(RecordSearched::Unfinished) => {}
            found => break found.ok(),
        }
    };
    if let Some(&(timestamp, offset)) = read.iter().find(|(timestamp, _)| *timestamp >= time)
        && !batch.header.is_log_append_time()
    {
        assert_eq!(found, Some(RecordSearched::Found { timestamp, offset }));
    }
}

fn read(batch: &Batch<'_>) -> usize {
    let mut scratch = Vec::new();
    let mut count = 0;
    if let Ok(records) = batch.records(&mut scratch, UNPACKED_BYTES_MAX) {
        for record in records {
            let Ok(record) = record else { break };
            assert_eq!(record.headers.iter().count(), record.headers.len());
            count += 1;
        }
    }
    assert!(scratch.len() <= UNPACKED_BYTES_MAX + 1);
    count
}

/// Cuts `bytes` into records; a length of 0 stands for none at all.
fn build(bytes: &[u8], codec: Codec) {
    let mut rest = bytes;
    let mut take = || {
        let (&length, behind) = rest.split_first()?;
        let (part, behind) = behind.split_at(usize::from(length).min(behind.len()));
        rest = behind;
        Some((length > 0).then_some(part))
    };
    let mut records = Vec::new();
    while let (Some(key), Some(value), Some(header)) = (take(), take(), take()) {
        records.push((key, value, Header { key: b"h", value: header }));
    }
    if records.is_empty() {
        return;
    }
    let mut builder = BatchBuilder::new(codec);
    let records: Vec<NewRecord<'_>> = (-1_i64..)
        .zip(&records)
        .map(|(place, (key, value, header))| NewRecord {
            timestamp: place.wrapping_mul(i64::MAX / 3),
            key: *key,
            value: *value,
            headers: std::slice::from_ref(header),
        })
        .collect();
    for record in &records {
        let grown = builder.size_bytes() + builder.growth_bytes(record);
        builder.push(record).expect("a small record");
        assert_eq!(builder.size_bytes(), grown);
    }
    let batch = builder.finish().expect("a small batch");
    search(&batch);
    let mut scratch = Vec::new();
    let batch = Batch::check(&batch).expect("what was built is sound");
    let read = batch.records(&mut scratch, UNPACKED_BYTES_MAX).expect("what was packed can be unpacked");
    let read: Vec<_> = read.map(|record| record.expect("what was built can be read")).collect();
    assert_eq!(read.len(), records.len());
    for (read, sent) in read.iter().zip(&records) {
        assert_eq!((read.timestamp, read.key, read.value), (sent.timestamp, sent.key, sent.value));
        assert!(read.headers.iter().eq(sent.headers.iter().copied()));
    }
}
