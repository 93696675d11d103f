//! Requests of the loader as bytes: produce frames made beforehand, of which only the correlation id changes, and fetches.

use std::sync::Arc;

use super::batch::{self, BatchShape};
use crate::model::TopicId;
use crate::protocol;
use crate::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use crate::protocol::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::protocol::kafka::{ApiKey, Records, Writer, frame};
use crate::protocol::records::RecordsError;
use crate::runtime::memory::AlignedBuffer;

/// The topic that is loaded, and in which versions its broker is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub topic: String,
    /// Zero where versions are in use that name topics.
    pub topic_id: TopicId,
    pub produce_version: i16,
    pub fetch_version: i16,
}

/// Bytes of a request up to the end of its correlation id: length, key, version, id.
pub const PREFIX_BYTES: usize = 12;
/// Where the correlation id stands.
const CORRELATION_ID: std::ops::Range<usize> = 8..PREFIX_BYTES;
/// How brokers see the loader in their logs.
const CLIENT_ID: &str = "ringlog-bench";
/// A produce that is not acknowledged by then has failed. Unit: ms.
const TIMEOUT_MS: i32 = 30_000;
/// Longest time that a fetch at the tail waits. Unit: ms.
const WAIT_MS: i32 = 500;

/// Why a request cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("a request cannot be encoded: {0}")]
    Wire(#[from] protocol::Error),
    #[error("a batch cannot be made: {0}")]
    Records(#[from] RecordsError),
}

/// A produce request of one batch for one partition, as a frame with correlation id 0.
#[derive(Clone, Debug)]
pub struct ProduceFrame {
    pub partition: u32,
    pub frame: Arc<AlignedBuffer>,
    /// Of the batch alone.
    pub batch_bytes: u32,
    pub record_count: u32,
}

impl ProduceFrame {
    /// The beginning of the frame, for this correlation id.
    #[must_use]
    pub fn prefix(&self, correlation_id: i32) -> [u8; PREFIX_BYTES] {
        let mut prefix = self.frame.as_slice().first_chunk().copied().unwrap_or([0; PREFIX_BYTES]);
        if let Some(field) = prefix.get_mut(CORRELATION_ID) {
            field.copy_from_slice(&correlation_id.to_be_bytes());
        }
        prefix
    }

    /// Appends the whole frame to `bytes`.
    pub fn put(&self, bytes: &mut Vec<u8>, correlation_id: i32) {
        bytes.extend_from_slice(&self.prefix(correlation_id));
        bytes.extend_from_slice(self.frame.as_slice().get(PREFIX_BYTES..).unwrap_or_default());
    }
}

/// The frame for `partition`. `acks` is -1: what clients use unless told otherwise.
///
/// # Errors
/// What the version or the format cannot carry.
pub fn produce(
    target: &Target,
    partition: u32,
    shape: BatchShape,
    now_ms: i64,
) -> Result<ProduceFrame, RequestError> {
    let batch = batch::make(shape, now_ms, partition.into())?;
    let partition_data =
        PartitionProduceData { index: partition.cast_signed(), records: Some(Records::Inline(&batch.bytes)) };
    let topic_data = TopicProduceData {
        name: if target.produce_version < 13 { &target.topic } else { "" },
        topic_id: target.topic_id,
        partition_data: [partition_data].into(),
    };
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: [topic_data].into(),
    };
    let mut writer = Writer::with_capacity(batch.bytes.len().saturating_add(256));
    frame::encode_request(&mut writer, target.produce_version, 0, Some(CLIENT_ID), &request)?;
    let mut frame = AlignedBuffer::with_capacity(writer.encoded().len());
    frame.extend_from_slice(writer.encoded());
    Ok(ProduceFrame {
        partition,
        frame: Arc::new(frame),
        batch_bytes: u32::try_from(batch.bytes.len()).unwrap_or(u32::MAX),
        record_count: batch.record_count,
    })
}

/// Appends a fetch of these partitions from these offsets, in this order, outside of any session.
///
/// # Errors
/// What the version cannot carry.
pub fn fetch(
    writer: &mut Writer,
    target: &Target,
    correlation_id: i32,
    bytes_max: u32,
    positions: impl Iterator<Item = (u32, i64)>,
) -> protocol::Result<()> {
    let bytes_max = i32::try_from(bytes_max).unwrap_or(i32::MAX);
    let partition = |(partition, fetch_offset): (u32, i64)| FetchPartition {
        partition: partition.cast_signed(),
        fetch_offset,
        partition_max_bytes: bytes_max,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: if target.fetch_version < 13 { &target.topic } else { "" },
        topic_id: target.topic_id,
        partitions: positions.map(partition).collect(),
    };
    let request = FetchRequest {
        max_wait_ms: WAIT_MS,
        min_bytes: 1,
        max_bytes: bytes_max,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    frame::encode_request(writer, target.fetch_version, correlation_id, Some(CLIENT_ID), &request)
}

impl Target {
    /// A floor, which is spoken to in our newest versions and knows no topic.
    #[must_use]
    pub fn floor() -> Self {
        Self {
            topic: "floor".to_owned(),
            topic_id: TopicId([1; 16]),
            produce_version: ApiKey::Produce.versions().last,
            fetch_version: ApiKey::Fetch.versions().last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::kafka::header::RequestHeader;
    use crate::protocol::kafka::{Message, Reader};

    #[test]
    fn a_patched_frame_is_the_request_with_that_id_in_every_version() {
        let shape = BatchShape { record_bytes: 100, batch_bytes_max: 1000 };
        for version in ApiKey::Produce.versions().first..=ApiKey::Produce.versions().last {
            let target = Target { produce_version: version, ..Target::floor() };
            let made = produce(&target, 3, shape, 5).unwrap();
            let mut bytes = Vec::new();
            made.put(&mut bytes, 0x0102_0304);
            let frame_bytes = frame::frame_bytes(*bytes.first_chunk().unwrap(), usize::MAX).unwrap();
            let mut reader = Reader::new(&bytes[frame::PREFIX_BYTES..]);
            assert_eq!(frame_bytes, reader.remaining());
            let header = RequestHeader::decode(&mut reader).unwrap();
            assert_eq!((header.correlation_id, header.api_version), (0x0102_0304, version));
            let request = ProduceRequest::decode(&mut reader, version).unwrap();
            let data = &request.topic_data[0].partition_data[0];
            assert_eq!(data.index, 3);
            assert_eq!(data.records.unwrap().bytes(), made.batch_bytes as usize);
            reader.expect_end().unwrap();
        }
    }

    #[test]
    fn a_fetch_asks_in_the_order_given_in_every_version() {
        for version in ApiKey::Fetch.versions().first..=ApiKey::Fetch.versions().last {
            let target = Target { fetch_version: version, ..Target::floor() };
            let mut writer = Writer::new();
            fetch(&mut writer, &target, 9, 1000, [(2, 20), (0, 7)].into_iter()).unwrap();
            let mut reader = Reader::new(&writer.encoded()[frame::PREFIX_BYTES..]);
            assert_eq!(RequestHeader::decode(&mut reader).unwrap().correlation_id, 9);
            let request = FetchRequest::decode(&mut reader, version).unwrap();
            let found: Vec<_> =
                request.topics[0].partitions.iter().map(|row| (row.partition, row.fetch_offset)).collect();
            assert_eq!(found, [(2, 20), (0, 7)]);
        }
    }
}
