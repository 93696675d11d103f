//! A simulated file: what reads see, and what the loss of power may leave of it.

use std::collections::{BTreeMap, BTreeSet};

use super::random::SimRandom;
use crate::model::number::{index, wide};

/// The unit in which a disk writes: old or new, never between. Unit: bytes.
pub(super) const SECTOR_BYTES: u64 = 512;
/// Contents between the durable one and the newest that are remembered per sector.
const VERSIONS_MAX: usize = 3;

const SECTOR: usize = index(SECTOR_BYTES);

#[derive(Clone, Debug)]
enum Sector {
    Zeros,
    Bytes(Box<[u8; SECTOR]>),
}

/// Contents and length of a file, and their older versions since it was last made durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    bytes: Vec<u8>,
    /// Sectors that are not durable: what stood there before, the durable content first.
    older: BTreeMap<u64, Vec<Sector>>,
    /// Lengths before, the durable one first; empty if the present one is durable.
    lengths: Vec<u64>,
    /// Sectors that stand in the machine's cache alone.
    cached: BTreeSet<u64>,
    /// Sectors that this cache gave up when it could not flush them: reads see what was written, and no later flush brings it to stable
    /// media unless it is written again.
    given_up: BTreeMap<u64, Vec<Sector>>,
}

impl Inode {
    pub(super) fn length(&self) -> u64 {
        wide(self.bytes.len())
    }

    pub(super) fn read(&self, position: u64, target: &mut [u8]) -> usize {
        let rest = self.bytes.get(index(position.min(self.length()))..).unwrap_or_default();
        let count = rest.len().min(target.len());
        if let (Some(to), Some(from)) = (target.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        count
    }

    /// Writes those sectors of `bytes` that `chosen` chooses, each wholly.
    pub(super) fn write(&mut self, position: u64, bytes: &[u8], mut chosen: impl FnMut() -> bool) {
        let mut at = position;
        let mut rest = bytes;
        while !rest.is_empty() {
            let sector_end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
            let (now, later) = rest.split_at(index(sector_end - at).min(rest.len()));
            if chosen() {
                if at + wide(now.len()) > self.length() {
                    self.set_length(at + wide(now.len()));
                }
                self.remember(at / SECTOR_BYTES);
                if let Some(target) = self.bytes.get_mut(index(at)..index(at) + now.len()) {
                    target.copy_from_slice(now);
                }
            }
            at += wide(now.len());
            rest = later;
        }
    }

    pub(super) fn set_length(&mut self, bytes: u64) {
        if bytes == self.length() {
            return;
        }
        let mut sector = bytes / SECTOR_BYTES;
        while sector * SECTOR_BYTES < self.length() {
            self.remember(sector);
            sector += 1;
        }
        self.lengths.push(self.length());
        self.bytes.resize(index(bytes), 0);
    }

    /// Everything as it is now is on stable media.
    pub(super) fn sync(&mut self) {
        self.older.clear();
        self.cached.clear();
        self.lengths.clear();
    }

    /// What was written to this range is in the machine's cache.
    pub(super) fn note_cached(&mut self, position: u64, bytes: u64) {
        self.cached.extend(position / SECTOR_BYTES..(position + bytes).div_ceil(SECTOR_BYTES));
    }

    /// A flush of the cache has failed.
    pub(super) fn give_up(&mut self) {
        for sector in std::mem::take(&mut self.cached) {
            if let Some(versions) = self.older.remove(&sector) {
                self.given_up.insert(sector, versions);
            }
        }
    }

    /// The range as it is now is on stable media, and so is the length.
    pub(super) fn sync_range(&mut self, position: u64, bytes: u64) {
        let sectors = position / SECTOR_BYTES..(position + bytes).div_ceil(SECTOR_BYTES);
        let covered: Vec<u64> = self.older.range(sectors).map(|(&sector, _)| sector).collect();
        for sector in covered {
            self.older.remove(&sector);
        }
        self.lengths.clear();
    }

    /// Each sector that was not durable is one of its versions now, and so is the length.
    pub(super) fn lose_power(&mut self, random: &mut SimRandom) {
        let keep = random.below(4);
        let mut place = |versions: usize| match keep {
            0 => 0,
            1 => versions,
            _ => index(random.below(wide(versions) + 1)),
        };
        let lengths = std::mem::take(&mut self.lengths);
        let length = lengths.get(place(lengths.len())).copied().unwrap_or(self.length());
        self.bytes.resize(index(length), 0);
        self.cached.clear();
        let mut older = std::mem::take(&mut self.older);
        older.append(&mut self.given_up);
        for (sector, versions) in older {
            let Some(old) = versions.get(place(versions.len())) else { continue };
            let start = index(sector * SECTOR_BYTES).min(self.bytes.len());
            let end = (start + SECTOR).min(self.bytes.len());
            let Some(target) = self.bytes.get_mut(start..end) else { continue };
            match old {
                Sector::Zeros => target.fill(0),
                Sector::Bytes(bytes) => {
                    if let Some(from) = bytes.get(..target.len()) {
                        target.copy_from_slice(from);
                    }
                }
            }
        }
    }

    fn remember(&mut self, sector: u64) {
        let mut content = [0; SECTOR];
        self.read(sector * SECTOR_BYTES, &mut content);
        let content = if content == [0; SECTOR] { Sector::Zeros } else { Sector::Bytes(Box::new(content)) };
        let given_up = self.given_up.remove(&sector).unwrap_or_default();
        let versions = self.older.entry(sector).or_insert(given_up);
        if versions.len() >= VERSIONS_MAX {
            versions.pop();
        }
        versions.push(content);
    }
}
