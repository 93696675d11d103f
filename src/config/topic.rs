//! A topic's settings: its own values over the broker's defaults, and the durability that flush settings mean.

use super::error::Error;
use super::nearest::nearest;
use super::setting::Setting;
use super::table::{BrokerConfig, SETTINGS, TopicConfig, UNSUPPORTED_TOPIC_KEYS};
use crate::model::Durability;

impl TopicConfig {
    /// What holds for a topic with these `overrides` (key, value) on this broker; of two with one key, the later.
    /// Errors: a key that no topic has, or a value out of bounds. Kafka's code for all of them: INVALID_CONFIG.
    pub fn resolve(broker: &BrokerConfig, overrides: &[(String, String)]) -> Result<Self, Error> {
        let mut config = broker.topic_defaults;
        let mut sets_durability = false;
        let mut sets_flush = false;
        for (key, text) in overrides {
            let (setting, name) = find_topic_key(key)?;
            let value = setting.parse(name, 1, text)?;
            config.set(name, &value).map_err(|reason| Error::Malformed {
                key: name,
                value: text.clone(),
                reason,
            })?;
            sets_durability |= name == DURABILITY;
            sets_flush |= name == FLUSH_MESSAGES || name == FLUSH_MS;
        }
        if sets_flush && !sets_durability {
            let by_flush = durability_of_flush(&config);
            config.durability = by_flush.unwrap_or_else(|| broker_durability(broker));
        }
        Ok(config)
    }
}

pub(super) const DURABILITY: &str = "ringlog.durability";
pub(super) const FLUSH_MESSAGES: &str = "flush.messages";
pub(super) const FLUSH_MS: &str = "flush.ms";

/// The durability of topics that set neither it nor a flush of their own.
pub(super) fn default_durability(broker: &BrokerConfig) -> Durability {
    if broker.values.is_given(DURABILITY) {
        return broker.topic_defaults.durability;
    }
    durability_of_flush(&broker.topic_defaults).unwrap_or_default()
}

/// What the broker says of durability itself, its flush settings aside.
fn broker_durability(broker: &BrokerConfig) -> Durability {
    if broker.values.is_given(DURABILITY) { broker.topic_defaults.durability } else { Durability::default() }
}

/// `flush.messages=1` is how Kafka's users ask for every record on disk before its acknowledgement. Any other finite
/// flush accepts that records are acknowledged before they are there. `None`: nothing is said.
fn durability_of_flush(config: &TopicConfig) -> Option<Durability> {
    match (config.flush_messages, config.flush_ms) {
        (Some(1), _) => Some(Durability::Synced),
        (None, None) => None,
        _ => Some(Durability::Written),
    }
}

/// The row of a topic's key, and the key as the table spells it.
pub(super) fn find_topic_key(key: &str) -> Result<(&'static Setting, &'static str), Error> {
    for setting in SETTINGS {
        match setting.topic_key {
            Some(name) if name == key => return Ok((setting, name)),
            _ => {}
        }
    }
    if let Some(&(key, reason)) = UNSUPPORTED_TOPIC_KEYS.iter().find(|(known, _)| *known == key) {
        return Err(Error::Unsupported { key, reason });
    }
    // The broker's name for a topic's default: the topic has another.
    let by_broker_key = SETTINGS.iter().find(|setting| setting.broker_key == Some(key));
    let known = SETTINGS.iter().filter_map(|setting| setting.topic_key);
    let nearest = by_broker_key.and_then(|setting| setting.topic_key).or_else(|| nearest(key, known));
    Err(Error::UnknownKey { key: key.to_owned(), nearest })
}

#[cfg(test)]
mod tests;
