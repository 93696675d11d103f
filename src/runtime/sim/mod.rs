//! The runtime's twin: a machine whose memory, disk and chance come from a seed, and that can die at any step.
//!
//! Nothing here touches the real machine. One simulated machine is used by one thread at a time; several run side by side.
//! The failure model: the death of the process keeps memory and what the disk was told, but for operations under way, of
//! which any sectors may have arrived; the loss of power keeps only what was made durable, and of the rest any sectors,
//! lengths and names, in any combination. The unit of the disk is the 512-byte sector: old or new, never between.

mod disk;
mod inode;
mod memory;
mod names;
mod random;
mod steps;

pub use disk::{SimDisk, SimFaults, SimFile};
pub use memory::SimMemory;
pub use random::SimRandom;
pub use steps::{SimSteps, Step};
