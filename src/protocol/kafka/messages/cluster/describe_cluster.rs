//! DescribeCluster (key 60). Source: KIP-700, KIP-919 (1: controllers), KIP-1073 (2: fenced brokers).

use super::metadata::OPERATIONS_NOT_REQUESTED;
use crate::protocol::kafka::table::messages;

messages! {
    /// `endpoint_type`: 1 brokers, 2 controllers.
    request DescribeClusterRequest of DescribeCluster {
        include_cluster_authorized_operations: bool, 0+;
        endpoint_type: i8 = 1, 1+;
        include_fenced_brokers: bool, 2+;
    }

    response DescribeClusterResponse<'a> of DescribeCluster {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<&'a str>, 0+, null 0+;
        endpoint_type: i8 = 1, 1+;
        cluster_id: &'a str, 0+;
        controller_id: i32 = -1, 0+;
        brokers: Vec<DescribeClusterBroker<'a>>, 0+;
        cluster_authorized_operations: i32 = OPERATIONS_NOT_REQUESTED, 0+;
    }
    /// Where a broker is reached.
    part DescribeClusterBroker<'a> {
        broker_id: i32, 0+;
        host: &'a str, 0+;
        port: i32, 0+;
        rack: Option<&'a str>, 0+, null 0+;
        is_fenced: bool, 2+;
    }
}
