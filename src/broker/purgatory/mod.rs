//! Requests that wait: produces for durability, fetches for data, searches by
//! time for the disk. Bounded by the slots of their connections and the
//! shard's account ([`super::shards::memory`]); fetches end with their connection.

pub mod fetch;
pub mod list_offsets;
pub mod produce;
