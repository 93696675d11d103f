//! What is sent, and whether it came back.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;

/// Header values are bytes here and never null, as rskafka has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// ms since 1970.
    pub timestamp: i64,
}

/// `count` records: some without key, some without value, some with headers; a millisecond apart.
pub fn records(count: i64) -> Vec<Record> {
    let base = now_ms() - 60_000;
    (0..count)
        .map(|n| Record {
            key: (n % 7 != 0).then(|| format!("key-{}", n % 10).into_bytes()),
            value: (n % 5 != 0).then(|| format!("value-{n} {}", "ringlog ".repeat(20)).into_bytes()),
            headers: match n % 3 {
                0 => vec![("a".to_owned(), n.to_be_bytes().to_vec()), ("b".to_owned(), Vec::new())],
                _ => Vec::new(),
            },
            timestamp: base + n,
        })
        .collect()
}

/// One record of that many bytes that no codec shrinks.
pub fn noise(bytes: usize) -> Record {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let value = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    Record { key: None, value: Some(value.take(bytes).collect()), headers: Vec::new(), timestamp: now_ms() }
}

/// The records found, with dense offsets from `first_offset` on, are those expected.
pub fn same(expected: &[Record], found: &[(i64, Record)], first_offset: i64) -> anyhow::Result<()> {
    ensure!(found.len() == expected.len(), "{} records instead of {}", found.len(), expected.len());
    for ((wanted, (offset, record)), place) in expected.iter().zip(found).zip(first_offset..) {
        ensure!(*offset == place, "offset {offset} where {place} was due");
        ensure!(record == wanted, "at offset {offset}: {record:?} instead of {wanted:?}");
    }
    Ok(())
}

/// A topic name that no earlier run has used.
pub fn topic_name(what: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!(
        "wire-rust-{what}-{}-{}-{}",
        now_ms(),
        std::process::id(),
        COUNTER.fetch_add(1, Ordering::Relaxed)
    )
}

pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is behind 1970");
    i64::try_from(now.as_millis()).expect("the clock is far ahead")
}
