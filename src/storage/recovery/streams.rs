//! Reading the commit logs of the last life.

use std::collections::BTreeMap;
use std::path::Path;

use super::RecoveryError;
use super::frames::{Frames, GROUPS_IN_FLIGHT_MAX, Window};
use crate::model::limits::BLOCK_BYTES;
use crate::model::number::wide;
use crate::runtime::disk::{BlockingDisk, EntryKind};
use crate::runtime::file::{Access, BlockingFile, Caching};
use crate::runtime::memory::AlignedBuffer;
use crate::storage::commit_log::FILE_BYTES_MIN;
use crate::storage::commit_log::frame::{FileHeader, FrameHeader};

const FOLDER: &str = "commit-log";

/// One shard's commit log: its files in the order in which they were written. One window of one file is in memory at a time.
pub(super) struct Stream {
    pub(super) shard: u32,
    files: BTreeMap<u64, (FileHeader, String)>,
}

/// Where the chain of a stream breaks. All zero if the stream has no file that counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamEnd {
    file_sequence: u64,
    /// Behind the last frame. Unit: bytes.
    pub(super) position: u64,
    /// Of the frame that would come there.
    pub(super) next_sequence: u64,
}

impl Stream {
    /// Whether it is there from its first frame on: none of its files was used again.
    pub(super) fn is_whole(&self) -> bool {
        self.files.values().next().is_none_or(|(header, _)| header.first_sequence <= 1)
    }

    /// Shows all frames from `oldest_sequence` on, in order, up to the first break of the chain. Returns where that is.
    ///
    /// # Errors
    /// Those of the disk, and what `visit` returns.
    pub(super) fn for_each_frame<D: BlockingDisk>(
        &self,
        disk: &D,
        oldest_sequence: u64,
        mut visit: impl FnMut(&FrameHeader, &[u8]) -> Result<(), RecoveryError>,
    ) -> Result<StreamEnd, RecoveryError> {
        let mut window = Window::new();
        let mut stream_end = StreamEnd::default();
        for (&file_sequence, (header, path)) in &self.files {
            // Files from before are free ones, perhaps half written over.
            if header.first_sequence < oldest_sequence {
                continue;
            }
            // A checkpoint names the first frame of a file: without that one the beginning is missing.
            if stream_end.position == 0 && oldest_sequence > 0 {
                stream_end =
                    StreamEnd { file_sequence, position: wide(BLOCK_BYTES), next_sequence: oldest_sequence };
            }
            if stream_end.position > 0 && stream_end.next_sequence != header.first_sequence {
                break;
            }
            let file = disk.open(Path::new(path), Access::Read, Caching::Cached)?;
            let mut frames = Frames::new(
                &file,
                &mut window,
                header.incarnation,
                wide(BLOCK_BYTES),
                header.first_sequence,
            )?;
            while let Some((frame, body)) = frames.next_frame()? {
                visit(&frame, body)?;
            }
            let (position, next_sequence) = (frames.position(), frames.next_sequence());
            stream_end = StreamEnd { file_sequence, position, next_sequence };
        }
        Ok(stream_end)
    }

    /// How many groups lie behind the end that belong to this life. As many as can have been in flight may: the power went before one
    /// was whole. With more than [`GROUPS_IN_FLIGHT_MAX`] what is missing was durable once. What lies far behind is not looked at.
    pub(super) fn groups_behind<D: BlockingDisk>(
        &self,
        disk: &D,
        stream_end: StreamEnd,
    ) -> Result<usize, RecoveryError> {
        let StreamEnd { file_sequence, position, next_sequence } = stream_end;
        if position == 0 {
            return Ok(0);
        }
        let mut window = Window::new();
        let mut groups = 0;
        for (&sequence, (header, path)) in self.files.range(file_sequence..) {
            let from = if sequence == file_sequence { position } else { wide(BLOCK_BYTES) };
            if groups > GROUPS_IN_FLIGHT_MAX {
                break;
            }
            let file = disk.open(Path::new(path), Access::Read, Caching::Cached)?;
            let mut frames = Frames::new(&file, &mut window, header.incarnation, from, next_sequence)?;
            groups = groups.saturating_add(frames.count_groups()?);
        }
        Ok(groups)
    }

    /// The path of the file in which the stream ends.
    pub(super) fn path(&self, stream_end: StreamEnd) -> &str {
        self.files.get(&stream_end.file_sequence).map_or("", |(_, path)| path)
    }
}

/// Finds the streams of `incarnation` that belong to this data directory.
pub(super) fn find_streams<D: BlockingDisk>(
    disk: &D,
    directory_id: [u8; 16],
    incarnation: u64,
) -> Result<Vec<Stream>, RecoveryError> {
    let mut streams: BTreeMap<u32, Stream> = BTreeMap::new();
    for (shard, number, _) in list_files(disk)? {
        let (file, header) = open_stream_file(disk, shard, number)?;
        let Some(header) = header.filter(|header| header.directory_id == directory_id) else { continue };
        if header.incarnation != incarnation {
            continue;
        }
        // What is read is acted on, and a truncation destroys: it must not be gone at the next start, should this one die.
        file.sync()?;
        streams
            .entry(header.shard)
            .or_insert_with(|| Stream { shard: header.shard, files: BTreeMap::new() })
            .files
            .insert(header.file_sequence, (header, stream_path(shard, number)));
    }
    Ok(streams.into_values().collect())
}

fn stream_path(shard: u32, number: u64) -> String {
    format!("{FOLDER}/{shard}-{number:08}.clog")
}

/// The incarnation of the newest stream of this data directory.
pub(super) fn newest_incarnation<D: BlockingDisk>(
    disk: &D,
    directory_id: [u8; 16],
) -> Result<Option<u64>, RecoveryError> {
    let mut newest = None;
    for (shard, number, _) in list_files(disk)? {
        let (_, header) = open_stream_file(disk, shard, number)?;
        let header = header.filter(|header| header.directory_id == directory_id);
        newest = newest.max(header.map(|header| header.incarnation));
    }
    Ok(newest)
}

fn open_stream_file<D: BlockingDisk>(
    disk: &D,
    shard: u32,
    number: u64,
) -> Result<(D::File, Option<FileHeader>), RecoveryError> {
    let path = stream_path(shard, number);
    let file = disk.open(Path::new(&path), Access::Read, Caching::Buffered)?;
    let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
    file.read_at(0, block.as_mut_slice())?;
    let header = FileHeader::decode(block.as_slice());
    Ok((file, header))
}

/// The commit-log files there are: shard and number in the name, size. Ones too small to use (a start died making them) go.
pub(super) fn list_files<D: BlockingDisk>(disk: &D) -> Result<Vec<(u32, u64, u64)>, RecoveryError> {
    let mut found = Vec::new();
    for entry in disk.list(Path::new(FOLDER))? {
        if entry.kind != EntryKind::File {
            continue;
        }
        let path = format!("{FOLDER}/{}", entry.name);
        let parsed = entry.name.strip_suffix(".clog").and_then(|stem| {
            let (shard, number) = stem.split_once('-')?;
            Some((shard.parse().ok()?, number.parse().ok()?))
        });
        let Some((shard, number)) = parsed else {
            // A file whose making was cut short has another ending.
            disk.remove(Path::new(&path))?;
            continue;
        };
        let bytes = disk.open(Path::new(&path), Access::Read, Caching::Cached)?.length()?;
        if bytes >= FILE_BYTES_MIN {
            found.push((shard, number, bytes));
        } else {
            disk.remove(Path::new(&path))?;
        }
    }
    Ok(found)
}
