//! Reading frames one after another out of a file, with a bounded part of it in memory.
//!
//! The rules are those of [`Chain`](crate::storage::commit_log::chain::Chain), which has the whole file before it.

use crate::model::limits::BLOCK_BYTES;
use crate::model::number::{index, round_down, wide};
use crate::runtime::file::BlockingFile;
use crate::runtime::memory::AlignedBuffer;
use crate::storage::commit_log::GROUP_BYTES_MAX;
use crate::storage::commit_log::frame::{FRAME_HEADER_BYTES, FrameHeader, frame_bytes};

/// What is in memory of a file: whole groups, wherever one begins. Unit: bytes.
pub(super) const WINDOW_BYTES: usize = 2 * GROUP_BYTES_MAX;
const _: () = assert!(GROUP_BYTES_MAX + BLOCK_BYTES <= WINDOW_BYTES);

/// Most groups that `commit.log.depth` lets be in flight.
pub(super) const GROUPS_IN_FLIGHT_MAX: usize = 16;

/// A part of a file, used for one file after another.
pub(super) struct Window {
    buffer: AlignedBuffer,
    start: u64,
    bytes: usize,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { buffer: AlignedBuffer::zeroed(WINDOW_BYTES), start: 0, bytes: 0 }
    }

    /// The header of the sound frame at `position`, a multiple of 8; its body is in the window then.
    fn header_at<F: BlockingFile>(
        &mut self,
        file: &F,
        length: u64,
        position: u64,
    ) -> crate::runtime::Result<Option<FrameHeader>> {
        let end = position.saturating_add(wide(GROUP_BYTES_MAX)).min(length);
        if position < self.start || end > self.start.saturating_add(wide(self.bytes)) {
            self.start = round_down(position, wide(BLOCK_BYTES));
            self.bytes = file.read_at(self.start, self.buffer.as_mut_slice())?;
        }
        let rest = self.slice(position, end).unwrap_or_default();
        Ok(FrameHeader::decode(rest).map(|(header, _)| header))
    }

    fn slice(&self, from: u64, end: u64) -> Option<&[u8]> {
        let inside = |position: u64| position.checked_sub(self.start).map(index);
        self.buffer.as_slice().get(..self.bytes)?.get(inside(from)?..inside(end)?.min(self.bytes))
    }
}

/// The frames of a file, in order, up to the first break.
pub(super) struct Frames<'a, F> {
    file: &'a F,
    window: &'a mut Window,
    incarnation: u64,
    length: u64,
    position: u64,
    next_sequence: u64,
}

impl<'a, F: BlockingFile> Frames<'a, F> {
    /// From byte `position` on, a multiple of the block size. The first frame must have number `first_sequence`.
    pub(super) fn new(
        file: &'a F,
        window: &'a mut Window,
        incarnation: u64,
        position: u64,
        first_sequence: u64,
    ) -> crate::runtime::Result<Self> {
        window.bytes = 0;
        let length = file.length()?;
        Ok(Self { file, window, incarnation, length, position, next_sequence: first_sequence })
    }

    pub(super) fn next_frame(&mut self) -> crate::runtime::Result<Option<(FrameHeader, &[u8])>> {
        let header = loop {
            let found = self.window.header_at(self.file, self.length, self.position)?;
            if let Some(header) = found.filter(|header| self.is_next(header)) {
                break header;
            }
            // A group ends with zeros up to its block's end; the next one begins on a block.
            if self.position.is_multiple_of(wide(BLOCK_BYTES)) {
                return Ok(None);
            }
            self.position = self.position.next_multiple_of(wide(BLOCK_BYTES));
        };
        Ok(Some(self.take(header)))
    }

    /// The frame that follows, whatever its number.
    pub(super) fn next_of_any_number(&mut self) -> crate::runtime::Result<Option<(FrameHeader, &[u8])>> {
        let found = self.window.header_at(self.file, self.length, self.position)?;
        let own = found.filter(|header| header.incarnation == self.incarnation);
        Ok(own.map(|header| self.take(header)))
    }

    const fn is_next(&self, header: &FrameHeader) -> bool {
        header.incarnation == self.incarnation && header.sequence == self.next_sequence
    }

    fn take(&mut self, header: FrameHeader) -> (FrameHeader, &[u8]) {
        let body_bytes = index(u64::from(header.body_bytes));
        let from = self.position.saturating_add(wide(FRAME_HEADER_BYTES));
        self.position = self.position.saturating_add(wide(frame_bytes(body_bytes)));
        self.next_sequence = header.sequence.saturating_add(1);
        let body = self.window.slice(from, from.saturating_add(wide(body_bytes)));
        (header, body.unwrap_or_default())
    }

