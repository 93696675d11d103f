//! Settings whose value is one of a few words.

/// Whose clock a batch's timestamps come from (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The broker's, at the append; `max_timestamp` and the attribute bit are rewritten.
    LogAppendTime,
}

/// How many shards there are, and on which CPUs (`shard.cores`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ShardCores {
    /// The broker chooses.
    #[default]
    Auto,
    /// So many, on CPUs that the broker chooses.
    Count(u16),
    /// One on each of these CPUs, by their numbers in the kernel: none twice.
    Cpus(Vec<u16>),
}

/// What a shard does when it has nothing to do (`shard.idle`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardIdle {
    /// It sleeps in the kernel, and costs a wake-up.
    #[default]
    Park,
    /// It polls, and costs its core.
    Spin,
}
