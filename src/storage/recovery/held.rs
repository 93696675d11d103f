//! What must not be lost of partitions that a start could not bring back, because their files cannot be read or written.
//!
//! A start makes the streams and the arena void. What they have of such a partition is put aside first, into
//! `checkpoints/held-<incarnation>`, in the order in which it is to be applied; that file belongs to the base with the same
//! incarnation, and the next start begins with it. Until then the partition is not served, so nothing is added.
//!
//! ```text
//! frames as in a commit log, with the numbers that they had, of any of these partitions, one after another; then
//! HELD_CHUNK         what a chunk of the arena held
//! HELD_ARENA_FOUND   of each partition that is not served: the arena of its last life was there, in the machine's life that
//!                    the body names (boot id): with its end goes what was written and not flushed
//! HELD_ARENA_LOST    or was not; the arenas of lives in which it was not served say nothing about that
//! HELD_END           the last
//! ```

use std::path::Path;

use super::RecoveryError;
use super::frames::{Frames, Window};
use crate::model::TopicPartition;
use crate::model::number::wide;
use crate::runtime::disk::BlockingDisk;
use crate::runtime::file::{Access, BlockingFile, Caching};
use crate::storage::commit_log::frame::{FrameHeader, frame_bytes, kind};

const FOLDER: &str = "checkpoints";
const PREFIX: &str = "held-";

/// A file of held frames that is being written.
pub(super) struct HeldWriter<'a, D: BlockingDisk> {
    disk: &'a D,
    incarnation: u64,
    file: D::File,
    position: u64,
}

impl<'a, D: BlockingDisk> HeldWriter<'a, D> {
    pub(super) fn begin(disk: &'a D, incarnation: u64) -> Result<Self, RecoveryError> {
        let path = format!("{}.new", path_of(incarnation));
        let file = disk.open(Path::new(&path), Access::Create, Caching::Buffered)?;
        file.set_length(0)?;
        Ok(Self { disk, incarnation, file, position: 0 })
    }

    pub(super) fn push(&mut self, header: &FrameHeader, body: &[u8]) -> Result<(), RecoveryError> {
        let header = FrameHeader {
            incarnation: self.incarnation,
            body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
            ..*header
        };
        let mut bytes = Vec::with_capacity(frame_bytes(body.len()));
        bytes.extend_from_slice(&header.encode([body, &[]]));
        bytes.extend_from_slice(body);
        bytes.resize(frame_bytes(body.len()), 0);
        self.file.write_at(self.position, &bytes)?;
        self.position = self.position.saturating_add(wide(bytes.len()));
        Ok(())
    }

    /// Whether the memory of the partition's last life was lost before now, in the machine's life `boot_id`.
    pub(super) fn push_mark(
        &mut self,
        id: TopicPartition,
        is_memory_lost: bool,
        boot_id: &[u8; 16],
    ) -> Result<(), RecoveryError> {
        let kind = if is_memory_lost { kind::HELD_ARENA_LOST } else { kind::HELD_ARENA_FOUND };
        let header =
            FrameHeader { topic_id: id.topic_id.0, partition: id.partition.0, kind, ..FrameHeader::blank() };
        self.push(&header, boot_id)
    }

    /// Makes the file durable under its name.
    pub(super) fn finish(mut self) -> Result<(), RecoveryError> {
        self.push(&FrameHeader { kind: kind::HELD_END, ..FrameHeader::blank() }, &[])?;
        self.file.sync()?;
        let path = path_of(self.incarnation);
        self.disk.rename(Path::new(&format!("{path}.new")), Path::new(&path))?;
        self.disk.sync_directory(Path::new(FOLDER))?;
        Ok(())
    }
}

/// Shows what is held beside the base of `incarnation`, in order. True: there is such a file.
///
/// # Errors
/// Those of the disk, [`RecoveryError::Held`] if the file is damaged, and what `visit` returns.
pub(super) fn for_each_held<D: BlockingDisk>(
    disk: &D,
    incarnation: u64,
    mut visit: impl FnMut(&FrameHeader, &[u8]) -> Result<(), RecoveryError>,
) -> Result<bool, RecoveryError> {
    let path = path_of(incarnation);
    let file = match disk.open(Path::new(&path), Access::Read, Caching::Buffered) {
        Err(error) if error.is_not_found() => return Ok(false),
        file => file?,
    };
    let mut window = Window::new();
    let mut frames = Frames::new(&file, &mut window, incarnation, 0, 0)?;
    while let Some((header, body)) = frames.next_of_any_number()? {
        if header.kind == kind::HELD_END {
            return Ok(true);
        }
        visit(&header, body)?;
    }
    Err(RecoveryError::Held { path })
}

/// Removes the files of all lives but that of `incarnation`, whose base is durable.
pub(super) fn forget_others<D: BlockingDisk>(disk: &D, incarnation: u64) -> Result<(), RecoveryError> {
    let kept = path_of(incarnation);
    for entry in disk.list(Path::new(FOLDER))? {
        let path = format!("{FOLDER}/{}", entry.name);
        if entry.name.starts_with(PREFIX) && path != kept {
            disk.remove(Path::new(&path))?;
        }
    }
    Ok(())
}

fn path_of(incarnation: u64) -> String {
    format!("{FOLDER}/{PREFIX}{incarnation:020}")
}
