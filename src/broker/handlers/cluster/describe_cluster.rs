//! DescribeCluster (key 60): id, controller, brokers (KIP-700, KIP-919).

use super::endpoint_of;
use crate::broker::shards::{RequestId, Shard};
use crate::model::error_code::ErrorCode;
use crate::protocol::kafka::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use crate::runtime::memory::ArenaMemory;

const BROKERS: i8 = 1;

pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: DescribeClusterRequest) {
    let endpoint = endpoint_of(shard, &id);
    let cluster_id = shard.image.cluster_id().to_string();
    let broker_id = shard.image.broker().id.0;
    let mut response = DescribeClusterResponse { endpoint_type: request.endpoint_type, ..Default::default() };
    if request.endpoint_type == BROKERS {
        response.cluster_id = &cluster_id;
        response.controller_id = broker_id;
        response.brokers.push(DescribeClusterBroker {
            broker_id,
            host: &endpoint.host,
            port: i32::from(endpoint.port),
            ..DescribeClusterBroker::default()
        });
    } else {
        let (error, message) = match request.endpoint_type {
            2 => {
                (ErrorCode::MismatchedEndpointType, "The request was sent to an endpoint of the wrong type.")
            }
            _ => (ErrorCode::UnsupportedEndpointType, "Unsupported endpoint type"),
        };
        response.error_code = error.code();
        response.error_message = Some(message);
    }
    shard.reply(&id, &response, Vec::new());
}
