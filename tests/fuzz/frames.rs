//! Framing of a connection: however the bytes arrive, the same frames are found in them, none is larger than the limit, and
//! a length out of bounds ends the connection.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringlog::broker::connection::frames::{LARGE_FRAME_BYTES, Next, next_frame};
use ringlog::protocol::kafka::Reader;
use ringlog::protocol::kafka::frame::PREFIX_BYTES;
use ringlog::protocol::kafka::header::RequestHeader;

fuzz_target!(|input: &[u8]| {
    let &[limit, steps, ref bytes @ ..] = input else { return };
    // Small frames are reached by chance; large ones are only announced.
    let frame_bytes_max = if limit & 1 == 0 { usize::from(limit) } else { LARGE_FRAME_BYTES << (limit >> 4) };
    let whole = receive(bytes, bytes.len().max(1), frame_bytes_max);
    assert_eq!(receive(bytes, usize::from(steps) % 16 + 1, frame_bytes_max), whole);
    let (frames, closed) = whole;
    let taken: usize = frames.iter().map(|frame| frame.len() + PREFIX_BYTES).sum();
    assert!(taken <= bytes.len());
    let rest = &bytes[taken..];
    assert_eq!(closed, matches!(next_frame(rest, frame_bytes_max), Next::Invalid));
    for frame in frames {
        let _ = RequestHeader::decode(&mut Reader::new(frame));
    }
});

/// The frames of a connection on which `step` bytes come at a time, and whether it was closed.
fn receive(bytes: &[u8], step: usize, frame_bytes_max: usize) -> (Vec<&[u8]>, bool) {
    let mut frames = Vec::new();
    let mut from = 0;
    for part in bytes.chunks(step) {
        let until = part.as_ptr().addr() - bytes.as_ptr().addr() + part.len();
        loop {
            let arrived = &bytes[from..until];
            match next_frame(arrived, frame_bytes_max) {
                Next::Frame { bytes: length } => {
                    assert!(length <= frame_bytes_max);
                    frames.push(&arrived[PREFIX_BYTES..PREFIX_BYTES + length]);
                    from += PREFIX_BYTES + length;
                }
                Next::Large { bytes: length } => {
                    assert!((LARGE_FRAME_BYTES..=frame_bytes_max).contains(&length));
                    assert!(arrived.len() < PREFIX_BYTES + length);
                    break;
                }
                Next::Partial => break,
                Next::Invalid => return (frames, true),
            }
        }
    }
    (frames, false)
}
