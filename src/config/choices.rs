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

/// On which CPU the shard runs (`shard.cores`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardCores {
    /// The broker chooses.
    #[default]
    Auto,
    /// This CPU, by its number in the kernel.
    Cpu(u32),
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
