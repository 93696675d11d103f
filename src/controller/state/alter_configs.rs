//! Deciding changes of topics' own settings. Source: KIP-339; lists as Kafka treats them.
//!
//! Adding to and taking from a list is resolved here, so that records only set and take back.

use super::create_topics::check_value_length;
use super::{
    AlterOutcome, ConfigChange, ConfigOperation, Context, Record, Refusal, Reply, State, TopicConfigChanges,
    changed_configs, stored_bytes,
};
use crate::config::{BrokerConfig, KafkaType, TopicConfig, describe_topic};
use crate::model::{Durability, topic_name};
use std::collections::{BTreeMap, BTreeSet};

type Changes = Vec<(String, Option<String>)>;

impl State {
    pub(super) fn alter_configs(
        &self,
        topics: &[TopicConfigChanges],
        validate_only: bool,
        context: &Context<'_>,
    ) -> (Vec<Record>, Reply) {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in topics {
            *times.entry(&topic.name).or_default() += 1;
        }
        // Each topic must see how much room the ones before it left.
        let mut ahead = self.clone();
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        for topic in topics {
            let Some(times) = times.remove(topic.name.as_str()) else { continue };
            let result = ahead.alter_topic(topic, times, context).map(|record| records.extend(record));
            outcomes.push(AlterOutcome { name: topic.name.clone(), result });
        }
        if validate_only {
            records.clear();
        }
        (records, Reply::AlterTopicConfigs(outcomes))
    }

    /// `None`: nothing changes.
    fn alter_topic(
        &mut self,
        altered: &TopicConfigChanges,
        times: usize,
        context: &Context<'_>,
    ) -> Result<Option<Record>, Refusal> {
        check_form(altered, times)?;
        // As in Kafka, what is wrong with the settings is said first.
        let topic = self.image.topic(&altered.name);
        let former = topic.map(|topic| topic.configs.as_slice()).unwrap_or_default();
        let mut changes = Changes::new();
        for change in &altered.changes {
            let value = new_value(change, former, context)?;
            if value.as_deref() != current(former, &change.key) {
                changes.push((change.key.clone(), value));
            }
        }
        let configs = changed_configs(former, changes.iter().cloned());
        let resolved = TopicConfig::resolve(context.config, &configs)?;
        let topic = topic.ok_or_else(|| Refusal::ResourceUnknown { name: altered.name.clone() })?;
        check_durability(resolved.durability, &topic.configs, context)?;
        if changes.is_empty() {
            return Ok(None);
        }
        let bytes = stored_bytes(&topic.name, &configs);
        self.check_room(bytes.saturating_sub(stored_bytes(&topic.name, &topic.configs)))?;
        let record = Record::TopicConfigsChanged { topic_id: topic.id, changes };
        self.apply_decided(&record);
        Ok(Some(record))
    }
}

fn check_form(altered: &TopicConfigChanges, times: usize) -> Result<(), Refusal> {
    if times > 1 {
        return Err(Refusal::ResourceTwice);
    }
    if altered.name.is_empty() {
        return Err(Refusal::ResourceDefault);
    }
    topic_name::check(&altered.name)?;
    let mut keys = BTreeSet::new();
    for ConfigChange { key, operation, value } in &altered.changes {
        if !keys.insert(key) {
            return Err(Refusal::ConfigKeyTwice);
        }
        if value.is_none() && *operation != ConfigOperation::Delete {
            return Err(Refusal::ChangeNull { key: key.clone() });
        }
    }
    Ok(())
}

/// What was acknowledged, and which offsets are reserved, follows from the durability: no log gets another while it is served.
/// A topic that has none of its own follows the broker's, and can have another after a start.
fn check_durability(
    wanted: Durability,
    configs: &[(String, String)],
    context: &Context<'_>,
) -> Result<(), Refusal> {
    match TopicConfig::resolve(context.config, configs) {
        Ok(current) if current.durability != wanted => Err(Refusal::DurabilityFixed { wanted }),
        _ => Ok(()),
    }
}

fn new_value(
    change: &ConfigChange,
    configs: &[(String, String)],
    context: &Context<'_>,
) -> Result<Option<String>, Refusal> {
    let ConfigChange { key, operation, value } = change;
    let given = value.as_deref().unwrap_or_default();
    let value = match operation {
        ConfigOperation::Delete => return Ok(None),
        ConfigOperation::Set => given.to_owned(),
        ConfigOperation::Append | ConfigOperation::Subtract => {
            let default = list_default(context.config, key);
            let default =
                default.ok_or_else(|| Refusal::ConfigNotAList { key: key.clone(), operation: *operation })?;
            let current = current(configs, key).unwrap_or(&default);
            if *operation == ConfigOperation::Append {
                with_elements(current, given)
            } else {
                without_elements(current, given)
            }
        }
    };
    check_value_length(key, &value)?;
    Ok(Some(value))
}

fn current<'a>(configs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    configs.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

/// The broker's default of a key whose value is a list; `None` if `key` is unknown or its value is no list.
fn list_default(config: &BrokerConfig, key: &str) -> Option<String> {
    let entries = describe_topic(config, &[]).ok()?;
    let entry = entries.into_iter().find(|entry| entry.name == key && entry.kafka_type == KafkaType::List)?;
    Some(entry.value.unwrap_or_default())
}

fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|element| !element.is_empty())
}

fn with_elements(list: &str, added: &str) -> String {
    let mut kept: Vec<&str> = elements(list).collect();
    let mut known: BTreeSet<&str> = kept.iter().copied().collect();
    kept.extend(elements(added).filter(|element| known.insert(element)));
    kept.join(",")
}

fn without_elements(list: &str, removed: &str) -> String {
    let removed: BTreeSet<&str> = elements(removed).collect();
    let kept: Vec<&str> = elements(list).filter(|element| !removed.contains(element)).collect();
    kept.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_added_once_and_taken_out_wherever_they_stand() {
        assert_eq!(with_elements("a, b", "b,c,c,"), "a,b,c");
        assert_eq!(with_elements("", "a"), "a");
        assert_eq!(without_elements("a,b,a", "a, x"), "b");
        assert_eq!(without_elements("a", "a"), "");
    }
}
