//! Metadata, with the making of topics that are asked for.

use super::Script;
use ringlog::model::TopicId;
use ringlog::protocol::kafka::ApiKey;
use ringlog::protocol::kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic};

pub fn talk(script: &mut Script<'_>) {
    let orders = script.topic("orders", 2, &[]);
    let id = script.topic_id(&orders);
    script.versions(ApiKey::Metadata, "a topic by name", |script, version| {
        script.call(version, &by_names(version, &[&orders], false));
    });
    script.versions_from(1, 13, "no topic", |script, version| {
        script.call(version, &by_names(version, &[], false));
    });
    script.versions(ApiKey::Metadata, "a topic twice", |script, version| {
        script.call(version, &by_names(version, &[&orders, &orders], false));
    });
    script.versions_from(4, 13, "unknown and illegal names", |script, version| {
        let long = "a".repeat(250);
        for name in ["none", "", ".", "..", "bad/name", "__consumer_offsets_", long.as_str()] {
            script.call(version, &by_names(version, &[name], false));
        }
        script.call(version, &by_names(version, &["none", &orders, "bad/name"], false));
    });
    script.versions(ApiKey::Metadata, "illegal names, topics may be made", |script, version| {
        let long = "a".repeat(250);
        for name in ["", ".", "bad/name", long.as_str()] {
            script.call(version, &by_names(version, &[name], true));
        }
    });
    by_id(script, &orders, id);
    making(script);
    script.versions_from(8, 13, "authorized operations", |script, version| {
        let mut request = by_names(version, &[&orders], false);
        request.include_topic_authorized_operations = true;
        request.include_cluster_authorized_operations = version <= 10;
        script.call(version, &request);
    });
    script.versions(ApiKey::Metadata, "all topics", |script, version| {
        let topics = if version == 0 { Some(Vec::new()) } else { None };
        let answer = script.ask(version, &MetadataRequest { topics, ..MetadataRequest::default() });
        let names = answer.field("topics").list().iter().map(|topic| topic.field("name").line());
        assert_eq!(names.filter(|name| name.contains(&orders)).count(), 1, "it is among all topics");
    });
}

/// With a broker that makes no topic because it is asked for.
pub fn without_auto_creation(script: &mut Script<'_>) {
    script.versions(ApiKey::Metadata, "an unknown topic that may be made", |script, version| {
        let fresh = script.name("wanted");
        script.call(version, &by_names(version, &[&fresh, "bad/name"], true));
        script.call(version, &by_names(version, &[&fresh], true));
    });
}

fn by_id(script: &mut Script<'_>, orders: &str, id: TopicId) {
    let of = |topic_id: TopicId, name: Option<&'static str>| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { topic_id, name }]),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    script.versions_from(10, 13, "by id", |script, version| {
        script.call(version, &of(id, None));
        script.call(version, &of(TopicId([9; 16]), None));
        script.call(version, &of(TopicId::ZERO, None));
        script.call(version, &of(id, Some("other")));
        let both = MetadataRequest {
            topics: Some(vec![
                MetadataRequestTopic { topic_id: id, name: None },
                MetadataRequestTopic { topic_id: TopicId([9; 16]), name: None },
                MetadataRequestTopic { topic_id: TopicId::ZERO, name: Some(orders) },
            ]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        script.call(version, &both);
    });
}

fn making(script: &mut Script<'_>) {
    script.versions(ApiKey::Metadata, "a topic is made because it is asked for", |script, version| {
        let fresh = script.name("made");
        script.call(version, &by_names(version, &[&fresh], true));
        // Kafka answers before it is there.
        for _ in 0..200 {
            let answer = script.ask(12, &super::named(&fresh));
            if answer.field("topics").list()[0].field("error_code").line() == "0" {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        script.call_it(&fresh, "made");
        script.call(version, &by_names(version, &[&fresh], true));
    });
    script.versions_from(4, 13, "names that collide with a topic", |script, version| {
        let fresh = script.topic("with_under", 1, &[]);
        let other = script.name_like(&fresh, "_", ".");
        script.call(version, &by_names(version, &[&other], true));
    });
}

fn by_names<'a>(version: i16, names: &[&'a str], may_make: bool) -> MetadataRequest<'a> {
    let topic =
        |name: &&'a str| MetadataRequestTopic { name: Some(*name), ..MetadataRequestTopic::default() };
    MetadataRequest {
        topics: Some(names.iter().map(topic).collect()),
        allow_auto_topic_creation: may_make || version < 4,
        ..MetadataRequest::default()
    }
}
