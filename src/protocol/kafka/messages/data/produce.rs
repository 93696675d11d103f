//! Produce (key 0): appends record batches. Source: KIP-98 (3), KIP-467 (8), KIP-951 (10), KIP-890 (11, 12),
//! KIP-516 (13: topics by id).

use crate::model::TopicId;
use crate::protocol::Result;
use crate::protocol::kafka::field::{Context, Field};
use crate::protocol::kafka::table::{self, messages};
use crate::protocol::kafka::{ApiKey, Records, Rows, Writer};

messages! {
    /// `acks`: 0 asks for no response at all, 1 for the leader, -1 for all in-sync replicas.
    request ProduceRequest<'a> of Produce {
        transactional_id: Option<&'a str>, 3+, null 3+;
        acks: i16, 0+;
        timeout_ms: i32, 0+;
        topic_data: Rows<TopicProduceData<'a>>, 0+;
    }
    /// One topic, by name until version 12, by id from 13.
    part TopicProduceData<'a> {
        name: &'a str, 0-12, ignorable;
        topic_id: TopicId = TopicId::ZERO, 13+, ignorable;
        partition_data: Rows<PartitionProduceData<'a>>, 0+;
    }
    /// Record batches for one partition.
    part PartitionProduceData<'a> {
        index: i32, 0+;
        records: Option<Records<'a>>, 0+, null 0+;
    }

    /// Sent unless `acks` was 0.
    response ProduceResponse<'a> of Produce {
        responses: Rows<TopicProduceResponse<'a>>, 0+;
        throttle_time_ms: i32, 1+, ignorable;
        /// Where the leaders named in `current_leader` are reached.
        node_endpoints: Vec<NodeEndpoint<'a>>, 10+, tag 0;
    }
    /// One topic, by name until version 12, by id from 13.
    part TopicProduceResponse<'a> {
        name: &'a str, 0-12, ignorable;
        topic_id: TopicId = TopicId::ZERO, 13+, ignorable;
        partition_responses: Rows<PartitionProduceResponse<'a>>, 0+;
    }
    /// What became of one partition's batches.
    part PartitionProduceResponse<'a> {
        index: i32, 0+;
        error_code: i16, 0+;
        base_offset: i64, 0+;
        /// -1 unless the topic's timestamps are the broker's.
        log_append_time_ms: i64 = -1, 2+, ignorable;
        log_start_offset: i64 = -1, 5+, ignorable;
        record_errors: Vec<BatchIndexAndErrorMessage<'a>>, 8+, ignorable;
        error_message: Option<&'a str>, 8+, null 8+, ignorable;
        current_leader: LeaderIdAndEpoch, 10+, tag 0;
    }
    /// A record that made its batch be refused.
    part BatchIndexAndErrorMessage<'a> {
        batch_index: i32, 8+;
        batch_index_error_message: Option<&'a str>, 8+, null 8+;
    }
    /// The leader to turn to instead.
    part LeaderIdAndEpoch {
        leader_id: i32 = -1, 10+;
        leader_epoch: i32 = -1, 10+;
    }
    /// A broker's address.
    part NodeEndpoint<'a> {
        node_id: i32, 10+;
        host: &'a str, 10+;
        port: i32, 10+;
        rack: Option<&'a str>, 10+, null 10+;
    }
}

/// Writes the body of a [`ProduceResponse`] part by part, without making one: with its tables alone, the reply to a small request
/// would be a tenth of all the work on it. Every field that it does not name has its default.
#[derive(Debug)]
pub struct ProduceResponseWriter<'w> {
    writer: &'w mut Writer,
    context: Context,
}

impl<'w> ProduceResponseWriter<'w> {
    const TOPIC_ID_FROM: i16 = 13;
    const LOG_START_OFFSET_FROM: i16 = 5;
    const ERROR_MESSAGE_FROM: i16 = 8;

    /// Begins a body with so many topics.
    ///
    /// # Errors
    /// A version that is not served, or too many topics.
    pub fn begin(writer: &'w mut Writer, version: i16, topic_count: usize) -> Result<Self> {
        let context = table::context(ApiKey::Produce, version)?;
        let mut this = Self { writer, context };
        this.put_count(topic_count)?;
        Ok(this)
    }

