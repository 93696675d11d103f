//! Memory that outlives the simulated process: after a death it is as of the last store.
//!
//! The code that runs must not notice that the machine has died under it: stores that come later happen, but are
//! remembered, and undone when the machine is looked at again.

use super::random::SimRandom;
use super::steps::{SimSteps, Step};
use crate::runtime::Result;
use crate::runtime::memory::ArenaMemory;

/// A store in progress at a death arrives in pieces of this size. Unit: bytes.
const LINE_BYTES: usize = 64;

/// A simulated arena.
#[derive(Debug)]
pub struct SimMemory {
    bytes: Vec<u8>,
    steps: SimSteps,
    random: SimRandom,
    /// What stood where before stores that never happened, in their order.
    undo: Vec<(usize, Vec<u8>)>,
}

impl SimMemory {
    /// `len` zero bytes of the machine that takes `steps`.
    #[must_use]
    pub fn new(len: usize, steps: SimSteps, random: SimRandom) -> Self {
        Self { bytes: vec![0; len], steps, random, undo: Vec::new() }
    }

    /// After a death: forgets what came after it.
    pub fn settle(&mut self) {
        while let Some((position, before)) = self.undo.pop() {
            put(&mut self.bytes, position, &before);
        }
    }

    fn store(&mut self, position: usize, bytes: &[u8], whole: bool) {
        match self.steps.take() {
            Step::Alive => {}
            Step::Dead => self.remember(position, bytes.len()),
            Step::Dying if whole => {
                if self.random.coin() {
                    self.remember(position, bytes.len());
                }
            }
            Step::Dying => {
                let mut at = 0;
                while at < bytes.len() {
                    let len = LINE_BYTES.min(bytes.len() - at);
                    if self.random.coin() {
                        self.remember(position + at, len);
                    }
                    at += len;
                }
            }
        }
        put(&mut self.bytes, position, bytes);
    }

    fn remember(&mut self, position: usize, len: usize) {
        self.undo.push((position, self.read(position, len).to_vec()));
    }
}

impl ArenaMemory for SimMemory {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn read(&self, position: usize, len: usize) -> &[u8] {
        let range = self.bytes.get(position..).and_then(|rest| rest.get(..len));
        assert!(range.is_some(), "range {position}+{len} leaves the memory");
        range.unwrap_or_default()
    }

    fn write(&mut self, position: usize, bytes: &[u8]) {
        self.store(position, bytes, false);
    }

    fn publish(&mut self, position: usize, value: u64) {
        assert_eq!(position % 8, 0, "a published value must be aligned");
        self.store(position, &value.to_ne_bytes(), true);
        self.steps.note_publication();
    }

    fn load(&self, position: usize) -> u64 {
        assert_eq!(position % 8, 0, "a published value must be aligned");
        self.read(position, 8).first_chunk().copied().map_or(0, u64::from_ne_bytes)
    }

    fn zero(&mut self, position: usize, len: usize) {
        self.store(position, &vec![0; len], false);
    }

    fn touch(&mut self, _position: usize, _len: usize) -> Result<()> {
        Ok(())
    }
}

fn put(target: &mut [u8], position: usize, bytes: &[u8]) {
    let range = target.get_mut(position..).and_then(|rest| rest.get_mut(..bytes.len()));
    assert!(range.is_some(), "range {position}+{} leaves the memory", bytes.len());
    if let Some(range) = range {
        range.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_death_memory_is_as_of_the_last_store() {
        let steps = SimSteps::default();
        let mut memory = SimMemory::new(4096, steps.clone(), SimRandom::new(7));
        memory.write(0, &[1; 8]);
        steps.die_after(1);
        memory.write(8, &[2; 8]);
        memory.write(1000, &[3; 512]);
        memory.publish(16, 4);
        memory.write(0, &[5; 32]);
        assert_eq!(memory.read(0, 9), [5; 9], "the running code sees its own stores");
        memory.settle();
        assert_eq!(memory.read(0, 8), [1; 8]);
        assert_eq!(memory.read(8, 8), [2; 8]);
        assert_eq!(memory.load(16), 0);
        let torn: usize = memory.read(1000, 512).iter().map(|byte| usize::from(*byte == 3)).sum();
        assert!(torn.is_multiple_of(LINE_BYTES) && torn > 0 && torn < 512, "{torn} bytes of the last store");
    }
}
