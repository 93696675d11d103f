//! Deciding changes of topics' own settings. Source: KIP-339; lists as Kafka treats them.
//!
//! Adding to and taking from a list is resolved here, so that records only set and take back.

use super::create_topics::check_value_length;
use super::{
    AlterOutcome, ConfigChange, ConfigOperation, Context, Record, Refusal, Reply, State, TopicConfigChanges,
    change_configs,
};
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
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        for topic in topics {
            let Some(times) = times.remove(topic.name.as_str()) else { continue };
            let result = self.alter_topic(topic, times, context).map(|record| records.extend(record));
            outcomes.push(AlterOutcome { name: topic.name.clone(), result });
        }
        if validate_only {
            records.clear();
        }
        (records, Reply::AlterTopicConfigs(outcomes))
    }

    /// `None`: nothing changes.
    fn alter_topic(
        &self,
        altered: &TopicConfigChanges,
        times: usize,
        context: &Context<'_>,
    ) -> Result<Option<Record>, Refusal> {
        check_form(altered, times)?;
        let topic = self
            .image
            .topic(&altered.name)
            .ok_or_else(|| Refusal::ResourceUnknown { name: altered.name.clone() })?;
        let mut changes = Changes::new();
        for change in &altered.changes {
            let value = new_value(change, &topic.configs, context)?;
            if value.as_ref() != topic.configs.get(&change.key) {
                changes.push((change.key.clone(), value));
            }
        }
        let mut configs = topic.configs.clone();
        change_configs(&mut configs, &changes);
        context.topic_settings.check(&configs).map_err(|reason| Refusal::Config { reason })?;
        let changed = !changes.is_empty();
        Ok(changed.then_some(Record::TopicConfigsChanged { topic_id: topic.id, changes }))
    }
}

fn check_form(altered: &TopicConfigChanges, times: usize) -> Result<(), Refusal> {
    if times > 1 {
        return Err(Refusal::ResourceTwice);
    }
    if altered.name.is_empty() {
        return Err(Refusal::ResourceDefault);
    }
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

fn new_value(
    change: &ConfigChange,
    configs: &BTreeMap<String, String>,
    context: &Context<'_>,
) -> Result<Option<String>, Refusal> {
    let ConfigChange { key, operation, value } = change;
    let given = value.as_deref().unwrap_or_default();
    let value = match operation {
        ConfigOperation::Delete => return Ok(None),
        ConfigOperation::Set => given.to_owned(),
        ConfigOperation::Append | ConfigOperation::Subtract => {
            let default = context.topic_settings.list_default(key);
            let default =
                default.ok_or_else(|| Refusal::ConfigNotAList { key: key.clone(), operation: *operation })?;
            let current = configs.get(key).map_or(default.as_str(), String::as_str);
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
