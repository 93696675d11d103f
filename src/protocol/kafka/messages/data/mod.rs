//! Messages that write and read records.

pub mod fetch;
pub mod produce;
