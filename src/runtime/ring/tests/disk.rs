//! Reading and writing files.

use super::*;
use crate::runtime::file::{Access, BlockingFile, Caching};
use crate::runtime::memory::{Arena, ArenaMemory};

fn direct_file(place: &Place) -> Rc<FileHandle> {
    Rc::new(FileHandle::open(&place.0, Access::Create, Caching::Direct).unwrap())
}

fn written(completion: Completion) -> (Vec<WritePiece>, io::Result<usize>) {
    match completion {
        Completion { last: true, outcome: Outcome::Written { pieces, result }, .. } => (pieces, result),
        other => panic!("{other:?}"),
    }
}

fn read_back(ring: &mut Ring, file: &Rc<FileHandle>, len: usize, position: u64) -> AlignedBuffer {
    ring.read(file, AlignedBuffer::with_capacity(len), len, position, 8);
    match next(ring) {
        Completion { token: 8, last: true, outcome: Outcome::Read { buffer, result } } => {
            assert_eq!(result.unwrap(), buffer.len());
            buffer
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_durable_direct_write_is_read_back() {
    let place = Place::on_disk("durable");
    let file = direct_file(&place);
    let mut ring = ring();
    let bytes = pattern(12288, 3);
    ring.write(&file, vec![WritePiece::Block(aligned(&bytes))], 4096, true, 1);
    let (pieces, result) = written(next(&mut ring));
    assert_eq!((pieces.len(), result.unwrap()), (1, 12288));
    assert_eq!(read_back(&mut ring, &file, 12288, 4096).as_slice(), bytes);
    assert!(read_back(&mut ring, &file, 4096, 0).as_slice().iter().all(|byte| *byte == 0));
}

#[test]
fn a_read_stops_at_the_end_of_the_file() {
    let place = Place::on_disk("short");
    let file = direct_file(&place);
    let mut ring = ring();
    ring.write(&file, vec![WritePiece::Block(aligned(&pattern(8192, 1)))], 0, false, 1);
    written(next(&mut ring)).1.unwrap();
    file.set_length(5000).unwrap();
    assert_eq!(read_back(&mut ring, &file, 16384, 0).as_slice(), &pattern(8192, 1)[..5000]);
    assert_eq!(read_back(&mut ring, &file, 4096, 1 << 20).len(), 0);
}

/// More vectors than one call of the kernel takes, out of the arena and of blocks.
#[test]
fn a_gathered_write_from_the_arena_is_continued_to_its_end() {
    let (place, memory) = (Place::on_disk("gathered"), Place::new("/dev/shm", "write"));
    let file = direct_file(&place);
    let (mut arena, _) = Arena::open(&memory.0, 2 << 20).unwrap();
    arena.write(0, &pattern(2 << 20, 13));
    let mut ring = ring();
    ring.attach_arenas(0, vec![Arc::clone(arena.mapping())]);
    let (mut pieces, mut expected) = (Vec::new(), Vec::new());
    for index in 0..1500 {
        if index % 5 == 0 {
            let block = pattern(4096, index);
            expected.extend_from_slice(&block);
            pieces.push(WritePiece::Block(aligned(&block)));
        } else {
            let position = index * 7 % 512 * 4096;
            expected.extend_from_slice(arena.read(position, 4096));
            pieces.push(WritePiece::Arena { position, len: 4096 });
        }
    }
    ring.write(&file, pieces, 0, true, 1);
    let (pieces, result) = written(next(&mut ring));
    assert_eq!((pieces.len(), result.unwrap()), (1500, expected.len()));
    assert!(read_back(&mut ring, &file, expected.len(), 0).as_slice() == expected);
}

#[test]
fn many_writes_in_flight_all_complete_and_a_flush_follows() {
    let place = Place::on_disk("many");
    let file = direct_file(&place);
    let mut ring = ring();
    for index in 0..32 {
        let block = aligned(&pattern(4096, index));
        ring.write(&file, vec![WritePiece::Block(block)], index as u64 * 4096, true, index as Token);
    }
    let mut tokens: Vec<_> =
        (0..32).map(|_| next(&mut ring)).map(|done| (done.token, written(done).1.unwrap())).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, (0..32).map(|token| (token, 4096)).collect::<Vec<_>>());
    ring.sync(&file, 40);
    let end = next(&mut ring);
    assert!(matches!(end, Completion { token: 40, last: true, outcome: Outcome::Synced(Ok(())) }), "{end:?}");
    let all = read_back(&mut ring, &file, 32 * 4096, 0);
    assert!(all.as_slice().chunks(4096).enumerate().all(|(index, block)| block == pattern(4096, index)));
}

#[test]
fn a_full_disk_is_an_error_that_gives_the_pieces_back() {
    let file = FileHandle::open(std::path::Path::new("/dev/full"), Access::Write, Caching::Buffered).unwrap();
    let mut ring = ring();
    ring.write(&Rc::new(file), vec![WritePiece::Block(aligned(b"bytes"))], 0, false, 1);
    let (pieces, result) = written(next(&mut ring));
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(matches!(&pieces[..], [WritePiece::Block(block)] if block.as_slice() == b"bytes"));
}

#[test]
fn a_file_opened_for_reading_refuses_writes_and_failed_reads_give_the_buffer_back() {
    let place = Place::on_disk("refused");
    direct_file(&place);
    let reader = Rc::new(FileHandle::open(&place.0, Access::Read, Caching::Buffered).unwrap());
    let mut ring = ring();
    ring.write(&reader, vec![WritePiece::Block(aligned(b"x"))], 0, true, 1);
    assert_eq!(written(next(&mut ring)).1.unwrap_err().raw_os_error(), Some(libc::EBADF));
    let directory = FileHandle::open(&std::env::temp_dir(), Access::Read, Caching::Buffered).unwrap();
    ring.read(&Rc::new(directory), AlignedBuffer::with_capacity(4096), 4096, 0, 2);
    match next(&mut ring) {
        Completion { token: 2, outcome: Outcome::Read { buffer, result: Err(_) }, .. } => {
            assert_eq!((buffer.len(), buffer.capacity()), (0, 4096));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
#[should_panic(expected = "must be whole blocks")]
fn a_direct_write_of_half_a_block_is_a_bug() {
    let place = Place::on_disk("half");
    let file = direct_file(&place);
    assert!(file.is_direct(), "must be whole blocks (no direct I/O here: the claim holds of itself)");
    ring().write(&file, vec![WritePiece::Block(aligned(b"half"))], 0, false, 1);
}

#[test]
#[should_panic(expected = "leaves the mapping")]
fn a_piece_outside_the_arena_is_a_bug() {
    let (place, memory) = (Place::on_disk("outside"), Place::new("/dev/shm", "outside"));
    let (arena, _) = Arena::open(&memory.0, 8192).unwrap();
    let mut ring = ring();
    ring.attach_arenas(0, vec![Arc::clone(arena.mapping())]);
    ring.write(&direct_file(&place), vec![WritePiece::Arena { position: 4096, len: 8192 }], 0, false, 1);
}
