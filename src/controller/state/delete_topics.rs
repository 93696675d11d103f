//! Deciding which topics are deleted, by name or by id.

use super::{DeleteOutcome, Record, Refusal, Reply, State, TopicSelector};
use crate::model::TopicId;
use std::collections::BTreeMap;

/// How often each selector stands in the request.
type Times<'a> = BTreeMap<(Option<&'a str>, TopicId), usize>;

impl State {
    pub(super) fn delete_topics(&self, topics: &[TopicSelector]) -> (Vec<Record>, Reply) {
        let mut times = Times::new();
        for topic in topics {
            *times.entry((topic.name.as_deref(), topic.id)).or_default() += 1;
        }
        let mut unanswered: Times<'_> = times.clone();
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        for selector in topics {
            if unanswered.remove(&(selector.name.as_deref(), selector.id)).is_none() {
                continue;
            }
            if let Some(outcome) = self.delete_topic(selector, &times) {
                if outcome.result.is_ok() {
                    records.push(Record::TopicDeleted { topic_id: outcome.id });
                }
                outcomes.push(outcome);
            }
        }
        (records, Reply::DeleteTopics(outcomes))
    }

    /// `None`: the row of the topic's name answers for its id too.
    fn delete_topic(&self, selector: &TopicSelector, times: &Times<'_>) -> Option<DeleteOutcome> {
        let TopicSelector { name, id } = selector;
        let times_of = |name: Option<&str>, id: TopicId| times.get(&(name, id)).copied().unwrap_or(0);
        let twice = times_of(name.as_deref(), *id) > 1;
        let found = match (name, *id) {
            (None, TopicId::ZERO) => Err(Refusal::NeitherNameNorId),
            (Some(_), TopicId::ZERO) if twice => Err(Refusal::TopicNamedTwice),
            (Some(name), TopicId::ZERO) => self.image.topic(name).ok_or(Refusal::TopicNameUnknown),
            (Some(_), _) => Err(Refusal::BothNameAndId),
            (None, _) if twice => Err(Refusal::TopicIdTwice),
            (None, id) => self.image.topic_by_id(id).ok_or(Refusal::TopicIdUnknown),
        };
        let topic = match found {
            Err(refusal) => {
                return Some(DeleteOutcome { name: name.clone(), id: *id, result: Err(refusal) });
            }
            Ok(topic) => topic,
        };
        let named_both_ways =
            times_of(Some(&topic.name), TopicId::ZERO) == 1 && times_of(None, topic.id) == 1;
        let result = match (named_both_ways, name) {
            (true, None) => return None,
            (true, Some(_)) => Err(Refusal::TopicNamedByIdToo),
            (false, _) => Ok(()),
        };
        Some(DeleteOutcome { name: Some(topic.name.to_string()), id: topic.id, result })
    }
}
