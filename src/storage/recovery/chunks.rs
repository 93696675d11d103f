//! Laying what the arena's chunks hold over the segments: batch after batch, and only what is sound.
//!
//! A batch may lie in several chunks, and begin in the file, so the chunks of a segment are judged together, laid over its file,
//! from the last boundary up to which everything is on stable media. A sound batch of the file stays: no offset is given twice
//! in one file, as what is truncated leaves the file before anything takes its place, and a leader epoch, which no CRC covers,
//! decides nothing. Nothing is applied behind the first place where neither has a sound batch: the scan will cut there.
//!
//! What both have is written again: where a flush has failed, the file shows what never reached the disk, and no later flush would
//! bring it there.

use super::RecoveryError;
use super::scan::{Expected, Window, good_batch};
use crate::model::batch::{BatchHeader, HEADER_BYTES};
use crate::model::number::{index, wide};
use crate::runtime::file::BlockingFile;
use crate::storage::arena::table::SLAB_BYTES;

/// Most pieces over one place that are tried.
const TRIED_MAX: usize = 16;

/// Written at once, but for larger batches. Unit: bytes.
const WRITE_BYTES: usize = 256 << 10;

/// The bytes of a chunk, and their place in the segment. No longer than [`SLAB_BYTES`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) position: u64,
    pub(super) bytes: &'a [u8],
}

/// What became of the pieces of a segment. Unit: bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Laid {
    /// Of batches that the file lacked.
    pub(super) applied: u64,
    /// Of batches of the file that the pieces would have changed.
    pub(super) kept: u64,
    /// Of pieces that another one belied, and of what lies behind a gap.
    pub(super) refused: u64,
    /// Position behind the last sound batch.
    pub(super) end: u64,
    /// What lies behind it is not the beginning of one append that was under way: readers may have seen what is missing.
    pub(super) has_gap: bool,
}

/// Lays `pieces` over `file` from byte `at` on, where a batch as `expected` begins: `write` is given what is sound of them.
pub(super) fn lay_over<F: BlockingFile>(
    file: Option<&F>,
    at: u64,
    expected: Expected,
    mut pieces: Vec<Piece<'_>>,
    write: impl FnMut(u64, &[u8]) -> Result<(), RecoveryError>,
) -> Result<Laid, RecoveryError> {
    pieces.sort_by_key(|piece| piece.position);
    let Some(first) = pieces.first().map(|piece| piece.position) else { return Ok(Laid::default()) };
    let length = file.map_or(Ok(0), BlockingFile::length)?;
    let plain = View::new(file, length, &[]);
    let mut end = end_of(&pieces);
    let (mut in_file, mut in_both) = (Window::new(at), Window::new(at));
    let mut gathered = Gathered { write, at, bytes: Vec::new() };
    let mut expected = expected;
    let mut laid = Laid { end: at, ..Laid::default() };
    while laid.end < end {
        let at = laid.end;
        let rest = in_file.from(|position, bytes| plain.read_at(position, bytes), at, length)?;
        let own = good_batch(rest, &expected).ok();
        let own_bytes = own.as_ref().and_then(|own| rest.get(..own.size_bytes)).unwrap_or_default();
        let own_end = at.saturating_add(wide(own_bytes.len()));
        let both = View { end: length.max(end), ..View::new(file, length, &pieces) };
        let rest = if own.is_some() && own_end <= first {
            own_bytes
        } else {
            in_both.from(|position, bytes| both.read_at(position, bytes), at, both.end)?
        };
        let next = match own {
            Some(own) if rest.starts_with(own_bytes) => {
                if own_end > first {
                    gathered.push(at, own_bytes)?;
                }
                own
            }
            own => match (own, good_batch(rest, &expected).ok()) {
                (Some(own), _) => {
                    laid.kept = laid.kept.saturating_add(wide(own.size_bytes));
                    own
                }
                (None, Some(other)) => {
                    gathered.push(at, rest.get(..other.size_bytes).unwrap_or_default())?;
                    laid.applied = laid.applied.saturating_add(wide(other.size_bytes));
                    other
                }
                (None, None) => {
                    let Some(hidden) = hidden_piece(&both, at, &expected)? else {
                        laid.has_gap = !is_cut_short(rest, at, &pieces, &expected);
                        break;
                    };
                    laid.refused = laid.refused.saturating_add(uncover(&mut pieces, hidden, at));
                    in_both = Window::new(at);
                    end = end_of(&pieces);
                    continue;
                }
            },
        };
        expected.offset = next.end_offset();
        expected.leader_epoch = next.leader_epoch;
        laid.end = at.saturating_add(wide(next.size_bytes));
    }
    gathered.flush()?;
    if laid.has_gap {
        let behind = pieces.iter().map(|piece| piece.end().saturating_sub(piece.position.max(laid.end)));
        laid.refused = behind.fold(laid.refused, u64::saturating_add);
    }
    Ok(laid)
}

