//! The scan of a segment's tail: batch after batch, each checked in full, up to the first that does not hold.

use super::RecoveryError;
use crate::model::batch::{BatchHeader, HEADER_BYTES};
use crate::model::number::{index, wide};
use crate::model::{LeaderEpoch, Offset};
use crate::runtime::file::BlockingFile;

/// Read at once; a larger batch is read whole. Unit: bytes.
const WINDOW_BYTES: usize = 1 << 20;
/// Largest batch that a scan believes in. Unit: bytes.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// What the next batch must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Its base offset.
    pub(super) offset: Offset,
    /// Its epoch at least.
    pub(super) leader_epoch: LeaderEpoch,
    /// The planted mistake: believe every CRC.
    pub(super) skip_crc: bool,
}

/// Where a scan ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanned {
    /// Byte position behind the last good batch.
    pub(super) end: u64,
    pub(super) next: Expected,
}

/// Scans from byte `from` to the end of the file, telling `note` each good batch and its position.
pub(super) fn scan<F: BlockingFile>(
    file: &F,
    from: u64,
    mut expected: Expected,
    mut note: impl FnMut(&BatchHeader, u64),
) -> Result<Scanned, RecoveryError> {
    let length = file.length()?;
    let mut window: Vec<u8> = Vec::new();
    let mut window_start = from;
    let mut at = from;
    loop {
        let inside = index(at - window_start);
        let mut rest = window.get(inside..).unwrap_or_default();
        let needed = BatchHeader::parse(rest).map_or(HEADER_BYTES, |header| header.size_bytes);
        if rest.len() < needed && window_start + wide(window.len()) < length {
            if needed > BATCH_BYTES_MAX || at + wide(needed) > length {
                break;
            }
            window.resize(needed.max(WINDOW_BYTES).min(index(length - at)), 0);
            let read = file.read_at(at, &mut window)?;
            window.truncate(read);
            window_start = at;
            rest = &window;
            if rest.len() < HEADER_BYTES {
                break;
            }
            if BatchHeader::parse(rest).is_ok_and(|header| header.size_bytes > rest.len())
                && needed == HEADER_BYTES
            {
                continue;
            }
        }
        let Some(header) = good_batch(rest, &expected) else {
            let found = BatchHeader::check(rest);
            tracing::debug!(from, at, length, ?expected, ?found, "a scan ends");
            break;
        };
        note(&header, at);
        expected.offset = header.end_offset();
        expected.leader_epoch = header.leader_epoch;
        at += wide(header.size_bytes);
    }
    Ok(Scanned { end: at, next: expected })
}

fn good_batch(bytes: &[u8], expected: &Expected) -> Option<BatchHeader> {
    let checked = BatchHeader::check(bytes);
    let header = if expected.skip_crc {
        BatchHeader::parse(bytes).ok().filter(|header| header.size_bytes <= bytes.len())?
    } else {
        checked.ok()?
    };
    (header.base_offset == expected.offset && header.leader_epoch >= expected.leader_epoch).then_some(header)
}
