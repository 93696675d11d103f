//! The tables of messages, in folders by subject; each API has a file, reached as `messages::<api>`.
//!
//! Names, order and versions are Kafka's (`clients/src/main/resources/common/message` of version 4.2), so that a search
//! finds both sides. Numbers are plain integers here: their types begin where a handler gives them a meaning.

mod cluster;
mod data;

pub use cluster::{api_versions, metadata};
pub use data::{fetch, produce};
