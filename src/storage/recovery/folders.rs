//! Whose folders lie in the data directory: a death may have come between the deletion of a topic and that of its folders, and
//! another topic of that name may have been made since. The topic id in a folder decides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{KnownPartition, RecoveryError, RecoveryReport};
use crate::model::TopicId;
use crate::runtime::disk::{BlockingDisk, EntryKind};
use crate::runtime::parallel;
use crate::storage::operation::{ASIDE, PREPARED_NAME};
use crate::storage::partition::segment::{METADATA_NAME, parse_metadata_file};

/// Names of folders that are about to be removed begin so.
pub const TRASH_PREFIX: &str = ".deleted-";
/// Names of folders of topics that the metadata has perhaps lost begin so: kept for people to look at, out of the way of new
/// topics.
pub const STRAY_PREFIX: &str = ".stray-";
/// Largest `partition.metadata` that is read. Unit: bytes.
const METADATA_BYTES_MAX: usize = 4096;

/// Moves folders of other topics out of the way of `partitions`, and reports what can be removed: folders whose name another
/// topic has now, and, where `knows_all_topics`, those of topics that are not there. Returns the folders of `partitions` that
/// cannot be read, with the reasons.
pub(super) fn sort_out<D: BlockingDisk>(
    disk: &D,
    partitions: &[KnownPartition],
    knows_all_topics: bool,
    threads: usize,
    report: &mut RecoveryReport,
) -> Result<BTreeMap<String, String>, RecoveryError> {
    let mut damaged = BTreeMap::new();
    let by_folder: BTreeMap<&str, &KnownPartition> =
        partitions.iter().map(|known| (known.folder.as_str(), known)).collect();
    let topics: BTreeSet<TopicId> = partitions.iter().map(|known| known.topic_partition.topic_id).collect();
    let mut moved = false;
    let mut names = Vec::new();
    for entry in disk.list(Path::new(""))? {
        if entry.kind != EntryKind::Directory {
            continue;
        }
        if entry.name.starts_with(TRASH_PREFIX) {
            report.trash.push(entry.name);
            continue;
        }
        if entry.name.starts_with(STRAY_PREFIX) {
            report.strays.push(entry.name);
            continue;
        }
        if is_partition_name(&entry.name) {
            names.push(entry.name);
        }
    }
    let looked_at = parallel::map(threads, names, |name| look_at(disk, &by_folder, name));
    for (name, known, owner) in looked_at {
        let owner = match (known, owner) {
            (None, Err(error)) => {
                tracing::warn!(folder = name, %error, "a strange folder that cannot be read is left alone");
                continue;
            }
            (Some(_), Err(RecoveryError::Disk(error))) if error.is_damage() => {
                damaged.insert(name, error.to_string());
                continue;
            }
            (_, owner) => owner?,
        };
        match (known, owner) {
            (Some(known), Some(owner)) if owner != known.topic_partition.topic_id => {
                report.trash.push(rename(disk, TRASH_PREFIX, owner, &name)?);
                moved = true;
            }
            (None, Some(owner)) if knows_all_topics && !topics.contains(&owner) => {
                report.trash.push(rename(disk, TRASH_PREFIX, owner, &name)?);
                moved = true;
            }
            (None, Some(owner)) => {
                report.strays.push(rename(disk, STRAY_PREFIX, owner, &name)?);
                moved = true;
            }
            (Some(_) | None, _) => {}
        }
    }
    if moved {
        disk.sync_directory(Path::new(""))?;
    }
    Ok(damaged)
}

/// Whose name the folder has and whose it is; what is left over in one that is where it belongs is removed.
fn look_at<'a, D: BlockingDisk>(
    disk: &D,
    by_folder: &BTreeMap<&str, &'a KnownPartition>,
    name: String,
) -> (String, Option<&'a KnownPartition>, Result<Option<TopicId>, RecoveryError>) {
    let owner = topic_id_of(disk, &name);
    let known = by_folder.get(name.as_str()).copied();
    let is_own = owner.as_ref().is_ok_and(|owner| {
        known.is_some_and(|known| owner.is_none_or(|owner| owner == known.topic_partition.topic_id))
    });
    let owner = if is_own { remove_left_over(disk, &name).and(owner) } else { owner };
    (name, known, owner)
}

/// Gives a folder a name that nothing else has.
fn rename<D: BlockingDisk>(
    disk: &D,
    prefix: &str,
    owner: TopicId,
    folder: &str,
) -> Result<String, RecoveryError> {
    let name = format!("{prefix}{owner}-{folder}");
    disk.rename(Path::new(folder), Path::new(&name))?;
    Ok(name)
}

/// `<topic>-<partition>`.
fn is_partition_name(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(topic, partition)| {
        !topic.is_empty() && !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn topic_id_of<D: BlockingDisk>(disk: &D, folder: &str) -> Result<Option<TopicId>, RecoveryError> {
    let path = format!("{folder}/{METADATA_NAME}");
    match disk.read_file(Path::new(&path), METADATA_BYTES_MAX) {
        Ok(contents) => Ok(parse_metadata_file(&contents)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Files that were about to be removed when the last life ended, or had not become segments.
fn remove_left_over<D: BlockingDisk>(disk: &D, folder: &str) -> Result<(), RecoveryError> {
    for entry in disk.list(Path::new(folder))? {
        let is_left_over = [ASIDE, ".index.new"].iter().any(|end| entry.name.ends_with(end));
        let is_left_over = is_left_over || entry.name == PREPARED_NAME;
        if entry.kind == EntryKind::File && is_left_over {
            disk.remove(Path::new(&format!("{folder}/{}", entry.name)))?;
        }
    }
    Ok(())
}
