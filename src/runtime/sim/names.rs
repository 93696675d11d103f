//! The names of the simulated disk: folders below a root, files in both. A change of a name is durable when its folder is.

use std::collections::BTreeMap;

use super::random::SimRandom;
use crate::model::number::{index, wide};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct InodeId(pub(super) u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FolderId(pub(super) u64);

pub(super) const ROOT: FolderId = FolderId(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(InodeId),
    Folder(FolderId),
}

/// A name in a folder.
pub(super) type Place = (FolderId, String);

#[derive(Clone, Debug)]
pub(super) enum Change {
    Put(Place, Node),
    Remove(Place),
    Rename(Place, Place),
}

type Folders = BTreeMap<Place, Node>;

/// The names as they are, as stable media have them, and the changes between the two in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    current: Folders,
    durable: Folders,
    pending: Vec<Change>,
}

impl Names {
    pub(super) fn get(&self, place: &Place) -> Option<Node> {
        self.current.get(place).copied()
    }

    /// The names in a folder, sorted.
    pub(super) fn list(&self, folder: FolderId) -> Vec<(String, Node)> {
        let from = (folder, String::new());
        self.current
            .range(from..)
            .take_while(|((found, _), _)| *found == folder)
            .map(|((_, name), node)| (name.clone(), *node))
            .collect()
    }

    pub(super) fn change(&mut self, change: Change) {
        apply(&mut self.current, &change);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self, folder: FolderId) {
        let (synced, rest) = std::mem::take(&mut self.pending).into_iter().partition(|change| match change {
            Change::Put(place, _) | Change::Remove(place) => place.0 == folder,
            Change::Rename(from, to) => from.0 == folder || to.0 == folder,
        });
        self.pending = rest;
        let synced: Vec<Change> = synced;
        for change in synced {
            apply(&mut self.durable, &change);
        }
    }

    /// Of the changes that were not durable, the first few (as a journal would) or any of them have happened.
    pub(super) fn lose_power(&mut self, random: &mut SimRandom) {
        let pending = std::mem::take(&mut self.pending);
        let first = index(random.below(wide(pending.len()) + 1));
        let as_a_journal = random.coin();
        for (place, change) in pending.iter().enumerate() {
            if if as_a_journal { place < first } else { random.coin() } {
                apply(&mut self.durable, change);
            }
        }
        self.current = self.durable.clone();
    }
}

fn apply(folders: &mut Folders, change: &Change) {
    match change {
        Change::Put(place, node) => {
            folders.insert(place.clone(), *node);
        }
        Change::Remove(place) => {
            folders.remove(place);
        }
        Change::Rename(from, to) => {
            if let Some(node) = folders.remove(from) {
                folders.insert(to.clone(), node);
            }
        }
    }
}
