//! What DescribeConfigs answers: every setting with its value, where that comes from, and what it would be else.
//!
//! As Apache Kafka 4.2 does it: a topic's entry names the broker's key for its default among its synonyms, but
//! not that key's names in other units, so a topic under `log.retention.hours` shows the source "default".

use super::error::Error;
use super::setting::{KafkaType, Setting};
use super::table::{BrokerConfig, SETTINGS, TopicConfig};
use super::topic::{DURABILITY, FLUSH_MESSAGES, FLUSH_MS};
use super::values::{Held, Value};

/// One setting of a broker or a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: &'static str,
    /// `None` where nothing is set and there is no default.
    pub value: Option<String>,
    pub source: Source,
    /// Whether it cannot be altered while the broker runs.
    pub is_read_only: bool,
    /// Whether the value must be hidden. No setting is so yet.
    pub is_sensitive: bool,
    pub kafka_type: KafkaType,
    pub documentation: &'static str,
    /// Where the value may come from, the strongest first; the first one given is the value.
    pub synonyms: Vec<Synonym>,
}

/// A name under which a value was set, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: &'static str,
    pub value: String,
    pub source: Source,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The topic's own settings.
    Topic,
    /// The broker's file or command line.
    StaticBroker,
    /// The table.
    Default,
}

impl Source {
    /// Its number in DescribeConfigs. Source: KIP-226.
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::StaticBroker => 4,
            Self::Default => 5,
        }
    }
}

/// All settings of a broker, by name.
#[must_use]
pub fn describe_broker(config: &BrokerConfig) -> Vec<Entry> {
    let mut entries = Vec::new();
    for setting in SETTINGS {
        let Some(held) = config.values.held(setting.name()) else { continue };
        if let Some(key) = setting.broker_key {
            let default = held.default.as_ref().filter(|_| !setting.is_null_by_default);
            let mut synonyms = synonyms(held, key, default.map(Value::to_string));
            if key == DURABILITY && held.given.is_empty() {
                synonyms.splice(0..0, flush_synonym(config, &[], &config.topic_defaults));
            }
            let mut entry = entry(setting, key, synonyms, true);
            if key == DURABILITY {
                entry.value = Some(config.topic_defaults.durability.name().to_owned());
            }
            entries.push(entry);
        }
        for alias in setting.aliases {
            let synonyms = synonyms(held, alias.key, alias.default.map(str::to_owned));
            // Kafka's keys in larger units are of its type INT, and so are their bounds here.
            entries.push(Entry { kafka_type: KafkaType::Int, ..entry(setting, alias.key, synonyms, true) });
        }
    }
    entries.sort_by_key(|entry| entry.name);
    entries
}

/// All settings of a topic with these `overrides` (key, value), by name.
/// Errors: those of [`TopicConfig::resolve`]; none for overrides that it has accepted.
pub fn describe_topic(config: &BrokerConfig, overrides: &[(String, String)]) -> Result<Vec<Entry>, Error> {
    let resolved = TopicConfig::resolve(config, overrides)?;
    let mut entries = Vec::new();
    for setting in SETTINGS {
        let (Some(key), Some(held)) = (setting.topic_key, config.values.held(setting.name())) else {
            continue;
        };
        let mut synonyms = match setting.broker_key {
            Some(broker_key) => {
                let default = held.default.as_ref().filter(|_| !setting.is_null_by_default);
                synonyms(held, broker_key, default.map(Value::to_string))
            }
            None => Vec::new(),
        };
        let own = overridden(setting, key, overrides)?;
        if let Some(value) = &own {
            synonyms.insert(0, Synonym { name: key, value: value.clone(), source: Source::Topic });
        } else if key == DURABILITY {
            let sets_flush = overrides.iter().any(|(key, _)| key == FLUSH_MESSAGES || key == FLUSH_MS);
            if sets_flush || held.given.is_empty() {
                synonyms.splice(0..0, flush_synonym(config, overrides, &resolved));
            }
        }
        let mut entry = entry(setting, key, synonyms, !setting.is_dynamic);
        // What holds: Kafka shows a topic's default even where the broker's key for it is shown without a value.
        entry.value = own.or_else(|| held.value.as_ref().map(Value::to_string));
        if key == DURABILITY {
            entry.value = Some(resolved.durability.name().to_owned());
        }
        entries.push(entry);
    }
    entries.sort_by_key(|entry| entry.name);
    Ok(entries)
}

fn entry(setting: &Setting, name: &'static str, synonyms: Vec<Synonym>, is_read_only: bool) -> Entry {
    Entry {
        name,
        value: synonyms.first().map(|synonym| synonym.value.clone()),
        source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
        is_read_only,
        is_sensitive: false,
        kafka_type: setting.kind.kafka_type(),
        documentation: setting.meaning,
        synonyms,
    }
}

/// What the broker was given under `key`, then the default.
fn synonyms(held: &Held, key: &'static str, default: Option<String>) -> Vec<Synonym> {
    let given = held.given.iter().filter(|given| given.key == key);
    let given = given.map(|given| (given.text.clone(), Source::StaticBroker));
    let all = given.chain(default.map(|text| (text, Source::Default)));
    all.map(|(value, source)| Synonym { name: key, value, source }).collect()
}

/// The value of a topic's own key, as Kafka prints it; the later of two.
fn overridden(
    setting: &Setting,
    key: &'static str,
    overrides: &[(String, String)],
) -> Result<Option<String>, Error> {
    let own = overrides.iter().rev().find(|(name, _)| name == key);
    own.map(|(_, text)| setting.parse(key, 1, text).map(|value| value.to_string())).transpose()
}

/// The flush setting that a durability follows from, when it follows from one.
fn flush_synonym(
    config: &BrokerConfig,
    overrides: &[(String, String)],
    resolved: &TopicConfig,
) -> Option<Synonym> {
    let key = match (resolved.flush_messages, resolved.flush_ms) {
        (Some(_), _) => FLUSH_MESSAGES,
        (None, Some(_)) => FLUSH_MS,
        (None, None) => return None,
    };
    if let Some((_, text)) = overrides.iter().rev().find(|(name, _)| name == key) {
        return Some(Synonym { name: key, value: text.trim().to_owned(), source: Source::Topic });
    }
    let given = config.values.held(key)?.given.first()?;
    Some(Synonym { name: given.key, value: given.text.clone(), source: Source::StaticBroker })
}

#[cfg(test)]
mod tests;
