//! ListOffsets (key 2): offsets by timestamp. Source: KIP-79, KIP-320 (4), KIP-734 (7), KIP-405 (8), KIP-1005 (9),
//! KIP-1075 (10), KIP-1023 (11).

use crate::protocol::kafka::table::messages;

/// The next offset to be given, or below it for a reader of committed data.
pub const LATEST_TIMESTAMP: i64 = -1;
/// The first offset that is still there.
pub const EARLIEST_TIMESTAMP: i64 = -2;
/// The record with the largest timestamp; from version 7.
pub const MAX_TIMESTAMP: i64 = -3;
/// The first offset on the broker's own disk; from version 8.
pub const EARLIEST_LOCAL_TIMESTAMP: i64 = -4;
/// The last offset in remote storage; from version 9.
pub const LATEST_TIERED_TIMESTAMP: i64 = -5;
/// The first offset that remote storage does not have yet; from version 11.
pub const EARLIEST_PENDING_UPLOAD_TIMESTAMP: i64 = -6;
/// Ringlog's own question: the offset below which all is on stable media. The answer has this timestamp too, so that whoever
/// asks knows that it was understood; Kafka answers UNSUPPORTED_VERSION. The number spells RINGLOG.
pub const FLUSHED_TIMESTAMP: i64 = -0x52_49_4e_47_4c_4f_47;

messages! {
    request ListOffsetsRequest<'a> of ListOffsets {
        /// -1 is a consumer.
        replica_id: i32, 0+;
        /// 0 read uncommitted, 1 read committed.
        isolation_level: i8, 2+;
        topics: Vec<ListOffsetsTopic<'a>>, 0+;
        /// How long to wait for remote storage.
        timeout_ms: i32, 10+, ignorable;
    }
    /// One topic.
    part ListOffsetsTopic<'a> {
        name: &'a str, 0+;
        partitions: Vec<ListOffsetsPartition>, 0+;
    }
    /// The time to look for: milliseconds, or one of the negative constants.
    part ListOffsetsPartition {
        partition_index: i32, 0+;
        /// -1 does not check.
        current_leader_epoch: i32 = -1, 4+, ignorable;
        timestamp: i64, 0+;
    }

    response ListOffsetsResponse<'a> of ListOffsets {
        throttle_time_ms: i32, 2+, ignorable;
        topics: Vec<ListOffsetsTopicResponse<'a>>, 0+;
    }
    /// One topic.
    part ListOffsetsTopicResponse<'a> {
        name: &'a str, 0+;
        partitions: Vec<ListOffsetsPartitionResponse>, 0+;
    }
    /// The first record at or after the time; -1 and -1 if there is none.
    part ListOffsetsPartitionResponse {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        timestamp: i64 = -1, 1+;
        offset: i64 = -1, 1+;
        leader_epoch: i32 = -1, 4+;
    }
}
