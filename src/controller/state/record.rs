//! The metadata records in memory: what happened, and nothing that can be derived from it.
//!
//! Their form on disk is `log/record_format.rs`; a quorum will order the same records.

use crate::model::image::TopicImage;
use crate::model::{ProducerId, StartCount, TopicId};

/// One thing that happened to the cluster's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The broker started for the `start_count`th time; the leader epoch of every partition is raised by it.
    BrokerStarted { start_count: StartCount },
    /// All producer ids below `next_producer_id` may be in use.
    ProducerIdsAllocated { next_producer_id: ProducerId },
    /// A topic was made.
    TopicCreated { topic: TopicImage },
    /// Settings of a topic were set (`Some`) or taken back (`None`).
    TopicConfigsChanged { topic_id: TopicId, changes: Vec<(String, Option<String>)> },
    /// A topic and its data are gone.
    TopicDeleted { topic_id: TopicId },
}

/// A record that cannot follow the ones before it: the log was altered, or written by a broken broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistent {
    #[error("start {found} follows start {current}")]
    StartNotLater { current: StartCount, found: StartCount },
    #[error("producer ids from {} on follow those below {}", found.0, current.0)]
    ProducerIdsGivenTwice { current: ProducerId, found: ProducerId },
    #[error("topic {id} is made twice")]
    TopicIdTaken { id: TopicId },
    #[error("topic '{name}' is made twice")]
    TopicNameTaken { name: String },
    #[error("topic '{name}' has {found} partitions")]
    PartitionCount { name: String, found: i32 },
    #[error("topic '{name}' is made in start {found}, but this is start {current}")]
    MadeLater { name: String, current: StartCount, found: StartCount },
    #[error("there is no topic {id}")]
    TopicUnknown { id: TopicId },
    #[error("a topic's name is not legal: {fault}")]
    TopicName { fault: crate::model::topic_name::TopicNameFault },
    #[error("the metadata offset {found} of a snapshot is lower than the number of its records")]
    SnapshotOffset { found: u64 },
}
