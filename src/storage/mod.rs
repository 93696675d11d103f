//! One partition's log on disk, and all of a shard's together: append, read, flush, recovery, retention.
//!
//! The core is pure: [`shard::ShardLog`] hands out I/O as data ([`operation`]) and is told when it is done, so that the code
//! that ships is the code that the simulator kills. [`recovery`] runs once at a start, with blocking I/O.
//!
//! The life of an append: checked and copied once into a chunk of the arena (`written` from then on); if it is synced and
//! small, a frame in the commit log; if it is synced and large, a direct write of its segment. Segments are written behind.
//! A flush round brings everything to the segments, a checkpoint says so, and the commit log's files are used again.

pub mod arena;
pub mod checkpoint;
pub mod commit_log;
pub mod driver;
pub mod operation;
pub mod partition;
pub mod recovery;
pub mod seeded_bug;
pub mod shard;
pub mod side_file;

/// Names a partition among those of its shard. The place of a deleted one is given to another, the name is not: what is under
/// way for the deleted one finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionSlot {
    pub place: u32,
    /// How many partitions have had the place before.
    pub generation: u32,
}
