//! From the files to the state, at start-up.

use super::{
    COMPACTED_LOG_BYTES_MIN, DIRECTORY, Error, FILE_BYTES_MAX, FileRef, OpenLog, Store, UNFINISHED,
    parse_name, path_of,
};
use crate::controller::log::{self, Fault, FileKind, HEADER_BYTES, Header, ScanEnd, snapshot};
use crate::controller::state::State;
use crate::model::ClusterId;
use crate::model::image::{BrokerImage, MetadataOffset};
use crate::runtime::disk::BlockingDisk;
use crate::runtime::file::{Access, BlockingFile, Caching};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// What was found.
pub(in crate::controller::driver) struct Loaded<D: BlockingDisk> {
    pub state: State,
    pub store: Store<D>,
    /// Before anything is appended, the state must be written to a new snapshot and a new log.
    ///
    /// A log that another process wrote is not written on: if its last flush failed, the kernel may show bytes that are not
    /// on disk, and never try again to put them there.
    pub needs_snapshot: bool,
    /// Nothing that was read was damaged or cut short: there is no topic that was made and is not known.
    pub is_whole: bool,
}

/// Reads the newest readable snapshot and the logs behind it, up to where a write was interrupted.
///
/// # Errors
/// Something that was acknowledged cannot be read, or was written by a newer Ringlog.
pub(in crate::controller::driver) fn load<D: BlockingDisk>(
    disk: D,
    cluster_id: ClusterId,
    broker: &BrokerImage,
) -> Result<Loaded<D>, Error> {
    let found = Found::list(&disk)?;
    // What is found may not be durable, if a process ended within a change; what follows relies on it.
    disk.sync_directory(Path::new(DIRECTORY))?;
    let reader = Reader { disk: &disk, cluster_id };
    let logs = reader.log_headers(&found.logs)?;
    let (snapshots, damaged, newest) = reader.newest_snapshot(&found.snapshots, broker)?;
    let mut state = newest.unwrap_or_else(|| State::new(cluster_id, broker.clone()));
    let end = reader.replay(&logs, &mut state)?;
    let newest_log = logs.last().ok_or(Error::NoLog)?;
    let open = reader.open_if_empty(newest_log, end, &state)?;
    let needs_snapshot = open.is_none() || !damaged.is_empty();
    let is_whole = damaged.is_empty() && end.torn_bytes == 0;
    let needless = damaged;
    let next_number = found.next_number();
    let compact_at_bytes = COMPACTED_LOG_BYTES_MIN.max(state.snapshot_bytes_max());
    let logs = logs.iter().map(|header| FileRef { number: header.number, offset: header.offset }).collect();
    let store = Store { disk, cluster_id, open, snapshots, logs, needless, next_number, compact_at_bytes };
    Ok(Loaded { state, store, needs_snapshot, is_whole })
}

/// The numbers of the files, ascending.
struct Found {
    snapshots: Vec<u64>,
    logs: Vec<u64>,
}

impl Found {
    /// Lists the folder, and removes files that were never finished.
    fn list<D: BlockingDisk>(disk: &D) -> Result<Self, Error> {
        let mut found = Self { snapshots: Vec::new(), logs: Vec::new() };
        let entries = match disk.list(Path::new(DIRECTORY)) {
            Err(error) if error.is_not_found() => return Err(Error::NoLog),
            entries => entries?,
        };
        for entry in entries {
            match parse_name(&entry.name) {
                Some((FileKind::Snapshot, number)) => found.snapshots.push(number),
                Some((FileKind::Log, number)) => found.logs.push(number),
                None if entry.name.ends_with(UNFINISHED) => {
                    disk.remove(&Path::new(DIRECTORY).join(&entry.name))?;
                }
                None => {
                    tracing::warn!("{DIRECTORY}/{} is not a file of Ringlog's; it is left alone", entry.name)
                }
            }
        }
        found.snapshots.sort_unstable();
        found.logs.sort_unstable();
        Ok(found)
    }

    fn next_number(&self) -> u64 {
        let newest = self.snapshots.last().max(self.logs.last());
        newest.map_or(0, |newest| newest.saturating_add(1))
    }
}

struct Reader<'a, D> {
    disk: &'a D,
    cluster_id: ClusterId,
}

/// Readable snapshots by number, damaged files, and the state of the newest readable one.
type Snapshots = (Vec<FileRef>, Vec<PathBuf>, Option<State>);

