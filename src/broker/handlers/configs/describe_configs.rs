//! DescribeConfigs (key 32): what is set, where it comes from, what it means (KIP-133, KIP-226, KIP-569).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::broker::handlers::INVALID_REQUEST_MESSAGE;
use crate::broker::shards::{RequestId, Shard};
use crate::config::{BrokerConfig, Entry, Synonym, describe_broker, describe_topic};
use crate::model::error_code::ErrorCode;
use crate::model::image::Image;
use crate::model::topic_name;
use crate::protocol::kafka::Writer;
use crate::protocol::kafka::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
    DescribeConfigsSynonym, encode_each,
};
use crate::runtime::memory::ArenaMemory;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Resources of a request that have been named before in it.
const REPEATS_MAX: u32 = 16;
const TOO_MANY_MESSAGE: &str =
    "The settings of the resources before this one fill a reply: ask for fewer at a time.";

/// What a reply takes of a resource at most, beside names and values that somebody has set, and of what is said to explain it.
/// Unit: bytes.
const RESOURCE_BYTES: usize = 16 << 10;
const EXPLAINED_BYTES: usize = 48 << 10;

/// One resource's answer before it is encoded.
type Answer = Result<Vec<Entry>, (ErrorCode, String)>;

/// Each resource's settings are gone when they are encoded: those of many topics are many.
/// False, and nothing is done: there is no room for the reply.
pub fn handle<M: ArenaMemory>(
    shard: &mut Shard<M>,
    id: RequestId,
    request: DescribeConfigsRequest<'_>,
) -> bool {
    let resources = bounded(&request.resources);
    let (image, config) = (Arc::clone(&shard.image), Arc::clone(&shard.config));
    let reply_bytes_max = shard.memory().reply_bytes_max();
    let explained = request.include_documentation || request.include_synonyms;
    let resource_bytes = if explained { EXPLAINED_BYTES } else { RESOURCE_BYTES };
    if !shard.has_room_for_reply((resources.len() * resource_bytes).min(reply_bytes_max + resource_bytes)) {
        return false;
    }
    let body = |writer: &mut Writer| {
        encode_each(writer, id.api_version, resources.len(), |place, taken_bytes, take| {
            let Some(resource) = resources.get(place) else { return Ok(()) };
            let answer = if taken_bytes < reply_bytes_max {
                describe(&image, &config, resource)
            } else {
                Err((ErrorCode::InvalidRequest, TOO_MANY_MESSAGE.to_owned()))
            };
            take(&result(resource, &answer, &request))
        })
    };
    shard.reply_with(&id, body, Vec::new());
    true
}

fn result<'a>(
    resource: &DescribeConfigsResource<'a>,
    answer: &'a Answer,
    request: &DescribeConfigsRequest<'_>,
) -> DescribeConfigsResult<'a> {
    let (resource_type, resource_name) = (resource.resource_type, resource.resource_name);
    let result = DescribeConfigsResult { resource_type, resource_name, ..DescribeConfigsResult::default() };
    match answer {
        Ok(entries) => {
            let wanted = |entry: &&Entry| {
                let keys = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
                keys.is_none_or(|keys| keys.contains(&entry.name))
            };
            let configs = entries.iter().filter(wanted).map(|entry| row(entry, request)).collect();
            DescribeConfigsResult { error_message: Some(""), configs, ..result }
        }
        Err((error, message)) => {
            DescribeConfigsResult { error_code: error.code(), error_message: Some(message), ..result }
        }
    }
}

/// Resources may be named again, as with Kafka, but not as often as one likes: a few bytes of request are many of reply.
/// Those that are named too often are left out.
fn bounded<'r, 'f>(resources: &'r [DescribeConfigsResource<'f>]) -> Vec<&'r DescribeConfigsResource<'f>> {
    let mut seen = BTreeSet::new();
    let mut repeats = 0;
    let mut bounded = Vec::new();
    for resource in resources {
        // A broker's number can be written in many ways.
        let number = (resource.resource_type == BROKER).then(|| resource.resource_name.parse::<i32>().ok());
        let name = if number.flatten().is_some() { "" } else { resource.resource_name };
        let is_new = seen.insert((resource.resource_type, number.flatten(), name));
        repeats += u32::from(!is_new);
        if is_new || repeats <= REPEATS_MAX {
            bounded.push(resource);
        }
    }
    bounded
}

fn describe(image: &Image, config: &BrokerConfig, resource: &DescribeConfigsResource<'_>) -> Answer {
    match resource.resource_type {
        TOPIC => describe_named_topic(image, config, resource.resource_name),
        BROKER => {
            let own = image.broker().id.0;
            // An empty name asks for the cluster's default, of which nothing is set dynamically.
            if resource.resource_name.is_empty() {
                return Ok(Vec::new());
            }
            match resource.resource_name.parse::<i32>() {
                Ok(node) if node == own => Ok(describe_broker(config)),
                Ok(node) => Err((
                    ErrorCode::InvalidRequest,
                    format!("Unexpected broker id, expected {own} or empty string, but received {node}"),
                )),
                Err(_) => Err((
                    ErrorCode::InvalidRequest,
                    format!("Broker id must be an integer, but it is: {}", resource.resource_name),
                )),
            }
        }
        _ => Err((ErrorCode::InvalidRequest, INVALID_REQUEST_MESSAGE.to_owned())),
    }
}

fn describe_named_topic(image: &Image, config: &BrokerConfig, name: &str) -> Answer {
    if let Err(fault) = topic_name::check(name) {
        return Err((ErrorCode::InvalidTopicException, fault.to_string()));
    }
    let Some(topic) = image.topic(name) else {
        return Err((ErrorCode::UnknownTopicOrPartition, String::new()));
    };
    let overrides: Vec<(String, String)> =
        topic.configs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    describe_topic(config, &overrides).map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))
}

fn row<'a>(entry: &'a Entry, request: &DescribeConfigsRequest<'_>) -> DescribeConfigsResourceResult<'a> {
    DescribeConfigsResourceResult {
        name: entry.name,
        value: if entry.is_sensitive { None } else { entry.value.as_deref() },
        read_only: entry.is_read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.is_sensitive,
        synonyms: if request.include_synonyms {
            entry.synonyms.iter().map(synonym).collect()
        } else {
            Vec::new()
        },
        config_type: entry.kafka_type.code(),
        documentation: request.include_documentation.then_some(entry.documentation),
    }
}

fn synonym(synonym: &Synonym) -> DescribeConfigsSynonym<'_> {
    DescribeConfigsSynonym { name: synonym.name, value: Some(&synonym.value), source: synonym.source.code() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_that_is_named_again_and_again_is_not_answered_as_often() {
        let named = |resource_type, resource_name| DescribeConfigsResource {
            resource_type,
            resource_name,
            ..DescribeConfigsResource::default()
        };
        let numbers: Vec<String> = (1..=1_000).map(|width| format!("{:0width$}", 0)).collect();
        let mut resources: Vec<_> = numbers.iter().map(|number| named(BROKER, number)).collect();
        resources.extend([named(TOPIC, "a"), named(TOPIC, "b"), named(TOPIC, "0")]);
        assert_eq!(bounded(&resources).len(), 1 + 16 + 3);
    }
}
