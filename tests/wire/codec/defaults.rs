//! What the bytes of a valid message do not show: defaults, and in which versions null is refused.

use crate::catalog::CATALOG;
use crate::debug_text;
use kafka_protocol::messages as theirs;
use ringlog::protocol::kafka::messages as ours;
use ringlog::protocol::kafka::schema::{Kind, Schema};

/// The schema of the struct `name` in the message `root`.
fn find(root: &Schema, name: &str) -> Option<Schema> {
    fn inside(kind: &Kind, name: &str) -> Option<Schema> {
        match kind {
            Kind::Struct(schema) => find(schema, name),
            Kind::Array(inner) | Kind::Nullable(inner) => inside(inner, name),
            _ => None,
        }
    }
    if root.name == name {
        return Some(*root);
    }
    root.fields.iter().find_map(|field| inside(&field.kind, name))
}

/// How many structs there are in and below `root`.
fn count(root: &Schema) -> usize {
    fn inside(kind: &Kind) -> usize {
        match kind {
            Kind::Struct(schema) => count(schema),
            Kind::Array(inner) | Kind::Nullable(inner) => inside(inner),
            _ => 0,
        }
    }
    1 + root.fields.iter().map(|field| inside(&field.kind)).sum::<usize>()
}

macro_rules! defaults {
    ($($ours:ident $theirs:ident: $($name:ident)*;)*) => {
        vec![$($((
            stringify!($theirs),
            stringify!($name),
            format!("{:?}", ours::$ours::$name::default()),
            format!("{:?}", theirs::$theirs::$name::default()),
        ),)*)*]
    };
}

#[test]
fn every_field_of_every_struct_has_kafkas_default() {
    let defaults = defaults! {
        api_versions api_versions_request: ApiVersionsRequest;
        api_versions api_versions_response: ApiVersionsResponse ApiVersion SupportedFeatureKey
            FinalizedFeatureKey;
        create_partitions create_partitions_request: CreatePartitionsRequest CreatePartitionsTopic
            CreatePartitionsAssignment;
        create_partitions create_partitions_response: CreatePartitionsResponse CreatePartitionsTopicResult;
        create_topics create_topics_request: CreateTopicsRequest CreatableTopic CreatableReplicaAssignment
            CreatableTopicConfig;
        create_topics create_topics_response: CreateTopicsResponse CreatableTopicResult CreatableTopicConfigs;
        delete_records delete_records_request: DeleteRecordsRequest DeleteRecordsTopic DeleteRecordsPartition;
        delete_records delete_records_response: DeleteRecordsResponse DeleteRecordsTopicResult
            DeleteRecordsPartitionResult;
        delete_topics delete_topics_request: DeleteTopicsRequest DeleteTopicState;
        delete_topics delete_topics_response: DeleteTopicsResponse DeletableTopicResult;
        describe_cluster describe_cluster_request: DescribeClusterRequest;
        describe_cluster describe_cluster_response: DescribeClusterResponse DescribeClusterBroker;
        describe_configs describe_configs_request: DescribeConfigsRequest DescribeConfigsResource;
        describe_configs describe_configs_response: DescribeConfigsResponse DescribeConfigsResult
            DescribeConfigsResourceResult DescribeConfigsSynonym;
        describe_log_dirs describe_log_dirs_request: DescribeLogDirsRequest DescribableLogDirTopic;
        describe_log_dirs describe_log_dirs_response: DescribeLogDirsResponse DescribeLogDirsResult
            DescribeLogDirsTopic DescribeLogDirsPartition;
        fetch fetch_request: FetchRequest ReplicaState FetchTopic FetchPartition ForgottenTopic;
        fetch fetch_response: FetchResponse FetchableTopicResponse PartitionData EpochEndOffset
            LeaderIdAndEpoch SnapshotId AbortedTransaction NodeEndpoint;
        find_coordinator find_coordinator_request: FindCoordinatorRequest;
        find_coordinator find_coordinator_response: FindCoordinatorResponse Coordinator;
        incremental_alter_configs incremental_alter_configs_request: IncrementalAlterConfigsRequest
            AlterConfigsResource AlterableConfig;
        incremental_alter_configs incremental_alter_configs_response: IncrementalAlterConfigsResponse
            AlterConfigsResourceResponse;
        init_producer_id init_producer_id_request: InitProducerIdRequest;
        init_producer_id init_producer_id_response: InitProducerIdResponse;
        list_offsets list_offsets_request: ListOffsetsRequest ListOffsetsTopic ListOffsetsPartition;
        list_offsets list_offsets_response: ListOffsetsResponse ListOffsetsTopicResponse
            ListOffsetsPartitionResponse;
        metadata metadata_request: MetadataRequest MetadataRequestTopic;
        metadata metadata_response: MetadataResponse MetadataResponseBroker MetadataResponseTopic
            MetadataResponsePartition;
        offset_for_leader_epoch offset_for_leader_epoch_request: OffsetForLeaderEpochRequest
            OffsetForLeaderTopic OffsetForLeaderPartition;
        offset_for_leader_epoch offset_for_leader_epoch_response: OffsetForLeaderEpochResponse
            OffsetForLeaderTopicResult EpochEndOffset;
        produce produce_request: ProduceRequest TopicProduceData PartitionProduceData;
        produce produce_response: ProduceResponse TopicProduceResponse PartitionProduceResponse
            BatchIndexAndErrorMessage LeaderIdAndEpoch NodeEndpoint;
    };
    assert_eq!(defaults.len(), CATALOG.iter().map(|entry| count(&entry.schema)).sum::<usize>());
    for (module, name, ours, theirs) in defaults {
        let message = module.replace('_', "");
        let root = CATALOG.iter().find(|entry| entry.schema.name.to_lowercase() == message).unwrap();
        let schema = find(&root.schema, name).unwrap();
        // In no version: fields that may be null are left out, since null is our default wherever it is possible.
        let version = i16::MIN;
        debug_text::assert_same(&schema, version, &debug_text::parse(&ours), &debug_text::parse(&theirs));
    }
}

/// Fields that were there before they could be null. The oracle takes null in every version, Kafka does not.
#[test]
fn null_came_later_than_the_field_in_four_places() {
    fn collect(schema: &Schema, found: &mut Vec<(&'static str, &'static str, i16)>) {
        for field in schema.fields {
            let mut kind = &field.kind;
            while let Kind::Nullable(inner) | Kind::Array(inner) = kind {
                kind = inner;
            }
            if let Kind::Struct(inner) = kind {
                collect(inner, found);
            }
            if matches!(field.kind, Kind::Nullable(_)) && field.null_from > field.versions.first {
                found.push((schema.name, field.name, field.null_from));
            }
        }
    }
    let mut found = Vec::new();
    CATALOG.iter().for_each(|entry| collect(&entry.schema, &mut found));
    let expected = [
        ("DeletableTopicResult", "name", 6),
        ("MetadataRequestTopic", "name", 10),
        ("MetadataRequest", "topics", 1),
        ("MetadataResponseTopic", "name", 12),
    ];
    assert_eq!(found, expected);
}
