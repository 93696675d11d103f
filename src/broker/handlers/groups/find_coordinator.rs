//! FindCoordinator (key 10). There are no groups yet: no coordinator is available. It is advertised because librdkafka
//! takes a broker without it for one that cannot do lz4.

use crate::broker::handlers::INVALID_REQUEST_MESSAGE;
use crate::broker::shards::{RequestId, Shard};
use crate::model::error_code::ErrorCode;
use crate::protocol::kafka::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::runtime::memory::ArenaMemory;

const LISTS_FROM_VERSION: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: FindCoordinatorRequest<'_>) {
    let (error, message) = match request.key_type {
        GROUP | TRANSACTION => (ErrorCode::CoordinatorNotAvailable, "The coordinator is not available."),
        _ => (ErrorCode::InvalidRequest, INVALID_REQUEST_MESSAGE),
    };
    let error_code = error.code();
    let mut response = FindCoordinatorResponse::default();
    if id.api_version >= LISTS_FROM_VERSION {
        response.coordinators = request
            .coordinator_keys
            .iter()
            .map(|key| Coordinator {
                key,
                node_id: -1,
                port: -1,
                error_code,
                // Kafka says nothing of share groups here.
                error_message: Some(if request.key_type == SHARE { "" } else { message }),
                ..Coordinator::default()
            })
            .collect();
    } else {
        response.error_code = error_code;
        response.error_message = Some(message);
        response.node_id = -1;
        response.port = -1;
    }
    shard.reply(&id, &response, Vec::new());
}
