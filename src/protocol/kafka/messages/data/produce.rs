//! Produce (key 0): appends record batches. Source: KIP-98 (3), KIP-467 (8), KIP-951 (10), KIP-890 (11, 12),
//! KIP-516 (13: topics by id).

use crate::model::TopicId;
use crate::protocol::kafka::table::messages;
use crate::protocol::kafka::{Records, Rows};

messages! {
    /// `acks`: 0 asks for no response at all, 1 for the leader, -1 for all in-sync replicas.
    request ProduceRequest<'a> of Produce {
        transactional_id: Option<&'a str>, 3+, null 3+;
        acks: i16, 0+;
        timeout_ms: i32, 0+;
        topic_data: Rows<TopicProduceData<'a>>, 0+;
    }
    /// One topic, by name until version 12, by id from 13.
    part TopicProduceData<'a> {
        name: &'a str, 0-12, ignorable;
        topic_id: TopicId = TopicId::ZERO, 13+, ignorable;
        partition_data: Rows<PartitionProduceData<'a>>, 0+;
    }
    /// Record batches for one partition.
    part PartitionProduceData<'a> {
        index: i32, 0+;
        records: Option<Records<'a>>, 0+, null 0+;
    }

    /// Sent unless `acks` was 0.
    response ProduceResponse<'a> of Produce {
        responses: Rows<TopicProduceResponse<'a>>, 0+;
        throttle_time_ms: i32, 1+, ignorable;
        /// Where the leaders named in `current_leader` are reached.
        node_endpoints: Vec<NodeEndpoint<'a>>, 10+, tag 0;
    }
    /// One topic, by name until version 12, by id from 13.
    part TopicProduceResponse<'a> {
        name: &'a str, 0-12, ignorable;
        topic_id: TopicId = TopicId::ZERO, 13+, ignorable;
        partition_responses: Rows<PartitionProduceResponse<'a>>, 0+;
    }
    /// What became of one partition's batches.
    part PartitionProduceResponse<'a> {
        index: i32, 0+;
        error_code: i16, 0+;
        base_offset: i64, 0+;
        /// -1 unless the topic's timestamps are the broker's.
        log_append_time_ms: i64 = -1, 2+, ignorable;
        log_start_offset: i64 = -1, 5+, ignorable;
        record_errors: Vec<BatchIndexAndErrorMessage<'a>>, 8+, ignorable;
        error_message: Option<&'a str>, 8+, null 8+, ignorable;
        current_leader: LeaderIdAndEpoch, 10+, tag 0;
    }
    /// A record that made its batch be refused.
    part BatchIndexAndErrorMessage<'a> {
        batch_index: i32, 8+;
        batch_index_error_message: Option<&'a str>, 8+, null 8+;
    }
    /// The leader to turn to instead.
    part LeaderIdAndEpoch {
        leader_id: i32 = -1, 10+;
        leader_epoch: i32 = -1, 10+;
    }
    /// A broker's address.
    part NodeEndpoint<'a> {
        node_id: i32, 10+;
        host: &'a str, 10+;
        port: i32, 10+;
        rack: Option<&'a str>, 10+, null 10+;
    }
}
