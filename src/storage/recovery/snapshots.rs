//! Producer snapshots: what a partition's producers had done when the log ended at an offset, written beside sealed segments.
//!
//! Wanted when a checkpoint cannot be used: batches say what their producers did, but those of segments that were given up say
//! nothing any more. A snapshot that describes what lies behind the recovered end is of another past, and goes.

use std::path::Path;

use super::RecoveryError;
use crate::model::Offset;
use crate::runtime::disk::BlockingDisk;
use crate::storage::checkpoint::ProducerRecord;
use crate::storage::partition::segment::snapshot_path;
use crate::storage::side_file;

/// Largest snapshot that is read; as many producers as a partition remembers need less. Unit: bytes.
const SNAPSHOT_BYTES_MAX: usize = 256 << 20;

/// The producers of the newest of the partition's `snapshots` that is sound and lies between `after` and `before`, and its offset.
pub(super) fn newest<D: BlockingDisk>(
    disk: &D,
    folder: &str,
    snapshots: &[Offset],
    after: Offset,
    before: Offset,
) -> Option<(Offset, Vec<ProducerRecord>)> {
    let mut wanted: Vec<Offset> =
        snapshots.iter().copied().filter(|&found| after < found && found < before).collect();
    wanted.sort_unstable();
    wanted.into_iter().rev().find_map(|end_offset| match read(disk, folder, end_offset) {
        Ok(producers) => Some((end_offset, producers)),
        Err(reason) => {
            tracing::warn!(folder, %end_offset, reason, "a producer snapshot is not used");
            None
        }
    })
}

fn read<D: BlockingDisk>(disk: &D, folder: &str, end_offset: Offset) -> Result<Vec<ProducerRecord>, String> {
    let bytes = disk.read_file(Path::new(&snapshot_path(folder, end_offset)), SNAPSHOT_BYTES_MAX);
    let bytes = bytes.map_err(|error| error.to_string())?;
    let file = side_file::decode_producers(&bytes).map_err(|error| error.to_string())?;
    if file.end_offset == end_offset.0 {
        Ok(file.producers)
    } else {
        Err("it is of another offset".to_owned())
    }
}

/// Removes those that describe what lies behind `end_offset`.
pub(super) fn remove_behind<D: BlockingDisk>(
    disk: &D,
    folder: &str,
    snapshots: impl IntoIterator<Item = Offset>,
    end_offset: Offset,
) -> Result<(), RecoveryError> {
    for snapshot in snapshots.into_iter().filter(|&snapshot| snapshot > end_offset) {
        match disk.remove(Path::new(&snapshot_path(folder, snapshot))) {
            Err(error) if error.is_not_found() => {}
            other => other?,
        }
    }
    Ok(())
}
