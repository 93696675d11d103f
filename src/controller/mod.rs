//! The cluster's metadata: what topics there are, and who may have which producer ids.
//!
//! One writer, on the control thread of one broker. Commands are decided into records ([`state`]), records are made durable
//! in the metadata log ([`log`]) and then published as a new image ([`crate::model::Image`]); [`driver`] does the two. A
//! quorum will put the same records in the same order later. There are no locks and no threads here.

pub mod driver;
#[cfg(test)]
mod fixtures;
pub mod identity;
pub mod log;
pub mod state;
mod uuid;

pub use driver::{Controller, Error};
pub use identity::Identity;
