//! A segment: a run of batches in one file, and the sparse index over it.

use std::collections::VecDeque;

use crate::model::batch::BatchHeader;
use crate::model::{Offset, TopicId};
use crate::storage::operation::FileId;

/// Where the file of a segment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Nothing was asked of the driver yet; the file may exist on disk (`on_disk`) or not.
    Closed {
        on_disk: bool,
    },
    /// An open, allocate, seal or cut is under way.
    Busy(FileId),
    Open(FileId),
}

/// One segment. Positions inside are bytes of its file; `start` places them in the partition's log positions.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Offset of its first record; its file is named after it.
    pub base_offset: Offset,
    /// Log position of its first byte, a multiple of 4,096. Log positions only order bytes within one life of the process.
    pub start: u64,
    /// Bytes of whole batches.
    pub size: u64,
    /// Bytes that stand in the file, from its start on.
    pub written: u64,
    /// Bytes of them on stable media.
    pub synced: u64,
    /// Bytes that the file has room for.
    pub allocated: u64,
    pub file: FileState,
    /// Nothing is appended any more.
    pub closed: bool,
    /// Cut to its size, durable, index written: the file is final.
    pub sealed: bool,
    pub max_timestamp: i64,
    pub max_timestamp_offset: Offset,
    /// Wall clock of the first append, ms; for `segment.ms`.
    pub first_append_ms: i64,
    pub index: SegmentIndex,
    /// The index file is being read.
    pub index_coming: bool,
}

impl Segment {
    /// An empty segment without a file.
    #[must_use]
    pub fn new(base_offset: Offset, start: u64, now_ms: i64) -> Self {
        Self {
            base_offset,
            start,
            size: 0,
            written: 0,
            synced: 0,
            allocated: 0,
            file: FileState::Closed { on_disk: false },
            closed: false,
            sealed: false,
            max_timestamp: -1,
            max_timestamp_offset: Offset(-1),
            first_append_ms: now_ms,
            index: SegmentIndex::default(),
            index_coming: false,
        }
    }

    /// Log position behind its last byte.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start + self.size
    }

    /// Log position up to which the file has the bytes.
    #[must_use]
    pub const fn written_end(&self) -> u64 {
        self.start + self.written
    }

    /// Log position up to which stable media have the bytes.
    #[must_use]
    pub const fn synced_end(&self) -> u64 {
        self.start + self.synced
    }

    /// Takes note of a batch at byte `position`, already part of `size` or about to be.
    pub fn note_batch(&mut self, header: &BatchHeader, position: u64, interval_bytes: u64) {
        if header.max_timestamp > self.max_timestamp {
            self.max_timestamp = header.max_timestamp;
            self.max_timestamp_offset = header.base_offset.plus(i64::from(header.last_offset_delta));
        }
        self.index.note(
            IndexEntry { offset: header.base_offset, position, max_timestamp: self.max_timestamp },
            interval_bytes,
        );
    }
}

/// The batch that begins at `position` begins with `offset`; no record before it is later than `max_timestamp` (nor one in it,
/// unless a walk that has not read it has noted it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    pub offset: Offset,
    pub position: u64,
    pub max_timestamp: i64,
}

/// Entries at least an interval apart, in order of offset and position.
#[derive(Clone, Debug, Default)]
pub struct SegmentIndex {
    entries: VecDeque<IndexEntry>,
    /// Whether it covers its segment: an index that was not loaded is empty and says so.
    pub loaded: bool,
    /// It is whole, and its file still to be written.
    pub due: bool,
}

impl SegmentIndex {
    /// An index of these entries, complete.
    #[must_use]
    pub fn complete(entries: VecDeque<IndexEntry>) -> Self {
        Self { entries, loaded: true, due: false }
    }

    fn note(&mut self, entry: IndexEntry, interval_bytes: u64) {
        self.loaded = true;
        let due = self.entries.back().is_none_or(|last| entry.position >= last.position + interval_bytes);
        if due {
            self.entries.push_back(entry);
        }
    }

    /// Takes an entry that a walk over batch headers has found out, so that the next walk need not begin as far away.
    pub fn learn(&mut self, entry: IndexEntry) {
        let place = self.entries.partition_point(|known| known.position < entry.position);
        if self.entries.get(place).is_none_or(|known| known.position > entry.position) {
            self.entries.insert(place, entry);
        }
    }

    /// The last entry at or before byte `position`.
    #[must_use]
    pub fn entry_before(&self, position: u64) -> Option<&IndexEntry> {
        let behind = self.entries.partition_point(|entry| entry.position <= position);
        self.entries.get(behind.checked_sub(1)?)
    }

