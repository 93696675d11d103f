//! CreateTopics (key 19). Source: KIP-4, KIP-464 (4: the broker's defaults), KIP-525 (5), KIP-599 (6), KIP-516 (7: ids).

use crate::model::TopicId;
use crate::protocol::kafka::table::messages;

messages! {
    request CreateTopicsRequest<'a> of CreateTopics {
        topics: Vec<CreatableTopic<'a>>, 0+;
        timeout_ms: i32 = 60_000, 0+;
        validate_only: bool, 1+;
    }
    /// Counts of -1 stand for the broker's defaults, or with `assignments` for what those say.
    part CreatableTopic<'a> {
        name: &'a str, 0+;
        num_partitions: i32, 0+;
        replication_factor: i16, 0+;
        assignments: Vec<CreatableReplicaAssignment>, 0+;
        configs: Vec<CreatableTopicConfig<'a>>, 0+;
    }
    /// The brokers of one partition, the preferred leader first.
    part CreatableReplicaAssignment {
        partition_index: i32, 0+;
        broker_ids: Vec<i32>, 0+;
    }
    /// A setting of the topic.
    part CreatableTopicConfig<'a> {
        name: &'a str, 0+;
        value: Option<&'a str>, 0+, null 0+;
    }

    response CreateTopicsResponse<'a> of CreateTopics {
        throttle_time_ms: i32, 2+, ignorable;
        topics: Vec<CreatableTopicResult<'a>>, 0+;
    }
    /// What became of one topic.
    part CreatableTopicResult<'a> {
        name: &'a str, 0+;
        topic_id: TopicId = TopicId::ZERO, 7+, ignorable;
        error_code: i16, 0+;
        error_message: Option<&'a str>, 1+, null 0+, ignorable;
        /// Why `configs` is null, when the topic was made and its settings may not be seen.
        topic_config_error_code: i16, 5+, tag 0, ignorable;
        num_partitions: i32 = -1, 5+, ignorable;
        replication_factor: i16 = -1, 5+, ignorable;
        configs: Option<Vec<CreatableTopicConfigs<'a>>>, 5+, null 5+, ignorable;
    }
    /// A setting as it now is. `config_source`: see DescribeConfigs.
    part CreatableTopicConfigs<'a> {
        name: &'a str, 5+;
        value: Option<&'a str>, 5+, null 5+;
        read_only: bool, 5+;
        config_source: i8 = -1, 5+, ignorable;
        is_sensitive: bool, 5+;
    }
}
