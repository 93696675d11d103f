//! Requests that wait: produces for durability, fetches for data. Bounded by the slots of their connections.

pub mod fetch;
pub mod produce;
