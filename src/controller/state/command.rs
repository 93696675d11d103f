//! What may be asked of the controller, and what it answers.

use super::refusal::Refusal;
use crate::model::image::TopicImage;
use crate::model::{ProducerId, StartCount, TopicId};
use std::sync::Arc;

/// One request to change the metadata. All of it is decided at one place in the order of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    CreateTopics {
        topics: Vec<NewTopic>,
        mode: CreateMode,
    },
    DeleteTopics {
        topics: Vec<TopicSelector>,
    },
    /// Incremental: what is not named stays (KIP-339).
    AlterTopicConfigs {
        topics: Vec<TopicConfigChanges>,
        validate_only: bool,
    },
    /// A block of producer ids that nobody else has or will have.
    AllocateProducerIds,
    /// The broker starts: once per process, before any append.
    RegisterStart,
}

/// The answer to the command of the same name. Rows stand in the order of the request; what was named several times
/// has one row, where it was named first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    CreateTopics(Vec<CreateOutcome>),
    DeleteTopics(Vec<DeleteOutcome>),
    AlterTopicConfigs(Vec<AlterOutcome>),
    AllocateProducerIds(ProducerIdBlock),
    RegisterStart(StartCount),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// A topic that exists is refused.
    Create,
    /// As [`Self::Create`], but nothing is made.
    ValidateOnly,
    /// A topic that exists is the answer (auto-creation: several shards may ask at once).
    IfAbsent,
}

/// A topic to be made, as the request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    /// -1: `num.partitions`, or as many as are assigned.
    pub partition_count: i32,
    /// -1: `default.replication.factor`, or as many as are assigned.
    pub replication_factor: i16,
    /// Empty: the controller places the replicas.
    pub assignments: Vec<Assignment>,
    /// Key and value; Kafka lets a later value of the same key win.
    pub configs: Vec<(String, Option<String>)>,
}

/// Which brokers are to hold one partition. On the wire both are plain numbers, and neither is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub partition: i32,
    pub brokers: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateOutcome {
    pub name: String,
    /// The topic as made, as it would be made, or (if absent) as it was.
    pub result: Result<Arc<TopicImage>, Refusal>,
}

/// A topic named either by its name or by its id; both or neither is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSelector {
    pub name: Option<String>,
    /// [`TopicId::ZERO`]: not given.
    pub id: TopicId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOutcome {
    pub name: Option<String>,
    pub id: TopicId,
    pub result: Result<(), Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfigChanges {
    pub name: String,
    pub changes: Vec<ConfigChange>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    pub key: String,
    pub operation: ConfigOperation,
    /// Needed by all operations but [`ConfigOperation::Delete`], which does not look at it.
    pub value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigOperation {
    Set,
    /// Back to the broker's default.
    Delete,
    /// Adds elements to a list.
    Append,
    /// Takes elements out of a list.
    Subtract,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterOutcome {
    pub name: String,
    pub result: Result<(), Refusal>,
}

/// `count` producer ids from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub first: ProducerId,
    pub count: i64,
}
