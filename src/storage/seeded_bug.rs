//! Bugs that the simulation plants to prove that it would find them. Release builds contain none of them.

/// One deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededBug {
    /// A sync is reported without being done.
    SkipFlush,
    /// A commit group counts as durable when it is submitted.
    AcknowledgeBeforeCompletion,
    /// Recovery does not check the CRC of batches.
    MissCrcCheck,
    /// Recovery leaves what follows the last good batch in the file.
    KeepTornTail,
    /// Commit-log files are written again before segments and checkpoint make up for them.
    RecycleEarly,
    /// Recovery scans the tails before it replays the commit log.
    ScanBeforeReplay,
    /// A `written` topic resumes at the end of what was found, not of what was reserved.
    ReuseOffset,
    /// A truncation writes no frame.
    ForgetTruncation,
    /// A duplicate is acknowledged before its original is durable.
    ReplyToDuplicateEarly,
    /// The length of a chunk is published before its bytes are in place.
    PublishBeforeBytes,
    /// A chunk counts as clean, and can be used again, when its write is submitted.
    FreeChunkEarly,
    /// What a start could not put into a partition's files is not put aside for the next.
    ForgetHeld,
}

/// Whether `seeded` is `bug`; never in a release build.
#[must_use]
pub fn planted(seeded: Option<SeededBug>, bug: SeededBug) -> bool {
    cfg!(debug_assertions) && seeded == Some(bug)
}
