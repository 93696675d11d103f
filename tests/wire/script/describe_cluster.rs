//! DescribeCluster (KIP-700, KIP-919).

use super::Script;
use ringlog::protocol::kafka::ApiKey;
use ringlog::protocol::kafka::messages::describe_cluster::DescribeClusterRequest;

pub fn talk(script: &mut Script<'_>) {
    script.versions(ApiKey::DescribeCluster, "brokers", |script, version| {
        script.call(version, &DescribeClusterRequest::default());
    });
    script.versions(ApiKey::DescribeCluster, "with authorized operations", |script, version| {
        let request = DescribeClusterRequest {
            include_cluster_authorized_operations: true,
            ..DescribeClusterRequest::default()
        };
        script.call(version, &request);
    });
    for endpoint_type in [2, 3, -1, 0] {
        script.versions_from(1, 2, &format!("endpoint type {endpoint_type}"), |script, version| {
            script.call(version, &DescribeClusterRequest { endpoint_type, ..Default::default() });
        });
    }
    script.versions_from(2, 2, "with fenced brokers", |script, version| {
        script.call(version, &DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() });
    });
}
