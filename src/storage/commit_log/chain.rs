//! The frames of one commit-log file: a chain that ends where incarnation or sequence number do not go on.
//!
//! Files are recycled, so what lies behind the end is mostly an older use of the file, and no fault. Groups begin on blocks,
//! and a group may be durable before the one before it: then the chain is broken, and what follows was never acknowledged.

use super::GROUP_BYTES_MAX;
use super::frame::{FileHeader, FrameHeader, frame_bytes};
use crate::model::limits::BLOCK_BYTES;

/// Walks over the frames of a file, in order, up to the first break.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    incarnation: u64,
    content: &'a [u8],
    position: usize,
    end: usize,
    next_sequence: u64,
}

/// A frame and where it begins. Unit of the position: bytes from the start of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    pub position: usize,
    pub header: FrameHeader,
    pub body: &'a [u8],
}

impl<'a> Chain<'a> {
    /// `content`: the file from its first byte on, in memory aligned to [`FRAME_ALIGN`](super::frame::FRAME_ALIGN).
    #[must_use]
    pub const fn new(header: &FileHeader, content: &'a [u8]) -> Self {
        Self {
            incarnation: header.incarnation,
            content,
            position: BLOCK_BYTES,
            end: BLOCK_BYTES,
            next_sequence: header.first_sequence,
        }
    }

    /// Sequence number of the frame that would come next.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Byte position behind the last frame.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.end
    }

    /// The first frame behind the end that belongs to this use of the file all the same: one before it is missing.
    #[must_use]
    pub fn resumption(&self) -> Option<Link<'a>> {
        let groups = (self.end.next_multiple_of(BLOCK_BYTES)..self.content.len()).step_by(BLOCK_BYTES);
        groups.filter_map(|position| self.frame_at(position, GROUP_BYTES_MAX)).find(|link| {
            link.header.incarnation == self.incarnation && link.header.sequence >= self.next_sequence
        })
    }

    fn frame_at(&self, position: usize, bytes_max: usize) -> Option<Link<'a>> {
        let rest = self.content.get(position..)?;
        let (header, body) = FrameHeader::decode(rest.get(..bytes_max).unwrap_or(rest))?;
        Some(Link { position, header, body })
    }
}

impl<'a> Iterator for Chain<'a> {
    type Item = Link<'a>;

    fn next(&mut self) -> Option<Link<'a>> {
        loop {
            let link = self.frame_at(self.position, usize::MAX).filter(|link| {
                link.header.incarnation == self.incarnation && link.header.sequence == self.next_sequence
            });
            if let Some(link) = link {
                self.next_sequence = self.next_sequence.saturating_add(1);
                self.position = self.position.saturating_add(frame_bytes(link.body.len()));
                self.end = self.position.min(self.content.len());
                return Some(link);
            }
            // A group ends with zeros up to its block's end; the next one begins on a block.
            if self.position.is_multiple_of(BLOCK_BYTES) {
                return None;
            }
            self.position = self.position.next_multiple_of(BLOCK_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::memory::AlignedBuffer;
    use crate::storage::commit_log::frame::{FRAME_HEADER_BYTES, kind};

    const HEADER: FileHeader = FileHeader::new(3, 1, 100, [7; 16], 0);

    /// Writes frames with these sequence numbers one after another, from byte `at` on.
    fn put(file: &mut AlignedBuffer, mut at: usize, incarnation: u64, sequences: &[u64]) {
        let body = [9; 20];
        for &sequence in sequences {
            let header = FrameHeader {
                incarnation,
                sequence,
                kind: kind::DATA,
                body_bytes: 20,
                ..FrameHeader::blank()
            };
            let bytes = [header.encode([&body, &[]]).as_slice(), &body].concat();
            file.as_mut_slice()[at..at + bytes.len()].copy_from_slice(&bytes);
            at += frame_bytes(20);
        }
    }

    fn walk(file: &AlignedBuffer) -> (Vec<u64>, Option<u64>) {
        let mut chain = Chain::new(&HEADER, file.as_slice());
        let found = chain.by_ref().map(|link| link.header.sequence).collect();
        (found, chain.resumption().map(|link| link.header.sequence))
    }

    #[test]
    fn a_chain_crosses_groups_and_ends_at_what_an_older_use_left() {
        let mut file = AlignedBuffer::zeroed(16 * BLOCK_BYTES);
        assert_eq!(walk(&file), (vec![], None));
        put(&mut file, BLOCK_BYTES, 3, &[100, 101]);
        put(&mut file, 2 * BLOCK_BYTES, 3, &[102]);
        // Older uses: of another incarnation with the number that is due, and of this one with an earlier number.
        put(&mut file, 3 * BLOCK_BYTES, 2, &[103]);
        put(&mut file, 4 * BLOCK_BYTES, 3, &[5]);
        assert_eq!(walk(&file), (vec![100, 101, 102], None));
        assert_eq!(FRAME_HEADER_BYTES % 8, 0);
    }

    #[test]
    fn a_group_that_is_missing_before_a_later_one_is_noticed() {
        let mut file = AlignedBuffer::zeroed(16 * BLOCK_BYTES);
        put(&mut file, BLOCK_BYTES, 3, &[100, 101, 102]);
        put(&mut file, 2 * BLOCK_BYTES, 3, &[103]);
        file.as_mut_slice()[BLOCK_BYTES + frame_bytes(20) + 30] ^= 1;
        assert_eq!(walk(&file), (vec![100], Some(103)));
    }
}
