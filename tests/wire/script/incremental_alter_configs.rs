//! IncrementalAlterConfigs, and what its changes do.

use super::Script;
use super::batches::{batch, packed};
use super::produce::{Target, append};
use ringlog::protocol::kafka::ApiKey;
use ringlog::protocol::kafka::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ringlog::protocol::kafka::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ringlog::protocol::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ringlog::protocol::records::Codec;
use std::time::Duration;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Key, operation, value.
type Change<'a> = (&'a str, i8, Option<&'a str>);

pub fn talk(script: &mut Script<'_>) {
    let api = ApiKey::IncrementalAlterConfigs;
    script.versions(api, "set, set again, taken back", |script, version| {
        let orders = script.topic("orders", 1, &[]);
        let keys = ["retention.ms", "segment.bytes"];
        alter(
            script,
            version,
            &orders,
            &[("retention.ms", SET, Some("60000")), ("segment.bytes", SET, Some("2097152"))],
        );
        show(script, &orders, &keys);
        alter(script, version, &orders, &[("retention.ms", SET, Some("70000"))]);
        alter(script, version, &orders, &[("retention.ms", SET, Some(" 80000 "))]);
        show(script, &orders, &keys);
        alter(
            script,
            version,
            &orders,
            &[("retention.ms", DELETE, None), ("segment.bytes", DELETE, Some("x"))],
        );
        show(script, &orders, &keys);
        alter(script, version, &orders, &[("retention.ms", DELETE, None)]);
        alter(script, version, &orders, &[]);
    });
    script.versions(api, "lists", lists);
    script.versions(api, "only validated", |script, version| {
        let orders = script.topic("orders", 1, &[]);
        for value in ["60000", "soon"] {
            let request = request(TOPIC, &orders, &[("retention.ms", SET, Some(value))]);
            script.call(version, &IncrementalAlterConfigsRequest { validate_only: true, ..request });
        }
        show(script, &orders, &["retention.ms"]);
    });
    script.versions(api, "keys and values that are not taken", refused);
    script.versions(api, "durability", |script, version| {
        let orders = script.topic("orders", 1, &[]);
        alter(script, version, &orders, &[("flush.messages", SET, Some("1"))]);
        alter(script, version, &orders, &[("flush.messages", SET, Some("5"))]);
        alter(script, version, &orders, &[("flush.ms", SET, Some("1000"))]);
        alter(script, version, &orders, &[("flush.messages", DELETE, None)]);
    });
    script.versions(api, "topics that are not there", |script, version| {
        for name in ["none", "", "bad/name", "."] {
            alter(script, version, name, &[("retention.ms", SET, Some("60000"))]);
            alter(script, version, name, &[("no.such.key", SET, Some("60000"))]);
            alter(script, version, name, &[]);
        }
    });
    script.versions(api, "several resources", several);
    script.versions(api, "brokers", brokers);
    script.versions(api, "other kinds of resources", |script, version| {
        for kind in [0, 1, 3, 7, -1, 99] {
            script.call(version, &request(kind, "x", &[("retention.ms", SET, Some("60000"))]));
        }
    });
    script.versions(api, "resources that only Kafka has", |script, version| {
        for kind in [8, 16, 32] {
            script.call(version, &request(kind, "0", &[("retention.ms", SET, Some("60000"))]));
        }
    });
    script.versions(api, "what is changed holds at once", effects);
}

fn lists(script: &mut Script<'_>, version: i16) {
    let orders = script.topic("orders", 1, &[]);
    alter(script, version, &orders, &[("cleanup.policy", APPEND, Some("delete"))]);
    show(script, &orders, &["cleanup.policy"]);
    alter(script, version, &orders, &[("cleanup.policy", SUBTRACT, Some("compact"))]);
    show(script, &orders, &["cleanup.policy"]);
    alter(script, version, &orders, &[("cleanup.policy", SUBTRACT, Some("delete"))]);
    alter(script, version, &orders, &[("cleanup.policy", APPEND, Some("nothing"))]);
    alter(script, version, &orders, &[("cleanup.policy", APPEND, None)]);
    alter(script, version, &orders, &[("retention.ms", APPEND, Some("1"))]);
    alter(script, version, &orders, &[("retention.ms", SUBTRACT, Some("1"))]);
    alter(script, version, &orders, &[("no.such.key", APPEND, Some("1"))]);
    alter(script, version, &orders, &[("cleanup.policy", DELETE, None)]);
    show(script, &orders, &["cleanup.policy"]);
}

