//! Records as bytes: a small header, then an rkyv archive whose shape the header's kind and version name.
//!
//! ```text
//!  0  2  kind
//!  2  2  version of that kind
//!  4  4  length of the archive; padded with zeroes to a multiple of 8
//!  8  …  archive
//! ```
//! The archives of a kind and version never change: a new field is a new version beside the old one, which stays readable;
//! a new thing that can happen is a new kind. What is not known here was written by a newer Ringlog and is refused.

use super::super::state::Record;
use super::{Fault, array_at};
use crate::model::image::TopicImage;
use crate::model::{ProducerId, StartCount, TopicId};
use rkyv::api::high::{HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;

const RECORD_HEADER_BYTES: usize = 8;

mod kind {
    pub const BROKER_STARTED: u16 = 1;
    pub const PRODUCER_IDS_ALLOCATED: u16 = 2;
    pub const TOPIC_CREATED: u16 = 3;
    pub const TOPIC_CONFIGS_CHANGED: u16 = 4;
    pub const TOPIC_DELETED: u16 = 5;
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct BrokerStartedV1 {
    start_count: u64,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct ProducerIdsAllocatedV1 {
    next_producer_id: i64,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct TopicCreatedV1 {
    id: [u8; 16],
    name: String,
    is_internal: bool,
    partition_count: i32,
    created_at_start: u64,
    configs: Vec<ConfigV1>,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct TopicConfigsChangedV1 {
    topic_id: [u8; 16],
    changes: Vec<ConfigChangeV1>,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct TopicDeletedV1 {
    topic_id: [u8; 16],
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct ConfigV1 {
    key: String,
    value: String,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct ConfigChangeV1 {
    key: String,
    value: Option<String>,
}

/// Appends `record` to `bytes`.
pub fn encode(record: &Record, bytes: &mut Vec<u8>) {
    match record {
        Record::BrokerStarted { start_count } => {
            put(bytes, kind::BROKER_STARTED, archive(&BrokerStartedV1 { start_count: start_count.0 }));
        }
        Record::ProducerIdsAllocated { next_producer_id } => {
            let stored = ProducerIdsAllocatedV1 { next_producer_id: next_producer_id.0 };
            put(bytes, kind::PRODUCER_IDS_ALLOCATED, archive(&stored));
        }
        Record::TopicCreated { topic } => put(bytes, kind::TOPIC_CREATED, archive(&stored_topic(topic))),
        Record::TopicConfigsChanged { topic_id, changes } => {
            let change = |(key, value): &(String, Option<String>)| ConfigChangeV1 {
                key: key.clone(),
                value: value.clone(),
            };
            let stored =
                TopicConfigsChangedV1 { topic_id: topic_id.0, changes: changes.iter().map(change).collect() };
            put(bytes, kind::TOPIC_CONFIGS_CHANGED, archive(&stored));
        }
        Record::TopicDeleted { topic_id } => {
            put(bytes, kind::TOPIC_DELETED, archive(&TopicDeletedV1 { topic_id: topic_id.0 }));
        }
    }
}

fn stored_topic(topic: &TopicImage) -> TopicCreatedV1 {
    let config = |(key, value): &(String, String)| ConfigV1 { key: key.clone(), value: value.clone() };
    TopicCreatedV1 {
        id: topic.id.0,
        name: topic.name.to_string(),
        is_internal: topic.internal,
        partition_count: topic.partition_count,
        created_at_start: topic.created_at_start.0,
        configs: topic.configs.iter().map(config).collect(),
    }
}

/// Takes the first record out of `bytes`. `position`, for errors, is that of the byte after the whole batch.
///
/// # Errors
/// [`Fault::NewerRecord`], or [`Fault::Record`] for bytes that no Ringlog wrote.
pub fn decode(bytes: &mut &[u8], position: usize) -> Result<Record, Fault> {
    let broken = || Fault::Record { position };
    let record_kind = array_at(bytes, 0).map(u16::from_le_bytes).ok_or_else(broken)?;
    let version = array_at(bytes, 2).map(u16::from_le_bytes).ok_or_else(broken)?;
    let length = array_at(bytes, 4).map(u32::from_le_bytes).ok_or_else(broken)?;
    let length = usize::try_from(length).map_err(|_| broken())?;
    let after_header = bytes.get(RECORD_HEADER_BYTES..).ok_or_else(broken)?;
    let (stored, rest) = after_header.split_at_checked(length).ok_or_else(broken)?;
    *bytes = rest.get(padding(length)..).ok_or_else(broken)?;
    // The archive stands anywhere in the file; access needs it aligned.
    let mut aligned = AlignedVec::<16>::with_capacity(length);
    aligned.extend_from_slice(stored);
    decode_archive(record_kind, version, &aligned).unwrap_or_else(|| Err(broken()))
}

/// `None`: the archive is not what its kind says.
fn decode_archive(record_kind: u16, version: u16, bytes: &[u8]) -> Option<Result<Record, Fault>> {
    let record = match (record_kind, version) {
        (kind::BROKER_STARTED, 1) => {
            let stored = access::<ArchivedBrokerStartedV1>(bytes)?;
            Record::BrokerStarted { start_count: StartCount(stored.start_count.to_native()) }
        }
        (kind::PRODUCER_IDS_ALLOCATED, 1) => {
            let stored = access::<ArchivedProducerIdsAllocatedV1>(bytes)?;
            Record::ProducerIdsAllocated { next_producer_id: ProducerId(stored.next_producer_id.to_native()) }
        }
        (kind::TOPIC_CREATED, 1) => {
            Record::TopicCreated { topic: read_topic(access::<ArchivedTopicCreatedV1>(bytes)?) }
        }
        (kind::TOPIC_CONFIGS_CHANGED, 1) => {
            let stored = access::<ArchivedTopicConfigsChangedV1>(bytes)?;
            let change = |change: &ArchivedConfigChangeV1| {
                (change.key.as_str().to_owned(), change.value.as_ref().map(|value| value.as_str().to_owned()))
            };
            Record::TopicConfigsChanged {
                topic_id: TopicId(stored.topic_id),
                changes: stored.changes.iter().map(change).collect(),
            }
        }
        (kind::TOPIC_DELETED, 1) => {
            Record::TopicDeleted { topic_id: TopicId(access::<ArchivedTopicDeletedV1>(bytes)?.topic_id) }
        }
        _ => return Some(Err(Fault::NewerRecord { kind: record_kind, version })),
    };
    Some(Ok(record))
}

fn read_topic(stored: &ArchivedTopicCreatedV1) -> TopicImage {
    let config =
        |config: &ArchivedConfigV1| (config.key.as_str().to_owned(), config.value.as_str().to_owned());
    TopicImage {
        id: TopicId(stored.id),
        name: stored.name.as_str().into(),
        internal: stored.is_internal,
        partition_count: stored.partition_count.to_native(),
        created_at_start: StartCount(stored.created_at_start.to_native()),
        configs: stored.configs.iter().map(config).collect(),
    }
}

fn put(bytes: &mut Vec<u8>, record_kind: u16, archive: AlignedVec) {
    const VERSION: u16 = 1;
    // Bounded by the size of a request, far below 4 GiB; a batch that is too long is refused as a whole.
    let length = u32::try_from(archive.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&record_kind.to_le_bytes());
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&archive);
    bytes.resize(bytes.len() + padding(archive.len()), 0);
}

const fn padding(length: usize) -> usize {
    length.next_multiple_of(8) - length
}

fn archive(
    stored: &impl for<'a> rkyv::Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, rancor::Error>>,
) -> AlignedVec {
    // Fails beyond 2 GiB only, and no request is so large.
    match rkyv::to_bytes(stored) {
        Ok(bytes) => bytes,
        Err(error) => panic!("a metadata record cannot be written: {error}"),
    }
}

fn access<T>(bytes: &[u8]) -> Option<&T>
where
    T: rkyv::Portable + for<'a> CheckBytes<HighValidator<'a, rancor::Error>>,
{
    rkyv::access::<T, rancor::Error>(bytes).ok()
}

#[cfg(test)]
mod tests;
