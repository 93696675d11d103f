//! Named maxima that are not settings: formats and algorithms depend on them.

/// Alignment of direct I/O, of chunks and of commit-log groups. Unit: bytes.
pub const BLOCK_BYTES: usize = 4096;

/// Largest topic name (Kafka's rule). Unit: characters, which are all ASCII.
pub const TOPIC_NAME_CHARS_MAX: usize = 249;

/// Batches remembered per producer for the detection of duplicates (KIP-98: five in flight).
pub const PRODUCER_BATCHES_REMEMBERED: usize = 5;

/// What a producer of a partition counts for in memory: its entry, room for the batches remembered and as many under way. Unit:
/// bytes.
pub const PRODUCER_BYTES: usize = 1024;

/// Producers that one partition remembers: over it those that have been idle longest are forgotten.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 1 << 16;

/// Producers that all partitions of a shard remember, however much memory there is: bounds checkpoints.
pub const PRODUCERS_PER_SHARD_MAX: usize = 1 << 20;

/// A synced append of this size or more goes straight to its segment if that can be written at once; a smaller one, and one that
/// would have to wait for its segment to be made, through the commit log. Unit: bytes.
pub const DIRECT_APPEND_BYTES_MIN: usize = 64 * 1024;

/// Partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: i32 = 10_000;

/// Producer ids given out per metadata record (Kafka's block). Unit: ids.
pub const PRODUCER_ID_BLOCK_COUNT: i64 = 1_000;

/// Most memory that the decoding of one frame allocates for arrays, unless the caller sets another bound; a frame cannot
/// reach more than 48 times its own size per level of arrays in arrays, of which there are three at most. Enough for a
/// Fetch request of 300,000 partitions. Unit: bytes.
pub const DECODE_ALLOCATION_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Partitions of one request that creates topics (Kafka's bound).
pub const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;

/// Partitions of all topics together: bounds the image in memory and on disk.
pub const PARTITIONS_MAX: i64 = 1_000_000;

/// Largest value of one setting of a topic. Unit: bytes. Older versions of the protocol cannot send a longer one.
pub const TOPIC_CONFIG_VALUE_BYTES_MAX: usize = 32_767;

/// What all topics together take in a snapshot of the metadata: bounds the image in memory and on disk. Unit: bytes.
pub const METADATA_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Beyond any offset that a log ever comes to: what names a larger one is damaged, whatever its checksum says, and below it sums
/// do not overflow.
pub const OFFSET_MAX: i64 = 1 << 62;

/// Beyond any segment (`segment.bytes` is below 2 GiB, and one batch may follow): the same for positions. Unit: bytes.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 36;
