//! Bytes to typed messages and back. Pure: no socket, no clock; what a peer sends is checked and bounded here, and
//! what it means is decided elsewhere.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, reason = "numbers of a peer's are worked with"))]

mod error;
pub mod kafka;
pub mod records;

pub use error::{Error, Result};
