//! A simulated file: what reads see, and what the loss of power may leave of it.

use std::collections::BTreeMap;

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

#[derive(Clone, Debug)]
struct GivenUp {
    on_disk: Sector,
    older: Vec<Sector>,
}

/// Contents and length of a file, and their older versions since it was last made durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    bytes: Vec<u8>,
    /// Sectors that are not durable: what stood there before, the durable content first.
    older: BTreeMap<u64, Vec<Sector>>,
    /// Lengths before, the durable one first; empty if the present one is durable.
    lengths: Vec<u64>,
    /// Sectors that stand in the machine's cache alone, with what the disk has of them.
    cached: BTreeMap<u64, Sector>,
    /// Sectors that this cache gave up when it could not flush them: reads see what was written, and no later flush brings it to stable
    /// media unless it is written again.
    given_up: BTreeMap<u64, GivenUp>,
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

    /// What will be written to this range now goes to the machine's cache.
    pub(super) fn note_cached(&mut self, position: u64, bytes: u64) {
        for sector in position / SECTOR_BYTES..(position + bytes).div_ceil(SECTOR_BYTES) {
            if !self.cached.contains_key(&sector) {
                let given_up = self.given_up.get(&sector).map(|given_up| given_up.on_disk.clone());
                let on_disk = given_up.unwrap_or_else(|| self.sector(sector));
                self.cached.insert(sector, on_disk);
            }
        }
    }

    /// A flush of the cache has failed.
    pub(super) fn give_up(&mut self) {
        for (sector, on_disk) in std::mem::take(&mut self.cached) {
            if let Some(older) = self.older.remove(&sector) {
                self.given_up.insert(sector, GivenUp { on_disk, older });
            }
        }
    }

    /// The cache is let go of: of what it gave up, what the disk has is seen. Some of it may have arrived there.
    pub(super) fn forget_cache(&mut self, random: &mut SimRandom) {
        for (sector, GivenUp { on_disk, older }) in std::mem::take(&mut self.given_up) {
            if random.coin() {
                self.put(sector, &on_disk);
            }
            self.older.insert(sector, older);
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
        let given_up = std::mem::take(&mut self.given_up);
        older.extend(given_up.into_iter().map(|(sector, given_up)| (sector, given_up.older)));
        for (sector, versions) in older {
            let Some(old) = versions.get(place(versions.len())) else { continue };
            self.put(sector, old);
        }
    }

    fn put(&mut self, sector: u64, content: &Sector) {
        let start = index(sector * SECTOR_BYTES).min(self.bytes.len());
        let end = (start + SECTOR).min(self.bytes.len());
        let Some(target) = self.bytes.get_mut(start..end) else { return };
        match content {
            Sector::Zeros => target.fill(0),
            Sector::Bytes(bytes) => {
                if let Some(from) = bytes.get(..target.len()) {
                    target.copy_from_slice(from);
                }
            }
        }
    }

    fn remember(&mut self, sector: u64) {
        let content = self.sector(sector);
        let given_up = self.given_up.remove(&sector).map(|given_up| given_up.older).unwrap_or_default();
        let versions = self.older.entry(sector).or_insert(given_up);
        if versions.len() >= VERSIONS_MAX {
            versions.pop();
        }
        versions.push(content);
    }

    fn sector(&self, sector: u64) -> Sector {
        let mut content = [0; SECTOR];
        self.read(sector * SECTOR_BYTES, &mut content);
        if content == [0; SECTOR] { Sector::Zeros } else { Sector::Bytes(Box::new(content)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_flush_gave_up_is_seen_until_the_cache_is_let_go_of() {
        let mut random = SimRandom::new(1);
        let mut found = [0; 3];
        for _ in 0..20 {
            let mut file = Inode::default();
            file.write(0, &[1; 512], || true);
            file.sync();
            file.note_cached(0, 512);
            file.write(0, &[2; 512], || true);
            file.give_up();
            file.sync();
            assert_eq!(first_byte(&file), 2);
            file.forget_cache(&mut random);
            found[usize::from(first_byte(&file))] += 1;
            // What is still to be written stays.
            file.note_cached(0, 512);
            file.write(0, &[3; 512], || true);
            file.forget_cache(&mut random);
            assert_eq!(first_byte(&file), 3);
        }
        assert!(found[0] == 0 && found[1] > 0 && found[2] > 0, "{found:?}");
    }

    fn first_byte(file: &Inode) -> u8 {
        let mut seen = [0];
        file.read(0, &mut seen);
        seen[0]
    }
}