    /// Begins a topic with so many parts.
    ///
    /// # Errors
    /// A name or an array that is too long.
    pub fn begin_topic(&mut self, name: &str, id: TopicId, part_count: usize) -> Result<()> {
        if self.context.version < Self::TOPIC_ID_FROM {
            name.encode(self.writer, self.context)?;
        } else {
            id.encode(self.writer, self.context)?;
        }
        self.put_count(part_count)
    }

    /// What became of a part. `offsets`: those of the batch and of the log's start.
    ///
    /// # Errors
    /// A message that is too long.
    pub fn part(
        &mut self,
        index: i32,
        error_code: i16,
        log_append_time_ms: i64,
        offsets: [i64; 2],
        error_message: Option<&str>,
    ) -> Result<()> {
        let [base_offset, log_start_offset] = offsets;
        let [i0, i1, i2, i3] = index.to_be_bytes();
        let [e0, e1] = error_code.to_be_bytes();
        self.writer.put(&[i0, i1, i2, i3, e0, e1]);
        self.writer.note_error(error_code);
        self.writer.put(&base_offset.to_be_bytes());
        self.writer.put(&log_append_time_ms.to_be_bytes());
        if self.context.version >= Self::LOG_START_OFFSET_FROM {
            self.writer.put(&log_start_offset.to_be_bytes());
        }
        if self.context.version >= Self::ERROR_MESSAGE_FROM {
            self.put_count(0)?;
            error_message.encode(self.writer, self.context)?;
        }
        self.end_struct();
        Ok(())
    }

    /// Ends the topic.
    pub fn end_topic(&mut self) {
        self.end_struct();
    }

    /// Ends the body.
    pub fn end(mut self) {
        const THROTTLE_TIME_MS: i32 = 0;
        self.writer.put(&THROTTLE_TIME_MS.to_be_bytes());
        self.end_struct();
    }

    fn put_count(&mut self, count: usize) -> Result<()> {
        if self.context.flexible {
            self.writer.put_compact_length(count)
        } else {
            let too_long = crate::protocol::Error::TooLong { length: count };
            self.writer.put(&i32::try_from(count).map_err(|_| too_long)?.to_be_bytes());
            Ok(())
        }
    }

    /// No tagged field.
    fn end_struct(&mut self) {
        if self.context.flexible {
            self.writer.put_varint(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::kafka::Message;

    #[test]
    fn a_response_written_part_by_part_is_that_of_the_table() {
        let id = TopicId([7; 16]);
        let part = |index, error_code, error_message| PartitionProduceResponse {
            index,
            error_code,
            base_offset: 1 << 40,
            log_append_time_ms: 12,
            log_start_offset: 3,
            error_message,
            ..PartitionProduceResponse::default()
        };
        let parts = vec![part(0, 0, None), part(1, 87, Some("no")), part(70_000, 87, None)];
        let topic = |name, parts| TopicProduceResponse { name, topic_id: id, partition_responses: parts };
        let topics = vec![topic("first", Rows::from(parts)), topic("", Rows::default())];
        let response = ProduceResponse { responses: topics.into(), ..ProduceResponse::default() };
        let versions = ApiKey::Produce.versions();
        for version in versions.first..=versions.last {
            let mut expected = Writer::new();
            Message::encode(&response, &mut expected, version).unwrap();
            let mut found = Writer::new();
            let mut body = ProduceResponseWriter::begin(&mut found, version, 2).unwrap();
            for topic in &response.responses {
                body.begin_topic(topic.name, id, topic.partition_responses.len()).unwrap();
                for part in &topic.partition_responses {
                    let offsets = [part.base_offset, part.log_start_offset];
                    let times = part.log_append_time_ms;
                    body.part(part.index, part.error_code, times, offsets, part.error_message).unwrap();
                }
                body.end_topic();
            }
            body.end();
            assert_eq!(
                (found.encoded(), found.errors()),
                (expected.encoded(), expected.errors()),
                "{version}"
            );
            assert_eq!(found.errors(), [(87, 2)]);
        }
        assert!(ProduceResponseWriter::begin(&mut Writer::new(), versions.last + 1, 0).is_err());
    }
}