    /// Position from which a walk over batch headers finds the batch with `offset`.
    #[must_use]
    pub fn floor_of_offset(&self, offset: Offset) -> u64 {
        let behind = self.entries.partition_point(|entry| entry.offset <= offset);
        behind.checked_sub(1).and_then(|place| self.entries.get(place)).map_or(0, |entry| entry.position)
    }

    /// Position from which a walk over batch headers finds the first batch that is not older than `timestamp`.
    #[must_use]
    pub fn floor_of_timestamp(&self, timestamp: i64) -> u64 {
        let behind = self.entries.partition_point(|entry| entry.max_timestamp < timestamp);
        behind.checked_sub(1).and_then(|place| self.entries.get(place)).map_or(0, |entry| entry.position)
    }

    /// Forgets what lies at or behind byte `position`.
    pub fn truncate(&mut self, position: u64) {
        while self.entries.back().is_some_and(|last| last.position >= position) {
            self.entries.pop_back();
        }
    }

    /// Keeps entries at least `interval_bytes` apart: a closed segment needs less precision in memory.
    pub fn thin_out(&mut self, interval_bytes: u64) {
        let mut kept_until = None;
        self.entries.retain(|entry| {
            let keep = kept_until.is_none_or(|last: u64| entry.position >= last + interval_bytes);
            if keep {
                kept_until = Some(entry.position);
            }
            keep
        });
        self.entries.shrink_to_fit();
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries in order.
    pub fn entries(&self) -> impl Iterator<Item = &IndexEntry> {
        self.entries.iter()
    }
}

/// Name of the file that says whose folder it is.
pub const METADATA_NAME: &str = "partition.metadata";

/// Name of the file with `suffix` of the segment at `base_offset`: 20 digits, as Kafka's.
#[must_use]
pub fn file_name(base_offset: Offset, suffix: &str) -> String {
    format!("{:020}.{suffix}", base_offset.0)
}

/// Ends the names of producer snapshots; what stands before it is the offset at which the log ended.
pub const SNAPSHOT_SUFFIX: &str = "snapshot";

/// Path of the index of the segment at `base_offset` in a partition's folder.
#[must_use]
pub fn index_path(folder: &str, base_offset: Offset) -> String {
    format!("{folder}/{}", file_name(base_offset, "index"))
}

/// Path of the producer snapshot at `end_offset` in a partition's folder.
#[must_use]
pub fn snapshot_path(folder: &str, end_offset: Offset) -> String {
    format!("{folder}/{}", file_name(end_offset, SNAPSHOT_SUFFIX))
}

/// Name and content of the file that says whose folder it is; Kafka's own.
#[must_use]
pub fn metadata_file(topic_id: TopicId) -> (String, Vec<u8>) {
    (METADATA_NAME.to_owned(), format!("version: 0\ntopic_id: {topic_id}").into_bytes())
}

/// The topic id in the content of such a file.
#[must_use]
pub fn parse_metadata_file(contents: &[u8]) -> Option<TopicId> {
    let text = std::str::from_utf8(contents).ok()?;
    text.lines().find_map(|line| TopicId::parse(line.strip_prefix("topic_id: ")?.trim()))
}

/// The base offset in a name that [`file_name`] made.
#[must_use]
pub fn parse_file_name(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?.strip_suffix('.')?;
    if digits.len() != 20 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas_and_read_back() {
        assert_eq!(file_name(Offset(1234), "log"), "00000000000000001234.log");
        assert_eq!(parse_file_name("00000000000000001234.log", "log"), Some(Offset(1234)));
        for bad in
            ["1234.log", "00000000000000001234.index", "0000000000000000123x.log", "99999999999999999999.log"]
        {
            assert_eq!(parse_file_name(bad, "log"), None, "{bad}");
        }
    }

    #[test]
    fn a_folder_says_whose_it_is() {
        let (name, contents) = metadata_file(TopicId([9; 16]));
        assert_eq!(name, "partition.metadata");
        assert_eq!(parse_metadata_file(&contents), Some(TopicId([9; 16])));
        assert_eq!(parse_metadata_file(b"version: 0"), None);
    }

    #[test]
    fn the_index_finds_floors_and_forgets_what_was_cut() {
        let mut index = SegmentIndex::default();
        for n in 0..100u64 {
            let entry = IndexEntry {
                offset: Offset(n.cast_signed() * 10),
                position: n * 1000,
                max_timestamp: n.cast_signed() * 5,
            };
            index.note(entry, 3000);
        }
        assert_eq!(index.floor_of_offset(Offset(0)), 0);
        assert_eq!(index.floor_of_offset(Offset(29)), 0);
        assert_eq!(index.floor_of_offset(Offset(30)), 3000);
        assert_eq!(index.floor_of_timestamp(16), 3000);
        index.truncate(6000);
        assert_eq!(index.floor_of_offset(Offset(900)), 3000);
        index.thin_out(1 << 20);
        assert_eq!(index.entries().count(), 1);
    }
}
