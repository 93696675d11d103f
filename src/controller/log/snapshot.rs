//! The whole state as one file: a header with length and checksum, then the records that make the state.

use super::super::state::{Record, State};
use super::{Fault, FileKind, HEADER_BYTES, Header, record_format};
use crate::model::crc::crc32c;
use crate::model::image::BrokerImage;

/// The bytes of the snapshot file with this `number`.
#[must_use]
pub fn encode(state: &State, number: u64) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    for record in state.to_records() {
        record_format::encode(&record, &mut bytes);
    }
    let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let header = Header {
        kind: FileKind::Snapshot,
        cluster_id: state.image().cluster_id(),
        number,
        offset: state.image().metadata_offset(),
        body_bytes: body.len() as u64,
        body_crc: crc32c(body),
    };
    if let Some(place) = bytes.first_chunk_mut() {
        *place = header.encode();
    }
    bytes
}

/// Makes the state again.
///
/// # Errors
/// The file is damaged or newer. Never half a state.
pub fn decode(file: &[u8], broker: BrokerImage) -> Result<(Header, State), Fault> {
    let header = Header::parse(file, FileKind::Snapshot)?;
    let mut body = file.get(HEADER_BYTES..).unwrap_or_default();
    let found = body.len() as u64;
    if found != header.body_bytes {
        return Err(Fault::Length { expected: header.body_bytes, found });
    }
    if crc32c(body) != header.body_crc {
        return Err(Fault::Checksum);
    }
    let mut state = State::new(header.cluster_id, broker);
    while !body.is_empty() {
        let record: Record = record_format::decode(&mut body, file.len())?;
        let offset = state.image().metadata_offset().0;
        state.apply(&record).map_err(|source| Fault::Inconsistent { offset, source })?;
    }
    let finished = state.finish_snapshot(header.offset);
    finished.map_err(|source| Fault::Inconsistent { offset: header.offset.0, source })?;
    Ok((header, state))
}

#[cfg(test)]
mod tests;
