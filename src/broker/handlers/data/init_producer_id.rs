//! InitProducerId (key 22): an id for an idempotent producer (KIP-98). Transactional ids are refused until there are
//! transactions.

use crate::broker::shards::{RequestId, Shard};
use crate::model::error_code::ErrorCode;
use crate::protocol::kafka::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::runtime::memory::ArenaMemory;

pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: InitProducerIdRequest<'_>) {
    match request.transactional_id {
        Some("") => reply(shard, &id, ErrorCode::InvalidRequest, -1, -1),
        // There is no coordinator for it; clients that look for one hear the same.
        Some(_) => reply(shard, &id, ErrorCode::CoordinatorNotAvailable, -1, -1),
        // Only both together name a producer to go on with (KIP-360).
        None if (request.producer_id == -1) != (request.producer_epoch == -1) => {
            reply(shard, &id, ErrorCode::InvalidRequest, -1, -1);
        }
        None => answer(shard, &id),
    }
}

/// Gives the request an id, or lets it wait for a new block of them.
pub fn answer<M: ArenaMemory>(shard: &mut Shard<M>, id: &RequestId) {
    match shard.producer_ids.take() {
        Some(producer_id) => reply(shard, id, ErrorCode::None, producer_id, 0),
        None => shard.wait_for_producer_ids(*id),
    }
}

/// The controller gave no ids.
pub fn refuse<M: ArenaMemory>(shard: &mut Shard<M>, id: &RequestId) {
    reply(shard, id, ErrorCode::CoordinatorLoadInProgress, -1, -1);
}

fn reply<M: ArenaMemory>(
    shard: &mut Shard<M>,
    id: &RequestId,
    error: ErrorCode,
    producer_id: i64,
    producer_epoch: i16,
) {
    let response = InitProducerIdResponse {
        error_code: error.code(),
        producer_id,
        producer_epoch,
        ..InitProducerIdResponse::default()
    };
    shard.reply(id, &response, Vec::new());
}
