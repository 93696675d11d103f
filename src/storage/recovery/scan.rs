//! The scan of a segment: batch after batch, each checked in full, up to the first that does not hold.

use std::ops::ControlFlow;

use super::RecoveryError;
use crate::model::batch::{BatchError, BatchHeader, HEADER_BYTES};
use crate::model::number::{index, wide};
use crate::model::{LeaderEpoch, Offset};
use crate::runtime::file::BlockingFile;
use crate::runtime::parallel;

/// Read first, and later twice as much each time: what is behind the end, allocated ahead, costs like all else to be read.
/// Unit: bytes.
const WINDOW_BYTES_MIN: usize = 64 << 10;
/// Read at once; a larger batch is read whole. Unit: bytes.
const WINDOW_BYTES_MAX: usize = 1 << 20;
/// A window above it is held by one thread at a time. Unit: bytes.
const LARGE_WINDOW_BYTES: usize = 4 << 20;
/// Largest batch that a scan believes in. Unit: bytes.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// What the next batch must be.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Its base offset.
    pub offset: Offset,
    /// Its epoch at least.
    pub leader_epoch: LeaderEpoch,
    /// The planted mistake: believe every CRC.
    pub(super) skip_crc: bool,
}

impl Expected {
    /// At the start of a segment of which nothing is known but its base offset.
    #[must_use]
    pub const fn at(offset: Offset) -> Self {
        Self { offset, leader_epoch: LeaderEpoch::NONE, skip_crc: false }
    }
}

/// Where a scan ended.
#[derive(Clone, Copy, Debug)]
pub struct Scanned {
    /// Byte position behind the last good batch.
    pub end: u64,
    pub next: Expected,
}

/// Why a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    #[error("the file ends")]
    End,
    #[error("whoever looks at the batches has seen enough")]
    Enough,
    #[error(transparent)]
    Batch(BatchError),
    #[error("the batch begins with offset {found}, after which {expected} was to come")]
    Offset { expected: Offset, found: Offset },
    #[error("the batch has leader epoch {found}, after {before}")]
    LeaderEpoch { before: LeaderEpoch, found: LeaderEpoch },
}

/// Scans from byte `from` to the end of the file, telling `note` each good batch and its position.
pub(super) fn scan<F: BlockingFile>(
    file: &F,
    from: u64,
    expected: Expected,
    mut note: impl FnMut(&BatchHeader, u64),
) -> Result<Scanned, RecoveryError> {
    let (scanned, stop) = walk(file, from, expected, |header, at, _| {
        note(header, at);
        ControlFlow::Continue(())
    })?;
    tracing::debug!(from, ?scanned, %stop, "a scan ends");
    Ok(scanned)
}

/// Walks over the batches from byte `from` on: `visit` is given each good one's header, position and bytes, and may break.
/// Memory: a window of 1 MiB, or the largest batch.
///
/// # Errors
/// [`RecoveryError::Disk`]. What is wrong with the bytes is no error: it ends the walk.
pub fn walk<F: BlockingFile>(
    file: &F,
    from: u64,
    mut expected: Expected,
    mut visit: impl FnMut(&BatchHeader, u64, &[u8]) -> ControlFlow<()>,
) -> Result<(Scanned, Stop), RecoveryError> {
    let length = file.length()?;
    let mut window = Window::new(from);
    let mut at = from;
    let stop = loop {
        let rest = window.from(|position, bytes| file.read_at(position, bytes), at, length)?;
        if rest.is_empty() {
            break Stop::End;
        }
        let header = match good_batch(rest, &expected) {
            Ok(header) => header,
            Err(Stop::Batch(BatchError::BodyCut { expected, .. })) => {
                break Stop::Batch(BatchError::BodyCut { expected, found: index(length.saturating_sub(at)) });
            }
            Err(stop) => break stop,
        };
        if visit(&header, at, rest.get(..header.size_bytes).unwrap_or_default()).is_break() {
            break Stop::Enough;
        }
        expected.offset = header.end_offset();
        expected.leader_epoch = header.leader_epoch;
        at = at.saturating_add(wide(header.size_bytes));
    };
    Ok((Scanned { end: at, next: expected }, stop))
}

/// A part of the file in memory.
pub(super) struct Window {
    start: u64,
    bytes: Vec<u8>,
    /// What the next read takes.
    next_bytes: usize,
}

impl Window {
    /// One for positions from `start` on.
    pub(super) const fn new(start: u64) -> Self {
        Self { start, bytes: Vec::new(), next_bytes: WINDOW_BYTES_MIN }
    }

    /// The bytes from position `at` on, which is not before the window's start and may be behind the file's end: at least the whole batch that begins there, if
    /// the file, of which `read_at` reads, has it and it is not too large to be one.
    pub(super) fn from(
        &mut self,
        read_at: impl Fn(u64, &mut [u8]) -> crate::runtime::Result<usize>,
        at: u64,
        length: u64,
    ) -> Result<&[u8], RecoveryError> {
        if at >= length {
            return Ok(&[]);
        }
        // A header says how long its batch is: it is looked for twice.
        for _ in 0..2 {
            let rest = self.bytes.get(index(at.saturating_sub(self.start))..).unwrap_or_default();
            let needed = BatchHeader::parse(rest).map_or(HEADER_BYTES, |header| header.size_bytes);
            let end = self.start.saturating_add(wide(self.bytes.len()));
            let is_in_file = needed <= BATCH_BYTES_MAX && wide(needed) <= length.saturating_sub(at);
            if rest.len() >= needed || end >= length || (!is_in_file && rest.len() >= HEADER_BYTES) {
                break;
            }
            let wanted = needed.max(self.next_bytes).min(index(length.saturating_sub(at)));
            if wanted > LARGE_WINDOW_BYTES {
                parallel::be_the_only_one();
            }
            self.next_bytes = self.next_bytes.saturating_mul(2).min(WINDOW_BYTES_MAX);
            self.bytes.resize(wanted, 0);
            let read = read_at(at, &mut self.bytes)?;
            self.bytes.truncate(read);
            self.start = at;
        }
        Ok(self.bytes.get(index(at.saturating_sub(self.start))..).unwrap_or_default())
    }
}

/// The batch at the start of `bytes`, if it is whole and sound and the next one.
pub(super) fn good_batch(bytes: &[u8], expected: &Expected) -> Result<BatchHeader, Stop> {
    let header = match BatchHeader::check(bytes) {
        Err(BatchError::Crc { .. } | BatchError::Counts { .. }) if expected.skip_crc => {
            BatchHeader::parse(bytes).map_err(Stop::Batch)?
        }
        checked => checked.map_err(Stop::Batch)?,
    };
    if header.base_offset != expected.offset {
        return Err(Stop::Offset { expected: expected.offset, found: header.base_offset });
    }
    if header.leader_epoch < expected.leader_epoch {
        return Err(Stop::LeaderEpoch { before: expected.leader_epoch, found: header.leader_epoch });
    }
    Ok(header)
}

#[cfg(test)]
mod tests;
