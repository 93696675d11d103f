//! Fetch.

use super::Script;
use super::batches::{batch, packed};
use super::produce::append;
use ringlog::model::TopicId;
use ringlog::protocol::kafka::ApiKey;
use ringlog::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use ringlog::protocol::records::Codec;

pub fn talk(script: &mut Script<'_>) {
    let orders = script.topic("orders", 2, &[]);
    append(script, &orders, 0, &batch(&[1_000, 2_000]));
    append(script, &orders, 0, &batch(&[3_000, 4_000, 5_000]));
    append(script, &orders, 0, &packed(Codec::None, &[6_000], &[7; 500]));
    let id = script.topic_id(&orders);
    let from = From { name: &orders, id };

    limits(script, &from);
    faults(script, &from);
    several(script, &from);
    sessions(script, &from);
    others(script, &from);
    zstd(script);
}

fn limits(script: &mut Script<'_>, from: &From<'_>) {
    let api = ApiKey::Fetch;
    script.versions(api, "from an offset on", |script, version| {
        for offset in [0, 1, 2, 4, 5, 6] {
            script.call(version, &from.at(version, offset));
        }
    });
    script.versions(api, "out of range", |script, version| {
        for offset in [7, -1, i64::MAX, i64::MIN] {
            script.call(version, &from.at(version, offset));
        }
    });
    script.versions(api, "limits on bytes", |script, version| {
        for (partition_bytes, bytes) in [
            (-1, 1_000_000),
            (1_000_000, -1),
            (1, 1_000_000),
            (150, 1_000_000),
            (1_000_000, 1),
            (1_000_000, 150),
            (0, 0),
            (-1, -1),
            (200, 200),
        ] {
            let mut request = from.at(version, 0);
            request.max_bytes = bytes;
            request.topics[0].partitions[0].partition_max_bytes = partition_bytes;
            script.call(version, &request);
        }
    });
    script.versions(api, "waiting for bytes that do not come", |script, version| {
        for (min_bytes, max_wait_ms, offset) in [
            (1, 20, 6),
            (0, 20_000, 6),
            (-1, 20_000, 6),
            (1, 0, 6),
            (1, -1, 6),
            (1_000_000, 20, 0),
            (700, 20_000, 0),
        ] {
            let request = FetchRequest { min_bytes, max_wait_ms, ..from.at(version, offset) };
            script.call(version, &request);
        }
    });
}

fn faults(script: &mut Script<'_>, from: &From<'_>) {
    let api = ApiKey::Fetch;
    script.versions(api, "an error ends the wait", |script, version| {
        // A partition that is not known does not, in Kafka.
        let mut request = FetchRequest { min_bytes: 1_000, max_wait_ms: 50, ..from.at(version, 0) };
        request.topics[0].partitions.push(FetchPartition { partition: 9, ..part(0) });
        script.call(version, &request);
        let mut request = FetchRequest { min_bytes: 1_000, max_wait_ms: 20_000, ..from.at(version, 0) };
        request.topics[0].partitions.push(FetchPartition { partition: 1, ..part(5) });
        script.call(version, &request);
    });
    script.versions(api, "unknown topic or partition", |script, version| {
        for (name, id) in [("none", TopicId([9; 16])), ("bad/name", TopicId::ZERO)] {
            script.call(version, &From { name, id }.at(version, 0));
        }
        let mut request = from.at(version, 0);
        for partition in [2, -1, 1] {
            request.topics[0].partitions.push(FetchPartition { partition, ..part(0) });
        }
        script.call(version, &request);
    });
    script.versions_from(9, 18, "leader epochs", |script, version| {
        for epoch in [0, 1, -2] {
            let mut request = from.at(version, 0);
            request.topics[0].partitions[0].current_leader_epoch = epoch;
            script.call(version, &request);
        }
    });
    script.versions_from(12, 18, "the epoch of the last record that was fetched", |script, version| {
        for (epoch, offset) in [(0, 2), (0, 6), (1, 2), (-1, 2)] {
            let mut request = from.at(version, offset);
            request.topics[0].partitions[0].last_fetched_epoch = epoch;
            script.call(version, &request);
        }
    });
}

