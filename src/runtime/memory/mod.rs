//! Memory that the kernel and the broker share: mappings, the arena, aligned buffers.
//!
//! Nothing here knows what the bytes mean. Positions are offsets into a region, never pointers, so that a
//! caller cannot outlive or leave the region; bounds are asserted in release builds too.

mod arena;
mod buffer;
mod mapping;

pub use arena::{Arena, ArenaFound, ArenaMemory};
pub use buffer::{Account, AlignedBuffer, BufferPool};
pub use mapping::Mapping;

pub(in crate::runtime) use mapping::page_bytes;