/// Whether all that the pieces have from `at` on, where `rest` lies, is the beginning of one batch: the process died while it was
/// being published, chunk after chunk, and nobody was told of it.
fn is_cut_short(rest: &[u8], at: u64, pieces: &[Piece<'_>], expected: &Expected) -> bool {
    let left = end_of(pieces).saturating_sub(at);
    pieces.iter().any(|piece| piece.covers(at))
        && (left < wide(HEADER_BYTES)
            || BatchHeader::parse(rest)
                .is_ok_and(|header| header.base_offset == expected.offset && wide(header.size_bytes) > left))
}

/// Place of the piece with which there is a sound batch at `at`, were it not that others lie over it.
fn hidden_piece<F: BlockingFile>(
    both: &View<'_, F>,
    at: u64,
    expected: &Expected,
) -> Result<Option<usize>, RecoveryError> {
    let reach = at.saturating_add(SLAB_BYTES);
    let near = both.pieces.iter().enumerate().filter(|(_, piece)| piece.end() > at && piece.position < reach);
    for (place, piece) in near.take(TRIED_MAX) {
        let from = piece.position.max(at);
        if both.pieces.iter().filter(|other| other.covers(from)).count() < 2 {
            continue;
        }
        let view = View { top: Some(place), ..*both };
        let mut window = Window::new(at);
        let rest = window.from(|position, bytes| view.read_at(position, bytes), at, view.end)?;
        if good_batch(rest, expected).is_ok() {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Takes away the pieces that lie, at `at` or where it begins, over or under the one in this place. Returns their bytes.
fn uncover(pieces: &mut Vec<Piece<'_>>, hidden: usize, at: u64) -> u64 {
    let Some(from) = pieces.get(hidden).map(|piece| piece.position.max(at)) else { return 0 };
    let (mut place, mut removed) = (0_usize, 0_u64);
    pieces.retain(|piece| {
        let stays = place == hidden || !piece.covers(from);
        place = place.saturating_add(1);
        removed = removed.saturating_add(if stays { 0 } else { wide(piece.bytes.len()) });
        stays
    });
    removed
}

/// Bytes that follow one another, to be written in one go.
struct Gathered<W> {
    write: W,
    /// Position of the first.
    at: u64,
    bytes: Vec<u8>,
}

impl<W: FnMut(u64, &[u8]) -> Result<(), RecoveryError>> Gathered<W> {
    fn push(&mut self, at: u64, bytes: &[u8]) -> Result<(), RecoveryError> {
        let follows = self.at.saturating_add(wide(self.bytes.len())) == at;
        if !follows || self.bytes.len().saturating_add(bytes.len()) > WRITE_BYTES {
            self.flush()?;
            self.at = at;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecoveryError> {
        if !self.bytes.is_empty() {
            (self.write)(self.at, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

impl Piece<'_> {
    const fn end(&self) -> u64 {
        self.position.saturating_add(wide(self.bytes.len()))
    }

    const fn covers(&self, position: u64) -> bool {
        self.position <= position && position < self.end()
    }
}

fn end_of(pieces: &[Piece<'_>]) -> u64 {
    pieces.iter().map(Piece::end).max().unwrap_or(0)
}

/// A file with pieces over it.
struct View<'a, F> {
    file: Option<&'a F>,
    /// Where all that it shows ends.
    end: u64,
    /// In order of position; later ones lie over earlier ones.
    pieces: &'a [Piece<'a>],
    /// Place of the one that lies over all others.
    top: Option<usize>,
}

impl<'a, F: BlockingFile> View<'a, F> {
    /// Shows what lies before `end`.
    const fn new(file: Option<&'a F>, end: u64, pieces: &'a [Piece<'a>]) -> Self {
        Self { file, end, pieces, top: None }
    }

    /// What neither has reads as zeros.
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> crate::runtime::Result<usize> {
        let read = self.file.map_or(Ok(0), |file| file.read_at(position, bytes))?;
        bytes.get_mut(read..).unwrap_or_default().fill(0);
        let end = position.saturating_add(wide(bytes.len()));
        let first =
            self.pieces.partition_point(|piece| piece.position.saturating_add(SLAB_BYTES) <= position);
        let near = self.pieces.get(first..).unwrap_or_default();
        let near = near.iter().take_while(|piece| piece.position < end);
        for piece in near.chain(self.top.and_then(|top| self.pieces.get(top))) {
            let (from, to) = (piece.position.max(position), piece.end().min(end));
            let range = |start: u64| index(from.saturating_sub(start))..index(to.saturating_sub(start));
            if let Some(target) = bytes.get_mut(range(position))
                && let Some(source) = piece.bytes.get(range(piece.position))
            {
                target.copy_from_slice(source);
            }
        }
        Ok(bytes.len().min(index(self.end.saturating_sub(position))))
    }
}

#[cfg(test)]
mod tests;
