//! OffsetForLeaderEpoch (key 23): where a leader epoch ended, so that a follower or consumer finds what it must drop.
//! Source: KIP-101, KIP-320 (2, 3).

use crate::protocol::kafka::table::messages;

messages! {
    request OffsetForLeaderEpochRequest<'a> of OffsetForLeaderEpoch {
        /// -1 is a consumer, -2 one that may see beyond the high watermark.
        replica_id: i32 = -2, 3+, ignorable;
        topics: Vec<OffsetForLeaderTopic<'a>>, 0+;
    }
    /// One topic.
    part OffsetForLeaderTopic<'a> {
        topic: &'a str, 0+;
        partitions: Vec<OffsetForLeaderPartition>, 0+;
    }
    /// The epoch whose end is asked for.
    part OffsetForLeaderPartition {
        partition: i32, 0+;
        /// -1 does not check.
        current_leader_epoch: i32 = -1, 2+, ignorable;
        leader_epoch: i32, 0+;
    }

    response OffsetForLeaderEpochResponse<'a> of OffsetForLeaderEpoch {
        throttle_time_ms: i32, 2+, ignorable;
        topics: Vec<OffsetForLeaderTopicResult<'a>>, 0+;
    }
    /// One topic.
    part OffsetForLeaderTopicResult<'a> {
        topic: &'a str, 0+;
        partitions: Vec<EpochEndOffset>, 0+;
    }
    /// The largest epoch not above the one asked for, and the first offset behind it; -1 and -1 if not known.
    part EpochEndOffset {
        error_code: i16, 0+;
        partition: i32, 0+;
        leader_epoch: i32 = -1, 1+, ignorable;
        end_offset: i64 = -1, 0+;
    }
}
