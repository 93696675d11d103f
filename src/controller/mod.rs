//! The cluster's metadata: what topics there are, and who may have which producer ids.
//!
//! One writer, on the control thread of one broker. Commands are decided into records ([`state`]), records are made durable
//! in the metadata log ([`log`]) and then published as a new image ([`crate::model::Image`]). A
//! quorum will put the same records in the same order later. There are no locks and no threads here.

#[cfg(test)]
mod fixtures;
pub mod log;
pub mod state;
mod uuid;
