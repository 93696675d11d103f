//! DescribeConfigs.

use super::Script;
use ringlog::protocol::kafka::ApiKey;
use ringlog::protocol::kafka::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

pub fn talk(script: &mut Script<'_>) {
    let api = ApiKey::DescribeConfigs;
    let orders = script.topic("orders", 1, &[("segment.bytes", "1048576")]);
    script.versions(api, "some settings of a topic", |script, version| {
        let keys = ["retention.ms", "segment.bytes", "cleanup.policy", "min.insync.replicas", "no.such.key"];
        for include_synonyms in [false, true] {
            let request =
                DescribeConfigsRequest { include_synonyms, ..request(TOPIC, &orders, Some(keys.to_vec())) };
            script.call(version, &request);
        }
        script.call(version, &request(TOPIC, &orders, Some(Vec::new())));
    });
    script.versions_from(4, 4, "all settings of a topic", |script, version| {
        let request = DescribeConfigsRequest { include_synonyms: true, ..request(TOPIC, &orders, None) };
        script.call(version, &request);
    });
    script.versions(api, "topics that are not there", |script, version| {
        for name in ["none", "", "bad/name"] {
            script.call(version, &request(TOPIC, name, None));
        }
    });
    script.versions(api, "some settings of the broker", |script, version| {
        let keys = ["num.partitions", "log.retention.hours", "log.retention.ms", "auto.create.topics.enable"];
        let request =
            DescribeConfigsRequest { include_synonyms: true, ..request(BROKER, "0", Some(keys.to_vec())) };
        script.call(version, &request);
    });
    script.versions(api, "brokers that are not there", |script, version| {
        for name in ["", "5", "x", "-1"] {
            script.call(version, &request(BROKER, name, Some(vec!["num.partitions"])));
        }
    });
    script.versions(api, "other kinds of resources", |script, version| {
        for kind in [0, 1, 3, 7, -1] {
            script.call(version, &request(kind, "x", None));
        }
    });
    script.versions(api, "a resource twice, and none", |script, version| {
        let mut twice = request(TOPIC, &orders, Some(vec!["retention.ms"]));
        twice.resources.extend(request(TOPIC, &orders, Some(vec!["segment.bytes"])).resources);
        script.call(version, &twice);
        script.call(version, &DescribeConfigsRequest::default());
    });
}

fn request<'a>(
    resource_type: i8,
    resource_name: &'a str,
    configuration_keys: Option<Vec<&'a str>>,
) -> DescribeConfigsRequest<'a> {
    let resource = DescribeConfigsResource { resource_type, resource_name, configuration_keys };
    DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() }
}
