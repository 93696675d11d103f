//! Messages that make, enlarge and delete topics.

pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
