//! CreateTopics.

use super::Script;
use ringlog::protocol::kafka::ApiKey;
use ringlog::protocol::kafka::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};

pub fn talk(script: &mut Script<'_>) {
    let api = ApiKey::CreateTopics;
    script.versions(api, "made", |script, version| {
        let name = script.name("orders");
        script.call(version, &request(vec![topic(&name)]));
        script.call(version, &request(vec![topic(&name)]));
    });
    script.versions(api, "only validated", |script, version| {
        let name = script.name("orders");
        let first = CreateTopicsRequest { validate_only: true, ..request(vec![topic(&name)]) };
        script.call(version, &first);
        script.call(version, &first);
        script.call(version, &CreateTopicsRequest { validate_only: true, ..request(vec![topic("a/b")]) });
    });
    script.versions(api, "counts", |script, version| {
        for (partitions, replicas) in [
            (-1, -1),
            (3, -1),
            (-1, 1),
            (0, 1),
            (-2, 1),
            (1, 0),
            (1, -2),
            (1, 2),
            (1, i16::MAX),
            (0, 0),
            (10_001, 1),
        ] {
            let name = script.name("counts");
            let counted =
                CreatableTopic { num_partitions: partitions, replication_factor: replicas, ..topic(&name) };
            let request = CreateTopicsRequest { validate_only: true, ..request(vec![counted]) };
            script.call(version, &request);
        }
    });
    names(script);
    script.versions(api, "a time-out of 0 and below", |script, version| {
        for timeout_ms in [0, -1] {
            let name = script.name("soon");
            let made = CreateTopicsRequest { timeout_ms, validate_only: true, ..request(vec![topic(&name)]) };
            script.call(version, &made);
        }
    });
    assignments(script);
    configs(script);
}

fn names(script: &mut Script<'_>) {
    let api = ApiKey::CreateTopics;
    script.versions(api, "names", |script, version| {
        let long = "a".repeat(250);
        for name in ["", ".", "..", "bad/name", "ü", "sp ace", long.as_str(), "__cluster_metadata"] {
            script.call(version, &request(vec![topic(name)]));
        }
        for name in ["__consumer_offsets", "__transaction_state", "__share_group_state"] {
            let own = CreatableTopic { num_partitions: 1, ..topic(name) };
            let answer =
                script.ask(version, &CreateTopicsRequest { validate_only: true, ..request(vec![own]) });
            assert!(!answer.field("topics").list().is_empty());
        }
    });
    script.versions(api, "names that collide", |script, version| {
        let under = script.topic("with_under", 1, &[]);
        let dot = script.name_like(&under, "_", ".");
        script.call(version, &request(vec![topic(&dot)]));
    });
    script.versions(api, "a name twice", |script, version| {
        let (twice, once) = (script.name("twice"), script.name("once"));
        script.call(version, &request(vec![topic(&twice), topic(&once), topic(&twice)]));
    });
    script.versions(api, "no topic, and one good beside one bad", |script, version| {
        script.call(version, &request(Vec::new()));
        let good = script.name("good");
        script.call(version, &request(vec![topic("bad/name"), topic(&good)]));
    });
    script.versions(api, "too many partitions in one request", |script, version| {
        let (first, second) = (script.name("first"), script.name("second"));
        let half = |name| CreatableTopic { num_partitions: 6_000, ..topic(name) };
        script.call(version, &request(vec![half(&first), half(&second)]));
    });
}

fn assignments(script: &mut Script<'_>) {
    script.versions(ApiKey::CreateTopics, "assignments", |script, version| {
        let cases: [&[(i32, &[i32])]; 9] = [
            &[(0, &[0]), (1, &[0])],
            &[(1, &[0]), (0, &[0])],
            &[(0, &[0]), (0, &[0])],
            &[(0, &[0]), (2, &[0])],
            &[(1, &[0])],
            &[(-1, &[0])],
            &[(0, &[])],
            &[(0, &[0, 0])],
            &[(0, &[5])],
        ];
        for case in cases {
            let name = script.name("assigned");
            let assigned = CreatableTopic {
                num_partitions: -1,
                replication_factor: -1,
                assignments: assigned(case),
                ..topic(&name)
            };
            script.call(version, &CreateTopicsRequest { validate_only: true, ..request(vec![assigned]) });
        }
        for (num_partitions, replication_factor) in [(1, -1), (-1, 1), (1, 1)] {
            let name = script.name("assigned");
            let assigned = CreatableTopic {
                num_partitions,
                replication_factor,
                assignments: assigned(&[(0, &[0])]),
                ..topic(&name)
            };
            script.call(version, &CreateTopicsRequest { validate_only: true, ..request(vec![assigned]) });
        }
    });
}

fn assigned(rows: &[(i32, &[i32])]) -> Vec<CreatableReplicaAssignment> {
    rows.iter()
        .map(|&(partition_index, brokers)| CreatableReplicaAssignment {
            partition_index,
            broker_ids: brokers.to_vec(),
        })
        .collect()
}

fn configs(script: &mut Script<'_>) {
    script.versions(ApiKey::CreateTopics, "settings", |script, version| {
        let cases: [&[(&str, Option<&str>)]; 13] = [
            &[("retention.ms", Some("60000")), ("segment.bytes", Some("1048576"))],
            &[("message.timestamp.type", Some("LogAppendTime"))],
            &[("retention.ms", Some("1")), ("retention.ms", Some("2"))],
            &[("retention.ms", None)],
            &[("no.such.key", Some("1"))],
            &[("retention.ms", Some("soon"))],
            &[("retention.ms", Some("-2"))],
            &[("retention.ms", Some(""))],
            &[("segment.bytes", Some("1"))],
            &[("max.message.bytes", Some("-1"))],
            &[("min.insync.replicas", Some("0"))],
            &[("cleanup.policy", Some("forget"))],
            &[("compression.type", Some("zip"))],
        ];
        for case in cases {
            let name = script.name("set");
            let configs = case.iter().map(|&(name, value)| CreatableTopicConfig { name, value }).collect();
            let set = CreatableTopic { configs, ..topic(&name) };
            script.call(version, &CreateTopicsRequest { validate_only: true, ..request(vec![set]) });
        }
    });
}

fn topic(name: &str) -> CreatableTopic<'_> {
    CreatableTopic { name, num_partitions: 1, replication_factor: 1, ..CreatableTopic::default() }
}

fn request(topics: Vec<CreatableTopic<'_>>) -> CreateTopicsRequest<'_> {
    CreateTopicsRequest { topics, timeout_ms: 30_000, validate_only: false }
}
