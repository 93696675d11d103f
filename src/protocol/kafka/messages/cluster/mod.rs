//! Messages that describe brokers, APIs, and where things are.

pub mod api_versions;
pub mod metadata;
