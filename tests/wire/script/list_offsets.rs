//! ListOffsets (KIP-79 and what came after it).

use super::Script;
use super::batches::{batch, packed, with};
use super::produce::append;
use ringlog::protocol::kafka::ApiKey;
use ringlog::protocol::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ringlog::protocol::records::Codec;

pub fn talk(script: &mut Script<'_>) {
    let full = script.topic("full", 2, &[]);
    append(script, &full, 0, &batch(&[1_000, 3_000, 2_000]));
    append(script, &full, 0, &batch(&[2_500]));
    append(script, &full, 0, &packed(Codec::Lz4, &[5_000, 4_000, 5_000], b"v"));
    append(script, &full, 0, &batch(&[100]));
    let stamped = script.topic("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    append(script, &stamped, 0, &batch(&[1, 2, 3]));

    script.versions(ApiKey::ListOffsets, "special timestamps", |script, version| {
        for timestamp in -7..=-1 {
            script.call(version, &request(&full, &[(0, timestamp, -1), (1, timestamp, -1)]));
        }
    });
    script.versions(ApiKey::ListOffsets, "times", |script, version| {
        for timestamp in [0, 1_000, 1_001, 2_500, 3_000, 3_001, 4_500, 5_000, 5_001, i64::MAX] {
            script.call(version, &request(&full, &[(0, timestamp, -1)]));
        }
        script.call(version, &request(&full, &[(1, 0, -1)]));
    });
    script.versions(
        ApiKey::ListOffsets,
        "times of a topic whose batches the broker stamps",
        |script, version| {
            for timestamp in [0, -3, i64::MAX] {
                script.call(version, &request(&stamped, &[(0, timestamp, -1)]));
            }
        },
    );
    script.versions(ApiKey::ListOffsets, "unknown topic and partition", |script, version| {
        script.call(version, &request("none", &[(0, -1, -1)]));
        script.call(version, &request(&full, &[(2, -1, -1), (-1, -1, -1)]));
        script.call(version, &request("bad/name", &[(0, -1, -1)]));
    });
    script.versions(ApiKey::ListOffsets, "a partition twice", |script, version| {
        script.call(version, &request(&full, &[(0, -1, -1), (1, -1, -1), (0, -2, -1)]));
    });
    script.versions(ApiKey::ListOffsets, "a topic twice", |script, version| {
        let mut twice = request(&full, &[(0, -1, -1)]);
        twice.topics.extend(request(&full, &[(0, -1, -1), (1, -2, -1)]).topics);
        script.call(version, &twice);
    });
    script.versions_from(4, 11, "leader epochs", |script, version| {
        for epoch in [0, 1, 7, -2] {
            script.call(version, &request(&full, &[(0, -1, epoch), (1, 1_000, epoch)]));
        }
    });
    script.versions(ApiKey::ListOffsets, "another replica id", |script, version| {
        for replica_id in [0, 5, -2, -3] {
            script.call(version, &ListOffsetsRequest { replica_id, ..request(&full, &[(0, -1, -1)]) });
        }
    });
    script.versions_from(2, 11, "isolation level", |script, version| {
        for isolation_level in [1, 2] {
            let request =
                ListOffsetsRequest { isolation_level, ..request(&full, &[(0, 0, -1), (1, -1, -1)]) };
            script.call(version, &request);
        }
    });
    script.versions(ApiKey::ListOffsets, "nothing", |script, version| {
        script.call(version, &ListOffsetsRequest { replica_id: -1, ..ListOffsetsRequest::default() });
        script.call(version, &request(&full, &[]));
    });
    times_of_odd_batches(script);
}

fn times_of_odd_batches(script: &mut Script<'_>) {
    let odd = script.topic("odd", 2, &[]);
    // A producer may claim a largest time that no record has.
    append(script, &odd, 0, &with(batch(&[10, 20]), 35, &99_i64.to_be_bytes()));
    append(script, &odd, 0, &batch(&[50]));
    // Times of the day before the epoch.
    append(script, &odd, 1, &batch(&[-1]));
    script.versions_from(10, 11, "times of odd batches", |script, version| {
        for timestamp in [-3, 15, 30, 60] {
            script.call(version, &request(&odd, &[(0, timestamp, -1), (1, timestamp, -1)]));
        }
    });
}

fn request<'a>(name: &'a str, partitions: &[(i32, i64, i32)]) -> ListOffsetsRequest<'a> {
    let partitions = partitions
        .iter()
        .map(|&(partition_index, timestamp, current_leader_epoch)| ListOffsetsPartition {
            partition_index,
            current_leader_epoch,
            timestamp,
        })
        .collect();
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic { name, partitions }],
        ..ListOffsetsRequest::default()
    }
}
