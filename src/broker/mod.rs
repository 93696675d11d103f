//! The broker: connections, requests and the shards that answer them.
//!
//! [`shards::Shard`] is the pure core of one shard: frames go in, replies, storage operations and questions to the control
//! thread come out. [`driver`] runs it on a pinned thread over a ring, and starts and stops the whole.

pub mod connection;
pub mod driver;
pub mod handlers;
pub mod owner;
pub mod purgatory;
pub mod shards;
