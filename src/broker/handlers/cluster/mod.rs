//! What clients ask about the cluster.

pub mod api_versions;
pub mod describe_cluster;
pub mod metadata;

use crate::broker::shards::{RequestId, Shard};
use crate::model::image::Endpoint;

/// Everything that may be done with a cluster, as everybody may: there is no access control. A bit for each of Kafka's
/// operations: create, alter, describe, cluster action, describe and alter settings, idempotent write.
const CLUSTER_OPERATIONS: i32 = 0x1fa0;
/// The same of a topic: read, write, create, delete, alter, describe, describe and alter settings.
const TOPIC_OPERATIONS: i32 = 0x0df8;

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
