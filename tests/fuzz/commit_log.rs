//! Files of the commit log: no bytes make header, frames or chain panic; a chain is frames of one use of the file, one
//! number after the other, and what is sound is found.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringlog::model::limits::{OFFSET_MAX, SEGMENT_BYTES_MAX};
use ringlog::runtime::memory::AlignedBuffer;
use ringlog::storage::commit_log::chain::Chain;
use ringlog::storage::commit_log::frame::{
    FRAME_ALIGN, FRAME_HEADER_BYTES, FileHeader, FrameHeader, frame_bytes,
};

const BLOCK: usize = 4096;
const BLOCKS_MAX: usize = 8;
const INCARNATION: u64 = 7;
const FIRST: u64 = 100;

fuzz_target!(|input: &[u8]| {
    let Some((&mode, bytes)) = input.split_first() else { return };
    let mut file = AlignedBuffer::zeroed(BLOCKS_MAX * BLOCK);
    if mode & 1 == 0 {
        let count = bytes.len().min(file.len());
        file.as_mut_slice()[..count].copy_from_slice(&bytes[..count]);
        let header = FileHeader::decode(file.as_slice());
        let header = header.unwrap_or(FileHeader::new(INCARNATION, 1, FIRST, [1; 16], 0));
        check(&header, file.as_slice());
    } else {
        let sound = build(file.as_mut_slice(), bytes);
        let header = FileHeader::decode(file.as_slice()).expect("a header that was encoded");
        assert_eq!(check(&header, file.as_slice()), sound);
    }
});

/// Walks the chain; returns its length.
fn check(header: &FileHeader, file: &[u8]) -> u64 {
    let mut chain = Chain::new(header, file);
    let mut expected = header.first_sequence;
    let mut end = BLOCK;
    for link in chain.by_ref() {
        assert_eq!((link.header.incarnation, link.header.sequence), (header.incarnation, expected));
        assert!(link.position >= end && link.position.is_multiple_of(FRAME_ALIGN));
        assert_eq!(FrameHeader::decode(&file[link.position..]), Some((link.header, link.body)));
        end = link.position + frame_bytes(link.body.len());
        expected = expected.saturating_add(1);
    }
    assert_eq!((chain.end(), chain.next_sequence()), (end.min(file.len()), expected));
    assert_eq!(chain.next(), None);
    if let Some(later) = chain.resumption() {
        assert!(later.position >= chain.end() && later.header.sequence >= expected);
    }
    expected - header.first_sequence
}

/// Lays out frames as `choices` say: how long, in which group, and now and then one that is not of this chain. Returns how
/// many frames there are before the first of those.
fn build(file: &mut [u8], choices: &[u8]) -> u64 {
    FileHeader::new(INCARNATION, 1, FIRST, [1; 16], 0).encode_into(&mut file[..BLOCK]);
    let mut at = BLOCK;
    let mut sequence = FIRST;
    let mut sound = None;
    for choice in choices.chunks_exact(4) {
        let &[length, what, number, group] = choice else { break };
        if group & 1 == 1 {
            at = at.next_multiple_of(BLOCK);
        }
        let body = vec![number; usize::from(length)];
        if at + FRAME_HEADER_BYTES + body.len() > file.len() {
            break;
        }
        let is_foreign = what > 250;
        let header = FrameHeader {
            incarnation: if is_foreign { INCARNATION + 1 } else { INCARNATION },
            sequence,
            kind: u32::from(what % 6),
            partition: i32::from(number) - 1,
            base_offset: OFFSET_MAX - i64::from(number),
            position: SEGMENT_BYTES_MAX - u64::from(number),
            body_bytes: u32::from(length),
            ..FrameHeader::blank()
        };
        file[at..at + FRAME_HEADER_BYTES].copy_from_slice(&header.encode([&body, &[]]));
        file[at + FRAME_HEADER_BYTES..at + FRAME_HEADER_BYTES + body.len()].copy_from_slice(&body);
        if is_foreign {
            sound.get_or_insert(sequence - FIRST);
        }
        sequence += 1;
        at += frame_bytes(body.len());
    }
    sound.unwrap_or(sequence - FIRST)
}
