//! DeleteTopics.

use super::Script;
use ringlog::model::TopicId;
use ringlog::protocol::kafka::ApiKey;
use ringlog::protocol::kafka::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};

pub fn talk(script: &mut Script<'_>) {
    script.versions(ApiKey::DeleteTopics, "by name", |script, version| {
        let name = script.topic("gone", 1, &[]);
        script.call(version, &by_names(version, &[&name]));
        script.call(version, &by_names(version, &[&name]));
    });
    script.versions(
        ApiKey::DeleteTopics,
        "names that are unknown or illegal, and none",
        |script, version| {
            for name in ["none", "", "bad/name"] {
                script.call(version, &by_names(version, &[name]));
            }
            script.call(version, &by_names(version, &[]));
        },
    );
    script.versions(ApiKey::DeleteTopics, "a name twice", |script, version| {
        let (twice, once) = (script.topic("twice", 1, &[]), script.topic("once", 1, &[]));
        script.call(version, &by_names(version, &[&twice, &once, &twice]));
        script.call(version, &by_names(version, &["none", "none"]));
    });
    script.versions_from(6, 6, "by id", |script, version| {
        let name = script.topic("gone", 1, &[]);
        let id = script.topic_id(&name);
        script.call(version, &by_states(&[(None, TopicId([9; 16]))]));
        script.call(version, &by_states(&[(None, TopicId::ZERO)]));
        script.call(version, &by_states(&[(Some(&name), id)]));
        script.call(version, &by_states(&[(None, id), (None, id)]));
        script.call(version, &by_states(&[(None, id), (Some(&name), TopicId::ZERO)]));
        script.call(version, &by_states(&[(None, id)]));
        script.call(version, &by_states(&[(None, id)]));
    });
}

fn by_names<'a>(version: i16, names: &[&'a str]) -> DeleteTopicsRequest<'a> {
    if version >= 6 {
        return by_states(&names.iter().map(|name| (Some(*name), TopicId::ZERO)).collect::<Vec<_>>());
    }
    DeleteTopicsRequest { topic_names: names.to_vec(), timeout_ms: 30_000, ..Default::default() }
}

fn by_states<'a>(topics: &[(Option<&'a str>, TopicId)]) -> DeleteTopicsRequest<'a> {
    let topics = topics.iter().map(|&(name, topic_id)| DeleteTopicState { name, topic_id }).collect();
    DeleteTopicsRequest { topics, timeout_ms: 30_000, ..DeleteTopicsRequest::default() }
}
