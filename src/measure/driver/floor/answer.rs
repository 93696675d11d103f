//! Replies of the floor: an acknowledgement whose correlation id alone changes, and fetched bytes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::measure::driver::{Error, Result};
use crate::protocol::kafka::header::RequestHeader;
use crate::protocol::kafka::messages::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use crate::protocol::kafka::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use crate::protocol::kafka::{ApiKey, Message, Piece, Reader, Records, Writer, frame};
use crate::runtime::memory::AlignedBuffer;
use crate::runtime::ring::SendPiece;

/// What the floor reads of every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) api_key: i16,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
}

impl Head {
    /// Of a frame without its length.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let &[k0, k1, v0, v1, c0, c1, c2, c3, ..] = bytes else { return None };
        Some(Self {
            api_key: i16::from_be_bytes([k0, k1]),
            version: i16::from_be_bytes([v0, v1]),
            correlation_id: i32::from_be_bytes([c0, c1, c2, c3]),
        })
    }
}

/// An acknowledgement of the size that brokers send, made once per version.
#[derive(Debug, Default)]
pub(super) struct Acknowledgement {
    version: i16,
    bytes: Vec<u8>,
}

impl Acknowledgement {
    /// Appends the acknowledgement of the request with this head.
    pub(super) fn put(&mut self, to: &mut Vec<u8>, head: Head) -> Result<()> {
        if self.bytes.is_empty() || self.version != head.version {
            let topic = TopicProduceResponse {
                name: if head.version < 13 { "bench-1234-123456789012345" } else { "" },
                partition_responses: [PartitionProduceResponse::default()].into(),
                ..TopicProduceResponse::default()
            };
            let body = ProduceResponse { responses: [topic].into(), ..ProduceResponse::default() };
            let mut writer = Writer::new();
            frame::encode_response(&mut writer, head.version, 0, &body)?;
            *self = Self { version: head.version, bytes: writer.into_parts().0 };
        }
        let (length, rest) = self.bytes.split_at_checked(frame::PREFIX_BYTES).unwrap_or_default();
        to.extend_from_slice(length);
        to.extend_from_slice(&head.correlation_id.to_be_bytes());
        to.extend_from_slice(rest.get(size_of::<i32>()..).unwrap_or_default());
        Ok(())
    }
}

/// Where bytes lie that are sent to a consumer.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    Arena { position: usize, len: usize },
    Shared(Arc<AlignedBuffer>, Range<usize>),
}

impl Stored {
    fn len(&self) -> usize {
        match self {
            Self::Arena { len, .. } => *len,
            Self::Shared(_, range) => range.len(),
        }
    }

    fn into_piece(self) -> SendPiece {
        match self {
            Self::Arena { position, len } => SendPiece::Arena { arena: 0, position, len },
            Self::Shared(buffer, range) => SendPiece::Shared(buffer, range),
        }
    }
}

/// A fetch, as far as the floor looks at it.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    head: Head,
    bytes_max: usize,
    pub(super) partitions: Vec<i32>,
}

impl Fetch {
    /// Of a frame without its length.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let header = RequestHeader::decode(&mut reader)?;
        if header.api_key != ApiKey::Fetch {
            return Err(Error::FloorLimit { what: header.api_key.name() });
        }
        let request = FetchRequest::decode(&mut reader, header.api_version)?;
        let rows = request.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(Self {
            head: Head {
                api_key: header.api_key.code(),
                version: header.api_version,
                correlation_id: header.correlation_id,
            },
            bytes_max: usize::try_from(request.max_bytes).unwrap_or(0),
            partitions: rows.map(|row| row.partition).collect(),
        })
    }

    /// The reply: what `take` gives of each partition, as long as there is room for more.
    pub(super) fn answer(&self, mut take: impl FnMut(i32, usize) -> Vec<Stored>) -> Result<Vec<SendPiece>> {
        let mut left = self.bytes_max;
        let mut rows = Vec::new();
        let mut stored = VecDeque::new();
        for &partition_index in &self.partitions {
            let found = if left > 0 { take(partition_index, left) } else { Vec::new() };
            let bytes: usize = found.iter().map(Stored::len).sum();
            left = left.saturating_sub(bytes);
            let records = Some(Records::External { bytes });
            rows.push(PartitionData { partition_index, records, ..PartitionData::default() });
            stored.push_back(found);
        }
        let topic = FetchableTopicResponse { partitions: rows, ..FetchableTopicResponse::default() };
        let body = FetchResponse { responses: [topic].into(), ..FetchResponse::default() };
        let mut writer = Writer::new();
        frame::encode_response(&mut writer, self.head.version, self.head.correlation_id, &body)?;
        stored.retain(|found| !found.is_empty());
        let mut pieces = Vec::new();
        for piece in writer.pieces() {
            match piece {
                Piece::Encoded(bytes) => pieces.push(SendPiece::Owned(bytes.to_vec())),
                Piece::External { .. } => {
                    let found = stored.pop_front().unwrap_or_default();
                    pieces.extend(found.into_iter().map(Stored::into_piece));
                }
            }
        }
        Ok(pieces)
    }
}

/// Partition and place of the batch in a produce request, a frame without its length.
pub(super) fn find_batch(bytes: &[u8]) -> Result<(i32, Range<usize>)> {
    let mut reader = Reader::new(bytes);
    let header = RequestHeader::decode(&mut reader)?;
    let request = ProduceRequest::decode(&mut reader, header.api_version)?;
    let mut rows = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let found = rows.next().and_then(|row| {
        let records = row.records?.inline()?;
        Some((row.index, frame::position_in(bytes, records)?))
    });
    found.ok_or(Error::FloorLimit { what: "a produce without a batch" })
}

/// Batches that no consumer has fetched yet, by partition. Bound: what consumers leave behind is dropped, oldest first,
/// above [`QUEUED_MAX`].
#[derive(Debug, Default)]
pub(super) struct Tail {
    queues: BTreeMap<i32, VecDeque<Stored>>,
}

/// Batches of one partition that wait for a consumer.
const QUEUED_MAX: usize = 65_536;

impl Tail {
    pub(super) fn add(&mut self, partition: i32, batch: Stored) {
        let queue = self.queues.entry(partition).or_default();
        if queue.len() >= QUEUED_MAX {
            queue.pop_front();
        }
        queue.push_back(batch);
    }

    pub(super) fn is_empty(&self, partition: i32) -> bool {
        self.queues.get(&partition).is_none_or(VecDeque::is_empty)
    }

    /// The next batches of a partition, together not above `bytes_max`, or the first one alone.
    pub(super) fn take(&mut self, partition: i32, bytes_max: usize) -> Vec<Stored> {
        let Some(queue) = self.queues.get_mut(&partition) else { return Vec::new() };
        let mut left = bytes_max;
        let mut taken = Vec::new();
        while let Some(batch) = queue.front()
            && (taken.is_empty() || batch.len() <= left)
        {
            left = left.saturating_sub(batch.len());
            taken.extend(queue.pop_front());
        }
        taken
    }
}
