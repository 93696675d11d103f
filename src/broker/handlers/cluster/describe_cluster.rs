//! DescribeCluster (key 60): id, controller, brokers (KIP-700, KIP-919).

use super::{CLUSTER_OPERATIONS, endpoint_of};
use crate::broker::shards::{RequestId, Shard};
use crate::model::error_code::ErrorCode;
use crate::protocol::kafka::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use crate::runtime::memory::ArenaMemory;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;
const WRONG_ENDPOINT: &str =
    "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";

pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: DescribeClusterRequest) {
    let endpoint = endpoint_of(shard, &id);
    let cluster_id = shard.image.cluster_id().to_string();
    let broker_id = shard.image.broker().id.0;
    let mut response = DescribeClusterResponse::default();
    let message;
    if request.endpoint_type == BROKERS {
        if request.include_cluster_authorized_operations {
            response.cluster_authorized_operations = CLUSTER_OPERATIONS;
        }
        response.cluster_id = &cluster_id;
        response.controller_id = broker_id;
        response.brokers.push(DescribeClusterBroker {
            broker_id,
            host: &endpoint.host,
            port: i32::from(endpoint.port),
            ..DescribeClusterBroker::default()
        });
    } else {
        let (error, text) = match request.endpoint_type {
            CONTROLLERS => (ErrorCode::MismatchedEndpointType, WRONG_ENDPOINT.to_owned()),
            other => (ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {other}")),
        };
        message = text;
        response.error_code = error.code();
        response.error_message = Some(&message);
    }
    shard.reply(&id, &response, Vec::new());
}
