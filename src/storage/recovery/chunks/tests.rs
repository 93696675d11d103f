//! Chunks that are sound, damaged and in the wrong place, over files that have a part of what they hold.

use std::path::Path;

use super::super::scan::scan;
use super::super::tests::{batch, batches};
use super::*;
use crate::model::Offset;
use crate::runtime::disk::BlockingDisk as _;
use crate::runtime::file::{Access, Caching};
use crate::runtime::sim::{SimDisk, SimFile, SimRandom, SimSteps};

const RECORDS_BYTES: usize = 300;
const BATCH: usize = 361;
const COUNT: i64 = 60;
/// Bytes of a chunk; batches lie across their borders.
const CHUNK: usize = 4096;

fn file_of(content: &[u8]) -> SimFile {
    let disk = SimDisk::new(SimSteps::default(), SimRandom::new(1));
    let file = disk.open(Path::new("x"), Access::Create, Caching::Buffered).unwrap();
    file.write_at(0, content).unwrap();
    file
}

fn pieces_of(content: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let chunks = content.chunks(CHUNK).enumerate();
    chunks.map(|(number, bytes)| (wide(number * CHUNK), bytes.to_vec())).collect()
}

/// Lays the pieces over the file from its first byte on, and returns how many batches it has then.
fn batches_after(file: &SimFile, pieces: &[(u64, Vec<u8>)]) -> (usize, Laid) {
    let pieces = pieces.iter().map(|(position, bytes)| Piece { position: *position, bytes }).collect();
    let write = |position, bytes: &[u8]| Ok(file.write_at(position, bytes)?);
    let laid = lay_over(Some(file), 0, Expected::at(Offset(0)), pieces, write).unwrap();
    let mut count = 0;
    scan(file, 0, Expected::at(Offset(0)), |_, _| count += 1).unwrap();
    (count, laid)
}

/// Bytes of a file that has the first `count` batches, the next half, and room.
fn first_batches(content: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = content[..count * BATCH + BATCH / 2].to_vec();
    bytes.resize(content.len() + CHUNK, 0);
    bytes
}

#[test]
fn sound_chunks_complete_whatever_the_file_has() {
    let content = batches(0, COUNT, RECORDS_BYTES);
    let pieces = pieces_of(&content);
    for in_file in [0, 1, 11, 12, 40, 59] {
        for first_piece in 0..=(in_file * BATCH) / CHUNK {
            let file = file_of(&first_batches(&content, in_file));
            let (count, laid) = batches_after(&file, &pieces[first_piece..]);
            assert_eq!(count, 60);
            assert_eq!((laid.kept, laid.refused), (0, 0));
            assert_eq!(laid.applied, wide((60 - in_file) * BATCH));
        }
    }
    let none: Option<&SimFile> = None;
    let whole = vec![Piece { position: 0, bytes: &content }];
    let mut written = Vec::new();
    let write = |_, bytes: &[u8]| {
        written.extend_from_slice(bytes);
        Ok(())
    };
    let laid = lay_over(none, 0, Expected::at(Offset(0)), whole.clone(), write).unwrap();
    assert_eq!((written, laid.end), (content.clone(), wide(content.len())));
    // A label of another segment: no file is made.
    let laid = lay_over(none, 0, Expected::at(Offset(7)), whole, |_, _| panic!("it is not sound")).unwrap();
    assert_eq!((laid.applied, laid.refused), (0, wide(content.len())));
}

/// Every chunk, a byte damaged anywhere, its length, its place: what the file has stays, and all before the damage.
#[test]
fn damage_takes_nothing_that_lies_before_it_and_nothing_that_the_file_has() {
    let content = batches(0, COUNT, RECORDS_BYTES);
    let sound = pieces_of(&content);
    let mut random = SimRandom::new(1);
    for round in 0..600 {
        let in_file = index(random.below(60));
        let mut pieces = sound.clone();
        let damaged = index(random.below(wide(pieces.len())));
        let (position, bytes) = &mut pieces[damaged];
        // From where on the memory has not what it should.
        let mut lost_at = index(*position);
        match round % 5 {
            0 => {
                let at = index(random.below(wide(bytes.len())));
                bytes[at] ^= 1 << random.below(8);
                lost_at += at;
            }
            1 => {
                bytes.truncate(index(random.below(wide(bytes.len()))).max(1));
                lost_at += bytes.len();
            }
            // Longer than it is: it covers the ones behind it.
            2 => {
                bytes.resize(CHUNK + index(random.below(40_000)), 7);
                lost_at = content.len();
            }
            3 => *position = random.below(8) * wide(CHUNK),
            _ => *position = random.below(1 << 40) & !4095,
        }
        let file = file_of(&first_batches(&content, in_file));
        let (count, laid) = batches_after(&file, &pieces);
        let expected = (lost_at / BATCH).max(in_file);
        assert!(count >= expected, "round {round}: {count} batches, not {expected}: {laid:?}");
        let mut found = vec![0; count * BATCH];
        file.read_at(0, &mut found).unwrap();
        assert_eq!(found, content[..count * BATCH], "round {round}");
    }
}

/// Behind a batch that the memory has lost and the file has, what the memory alone has is applied.
#[test]
fn a_damaged_batch_that_the_file_has_does_not_cost_those_behind_it() {
    let content = batches(0, COUNT, RECORDS_BYTES);
    let mut pieces = pieces_of(&content);
    pieces[1].1[10] ^= 1;
    let file = file_of(&first_batches(&content, 12));
    let (count, laid) = batches_after(&file, &pieces);
    assert_eq!((count, laid.kept, laid.refused), (60, wide(BATCH), 0));
}

/// The epoch is not covered by the CRC: were it to decide, a flaw in it would cost all that follows.
#[test]
fn a_sound_batch_of_the_file_stays_whatever_the_epoch_of_another_one() {
    let content = [batch(0, 1, 3, 100), batch(1, 1, 3, 100)].concat();
    for epoch in [2, 3, 4] {
        let file = file_of(&content);
        let other = [batch(0, 1, epoch, 50), batch(1, 1, epoch, 50), batch(2, 1, epoch, 50)].concat();
        let (_, laid) = batches_after(&file, &[(0, other)]);
        let mut found = vec![0; content.len()];
        file.read_at(0, &mut found).unwrap();
        assert_eq!(found, content, "epoch {epoch}");
        assert_eq!((laid.applied, laid.kept), (0, wide(content.len())));
    }
}

/// The file ends within a batch that is longer than what is read at once, and whose header it has.
#[test]
fn a_long_batch_of_which_the_file_has_the_beginning_is_completed() {
    let small = batches(0, 2_000, RECORDS_BYTES);
    let content = [small.clone(), batch(2_000, 1, 1, 3 << 20), batch(2_001, 1, 1, 100)].concat();
    let file = file_of(&content[..small.len() + (1 << 20)]);
    let (count, laid) = batches_after(&file, &pieces_of(&content));
    assert_eq!((count, laid.refused, laid.end), (2_002, 0, wide(content.len())));
}
