//! What measures: the loader and the floor on rings of their own, the machine's counters, the processes that are measured.

pub mod compare;
pub mod contestants;
mod error;
pub mod floor;
pub mod host;
pub mod loader;
pub mod process;
pub mod restart;
pub mod setup;

pub use self::error::{Error, Result};
