//! `ringlog inspect commit-log`: the header of a stream's file, and its frames up to where the chain ends.

use std::path::Path;

use super::read;
use super::rows::{Rows, count, unsigned};
use crate::cli::Error;
use crate::cli::json::Json;
use crate::model::limits::BLOCK_BYTES;
use crate::model::{DirectoryId, TopicId};
use crate::storage::commit_log::chain::{Chain, Link};
use crate::storage::commit_log::frame::{FileHeader, FrameHeader, kind};

pub(super) fn inspect(path: &Path, rows: &mut Rows) -> Result<(), Error> {
    let content = read(path)?;
    let content = content.as_slice();
    let first_block = content.get(..BLOCK_BYTES).unwrap_or_default();
    let Some(header) = FileHeader::decode(first_block) else {
        if first_block.is_empty() || first_block.iter().any(|&byte| byte != 0) {
            return Err(Error::NoCommitLog { path: path.to_owned() });
        }
        // Made ahead, and not needed yet.
        return rows.row("unused", vec![("bytes", count(content.len()))]);
    };
    let file = vec![
        ("incarnation", unsigned(header.incarnation)),
        ("file_sequence", unsigned(header.file_sequence)),
        ("first_sequence", unsigned(header.first_sequence)),
        ("directory_id", Json::Text(DirectoryId(header.directory_id).to_string())),
        ("shard", Json::Number(header.shard.into())),
        ("bytes", count(content.len())),
    ];
    rows.row("file", file)?;
    let mut chain = Chain::new(&header, content);
    let mut frames = 0_usize;
    for link in chain.by_ref() {
        rows.row("frame", frame_row(&link))?;
        frames = frames.saturating_add(1);
    }
    let total = vec![
        ("frames", count(frames)),
        ("next_sequence", unsigned(chain.next_sequence())),
        ("end", count(chain.end())),
        ("behind", Json::from(behind(content, chain.end()))),
    ];
    rows.row("total", total)?;
    chain.resumption().map_or(Ok(()), |later| {
        Err(Error::CommitLogBreaks {
            path: path.to_owned(),
            position: chain.end(),
            expected: chain.next_sequence(),
            later_position: later.position,
            later: later.header.sequence,
        })
    })
}

/// What the chain ended at.
fn behind(content: &[u8], end: usize) -> &'static str {
    let rest = content.get(end.next_multiple_of(BLOCK_BYTES)..).unwrap_or_default();
    if rest.iter().all(|&byte| byte == 0) {
        "zeros"
    } else if FrameHeader::decode(rest).is_some() {
        "older_frames"
    } else {
        // Of an interrupted write, or the middle of an older use of the file.
        "other_bytes"
    }
}

fn frame_row(link: &Link<'_>) -> Vec<(&'static str, Json)> {
    let header = &link.header;
    let kind = match header.kind {
        kind::DATA => Json::from("data"),
        kind::TRUNCATE => Json::from("truncate"),
        kind::LOG_START => Json::from("log_start"),
        kind::RESERVE => Json::from("reserve"),
        other => Json::Number(other.into()),
    };
    vec![
        ("position", count(link.position)),
        ("sequence", unsigned(header.sequence)),
        ("kind", kind),
        ("topic_id", Json::Text(TopicId(header.topic_id).to_string())),
        ("partition", Json::Number(header.partition.into())),
        ("leader_epoch", Json::Number(header.leader_epoch.into())),
        ("base_offset", Json::Number(header.base_offset)),
        ("end_offset", Json::Number(header.end_offset)),
        ("segment", Json::Number(header.segment)),
        ("segment_position", unsigned(header.position)),
        ("bytes", count(link.body.len())),
    ]
}
