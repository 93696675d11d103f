//! Fetch (key 1): reads record batches, waiting for them if asked to. Source: KIP-74 (the limits on bytes),
//! KIP-227 (7: sessions), KIP-320 (9, 12: leader epochs), KIP-392 (11: racks), KIP-516 (13: topics by id),
//! KIP-903 (15: replica epochs), KIP-951 (16), KIP-853 (17), KIP-1166 (18).

use crate::model::TopicId;
use crate::protocol::kafka::Records;
use crate::protocol::kafka::table::messages;

messages! {
    /// Topics and partitions are served in the order given: the limits on bytes may leave nothing for the last.
    request FetchRequest<'a> of Fetch {
        cluster_id: Option<&'a str>, 12+, null 12+, tag 0, ignorable;
        /// -1 is a consumer.
        replica_id: i32 = -1, 0-14;
        replica_state: ReplicaState, 15+, tag 1;
        max_wait_ms: i32, 0+;
        min_bytes: i32, 0+;
        max_bytes: i32 = i32::MAX, 3+, ignorable;
        /// 0 read uncommitted, 1 read committed.
        isolation_level: i8, 4+, ignorable;
        session_id: i32, 7+, ignorable;
        session_epoch: i32 = -1, 7+, ignorable;
        topics: Vec<FetchTopic<'a>>, 0+;
        forgotten_topics_data: Vec<ForgottenTopic<'a>>, 7+;
        rack_id: &'a str, 11+, ignorable;
    }
    /// The follower that asks; -1 is a consumer.
    part ReplicaState {
        replica_id: i32 = -1, 15+;
        replica_epoch: i64 = -1, 15+;
    }
    /// One topic, by name until version 12, by id from 13.
    part FetchTopic<'a> {
        topic: &'a str, 0-12, ignorable;
        topic_id: TopicId = TopicId::ZERO, 13+, ignorable;
        partitions: Vec<FetchPartition>, 0+;
    }
    /// Where to read on in one partition.
    part FetchPartition {
        partition: i32, 0+;
        /// -1 does not check.
        current_leader_epoch: i32 = -1, 9+, ignorable;
        fetch_offset: i64, 0+;
        last_fetched_epoch: i32 = -1, 12+;
        log_start_offset: i64 = -1, 5+, ignorable;
        partition_max_bytes: i32, 0+;
        replica_directory_id: [u8; 16], 17+, tag 0, ignorable;
        /// What the follower knows; -1 nothing, `i64::MAX` that it does not tell.
        high_watermark: i64 = i64::MAX, 18+, tag 1, ignorable;
    }
    /// Partitions that leave the session.
    part ForgottenTopic<'a> {
        topic: &'a str, 7-12, ignorable;
        topic_id: TopicId = TopicId::ZERO, 13+, ignorable;
        partitions: Vec<i32>, 7+;
    }

    /// Encode it with [`Records::External`] to leave the record bytes out.
    response FetchResponse<'a> of Fetch {
        throttle_time_ms: i32, 1+, ignorable;
        error_code: i16, 7+, ignorable;
        /// 0 is no session.
        session_id: i32, 7+;
        responses: Vec<FetchableTopicResponse<'a>>, 0+;
        /// Where the leaders named in `current_leader` are reached.
        node_endpoints: Vec<NodeEndpoint<'a>>, 16+, tag 0;
    }
    /// One topic, by name until version 12, by id from 13.
    part FetchableTopicResponse<'a> {
        topic: &'a str, 0-12, ignorable;
        topic_id: TopicId = TopicId::ZERO, 13+, ignorable;
        partitions: Vec<PartitionData<'a>>, 0+;
    }
    /// One partition's batches and bounds. The last batch may be cut off.
    part PartitionData<'a> {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        high_watermark: i64, 0+;
        last_stable_offset: i64 = -1, 4+, ignorable;
        log_start_offset: i64 = -1, 5+, ignorable;
        diverging_epoch: EpochEndOffset, 12+, tag 0;
        current_leader: LeaderIdAndEpoch, 12+, tag 1;
        snapshot_id: SnapshotId, 12+, tag 2;
        aborted_transactions: Option<Vec<AbortedTransaction>>, 4+, null 4+, ignorable;
        preferred_read_replica: i32 = -1, 11+;
        records: Option<Records<'a>>, 0+, null 0+;
    }
    /// Behind which offset, in which epoch, the follower's log differs.
    part EpochEndOffset {
        epoch: i32 = -1, 12+;
        end_offset: i64 = -1, 12+;
    }
    /// The leader to turn to instead.
    part LeaderIdAndEpoch {
        leader_id: i32 = -1, 12+;
        leader_epoch: i32 = -1, 12+;
    }
    /// The snapshot to fetch instead of records.
    part SnapshotId {
        end_offset: i64 = -1, 0+;
        epoch: i32 = -1, 0+;
    }
    /// A transaction whose records a reader of committed data leaves out.
    part AbortedTransaction {
        producer_id: i64, 4+;
        first_offset: i64, 4+;
    }
    /// A broker's address.
    part NodeEndpoint<'a> {
        node_id: i32, 16+;
        host: &'a str, 16+;
        port: i32, 16+;
        rack: Option<&'a str>, 16+, null 16+;
    }
}

