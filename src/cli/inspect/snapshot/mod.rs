//! `ringlog inspect snapshot`: the files that can be rebuilt from a log, told apart by how they begin.

mod metadata;

use std::path::Path;

use super::read;
use super::rows::{Rows, count, unsigned};
use crate::cli::Error;
use crate::cli::json::Json;
use crate::controller::log::FileKind;
use crate::model::TopicId;
use crate::storage::checkpoint::{CheckpointFile, CheckpointPartition, ProducerRecord};
use crate::storage::side_file::{Kind, decode_producers, kind_of};

type Row = Vec<(&'static str, Json)>;

pub(super) fn inspect(path: &Path, rows: &mut Rows) -> Result<(), Error> {
    let content = read(path)?;
    let bytes = content.as_slice();
    let side_file = |error| Error::SideFile { path: path.to_owned(), error };
    match (kind_of(bytes), FileKind::of(bytes)) {
        (Some(Kind::Producers), _) => {
            let file = decode_producers(bytes).map_err(side_file)?;
            let header = vec![
                ("end_offset", Json::Number(file.end_offset)),
                ("producers", count(file.producers.len())),
            ];
            rows.row("snapshot", header)?;
            file.producers.iter().try_for_each(|producer| print_producer(&Row::new(), producer, rows))
        }
        (Some(Kind::Checkpoint), _) => {
            print_checkpoint(&CheckpointFile::decode(bytes).map_err(side_file)?, rows)
        }
        (_, Some(FileKind::Snapshot)) => metadata::inspect_snapshot(path, bytes, rows),
        (_, Some(FileKind::Log)) => metadata::inspect_log(path, bytes, rows),
        (Some(Kind::Index), None) | (None, None) => Err(Error::NoSnapshot { path: path.to_owned() }),
    }
}

fn print_checkpoint(file: &CheckpointFile, rows: &mut Rows) -> Result<(), Error> {
    let header = vec![
        ("incarnation", unsigned(file.incarnation)),
        ("shard", Json::Number(file.shard.into())),
        ("clean", Json::Boolean(file.clean)),
        ("oldest_sequence", unsigned(file.oldest_sequence)),
        ("partitions", count(file.partitions.len())),
    ];
    rows.row("checkpoint", header)?;
    file.partitions.iter().try_for_each(|partition| print_partition(partition, rows))
}

fn print_partition(partition: &CheckpointPartition, rows: &mut Rows) -> Result<(), Error> {
    let of = vec![
        ("topic_id", Json::Text(TopicId(partition.topic_id).to_string())),
        ("partition", Json::Number(partition.partition.into())),
    ];
    let about = vec![
        ("log_start_offset", Json::Number(partition.log_start_offset)),
        ("flushed_offset", Json::Number(partition.flushed_offset)),
        ("reserved_offset", Json::Number(partition.reserved_offset)),
        ("recovery_segment", Json::Number(partition.recovery_segment)),
        ("recovery_position", unsigned(partition.recovery_position)),
        ("recovery_offset", Json::Number(partition.recovery_offset)),
        ("control_sequence", unsigned(partition.control_sequence)),
        ("max_timestamp", Json::Number(partition.max_timestamp)),
        ("max_timestamp_offset", Json::Number(partition.max_timestamp_offset)),
        ("segments_end", Json::Number(partition.segments_end)),
    ];
    rows.row("partition", [of.clone(), about].concat())?;
    for &(leader_epoch, start_offset) in &partition.epochs {
        let about = vec![
            ("leader_epoch", Json::Number(leader_epoch.into())),
            ("start_offset", Json::Number(start_offset)),
        ];
        rows.row("epoch", [of.clone(), about].concat())?;
    }
    for segment in &partition.segments {
        let about = vec![
            ("base_offset", Json::Number(segment.base_offset)),
            ("bytes", unsigned(segment.size)),
            ("max_timestamp", Json::Number(segment.max_timestamp)),
            ("max_timestamp_offset", Json::Number(segment.max_timestamp_offset)),
        ];
        rows.row("segment", [of.clone(), about].concat())?;
    }
    partition.producers.iter().try_for_each(|producer| print_producer(&of, producer, rows))
}

/// A row for each batch that is remembered of the producer, oldest first.
fn print_producer(of: &Row, producer: &ProducerRecord, rows: &mut Rows) -> Result<(), Error> {
    for batch in &producer.batches {
        let about = vec![
            ("producer_id", Json::Number(producer.producer_id)),
            ("producer_epoch", Json::Number(batch.epoch.into())),
            ("base_sequence", Json::Number(batch.base_sequence.into())),
            ("last_sequence", Json::Number(batch.last_sequence.into())),
            ("base_offset", Json::Number(batch.base_offset)),
            ("end_offset", Json::Number(batch.end_offset)),
            ("timestamp", Json::Number(batch.timestamp)),
            ("last_append_ms", Json::Number(producer.last_append_ms)),
        ];
        rows.row("producer", [of.clone(), about].concat())?;
    }
    Ok(())
}
