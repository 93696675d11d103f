//! The metadata log, its snapshots and the identity of a data directory: no bytes make them panic, and what is read twice is
//! the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringlog::controller::Identity;
use ringlog::controller::log::{FileKind, HEADER_BYTES, Header, record_format, scan, snapshot};
use ringlog::controller::state::State;
use ringlog::model::ClusterId;
use ringlog::model::crc::crc32c;
use ringlog::model::image::{BrokerImage, MetadataOffset};
use std::ops::ControlFlow;

fuzz_target!(|input: &[u8]| {
    let Some((&kind, bytes)) = input.split_first() else { return };
    match kind % 4 {
        0 => decode_records(bytes),
        1 => apply_a_snapshot(bytes),
        2 => scan_a_log(bytes),
        _ => read_an_identity(bytes),
    }
});

/// Without a checksum in the way.
fn decode_records(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let Ok(record) = record_format::decode(&mut bytes, 0) else { return };
        let mut again = Vec::new();
        record_format::encode(&record, &mut again);
        assert_eq!(record_format::decode(&mut again.as_slice(), 0), Ok(record));
    }
}

/// Behind a header that fits: the records reach the state.
fn apply_a_snapshot(body: &[u8]) {
    let header = Header {
        kind: FileKind::Snapshot,
        cluster_id: ClusterId([1; 16]),
        number: 0,
        offset: MetadataOffset(u64::MAX / 2),
        body_bytes: body.len() as u64,
        body_crc: crc32c(body),
    };
    let file = [header.encode().as_slice(), body].concat();
    if let Ok((_, state)) = snapshot::decode(&file, BrokerImage::default()) {
        let again = snapshot::decode(&snapshot::encode(&state, 0), BrokerImage::default());
        assert_eq!(again.map(|(_, state)| state), Ok(state));
    }
}

fn scan_a_log(body: &[u8]) {
    let header = Header {
        kind: FileKind::Log,
        cluster_id: ClusterId([1; 16]),
        number: 0,
        offset: MetadataOffset(0),
        body_bytes: 0,
        body_crc: 0,
    };
    let file = [header.encode().as_slice(), body].concat();
    let mut state = State::new(header.cluster_id, BrokerImage::default());
    let scanned = scan(&file, &header, |_, record| {
        // A record that cannot follow is refused without harm.
        let _ = state.apply(&record);
        Ok(ControlFlow::Continue(()))
    });
    if let Ok(end) = scanned {
        assert!(end.position >= HEADER_BYTES && end.position + end.torn_bytes == file.len());
    }
}

fn read_an_identity(bytes: &[u8]) {
    if let Ok(identity) = Identity::parse(&String::from_utf8_lossy(bytes)) {
        assert_eq!(Identity::parse(&identity.to_text()), Ok(identity));
    }
}