impl<D: BlockingDisk> Reader<'_, D> {
    fn newest_snapshot(&self, numbers: &[u64], broker: &BrokerImage) -> Result<Snapshots, Error> {
        let mut readable = Vec::new();
        let mut damaged = Vec::new();
        let mut newest = None;
        for &number in numbers.iter().rev() {
            let path = path_of(FileKind::Snapshot, number);
            match self.snapshot(&path, number, broker) {
                Ok((header, state)) => {
                    readable.push(FileRef { number, offset: header.offset });
                    newest.get_or_insert(state);
                }
                Err(error @ (Error::NewerFormat { .. } | Error::OtherCluster { .. })) => return Err(error),
                Err(error) => {
                    tracing::warn!(
                        "a snapshot of the metadata cannot be read, an older one and the log are: {error}"
                    );
                    damaged.push(path);
                }
            }
        }
        readable.reverse();
        Ok((readable, damaged, newest))
    }

    fn snapshot(&self, path: &Path, number: u64, broker: &BrokerImage) -> Result<(Header, State), Error> {
        let bytes = self.disk.read_file(path, FILE_BYTES_MAX)?;
        let decoded = snapshot::decode(&bytes, broker.clone());
        let (header, state) = decoded.map_err(|source| fault(path, source))?;
        self.check_header(path, &header, number)?;
        Ok((header, state))
    }

    fn log_headers(&self, numbers: &[u64]) -> Result<Vec<Header>, Error> {
        let mut headers: Vec<Header> = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let path = path_of(FileKind::Log, number);
            let file = self.disk.open(&path, Access::Read, Caching::Buffered)?;
            let mut bytes = [0; HEADER_BYTES];
            file.read_at(0, &mut bytes)?;
            let header = Header::parse(&bytes, FileKind::Log).map_err(|source| fault(&path, source))?;
            self.check_header(&path, &header, number)?;
            let expected = headers.last().map_or(MetadataOffset(0), |before| before.offset);
            if header.offset < expected {
                return Err(Error::Gap { path, expected: expected.0, found: header.offset.0 });
            }
            headers.push(header);
        }
        Ok(headers)
    }

    fn check_header(&self, path: &Path, header: &Header, number: u64) -> Result<(), Error> {
        if header.cluster_id != self.cluster_id {
            let (expected, found) = (self.cluster_id, header.cluster_id);
            return Err(Error::OtherCluster { path: path.to_owned(), expected, found });
        }
        // A file under another's name would be read at the wrong place.
        if header.number != number {
            return Err(Error::Damaged { path: path.to_owned(), source: Fault::Header });
        }
        Ok(())
    }

    /// Applies the records that `state` does not have yet. Returns where the newest log ends.
    fn replay(&self, logs: &[Header], state: &mut State) -> Result<ScanEnd, Error> {
        let newest = logs.last().ok_or(Error::NoLog)?;
        let beginning = state.image().metadata_offset();
        let first_needed = logs.partition_point(|log| log.offset <= beginning).checked_sub(1);
        let Some(needed) = first_needed.and_then(|first| logs.get(first..)) else {
            let path = logs.first().map_or_else(PathBuf::new, |log| path_of(FileKind::Log, log.number));
            let found = logs.first().map_or(0, |log| log.offset.0);
            return Err(Error::Gap { path, expected: beginning.0, found });
        };
        let mut end = ScanEnd { offset: newest.offset, position: HEADER_BYTES, torn_bytes: 0 };
        for (place, log) in needed.iter().enumerate() {
            let next = needed.get(place + 1);
            end = self.replay_log(log, next.map(|next| next.offset), state)?;
            if let Some(next) = next.filter(|next| next.offset != end.offset) {
                let path = path_of(FileKind::Log, next.number);
                return Err(Error::Gap { path, expected: end.offset.0, found: next.offset.0 });
            }
        }
        // The newest log may end before the snapshot: of a process that ended while it appended, the next one found records
        // that were not on disk yet, and put them into a snapshot before the power went.
        Ok(end)
    }

    /// The records of one log up to (not with) the offset `until`.
    fn replay_log(
        &self,
        log: &Header,
        until: Option<MetadataOffset>,
        state: &mut State,
    ) -> Result<ScanEnd, Error> {
        let path = path_of(FileKind::Log, log.number);
        let bytes = self.disk.read_file(&path, FILE_BYTES_MAX)?;
        let scanned = log::scan(&bytes, log, |offset, record| {
            if Some(offset) == until {
                return Ok(ControlFlow::Break(()));
            }
            if offset >= state.image().metadata_offset() {
                let applied = state.apply(&record);
                applied.map_err(|source| Fault::Inconsistent { offset: offset.0, source })?;
            }
            Ok(ControlFlow::Continue(()))
        });
        scanned.map_err(|source| fault(&path, source))
    }

    /// The newest log, if nothing was ever written to it and it goes on where `state` ends: only then can it be written on.
    fn open_if_empty(
        &self,
        log: &Header,
        end: ScanEnd,
        state: &State,
    ) -> Result<Option<OpenLog<D::File>>, Error> {
        let path = path_of(FileKind::Log, log.number);
        if end.torn_bytes > 0 {
            let torn_bytes = end.torn_bytes;
            tracing::warn!("{}: its last {torn_bytes} bytes are of an interrupted write", path.display());
        }
        let is_empty = end.position == HEADER_BYTES && end.torn_bytes == 0;
        if !is_empty || end.offset != state.image().metadata_offset() {
            return Ok(None);
        }
        let file = self.disk.open(&path, Access::Write, Caching::Buffered)?;
        Ok(Some(OpenLog { file, header_crc: log.crc(), end_position: HEADER_BYTES as u64 }))
    }
}

fn fault(path: &Path, source: Fault) -> Error {
    let path = path.to_owned();
    if source.is_newer_format() {
        Error::NewerFormat { path, source }
    } else {
        Error::Damaged { path, source }
    }
}
