//! DescribeLogDirs (key 35): what lies in which directory. Source: KIP-113, KIP-784 (3), KIP-827 (4).

use crate::protocol::kafka::table::messages;

messages! {
    request DescribeLogDirsRequest<'a> of DescribeLogDirs {
        /// Null asks for all.
        topics: Option<Vec<DescribableLogDirTopic<'a>>> = Some(Vec::new()), 0+, null 0+;
    }
    /// One topic.
    part DescribableLogDirTopic<'a> {
        topic: &'a str, 0+;
        partitions: Vec<i32>, 0+;
    }

    response DescribeLogDirsResponse<'a> of DescribeLogDirs {
        throttle_time_ms: i32, 0+;
        error_code: i16, 3+, ignorable;
        results: Vec<DescribeLogDirsResult<'a>>, 0+;
    }
    /// One directory.
    part DescribeLogDirsResult<'a> {
        error_code: i16, 0+;
        log_dir: &'a str, 0+;
        topics: Vec<DescribeLogDirsTopic<'a>>, 0+;
        total_bytes: i64 = -1, 4+, ignorable;
        usable_bytes: i64 = -1, 4+, ignorable;
    }
    /// One topic in it.
    part DescribeLogDirsTopic<'a> {
        name: &'a str, 0+;
        partitions: Vec<DescribeLogDirsPartition>, 0+;
    }
    /// One partition's log, or the copy of it that shall replace it.
    part DescribeLogDirsPartition {
        partition_index: i32, 0+;
        partition_size: i64, 0+;
        offset_lag: i64, 0+;
        is_future_key: bool, 0+;
    }
}
