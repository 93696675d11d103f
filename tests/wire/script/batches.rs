//! Batches to send, sound and otherwise, and what is said of those that come back.

use ringlog::model::batch::{BatchHeader, CRC_START, HEADER_BYTES};
use ringlog::model::{ProducerEpoch, ProducerId, crc};
use ringlog::protocol::records::{BatchBuilder, Codec, NewRecord, Stamp, stamp};

/// A batch of records with these times, each a small value.
pub fn batch(times: &[i64]) -> Vec<u8> {
    packed(Codec::None, times, b"value")
}

/// The same with a codec and a value.
pub fn packed(codec: Codec, times: &[i64], value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for &timestamp in times {
        let record = NewRecord { timestamp, value: Some(value), ..NewRecord::default() };
        builder.push(&record).expect("a small record");
    }
    builder.finish().expect("a small batch")
}

/// A batch of an idempotent producer.
pub fn stamped(count: usize, producer_id: i64, producer_epoch: i16, sequence: i32) -> Vec<u8> {
    let mut bytes = batch(&vec![1_000; count]);
    let by = Stamp {
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(producer_epoch),
        base_sequence: sequence,
    };
    stamp(&mut bytes, by).expect("a whole batch");
    bytes
}

/// The batch with other bytes at `place`, and a CRC that holds.
pub fn with(mut bytes: Vec<u8>, place: usize, value: &[u8]) -> Vec<u8> {
    bytes[place..place + value.len()].copy_from_slice(value);
    let sum = crc::crc32c(&bytes[CRC_START..]);
    bytes[17..21].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// What a partition's records are, in words.
pub fn describe(mut bytes: &[u8], producer_ids: &[i64], is_answer: bool) -> String {
    if !is_answer {
        return format!("{} bytes", bytes.len());
    }
    let mut batches = Vec::new();
    while let Ok(header) = BatchHeader::parse(bytes) {
        let whole = header.size_bytes <= bytes.len();
        let sound = whole && BatchHeader::check(bytes).is_ok();
        let mut text = format!("offset {}, {} records", header.base_offset.0, header.record_count);
        text.push_str(&format!(", leader epoch {}", header.leader_epoch.0));
        if header.is_log_append_time() {
            text.push_str(", stamped by the broker");
        }
        if header.is_idempotent() {
            let name = producer_name(header.producer_id.0, producer_ids);
            text.push_str(&format!(", {name}.{} from {}", header.producer_epoch.0, header.base_sequence));
        }
        text.push_str(if sound {
            ""
        } else if whole {
            ", damaged"
        } else {
            ", cut"
        });
        batches.push(format!("({text})"));
        bytes = bytes.get(header.size_bytes..).unwrap_or_default();
    }
    if !bytes.is_empty() && bytes.len() < HEADER_BYTES {
        batches.push("(cut header)".to_owned());
    }
    format!("[{}]", batches.join(" "))
}

/// Ids that a broker gave are told apart by when they came.
pub fn producer_name(id: i64, known: &[i64]) -> String {
    match known.iter().position(|known| *known == id) {
        Some(place) => format!("<producer {place}>"),
        None => id.to_string(),
    }
}
