//! The tables of messages, in folders by subject; each API has a file, reached as `messages::<api>`.
//!
//! Names, order and versions are Kafka's (`clients/src/main/resources/common/message` of version 4.2), so that a search
//! finds both sides. Numbers are plain integers here: their types begin where a handler gives them a meaning.

mod cluster;
mod configs;
mod data;
mod topics;

pub use cluster::{api_versions, describe_cluster, describe_log_dirs, find_coordinator, metadata};
pub use configs::{describe_configs, incremental_alter_configs};
pub use data::{delete_records, fetch, init_producer_id, list_offsets, offset_for_leader_epoch, produce};
pub use topics::{create_partitions, create_topics, delete_topics};
