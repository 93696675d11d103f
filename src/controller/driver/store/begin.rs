//! The metadata of a new data directory.

use super::{DIRECTORY, Error, FileRef, UNFINISHED, log_header, parse_name, path_of, write_whole};
use crate::controller::log::{FileKind, HEADER_BYTES};
use crate::model::ClusterId;
use crate::model::image::MetadataOffset;
use crate::runtime::disk::BlockingDisk;
use crate::runtime::file::{Access, BlockingFile, Caching};
use std::path::Path;

/// Makes the folder and an empty first log, durably.
pub(in crate::controller::driver) fn make_first_log<D: BlockingDisk>(
    disk: &D,
    cluster_id: ClusterId,
) -> Result<(), Error> {
    disk.create_directories(Path::new(DIRECTORY))?;
    disk.sync_directory(Path::new(""))?;
    let header = log_header(cluster_id, FileRef { number: 0, offset: MetadataOffset(0) });
    write_whole(disk, &path_of(FileKind::Log, 0), &header.encode())?;
    Ok(())
}

/// Removes what a first start that was interrupted has left.
///
/// # Errors
/// [`Error::IdentityMissing`] if there are records: then the directory was complete once.
pub(in crate::controller::driver) fn remove_unfinished<D: BlockingDisk>(disk: &D) -> Result<(), Error> {
    let entries = match disk.list(Path::new(DIRECTORY)) {
        Err(error) if error.is_not_found() => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = Path::new(DIRECTORY).join(&entry.name);
        let holds_records = match parse_name(&entry.name) {
            Some((FileKind::Snapshot, _)) => true,
            Some((FileKind::Log, _)) => {
                let file = disk.open(&path, Access::Read, Caching::Buffered)?;
                file.length()? > HEADER_BYTES as u64
            }
            None if entry.name.ends_with(UNFINISHED) => false,
            None => continue,
        };
        if holds_records {
            return Err(Error::IdentityMissing { path });
        }
        disk.remove(&path)?;
    }
    Ok(())
}
