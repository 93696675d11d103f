//! Side files (index, producer state, checkpoint): no bytes make a decoder panic or allocate beyond the file, and what is
//! read is written and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringlog::storage::checkpoint::CheckpointFile;
use ringlog::storage::side_file::{Kind, decode_index, decode_producers, envelope, kind_of};

fuzz_target!(|input: &[u8]| {
    let _ = decode_index(input);
    let _ = decode_producers(input);
    let _ = CheckpointFile::decode(input);

    // Behind an envelope that fits, the archive itself is reached.
    let index = envelope(Kind::Index, input);
    let _ = decode_index(&index);
    let producers = envelope(Kind::Producers, input);
    let _ = decode_producers(&producers);
    assert_eq!((kind_of(&index), kind_of(&producers)), (Some(Kind::Index), Some(Kind::Producers)));
    assert!(decode_index(&producers).is_err() && decode_producers(&index).is_err());
    if let Ok(file) = CheckpointFile::decode(&envelope(Kind::Checkpoint, input)) {
        assert_eq!(CheckpointFile::decode(&file.encode()), Ok(file));
    }
});
