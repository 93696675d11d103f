//! CreatePartitions (key 37): more partitions for topics that exist. Source: KIP-195, KIP-599 (3).

use crate::protocol::kafka::table::messages;

messages! {
    request CreatePartitionsRequest<'a> of CreatePartitions {
        topics: Vec<CreatePartitionsTopic<'a>>, 0+;
        timeout_ms: i32, 0+;
        validate_only: bool, 0+;
    }
    /// `count` is the number of partitions afterwards; `assignments` places the new ones, null leaves it to the cluster.
    part CreatePartitionsTopic<'a> {
        name: &'a str, 0+;
        count: i32, 0+;
        assignments: Option<Vec<CreatePartitionsAssignment>>, 0+, null 0+;
    }
    /// The brokers of one new partition, the preferred leader first.
    part CreatePartitionsAssignment {
        broker_ids: Vec<i32>, 0+;
    }

    response CreatePartitionsResponse<'a> of CreatePartitions {
        throttle_time_ms: i32, 0+;
        results: Vec<CreatePartitionsTopicResult<'a>>, 0+;
    }
    /// What became of one topic.
    part CreatePartitionsTopicResult<'a> {
        name: &'a str, 0+;
        error_code: i16, 0+;
        error_message: Option<&'a str>, 0+, null 0+;
    }
}
