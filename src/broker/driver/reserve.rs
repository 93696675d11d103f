//! Room on the disk that is kept for a start.
//!
//! A start counts itself in the metadata, writes down what it has recovered, and replaces small files: on a disk that others, or
//! our own logs, have filled it would be refused. So a file without contents takes some room while there is some. A start on
//! a full disk, and a stop, give it back for as long as they take.

use std::path::Path;

use crate::runtime::Error;
use crate::runtime::disk::{BlockingDisk, RealDisk};
use crate::runtime::file::{Access, BlockingFile as _, Caching};

/// Its name in the data directory.
const PATH: &str = ".reserve";
/// What is kept, if there is so much. Unit: bytes.
pub(super) const RESERVE_BYTES: u64 = 8 << 20;
/// What of it recovery leaves for the next start to count itself. Unit: bytes.
pub(super) const START_BYTES: u64 = 1 << 20;
/// What a file system may need for itself to give the rest. Unit: bytes.
const SLACK_BYTES: u64 = 16 << 10;
/// Less than it said was there: so much less is tried next. Unit: bytes.
const STEP_BYTES: u64 = 64 << 10;

/// What there is for a start: room that is free, or kept.
pub(super) fn available(disk: &RealDisk) -> Result<u64, Error> {
    let kept_bytes = match disk.open(Path::new(PATH), Access::Read, Caching::Buffered) {
        Err(error) if error.is_not_found() => 0,
        file => file?.length()?,
    };
    Ok(disk.free_bytes()?.saturating_add(kept_bytes))
}

/// Gives the room back, if the disk has no other.
pub(super) fn release(disk: &RealDisk) -> Result<(), Error> {
    if disk.free_bytes()? >= RESERVE_BYTES {
        return Ok(());
    }
    match disk.open(Path::new(PATH), Access::Write, Caching::Buffered) {
        Err(error) if error.is_not_found() => Ok(()),
        file => file?.set_length(0),
    }
}

/// Takes so much room, or as much as there is. Returns whether it is all that was wanted; it is to be tried again else.
pub(super) fn keep(disk: &RealDisk, wanted_bytes: u64) -> bool {
    let kept = keep_some(disk, wanted_bytes);
    kept.unwrap_or_else(|error| {
        tracing::debug!(%error, "no room is kept for the next start");
        false
    })
}

fn keep_some(disk: &RealDisk, wanted_bytes: u64) -> Result<bool, Error> {
    let file = disk.open(Path::new(PATH), Access::Create, Caching::Buffered)?;
    let kept_bytes = file.length()?;
    let there = kept_bytes.saturating_add(disk.free_bytes()?.saturating_sub(SLACK_BYTES));
    let mut bytes = wanted_bytes.min(there) & !4095;
    while bytes > kept_bytes {
        match file.allocate(0, bytes) {
            Ok(()) => break,
            // Some of it may have been found.
            Err(error) if error.is_storage_full() => file.set_length(kept_bytes)?,
            Err(error) => return Err(error),
        }
        bytes = bytes.saturating_sub(STEP_BYTES);
    }
    Ok(kept_bytes.max(bytes) >= wanted_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_once_and_given_back_only_when_there_is_no_other() {
        let root = std::env::temp_dir().join(format!("ringlog-reserve-{}", std::process::id()));
        let disk = RealDisk::open(&root).unwrap();
        assert!(keep(&disk, START_BYTES) && keep(&disk, RESERVE_BYTES) && keep(&disk, RESERVE_BYTES));
        release(&disk).unwrap();
        let length = disk.open(Path::new(PATH), Access::Read, Caching::Buffered).unwrap().length().unwrap();
        assert_eq!(length, if disk.free_bytes().unwrap() < RESERVE_BYTES { 0 } else { RESERVE_BYTES });
        std::fs::remove_dir_all(&root).unwrap();
    }
}