fn refused(script: &mut Script<'_>, version: i16) {
    let orders = script.topic("orders", 1, &[]);
    let settings: [Change<'_>; 12] = [
        ("no.such.key", SET, Some("1")),
        ("", SET, Some("1")),
        ("retention.ms", SET, Some("soon")),
        ("retention.ms", SET, Some("-2")),
        ("retention.ms", SET, Some("")),
        ("retention.ms", SET, None),
        ("segment.bytes", SET, Some("1000")),
        ("segment.bytes", SET, Some("2147483648")),
        ("max.message.bytes", SET, Some("-1")),
        ("message.timestamp.type", SET, Some("never")),
        ("retention.ms", 4, Some("1")),
        ("retention.ms", -1, Some("1")),
    ];
    for setting in settings {
        alter(script, version, &orders, &[setting]);
    }
    // One bad setting keeps the good ones of its topic from being taken.
    alter(
        script,
        version,
        &orders,
        &[("segment.bytes", SET, Some("3145728")), ("retention.ms", SET, Some("soon"))],
    );
    alter(script, version, &orders, &[("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))]);
    alter(script, version, &orders, &[("retention.ms", SET, None), ("segment.bytes", SET, None)]);
    alter(script, version, &orders, &[("no.such.key", DELETE, None)]);
    show(script, &orders, &["retention.ms", "segment.bytes"]);
}

fn several(script: &mut Script<'_>, version: i16) {
    let (first, second) = (script.topic("first", 1, &[]), script.topic("second", 1, &[]));
    let good = |name| request(TOPIC, name, &[("retention.ms", SET, Some("60000"))]).resources;
    let bad = |name| request(TOPIC, name, &[("retention.ms", SET, Some("soon"))]).resources;
    let broker = || request(BROKER, "5", &[("num.partitions", SET, Some("1"))]).resources;
    let rows = [
        [good(&first), bad(&second)].concat(),
        [broker(), good("none"), good(&second)].concat(),
        [good(&first), good(&first), good(&second)].concat(),
        Vec::new(),
    ];
    for resources in rows {
        let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
        script.call(version, &request);
    }
}

fn brokers(script: &mut Script<'_>, version: i16) {
    for key in ["log.dirs", "num.partitions", "no.such.key"] {
        script.call(version, &request(BROKER, "0", &[(key, SET, Some("4"))]));
    }
    for name in ["5", "x", "-1"] {
        script.call(version, &request(BROKER, name, &[("log.retention.ms", SET, Some("60000"))]));
    }
    let retention = request(BROKER, "0", &[("log.retention.ms", SET, Some("60000"))]);
    script.call(version, &IncrementalAlterConfigsRequest { validate_only: true, ..retention });
    script.call(version, &request(BROKER, "0", &[("log.retention.ms", SET, None)]));
    script.call(version, &request(BROKER, "0", &[]));
    script.call(version, &request(BROKER, "", &[("log.dirs", SET, Some("/x"))]));
}

fn effects(script: &mut Script<'_>, version: i16) {
    let mut to = Target::new(script, 9, "orders", &[]);
    let large = packed(Codec::None, &[1_000], &[7; 300]);
    to.call(script, &large);
    let name = to.name.clone();
    alter(script, version, &name, &[("max.message.bytes", SET, Some("200"))]);
    settle(script);
    to.call(script, &large);
    alter(
        script,
        version,
        &name,
        &[("max.message.bytes", DELETE, None), ("message.timestamp.type", SET, Some("LogAppendTime"))],
    );
    settle(script);
    to.call(script, &large);
    let hour = ("message.timestamp.before.max.ms", SET, Some("3600000"));
    alter(script, version, &name, &[("message.timestamp.type", SET, Some("CreateTime")), hour]);
    settle(script);
    to.call(script, &batch(&[1_000]));
    alter(script, version, &name, &[("message.timestamp.before.max.ms", DELETE, None)]);
    settle(script);
    to.call(script, &batch(&[1_000]));
}

/// What storage does with changed settings when it looks the next time. Each record fills more than half of the segment
/// that is asked for in the end.
pub fn segments_and_retention(script: &mut Script<'_>) {
    let large = packed(Codec::None, &[1_000], &[7; 600_000]);
    let look = Duration::from_mins(10);
    script.case("one segment, of which nothing goes", |script| {
        let orders = script.topic("orders", 1, &[]);
        append(script, &orders, 0, &large);
        append(script, &orders, 0, &large);
        alter(script, 1, &orders, &[("retention.bytes", SET, Some("1"))]);
        script.pause(look);
        first_offset(script, &orders);
    });
    script.case("smaller segments, of which the oldest goes by size", |script| {
        let orders = script.topic("orders", 1, &[]);
        append(script, &orders, 0, &large);
        alter(script, 1, &orders, &[("segment.bytes", SET, Some("1048576"))]);
        append(script, &orders, 0, &large);
        append(script, &orders, 0, &large);
        script.pause(look);
        first_offset(script, &orders);
        alter(script, 1, &orders, &[("retention.bytes", SET, Some("700000"))]);
        script.pause(look);
        first_offset(script, &orders);
    });
    script.case("records that go by age", |script| {
        let orders = script.topic("orders", 1, &[]);
        append(script, &orders, 0, &large);
        script.pause(look);
        first_offset(script, &orders);
        alter(script, 1, &orders, &[("retention.ms", SET, Some("60000"))]);
        script.pause(look);
        first_offset(script, &orders);
    });
}

fn first_offset(script: &mut Script<'_>, topic: &str) {
    let partition = ListOffsetsPartition { timestamp: -2, ..ListOffsetsPartition::default() };
    let topic = ListOffsetsTopic { name: topic, partitions: vec![partition] };
    script.call(
        9,
        &ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() },
    );
}

/// Kafka's logs follow its controller a moment later.
fn settle(script: &mut Script<'_>) {
    script.pause(Duration::from_millis(300));
}

fn alter(script: &mut Script<'_>, version: i16, topic: &str, changes: &[Change<'_>]) {
    script.call(version, &request(TOPIC, topic, changes));
}

fn show(script: &mut Script<'_>, topic: &str, keys: &[&str]) {
    settle(script);
    let resource = DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: topic,
        configuration_keys: Some(keys.to_vec()),
    };
    script
        .call(4, &DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() });
}

fn request<'a>(kind: i8, name: &'a str, changes: &[Change<'a>]) -> IncrementalAlterConfigsRequest<'a> {
    let change =
        |&(name, config_operation, value): &Change<'a>| AlterableConfig { name, config_operation, value };
    let configs = changes.iter().map(change).collect();
    let resource = AlterConfigsResource { resource_type: kind, resource_name: name, configs };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}