fn others(script: &mut Script<'_>, from: &From<'_>) {
    let api = ApiKey::Fetch;
    script.versions(api, "isolation levels", |script, version| {
        for isolation_level in [1, 2, -1] {
            script.call(version, &FetchRequest { isolation_level, ..from.at(version, 0) });
        }
    });
    script.versions(api, "nothing", |script, version| {
        let empty = FetchRequest { topics: Vec::new(), ..from.at(version, 0) };
        script.call(version, &FetchRequest { min_bytes: 0, ..empty.clone() });
        script.call(version, &FetchRequest { min_bytes: 1, max_wait_ms: 20, ..empty });
        let mut request = FetchRequest { min_bytes: 0, ..from.at(version, 0) };
        request.topics[0].partitions.clear();
        script.call(version, &request);
    });
    script.versions(api, "a reader that says it is a replica", |script, version| {
        let mut request = from.at(version, 0);
        if version >= 15 {
            request.replica_state = ReplicaState { replica_id: 3, replica_epoch: -1 };
        } else {
            request.replica_id = 3;
        }
        script.call(version, &request);
    });
    script.versions_from(11, 18, "a rack", |script, version| {
        script.call(version, &FetchRequest { rack_id: "r", ..from.at(version, 0) });
    });
}

fn several(script: &mut Script<'_>, from: &From<'_>) {
    script.versions(ApiKey::Fetch, "several partitions within one limit", |script, version| {
        let second = script.topic("second", 2, &[]);
        append(script, &second, 0, &batch(&[1_000]));
        append(script, &second, 1, &batch(&[1_000]));
        let id = script.topic_id(&second);
        for max_bytes in [1_000_000, 800, 1] {
            let mut request = FetchRequest { max_bytes, ..from.at(version, 2) };
            let from_second = From { name: &second, id };
            let mut other = from_second.at(version, 0);
            other.topics[0].partitions.push(FetchPartition { partition: 1, ..part(0) });
            request.topics.extend(other.topics);
            script.call(version, &request);
        }
    });
    script.versions(ApiKey::Fetch, "a partition twice", |script, version| {
        let mut request = from.at(version, 0);
        request.topics[0].partitions.push(part(5));
        script.call(version, &request);
    });
}

fn sessions(script: &mut Script<'_>, from: &From<'_>) {
    script.versions_from(7, 18, "sessions", |script, version| {
        for (session_id, session_epoch) in [(0, -1), (0, 1), (77, 1), (77, 0), (77, -1), (77, -2), (-1, 5)] {
            let request = FetchRequest { session_id, session_epoch, ..from.at(version, 6) };
            script.call(version, &FetchRequest { min_bytes: 0, ..request });
        }
    });
    script.versions_from(7, 18, "a session that is asked for", |script, version| {
        let request = FetchRequest { session_id: 0, session_epoch: 0, ..from.at(version, 6) };
        script.call(version, &FetchRequest { min_bytes: 0, ..request });
    });
}

/// KIP-110: clients that do not know zstd are not given it.
fn zstd(script: &mut Script<'_>) {
    let topic = script.topic("zstd", 1, &[]);
    append(script, &topic, 0, &batch(&[1_000]));
    append(script, &topic, 0, &packed(Codec::Zstd, &[1_000], b"value"));
    let id = script.topic_id(&topic);
    script.versions(ApiKey::Fetch, "zstd", |script, version| {
        for offset in [0, 1] {
            script.call(version, &From { name: &topic, id }.at(version, offset));
        }
    });
}

/// A topic to read from.
struct From<'a> {
    name: &'a str,
    id: TopicId,
}

impl From<'_> {
    /// A plain request for partition 0.
    fn at(&self, version: i16, offset: i64) -> FetchRequest<'_> {
        let topic = FetchTopic { topic: self.name, topic_id: self.id, partitions: vec![part(offset)] };
        FetchRequest {
            replica_id: -1,
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 10_000_000,
            session_epoch: if version >= 7 { -1 } else { FetchRequest::default().session_epoch },
            topics: vec![topic],
            ..FetchRequest::default()
        }
    }
}

fn part(offset: i64) -> FetchPartition {
    FetchPartition { fetch_offset: offset, partition_max_bytes: 1_000_000, ..FetchPartition::default() }
}
