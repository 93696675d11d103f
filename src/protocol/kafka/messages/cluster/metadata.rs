//! Metadata (key 3): brokers, topics, and which broker leads which partition. Source: KIP-4, KIP-526,
//! KIP-516 (10 and 12: topic ids), KIP-700 (11), KIP-1102 (13).

use crate::model::TopicId;
use crate::protocol::kafka::table::messages;

/// Authorized operations were not asked for.
pub const OPERATIONS_NOT_REQUESTED: i32 = i32::MIN;

messages! {
    request MetadataRequest<'a> of Metadata {
        /// Null asks for all topics, empty for none; in version 0, which knows no null, empty asks for all.
        topics: Option<Vec<MetadataRequestTopic<'a>>> = Some(Vec::new()), 0+, null 1+;
        allow_auto_topic_creation: bool = true, 4+;
        include_cluster_authorized_operations: bool, 8-10;
        include_topic_authorized_operations: bool, 8+;
    }
    /// By name, or from version 12 by id with a null name.
    part MetadataRequestTopic<'a> {
        topic_id: TopicId = TopicId::ZERO, 10+, ignorable;
        name: Option<&'a str>, 0+, null 10+;
    }

    response MetadataResponse<'a> of Metadata {
        throttle_time_ms: i32, 3+, ignorable;
        brokers: Vec<MetadataResponseBroker<'a>>, 0+;
        cluster_id: Option<&'a str>, 2+, null 2+, ignorable;
        /// -1: not known.
        controller_id: i32 = -1, 1+, ignorable;
        topics: Vec<MetadataResponseTopic<'a>>, 0+;
        cluster_authorized_operations: i32 = OPERATIONS_NOT_REQUESTED, 8-10;
        error_code: i16, 13+, ignorable;
    }
    /// Where a broker is reached.
    part MetadataResponseBroker<'a> {
        node_id: i32, 0+;
        host: &'a str, 0+;
        port: i32, 0+;
        rack: Option<&'a str>, 1+, null 1+, ignorable;
    }
    /// One of `name` and `topic_id` is always there; both are when `error_code` is 0.
    part MetadataResponseTopic<'a> {
        error_code: i16, 0+;
        name: Option<&'a str>, 0+, null 12+;
        topic_id: TopicId = TopicId::ZERO, 10+, ignorable;
        is_internal: bool, 1+, ignorable;
        partitions: Vec<MetadataResponsePartition>, 0+;
        topic_authorized_operations: i32 = OPERATIONS_NOT_REQUESTED, 8+;
    }
    /// Who leads and who holds a partition.
    part MetadataResponsePartition {
        error_code: i16, 0+;
        partition_index: i32, 0+;
        leader_id: i32, 0+;
        leader_epoch: i32 = -1, 7+, ignorable;
        replica_nodes: Vec<i32>, 0+;
        isr_nodes: Vec<i32>, 0+;
        offline_replicas: Vec<i32>, 5+, ignorable;
    }
}
