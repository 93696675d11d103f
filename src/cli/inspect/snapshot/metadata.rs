//! The metadata's logs and snapshots: their header and records.

use std::ops::ControlFlow;
use std::path::Path;

use super::Row;
use crate::cli::Error;
use crate::cli::inspect::rows::{Rows, count, unsigned};
use crate::cli::json::Json;
use crate::controller::log::{FileKind, Header, scan, snapshot};
use crate::controller::state::Record;
use crate::model::image::{BrokerImage, TopicImage};

/// A snapshot is good or bad as a whole.
pub(super) fn inspect_snapshot(path: &Path, bytes: &[u8], rows: &mut Rows) -> Result<(), Error> {
    let decoded = snapshot::decode(bytes, BrokerImage::default());
    let (header, state) = decoded.map_err(|fault| Error::Metadata { path: path.to_owned(), fault })?;
    print_header("snapshot", &header, bytes, rows)?;
    state.to_records().try_for_each(|record| print_record(&Row::new(), &record, rows))
}

pub(super) fn inspect_log(path: &Path, bytes: &[u8], rows: &mut Rows) -> Result<(), Error> {
    let damaged = |fault| Error::Metadata { path: path.to_owned(), fault };
    let header = Header::parse(bytes, FileKind::Log).map_err(damaged)?;
    print_header("log", &header, bytes, rows)?;
    let mut printed = Ok(());
    let scanned = scan(bytes, &header, |offset, record| {
        printed = print_record(&vec![("metadata_offset", unsigned(offset.0))], &record, rows);
        Ok(if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    });
    printed?;
    let end = scanned.map_err(damaged)?;
    let total = vec![
        ("next_metadata_offset", unsigned(end.offset.0)),
        ("end", count(end.position)),
        ("torn_bytes", count(end.torn_bytes)),
    ];
    rows.row("total", total)
}

fn print_header(what: &'static str, header: &Header, bytes: &[u8], rows: &mut Rows) -> Result<(), Error> {
    let row = vec![
        ("kind", Json::from(what)),
        ("cluster_id", Json::Text(header.cluster_id.to_string())),
        ("number", unsigned(header.number)),
        ("metadata_offset", unsigned(header.offset.0)),
        ("bytes", count(bytes.len())),
    ];
    rows.row("metadata", row)
}

fn print_record(of: &Row, record: &Record, rows: &mut Rows) -> Result<(), Error> {
    let (kind, about) = match record {
        Record::BrokerStarted { start_count } => ("started", vec![("start_count", unsigned(start_count.0))]),
        Record::ProducerIdsAllocated { next_producer_id } => {
            ("allocated", vec![("next_producer_id", Json::Number(next_producer_id.0))])
        }
        Record::TopicCreated { topic } => ("created", topic_row(topic)),
        Record::TopicConfigsChanged { topic_id, changes } => {
            let changes = changes.iter().map(|(key, value)| setting(key, value.as_deref()));
            let about = vec![
                ("topic_id", Json::Text(topic_id.to_string())),
                ("configs", Json::List(changes.collect())),
            ];
            ("changed", about)
        }
        Record::TopicDeleted { topic_id } => {
            ("deleted", vec![("topic_id", Json::Text(topic_id.to_string()))])
        }
    };
    rows.row(kind, [of.clone(), about].concat())
}

fn topic_row(topic: &TopicImage) -> Row {
    let configs = topic.configs.iter().map(|(key, value)| setting(key, Some(value)));
    vec![
        ("topic_id", Json::Text(topic.id.to_string())),
        ("name", Json::from(&*topic.name)),
        ("partitions", Json::Number(topic.partition_count.into())),
        ("internal", Json::Boolean(topic.internal)),
        ("created_at_start", unsigned(topic.created_at_start.0)),
        ("configs", Json::List(configs.collect())),
    ]
}

fn setting(key: &str, value: Option<&str>) -> Json {
    Json::Object(vec![("key", Json::from(key)), ("value", Json::text_or_null(value))])
}
