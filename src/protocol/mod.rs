//! Bytes to typed messages and back. Pure: no socket, no clock; what a peer sends is checked and bounded here, and
//! what it means is decided elsewhere.

mod error;
pub mod kafka;
pub mod records;

pub use error::{Error, Result};