    /// Sequence number of the frame that would come next.
    pub(super) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Position behind the last frame.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Groups of this use of the file, with later frames than those before, at and behind the position. Looks at
    /// [`GROUPS_IN_FLIGHT_MAX`] of the largest groups and no further, and stops when it knows of one more than that.
    pub(super) fn count_groups(&mut self) -> crate::runtime::Result<usize> {
        let end = self.position.saturating_add(wide(GROUPS_IN_FLIGHT_MAX * GROUP_BYTES_MAX)).min(self.length);
        let mut groups = 0;
        while self.position < end && groups <= GROUPS_IN_FLIGHT_MAX {
            let found = self.window.header_at(self.file, self.length, self.position)?;
            let is_later = |header: &FrameHeader| {
                header.incarnation == self.incarnation && header.sequence >= self.next_sequence
            };
            let mut next = found.filter(is_later);
            groups = groups.saturating_add(usize::from(next.is_some()));
            while let Some(header) = next {
                self.take(header);
                let found = self.window.header_at(self.file, self.length, self.position)?;
                next = found.filter(|header| self.is_next(header));
            }
            self.position = self.position.saturating_add(1).next_multiple_of(wide(BLOCK_BYTES));
        }
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use super::*;
    use crate::runtime::Result;
    use crate::runtime::disk::BlockingDisk;
    use crate::runtime::file::{Access, Caching};
    use crate::runtime::sim::{SimDisk, SimFile, SimRandom, SimSteps};
    use crate::storage::commit_log::chain::Chain;
    use crate::storage::commit_log::frame::{FileHeader, kind};

    /// A file that remembers the most that was read of it at once.
    struct Measured {
        file: SimFile,
        read_max: Cell<usize>,
    }

    impl BlockingFile for Measured {
        fn read_at(&self, position: u64, bytes: &mut [u8]) -> Result<usize> {
            self.read_max.set(self.read_max.get().max(bytes.len()));
            self.file.read_at(position, bytes)
        }
        fn write_at(&self, position: u64, bytes: &[u8]) -> Result<()> {
            self.file.write_at(position, bytes)
        }
        fn sync(&self) -> Result<()> {
            self.file.sync()
        }
        fn set_length(&self, bytes: u64) -> Result<()> {
            self.file.set_length(bytes)
        }
        fn allocate(&self, position: u64, bytes: u64) -> Result<()> {
            self.file.allocate(position, bytes)
        }
        fn length(&self) -> Result<u64> {
            self.file.length()
        }
    }

    /// Groups of frames of all sizes in a file of `file_bytes`.
    fn file_of(file_bytes: usize, seed: u64) -> AlignedBuffer {
        let mut random = SimRandom::new(seed);
        let mut file = AlignedBuffer::zeroed(file_bytes);
        let (mut at, mut sequence) = (BLOCK_BYTES, 1);
        loop {
            let largest = GROUP_BYTES_MAX - FRAME_HEADER_BYTES;
            let bytes = match random.below(20) {
                0 => largest,
                1..=5 => index(random.below(wide(largest))),
                _ => index(random.below(3_000)),
            };
            if random.below(4) == 0 || bytes > 3_000 {
                at = at.next_multiple_of(BLOCK_BYTES);
            }
            if at + frame_bytes(bytes) > file_bytes {
                return file;
            }
            let body = vec![u8::try_from(sequence % 251).expect("small"); bytes];
            let header = FrameHeader {
                incarnation: 3,
                sequence,
                kind: kind::DATA,
                body_bytes: u32::try_from(bytes).expect("small"),
                ..FrameHeader::blank()
            };
            let whole = [header.encode([&body, &[]]).as_slice(), &body].concat();
            file.as_mut_slice()[at..at + whole.len()].copy_from_slice(&whole);
            at += frame_bytes(bytes);
            sequence += 1;
        }
    }

    #[test]
    fn gives_what_the_whole_file_gives_with_a_window_of_it_in_memory() {
        let disk = SimDisk::new(SimSteps::default(), SimRandom::new(1));
        let mut window = Window::new();
        for seed in 0..8 {
            let mut content = file_of(8 << 20, seed);
            if seed % 2 > 0 {
                // Somewhere it is damaged.
                content.as_mut_slice()[(5 << 20) + index(seed)] ^= 1;
            }
            let file = disk.open(Path::new("x"), Access::Create, Caching::Buffered).expect("it is made");
            file.write_at(0, content.as_slice()).expect("it is written");
            let file = Measured { file, read_max: Cell::new(0) };
            let header = FileHeader::new(3, 1, 1, [7; 16], 0);
            let expected: Vec<_> =
                Chain::new(&header, content.as_slice()).map(|link| (link.header, link.body)).collect();
            assert!(expected.len() > 20, "{}", expected.len());
            let mut frames = Frames::new(&file, &mut window, 3, wide(BLOCK_BYTES), 1).expect("a file");
            for link in expected {
                assert_eq!(frames.next_frame().expect("the disk is sound"), Some(link));
            }
            assert_eq!(frames.next_frame().expect("the disk is sound"), None);
            assert!(file.read_max.get() <= WINDOW_BYTES, "{} at once", file.read_max.get());
            assert_eq!(window.buffer.len(), WINDOW_BYTES);
        }
    }
}
