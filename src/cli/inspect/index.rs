//! `ringlog inspect index`: what finds a batch by offset and by time.

use std::path::Path;

use super::read;
use super::rows::{Rows, count, unsigned};
use crate::cli::Error;
use crate::cli::json::Json;
use crate::storage::side_file::decode_index;

pub(super) fn inspect(path: &Path, rows: &mut Rows) -> Result<(), Error> {
    let content = read(path)?;
    let file =
        decode_index(content.as_slice()).map_err(|error| Error::SideFile { path: path.to_owned(), error })?;
    let segment = &file.segment;
    let header = vec![
        ("base_offset", Json::Number(segment.base_offset)),
        ("bytes", unsigned(segment.size)),
        ("max_timestamp", Json::Number(segment.max_timestamp)),
        ("max_timestamp_offset", Json::Number(segment.max_timestamp_offset)),
        ("entries", count(file.entries.len())),
    ];
    rows.row("segment", header)?;
    let mut before = None;
    for (number, &(offset, position, max_timestamp)) in file.entries.iter().enumerate() {
        let entry = vec![
            ("offset", Json::Number(offset)),
            ("position", unsigned(position)),
            ("max_timestamp", Json::Number(max_timestamp)),
        ];
        rows.row("entry", entry)?;
        let follows = before.is_none_or(|(last_offset, last_position, last_timestamp)| {
            offset > last_offset && position > last_position && max_timestamp >= last_timestamp
        });
        if !follows || offset < segment.base_offset || position >= segment.size {
            return Err(Error::IndexOrder { path: path.to_owned(), entry: number });
        }
        before = Some((offset, position, max_timestamp));
    }
    Ok(())
}
