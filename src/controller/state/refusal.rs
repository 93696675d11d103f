//! Why the controller refuses what a client asks. The sentences are Kafka 4.2's where it has one for the case,
//! except about the values of settings, where ours say more.

use super::command::ConfigOperation;
use crate::config;
use crate::model::limits::{METADATA_BYTES_MAX, PARTITIONS_MAX};
use crate::model::topic_name::TopicNameFault;
use crate::model::{Durability, ErrorCode};

/// The fault is the client's, except in [`Refusal::Storage`], where it is the machine's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    TopicName(#[from] TopicNameFault),
    #[error("Topic '{name}' collides with existing topic: {existing}")]
    TopicNameCollides { name: String, existing: String },
    #[error("Creation of internal topic {name} is prohibited.")]
    TopicNameReserved { name: String },
    #[error("Topic '{name}' already exists.")]
    TopicExists { name: String },
    #[error("Duplicate topic name.")]
    TopicNamedTwice,
    #[error("Excessively large number of partitions per request.")]
    PartitionsInRequest,
    #[error("The cluster would have more than {} partitions.", PARTITIONS_MAX)]
    PartitionsInCluster,
    #[error("The metadata of all topics would take more than {} bytes.", METADATA_BYTES_MAX)]
    MetadataFull,
    #[error("Number of partitions was set to an invalid non-positive value.")]
    PartitionCount,
    #[error("Replication factor must be larger than 0, or -1 to use the default value.")]
    ReplicationFactor,
    #[error(
        "Unable to replicate the partition {wanted} time(s): The target replication factor of {wanted} cannot be reached because only 1 broker(s) are registered."
    )]
    ReplicationFactorOutOfReach { wanted: i16 },
    #[error("A manual partition assignment was specified, but replication factor was not set to -1.")]
    AssignmentBesideReplicationFactor,
    #[error("A manual partition assignment was specified, but numPartitions was not set to -1.")]
    AssignmentBesidePartitionCount,
    #[error("Found multiple manual partition assignments for partition {partition}")]
    AssignmentTwice { partition: i32 },
    #[error("The manual partition assignment includes an empty replica list.")]
    AssignmentEmpty,
    #[error("The manual partition assignment includes broker {broker}, but no such broker is registered.")]
    AssignmentBrokerUnknown { broker: i32 },
    #[error("The manual partition assignment includes the broker {broker} more than once.")]
    AssignmentBrokerTwice { broker: i32 },
    #[error("partitions should be a consecutive 0-based integer sequence")]
    AssignmentGap,
    #[error("Null value not supported for topic configs: {key}")]
    ConfigNull { key: String },
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error("The value of {key} has {found} bytes, more than {max}.")]
    ConfigTooLong { key: String, found: usize, max: usize },
    #[error("Neither topic name nor id were specified.")]
    NeitherNameNorId,
    #[error("You may not specify both topic name and topic id.")]
    BothNameAndId,
    #[error("Duplicate topic id.")]
    TopicIdTwice,
    #[error("The provided topic name maps to an ID that was already supplied.")]
    TopicNamedByIdToo,
    #[error("This server does not host this topic-partition.")]
    TopicNameUnknown,
    #[error("This server does not host this topic ID.")]
    TopicIdUnknown,
    #[error("The topic '{name}' does not exist.")]
    ResourceUnknown { name: String },
    #[error("Default topic resources are not allowed.")]
    ResourceDefault,
    #[error("Each resource must appear at most once.")]
    ResourceTwice,
    #[error("Error due to duplicate config keys")]
    ConfigKeyTwice,
    #[error("Null value not supported for : {key}")]
    ChangeNull { key: String },
    #[error(
        "ringlog.durability of a topic cannot be changed, nor flush.messages and flush.ms where they would change it \
         (here to {}): make a new topic.", .wanted.name()
    )]
    DurabilityFixed { wanted: Durability },
    #[error("Can't {} to key {key} because its type is not LIST.", verb(*.operation))]
    ConfigNotAList { key: String, operation: ConfigOperation },
    #[error(
        "Exhausted all producerIds as the next producerId is less than the number of producers per block."
    )]
    ProducerIdsExhausted,
    #[error("The request changes more than fits into one metadata batch of {max} bytes.")]
    TooLarge { max: usize },
    #[error("The metadata log cannot be written.")]
    Storage,
}

impl Refusal {
    /// What goes on the wire.
    #[must_use]
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::TopicName(_) | Self::TopicNameCollides { .. } => ErrorCode::InvalidTopicException,
            Self::TopicExists { .. } => ErrorCode::TopicAlreadyExists,
            Self::PartitionsInRequest
            | Self::PartitionsInCluster
            | Self::MetadataFull
            | Self::TooLarge { .. } => ErrorCode::PolicyViolation,
            Self::PartitionCount => ErrorCode::InvalidPartitions,
            Self::ReplicationFactor | Self::ReplicationFactorOutOfReach { .. } => {
                ErrorCode::InvalidReplicationFactor
            }
            Self::AssignmentTwice { .. }
            | Self::AssignmentEmpty
            | Self::AssignmentBrokerUnknown { .. }
            | Self::AssignmentBrokerTwice { .. }
            | Self::AssignmentGap => ErrorCode::InvalidReplicaAssignment,
            Self::ConfigNull { .. }
            | Self::Config(_)
            | Self::ConfigTooLong { .. }
            | Self::ConfigNotAList { .. }
            | Self::DurabilityFixed { .. } => ErrorCode::InvalidConfig,
            Self::TopicNameUnknown | Self::ResourceUnknown { .. } => ErrorCode::UnknownTopicOrPartition,
            Self::TopicIdUnknown => ErrorCode::UnknownTopicId,
            Self::TopicNameReserved { .. }
            | Self::TopicNamedTwice
            | Self::AssignmentBesideReplicationFactor
            | Self::AssignmentBesidePartitionCount
            | Self::NeitherNameNorId
            | Self::BothNameAndId
            | Self::TopicIdTwice
            | Self::TopicNamedByIdToo
            | Self::ResourceDefault
            | Self::ResourceTwice
            | Self::ConfigKeyTwice
            | Self::ChangeNull { .. } => ErrorCode::InvalidRequest,
            Self::ProducerIdsExhausted => ErrorCode::UnknownServerError,
            Self::Storage => ErrorCode::KafkaStorageError,
        }
    }

    /// The sentence for the wire, cut where what the client sent would make it too long for old versions' fields.
    #[must_use]
    pub fn message(&self) -> String {
        let mut message = self.to_string();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message
    }
}

/// Strings of versions that are not flexible have at most 32,767 bytes.
const MESSAGE_BYTES_MAX: usize = 4096;

const fn verb(operation: ConfigOperation) -> &'static str {
    match operation {
        ConfigOperation::Set => "SET",
        ConfigOperation::Delete => "DELETE",
        ConfigOperation::Append => "APPEND",
        ConfigOperation::Subtract => "SUBTRACT",
    }
}
