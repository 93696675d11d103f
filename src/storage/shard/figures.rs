//! What a shard's logs hold and have done, for whoever watches.

use super::ShardLog;
use crate::model::number::wide;
use crate::runtime::memory::ArenaMemory;

/// One shard's logs at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFigures {
    pub partitions: u64,
    /// Of them, those whose storage has failed.
    pub failed_partitions: u64,
    pub arena_bytes: u64,
    pub arena_free_bytes: u64,
    /// Of the files of the commit log, and how much of them is needed.
    pub commit_log_bytes: u64,
    pub commit_log_used_bytes: u64,
    /// Written to the commit log since this log began.
    pub groups: u64,
    pub frames: u64,
    pub group_bytes: u64,
    /// Of chunks of which segment files have not everything: how far write-behind is behind.
    pub unwritten_bytes: u64,
    /// Appended since the last flush round began.
    pub unflushed_bytes: u64,
    pub read_cache_bytes: u64,
    pub open_segment_files: u64,
    /// Idempotent producers that partitions remember.
    pub producers: u64,
}

impl<M: ArenaMemory> ShardLog<M> {
    /// Looks at no partition.
    #[must_use]
    pub fn figures(&self) -> LogFigures {
        let (arena_free_bytes, arena_bytes) = self.arena_bytes();
        let (commit_log_used_bytes, commit_log_bytes) = self.commit_log_bytes();
        LogFigures {
            partitions: wide(self.partitions.len()),
            failed_partitions: wide(self.failed.len()),
            arena_bytes,
            arena_free_bytes,
            commit_log_bytes,
            commit_log_used_bytes,
            groups: self.commit.group_count(),
            frames: self.commit.frame_count(),
            group_bytes: self.commit.written_bytes(),
            unwritten_bytes: arena_bytes.saturating_sub(arena_free_bytes).saturating_sub(self.clean_bytes),
            unflushed_bytes: self.unflushed_bytes,
            read_cache_bytes: self.cache.bytes(),
            open_segment_files: wide(self.open_count),
            producers: wide(self.producer_count),
        }
    }
}
