//! Messages that describe brokers, APIs, and where things are.

pub mod api_versions;
pub mod describe_cluster;
pub mod describe_log_dirs;
pub mod find_coordinator;
pub mod metadata;
