//! DeleteTopics (key 20). Source: KIP-4, KIP-599 (5), KIP-516 (6: by id).

use crate::model::TopicId;
use crate::protocol::kafka::table::messages;

messages! {
    request DeleteTopicsRequest<'a> of DeleteTopics {
        topics: Vec<DeleteTopicState<'a>>, 6+;
        topic_names: Vec<&'a str>, 0-5, ignorable;
        timeout_ms: i32, 0+;
    }
    /// By name, or by id with a null name.
    part DeleteTopicState<'a> {
        name: Option<&'a str>, 6+, null 6+;
        topic_id: TopicId = TopicId::ZERO, 6+;
    }

    response DeleteTopicsResponse<'a> of DeleteTopics {
        throttle_time_ms: i32, 1+, ignorable;
        responses: Vec<DeletableTopicResult<'a>>, 0+;
    }
    /// What became of one topic.
    part DeletableTopicResult<'a> {
        name: Option<&'a str>, 0+, null 6+;
        topic_id: TopicId = TopicId::ZERO, 6+, ignorable;
        error_code: i16, 0+;
        error_message: Option<&'a str>, 5+, null 5+, ignorable;
    }
}
