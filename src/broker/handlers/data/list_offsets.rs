//! ListOffsets (key 2): the first, the next and the latest offset, and the first record at or after a time.

use std::collections::BTreeMap;

use crate::broker::handlers::data::fetch::{READ_COMMITTED, READ_UNCOMMITTED};
use crate::broker::purgatory::list_offsets::{ListAnswer, ListPart, ListTopic, PendingList};
use crate::broker::shards::{RequestId, Shard};
use crate::model::error_code::ErrorCode;
use crate::protocol::kafka::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::runtime::memory::ArenaMemory;

/// From this version on answers carry leader epochs (KIP-320).
const EPOCHS_FROM_VERSION: i16 = 4;
pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, id: RequestId, request: ListOffsetsRequest<'_>) {
    let known_isolation = matches!(request.isolation_level, READ_UNCOMMITTED | READ_COMMITTED);
    let refused = (!known_isolation).then_some(ListAnswer::Refused(ErrorCode::UnknownServerError));
    let mut topics: BTreeMap<String, ListTopic> = BTreeMap::new();
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let known = shard.image.topic(topic.name).map(|known| known.id);
        let listed = topics.entry(topic.name.to_owned()).or_default();
        listed.known = known;
        listed.parts.extend(topic.partitions.iter().map(|part| ListPart {
            index: part.partition_index,
            slot: None,
            leader_epoch: part.current_leader_epoch,
            timestamp: part.timestamp,
            answer: refused,
        }));
    }
    topics.values_mut().for_each(|topic| refuse_repeated(&mut topic.parts));
    let list = PendingList { request: id, topics: topics.into_iter().collect(), place: (0, 0), search: None };
    shard.list(list);
}

/// A partition that is named several times has one answer: that this is not allowed.
fn refuse_repeated(parts: &mut Vec<ListPart>) {
    parts.sort_by_key(|part| part.index);
    parts.dedup_by(|later, first| {
        let same = later.index == first.index;
        if same && first.answer.is_none() {
            first.answer = Some(ListAnswer::Refused(ErrorCode::InvalidRequest));
        }
        same
    });
}

/// All parts have their answers.
pub fn answer<M: ArenaMemory>(shard: &mut Shard<M>, list: &PendingList) {
    let has_epochs = list.request.api_version >= EPOCHS_FROM_VERSION;
    let answer_of = |part: &ListPart| {
        let mut row = ListOffsetsPartitionResponse { partition_index: part.index, ..Default::default() };
        match part.answer.unwrap_or(ListAnswer::UNKNOWN) {
            ListAnswer::Found { timestamp, offset, leader_epoch } => {
                row.timestamp = timestamp;
                row.offset = offset;
                if has_epochs {
                    row.leader_epoch = leader_epoch;
                }
            }
            ListAnswer::Refused(error) => row.error_code = error.code(),
        }
        row
    };
    let topics = list
        .topics
        .iter()
        .map(|(name, topic)| ListOffsetsTopicResponse {
            name,
            partitions: topic.parts.iter().map(answer_of).collect(),
        })
        .collect();
    let response = ListOffsetsResponse { topics, ..ListOffsetsResponse::default() };
    shard.reply(&list.request, &response, Vec::new());
}
