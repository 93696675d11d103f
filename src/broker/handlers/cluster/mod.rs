//! What clients ask about the cluster.

pub mod api_versions;
pub mod describe_cluster;
pub mod metadata;

use crate::broker::shards::{RequestId, Shard};
use crate::model::image::Endpoint;

/// The address that the client of this request is told: that of the listener it came by.
pub(super) fn endpoint_of<M: crate::runtime::memory::ArenaMemory>(
    shard: &mut Shard<M>,
    id: &RequestId,
) -> Endpoint {
    let listener = shard.listener_of(id.connection);
    let endpoints = &shard.image.broker().endpoints;
    endpoints.get(listener).or_else(|| endpoints.first()).cloned().unwrap_or_else(|| Endpoint {
        listener: String::new(),
        host: String::new(),
        port: 0,
    })
}
