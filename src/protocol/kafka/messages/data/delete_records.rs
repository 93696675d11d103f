//! DeleteRecords (key 21): moves the start of logs forward. Source: KIP-107.

use crate::protocol::kafka::table::messages;

messages! {
    request DeleteRecordsRequest<'a> of DeleteRecords {
        topics: Vec<DeleteRecordsTopic<'a>>, 0+;
        timeout_ms: i32, 0+;
    }
    /// One topic.
    part DeleteRecordsTopic<'a> {
        name: &'a str, 0+;
        partitions: Vec<DeleteRecordsPartition>, 0+;
    }
    /// The first offset to keep; -1 is the high watermark.
    part DeleteRecordsPartition {
        partition_index: i32, 0+;
        offset: i64, 0+;
    }

    response DeleteRecordsResponse<'a> of DeleteRecords {
        throttle_time_ms: i32, 0+;
        topics: Vec<DeleteRecordsTopicResult<'a>>, 0+;
    }
    /// One topic.
    part DeleteRecordsTopicResult<'a> {
        name: &'a str, 0+;
        partitions: Vec<DeleteRecordsPartitionResult>, 0+;
    }
    /// The lowest start over all replicas.
    part DeleteRecordsPartitionResult {
        partition_index: i32, 0+;
        low_watermark: i64, 0+;
        error_code: i16, 0+;
    }
}