impl EpochEndOffset {
    /// The last epoch that both logs may have in common, and where it ends in the leader's.
    #[must_use]
    pub const fn new(epoch: i32, end_offset: i64) -> Self {
        Self { epoch, end_offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Result;
    use crate::protocol::kafka::{Message, Piece, Reader, Writer, frame, header::ResponseHeader};

    fn response<'a>(first: Records<'a>, second: Records<'a>) -> FetchResponse<'a> {
        let partition = |partition_index, records| PartitionData {
            partition_index,
            high_watermark: 5,
            records: Some(records),
            ..PartitionData::default()
        };
        let topic = FetchableTopicResponse {
            topic_id: TopicId([7; 16]),
            partitions: vec![partition(0, first), partition(1, second)],
            ..FetchableTopicResponse::default()
        };
        FetchResponse { responses: vec![topic], ..FetchResponse::default() }
    }

    #[test]
    fn records_sent_from_elsewhere_make_the_same_frame_as_records_copied_in() -> Result<()> {
        let (first, second) = ([0xaa; 300], [0xbb; 40]);
        let mut copied = Writer::new();
        frame::encode_response(
            &mut copied,
            18,
            3,
            &response(Records::Inline(&first), Records::Inline(&second)),
        )?;

        let mut pieces = Writer::new();
        let external =
            response(Records::External { bytes: first.len() }, Records::External { bytes: second.len() });
        frame::encode_response(&mut pieces, 18, 3, &external)?;
        let mut from_outside = [&first[..], &second[..]].into_iter();
        let mut joined = Vec::new();
        for piece in pieces.pieces() {
            joined.extend_from_slice(match piece {
                Piece::Encoded(encoded) => encoded,
                Piece::External { bytes } => from_outside.next().filter(|part| part.len() == bytes).unwrap(),
            });
        }

        assert_eq!(joined, copied.encoded());
        assert_eq!(pieces.total_bytes(), joined.len());
        let mut reader = Reader::new(&joined[frame::PREFIX_BYTES..]);
        ResponseHeader::decode(&mut reader, FetchResponse::API_KEY, 18)?;
        let decoded = FetchResponse::decode(&mut reader, 18)?;
        assert_eq!(decoded, response(Records::Inline(&first), Records::Inline(&second)));
        reader.expect_end()
    }

    #[test]
    fn a_value_that_the_version_cannot_carry_is_an_error_and_leaves_no_frame() {
        let mut writer = Writer::new();
        let in_session = FetchResponse { session_id: 1, ..FetchResponse::default() };
        let result = frame::encode_response(&mut writer, 6, 1, &in_session);
        let expected = crate::protocol::Error::FieldNotInVersion { field: "session_id", version: 6 };
        assert_eq!((result, writer.total_bytes()), (Err(expected), 0));
    }
}
