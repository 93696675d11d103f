//! Making and deleting topics.

pub mod create_topics;
pub mod delete_topics;
