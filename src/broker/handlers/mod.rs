//! Requests: a file per API, in folders by subject.

pub mod cluster;
pub mod configs;
pub mod data;
pub mod groups;
pub mod topics;

use super::connection::frames::Inbound;
use super::shards::{ConnectionId, RequestId, Shard};
use crate::model::limits::DECODE_ALLOCATION_BYTES_MAX;
use crate::protocol::kafka::header::RequestHeader;
use crate::protocol::kafka::{ApiKey, Message, Reader};
use crate::runtime::memory::ArenaMemory;

/// Kafka's sentence for a request that is refused without a better one.
const INVALID_REQUEST_MESSAGE: &str = "This most likely occurs because of a request being malformed by the client library or \
    the message was sent to an incompatible broker. See the broker logs for more details.";

/// What a handler did with its request's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered, or will be without the frame.
    Done,
    /// It cannot be answered: the connection is closed, as Kafka closes it.
    Close,
    /// There is no room for its reply yet; nothing is done.
    NoRoom,
}

/// Reads a request and answers it, now or later.
pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, connection: ConnectionId, inbound: Inbound<'_>) -> Fate {
    let frame = inbound.bytes();
    let mut reader = Reader::new(frame);
    let Ok(header) = RequestHeader::decode(&mut reader) else { return Fate::Close };
    let (api_key, api_version) = (header.api_key, header.api_version);
    let correlation_id = header.correlation_id;
    let body_start = frame.len() - reader.remaining();
    let known = api_key.served().is_some_and(|served| served.contains(api_version));
    if !known && api_key != ApiKey::ApiVersions {
        return Fate::Close;
    }
    let held_bytes = held_bytes(api_key, frame.len());
    let Some(request) = shard.begin_request(connection, held_bytes) else { return Fate::Close };
    let begun_us = shard.turn_us;
    let id = RequestId { connection, request, api_key, api_version, correlation_id, begun_us };
    let Some(body) = frame.get(body_start..) else { return Fate::Close };
    let fate = match api_key {
        ApiKey::Produce => data::produce::handle(shard, id, body, inbound),
        ApiKey::Fetch => with(shard, id, body, data::fetch::handle),
        ApiKey::ListOffsets => with(shard, id, body, data::list_offsets::handle),
        ApiKey::InitProducerId => with(shard, id, body, data::init_producer_id::handle),
        ApiKey::ApiVersions => cluster::api_versions::handle(shard, id, body),
        ApiKey::Metadata => with_room(shard, id, body, cluster::metadata::handle),
        ApiKey::DescribeCluster => with(shard, id, body, cluster::describe_cluster::handle),
        ApiKey::FindCoordinator => with(shard, id, body, groups::find_coordinator::handle),
        ApiKey::CreateTopics => with_room(shard, id, body, topics::create_topics::handle),
        ApiKey::DeleteTopics => with(shard, id, body, topics::delete_topics::handle),
        ApiKey::DescribeConfigs => with_room(shard, id, body, configs::describe_configs::handle),
        ApiKey::IncrementalAlterConfigs => with(shard, id, body, configs::incremental_alter_configs::handle),
        ApiKey::DeleteRecords
        | ApiKey::OffsetForLeaderEpoch
        | ApiKey::DescribeLogDirs
        | ApiKey::CreatePartitions => Fate::Close,
    };
    if fate == Fate::Done {
        shard.note_request(api_key, frame.len());
    }
    fate
}

/// What a request holds while it waits, by the length of its frame: what is remembered of a partition takes more than it
/// takes on the wire. Records are not remembered: the log has them; a produce counts its parts when it knows them.
fn held_bytes(api_key: ApiKey, frame_bytes: usize) -> usize {
    const HELD_PER_BYTE: usize = 8;
    const PRODUCE_BYTES_MAX: usize = 64 << 10;
    match api_key {
        ApiKey::Produce => frame_bytes.min(PRODUCE_BYTES_MAX),
        _ => frame_bytes.saturating_mul(HELD_PER_BYTE),
    }
}

/// Decoding allocates no more than one request may take.
fn reader_of<'a, M: ArenaMemory>(shard: &Shard<M>, body: &'a [u8]) -> Reader<'a> {
    let bytes_max = shard.memory().request_bytes_max().min(DECODE_ALLOCATION_BYTES_MAX);
    Reader::with_allocation_max(body, bytes_max)
}

/// Decodes the body and hands it on. What stands behind the body is ignored, as Kafka ignores it.
fn with<'a, M: ArenaMemory, R: Message<'a>>(
    shard: &mut Shard<M>,
    id: RequestId,
    body: &'a [u8],
    handle: impl FnOnce(&mut Shard<M>, RequestId, R),
) -> Fate {
    match R::decode(&mut reader_of(shard, body), id.api_version) {
        Ok(request) => {
            handle(shard, id, request);
            Fate::Done
        }
        Err(_) => Fate::Close,
    }
}

/// The same for requests whose replies may be large out of all proportion: `handle` is false, and has done nothing, where there
/// is no room for the reply.
fn with_room<'a, M: ArenaMemory, R: Message<'a>>(
    shard: &mut Shard<M>,
    id: RequestId,
    body: &'a [u8],
    handle: impl FnOnce(&mut Shard<M>, RequestId, R) -> bool,
) -> Fate {
    match R::decode(&mut reader_of(shard, body), id.api_version) {
        Ok(request) => {
            if handle(shard, id, request) {
                return Fate::Done;
            }
            shard.retract_request(&id);
            Fate::NoRoom
        }
        Err(_) => Fate::Close,
    }
}
