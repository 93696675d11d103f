//! FindCoordinator (key 10). There are no groups yet: no coordinator is available. It is advertised because librdkafka
//! takes a broker without it for one that cannot do lz4.

use crate::broker::shards::{RequestId, Shard};
use crate::model::error_code::ErrorCode;
use crate::protocol::kafka::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::runtime::memory::ArenaMemory;

const LISTS_FROM_VERSION: i16 = 4;

pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: FindCoordinatorRequest<'_>) {
    let error_code = ErrorCode::CoordinatorNotAvailable.code();
    let mut response = FindCoordinatorResponse::default();
    if id.api_version >= LISTS_FROM_VERSION {
        response.coordinators = request
            .coordinator_keys
            .iter()
            .map(|key| Coordinator { key, node_id: -1, port: -1, error_code, ..Coordinator::default() })
            .collect();
    } else {
        response.error_code = error_code;
        response.node_id = -1;
        response.port = -1;
    }
    shard.reply(&id, &response, Vec::new());
}
