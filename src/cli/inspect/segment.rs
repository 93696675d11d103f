//! `ringlog inspect segment`: batch after batch, as the scan of recovery sees them.

use std::ops::ControlFlow;
use std::path::Path;

use super::rows::{Rows, count, unsigned};
use crate::cli::Error;
use crate::cli::consume::{bytes_json, headers_json};
use crate::cli::json::Json;
use crate::model::Offset;
use crate::model::batch::{BatchError, BatchHeader, HEADER_BYTES};
use crate::model::number::{index, wide};
use crate::protocol::records::{Batch, Codec};
use crate::runtime::file::{Access, BlockingFile as _, Caching, FileHandle};
use crate::storage::partition::segment::parse_file_name;
use crate::storage::recovery::{Expected, Stop, walk};

/// More than this is not unpacked out of one batch. Unit: bytes.
const UNPACKED_BYTES_MAX: usize = 256 << 20;
/// Read at once to see whether the rest is zeros. Unit: bytes.
const WINDOW_BYTES: usize = 1 << 20;

pub(super) fn inspect(path: &Path, with_records: bool, rows: &mut Rows) -> Result<(), Error> {
    let file = FileHandle::open(path, Access::Read, Caching::Buffered)?;
    let length = file.length()?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let base_offset = parse_file_name(name, "log").map_or_else(|| first_offset(&file), Ok)?;
    let mut total = Total::default();
    let mut failed = Ok(());
    let (scanned, stop) = walk(&file, 0, Expected::at(base_offset), |header, at, bytes| {
        total.add(header);
        let batch = rows.row("batch", batch_row(header, at, Json::Boolean(true)));
        failed = batch.and_then(|()| if with_records { records(path, at, bytes, rows) } else { Ok(()) });
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed?;
    let allocated = stop != Stop::End && only_zeros(&file, scanned.end, length)?;
    let is_whole = stop == Stop::End || allocated;
    if !is_whole {
        print_bad(&file, scanned.end, stop, rows)?;
    }
    rows.row("total", total.row(base_offset, scanned.next.offset, scanned.end, length, allocated))?;
    if is_whole {
        return Ok(());
    }
    Err(Error::SegmentEnds { path: path.to_owned(), position: scanned.end, file_bytes: length, stop })
}

/// What a file that is not named after its first offset begins with.
fn first_offset(file: &FileHandle) -> Result<Offset, Error> {
    Ok(header_at(file, 0)?.map_or(Offset::ZERO, |header| header.base_offset))
}

fn header_at(file: &FileHandle, position: u64) -> Result<Option<BatchHeader>, Error> {
    let mut bytes = [0; HEADER_BYTES];
    let read = file.read_at(position, &mut bytes)?;
    Ok(bytes.get(..read).and_then(|bytes| BatchHeader::parse(bytes).ok()))
}

/// The header that the walk did not get past, if it can be made out.
fn print_bad(file: &FileHandle, position: u64, stop: Stop, rows: &mut Rows) -> Result<(), Error> {
    let crc_ok = match stop {
        Stop::Batch(BatchError::Crc { .. }) => Json::Boolean(false),
        Stop::Batch(BatchError::BodyCut { .. }) => Json::Null,
        _ => Json::Boolean(true),
    };
    match header_at(file, position)? {
        Some(header) => rows.row("bad", batch_row(&header, position, crc_ok)),
        None => Ok(()),
    }
}

/// An active segment has room allocated ahead behind its last batch.
fn only_zeros(file: &FileHandle, from: u64, to: u64) -> Result<bool, Error> {
    let mut window = vec![0; WINDOW_BYTES];
    let mut at = from;
    while at < to {
        let wanted = index(to - at).min(WINDOW_BYTES);
        let read = file.read_at(at, window.get_mut(..wanted).unwrap_or_default())?;
        if read == 0 || window.iter().take(read).any(|&byte| byte != 0) {
            return Ok(false);
        }
        at += wide(read);
    }
    Ok(true)
}

fn batch_row(header: &BatchHeader, position: u64, crc_ok: Json) -> Vec<(&'static str, Json)> {
    let codec = Codec::from_attributes(header.attributes);
    let codec = codec.map_or_else(|_| Json::Number(header.codec().into()), |codec| Json::from(codec.name()));
    let what = if header.is_control() {
        "control"
    } else if header.is_transactional() {
        "transactional"
    } else {
        "data"
    };
    vec![
        ("position", unsigned(position)),
        ("base_offset", Json::Number(header.base_offset.0)),
        ("last_offset", Json::Number(header.base_offset.plus(header.last_offset_delta.into()).0)),
        ("records", Json::Number(header.record_count.into())),
        ("leader_epoch", Json::Number(header.leader_epoch.0.into())),
        ("producer_id", Json::Number(header.producer_id.0)),
        ("producer_epoch", Json::Number(header.producer_epoch.0.into())),
        ("base_sequence", Json::Number(header.base_sequence.into())),
        ("content", Json::from(what)),
        ("codec", codec),
        ("timestamps", Json::from(if header.is_log_append_time() { "append" } else { "create" })),
        ("max_timestamp", Json::Number(header.max_timestamp)),
        ("bytes", count(header.size_bytes)),
        ("crc", Json::Text(format!("{:08x}", header.crc))),
        ("crc_ok", crc_ok),
    ]
}

fn records(path: &Path, position: u64, bytes: &[u8], rows: &mut Rows) -> Result<(), Error> {
    let broken = |error| Error::RecordsEnd { path: path.to_owned(), position, error };
    let batch = Batch::check(bytes).map_err(|error| broken(error.into()))?;
    let mut scratch = Vec::new();
    for record in batch.records(&mut scratch, UNPACKED_BYTES_MAX).map_err(broken)? {
        let record = record.map_err(broken)?;
        let row = vec![
            ("offset", Json::Number(record.offset.0)),
            ("timestamp", Json::Number(record.timestamp)),
            bytes_json("key", "key_hex", record.key),
            bytes_json("value", "value_hex", record.value),
            ("headers", headers_json(&record.headers)),
        ];
        rows.row("record", row)?;
    }
    Ok(())
}

/// What the good batches have in common.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    batches: u64,
    records: u64,
    max_timestamp: Option<i64>,
}

impl Total {
    fn add(&mut self, header: &BatchHeader) {
        self.batches = self.batches.saturating_add(1);
        self.records = self.records.saturating_add(u64::try_from(header.record_count).unwrap_or(0));
        self.max_timestamp = self.max_timestamp.max(Some(header.max_timestamp));
    }

    fn row(
        &self,
        base_offset: Offset,
        end_offset: Offset,
        bytes: u64,
        file_bytes: u64,
        allocated: bool,
    ) -> Vec<(&'static str, Json)> {
        let rest = file_bytes.saturating_sub(bytes);
        vec![
            ("batches", unsigned(self.batches)),
            ("records", unsigned(self.records)),
            ("base_offset", Json::Number(base_offset.0)),
            ("end_offset", Json::Number(end_offset.0)),
            ("max_timestamp", self.max_timestamp.map_or(Json::Null, Json::Number)),
            ("bytes", unsigned(bytes)),
            ("allocated_bytes", unsigned(if allocated { rest } else { 0 })),
            ("bad_bytes", unsigned(if allocated { 0 } else { rest })),
        ]
    }
}
