//! Replies to the loader: cut out of the stream, checked, and read as far as a measurement must know.

use crate::model::batch::{BatchError, BatchHeader};
use crate::protocol;
use crate::protocol::kafka::header::ResponseHeader;
use crate::protocol::kafka::messages::fetch::FetchResponse;
use crate::protocol::kafka::messages::produce::ProduceResponse;
use crate::protocol::kafka::{ApiKey, Message, Reader, frame};

/// Largest reply that is accepted. Unit: bytes.
pub const REPLY_BYTES_MAX: usize = 128 << 20;

/// Why a reply ends the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("a reply cannot be read: {0}")]
    Wire(#[from] protocol::Error),
    #[error("the reply to request {found} came where that to {expected} was due")]
    Order { expected: i32, found: i32 },
    #[error("the broker answered with error {code}")]
    Refused { code: i16 },
    #[error("fetched bytes are no batch: {0}")]
    Batch(#[from] BatchError),
    #[error("a reply names no partition, or one that was not asked for")]
    Partition,
}

/// Cuts frames out of bytes as they arrive. Holds what is left of a frame that is not whole.
#[derive(Debug, Default)]
pub struct FrameCutter {
    rest: Vec<u8>,
}

impl FrameCutter {
    /// Calls `each` with every frame, without its length, that `bytes` completes.
    ///
    /// # Errors
    /// Those of `each`; `FrameSize`.
    pub fn feed<E: From<protocol::Error>>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut kept = std::mem::take(&mut self.rest);
        if kept.is_empty() {
            let used = cut(bytes, &mut each)?;
            kept.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            kept.extend_from_slice(bytes);
            let used = cut(&kept, &mut each)?;
            kept.drain(..used);
        }
        self.rest = kept;
        Ok(())
    }
}

/// Returns how many bytes belong to whole frames.
fn cut<E: From<protocol::Error>>(
    bytes: &[u8],
    each: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<usize, E> {
    let mut used: usize = 0;
    while let Some((prefix, rest)) = bytes.get(used..).and_then(<[u8]>::split_first_chunk) {
        let frame_bytes = frame::frame_bytes(*prefix, REPLY_BYTES_MAX)?;
        let Some(whole) = rest.get(..frame_bytes) else { break };
        each(whole)?;
        used += frame::PREFIX_BYTES + frame_bytes;
    }
    Ok(used)
}

/// Checks that `reply` acknowledges request `expected`.
///
/// # Errors
/// Everything else.
pub fn check_produce(reply: &[u8], version: i16, expected: i32) -> Result<(), ReplyError> {
    let mut reader = begin(reply, ApiKey::Produce, version, expected)?;
    let response = ProduceResponse::decode(&mut reader, version)?;
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let partition = partitions.next().ok_or(ReplyError::Partition)?;
    match partition.error_code {
        0 => Ok(()),
        code => Err(ReplyError::Refused { code }),
    }
}

/// What a fetch brought of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub partition: u32,
    pub bytes: u64,
    pub batch_count: u32,
    pub record_count: u64,
    /// Where to go on; `None` if there were no batches.
    pub next_offset: Option<i64>,
}

/// Reads the reply to request `expected` and tells `each` of every partition. Batches are hopped over by their headers;
/// with `opaque` the bytes are counted only.
///
/// # Errors
/// Everything but a good reply.
pub fn read_fetch(
    reply: &[u8],
    version: i16,
    expected: i32,
    opaque: bool,
    mut each: impl FnMut(Fetched),
) -> Result<(), ReplyError> {
    let mut reader = begin(reply, ApiKey::Fetch, version, expected)?;
    let response = FetchResponse::decode(&mut reader, version)?;
    refuse(response.error_code)?;
    for partition in response.responses.iter().flat_map(|topic| &topic.partitions) {
        refuse(partition.error_code)?;
        let records = partition.records.and_then(|records| records.inline()).unwrap_or_default();
        let mut fetched = Fetched {
            partition: u32::try_from(partition.partition_index).map_err(|_| ReplyError::Partition)?,
            bytes: records.len() as u64,
            batch_count: 0,
            record_count: 0,
            next_offset: None,
        };
        if !opaque {
            count_batches(records, &mut fetched)?;
        }
        each(fetched);
    }
    Ok(())
}

/// The last batch may be cut off (KIP-74): its bytes came in vain and are not counted.
fn count_batches(records: &[u8], fetched: &mut Fetched) -> Result<(), ReplyError> {
    let mut rest = records;
    fetched.bytes = 0;
    while !rest.is_empty() {
        let header = match BatchHeader::parse(rest) {
            Ok(header) => header,
            Err(BatchError::HeaderCut { .. }) => break,
            Err(error) => return Err(error.into()),
        };
        let Some(behind) = rest.get(header.size_bytes..) else { break };
        fetched.bytes = fetched.bytes.saturating_add(header.size_bytes as u64);
        fetched.batch_count = fetched.batch_count.saturating_add(1);
        fetched.record_count =
            fetched.record_count.saturating_add(u64::from(header.record_count.unsigned_abs()));
        fetched.next_offset = Some(header.end_offset().0);
        rest = behind;
    }
    Ok(())
}

fn begin(reply: &[u8], api: ApiKey, version: i16, expected: i32) -> Result<Reader<'_>, ReplyError> {
    let mut reader = Reader::new(reply);
    let found = ResponseHeader::decode(&mut reader, api, version)?.correlation_id;
    if found == expected { Ok(reader) } else { Err(ReplyError::Order { expected, found }) }
}

fn refuse(code: i16) -> Result<(), ReplyError> {
    if code == 0 { Ok(()) } else { Err(ReplyError::Refused { code }) }
}

#[cfg(test)]
mod tests;
