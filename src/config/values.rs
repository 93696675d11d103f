//! From texts to checked values: one for each row of the table, with what was given for it.

use std::fmt;
use std::path::PathBuf;

use super::broker::Machine;
use super::choices::{ShardCores, ShardIdle, TimestampType};
use super::error::Error;
use super::listener::{self, AdminListener, Listener};
use super::nearest::nearest;
use super::properties::Property;
use super::setting::{DefaultValue, Setting};
use super::table::{SETTINGS, UNSUPPORTED_BROKER_KEYS};
use crate::model::{BrokerId, Durability};

/// A value within its setting's bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Boolean(bool),
    Number(i64),
    Text(String),
}

/// The values of a broker, in the order of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    held: Vec<Held>,
}

/// The value of one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// `None` when none is given and there is no default.
    pub value: Option<Value>,
    /// What holds on this machine when none is given.
    pub default: Option<Value>,
    /// What was given for it: nothing, or one, or the same under several names.
    pub given: Vec<Given>,
}

/// A value as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub key: &'static str,
    /// As DescribeConfigs shows it, in the unit of `key`.
    pub text: String,
    pub line: Option<u32>,
}

impl Values {
    /// Reads what a broker is given; the rest takes its default.
    /// Errors: a key that no row has, a value out of bounds, one setting given two values under two names.
    pub(super) fn read(properties: &[Property], machine: Machine) -> Result<Self, Error> {
        let mut values = Self { held: SETTINGS.iter().map(|_| Held::default()).collect() };
        for property in properties {
            values.give(property).map_err(|error| error.in_line(property.line))?;
        }
        for (place, setting) in SETTINGS.iter().enumerate() {
            let default = values.default_of(setting, machine)?;
            if let Some(held) = values.held.get_mut(place) {
                held.value = held.value.take().or_else(|| default.clone());
                held.default = default;
            }
        }
        Ok(values)
    }

    /// What is held for the setting called `name`.
    pub(super) fn held(&self, name: &str) -> Option<&Held> {
        let place = SETTINGS.iter().position(|setting| setting.name() == name)?;
        self.held.get(place)
    }

    /// The value of the setting called `name`, as the type that the broker uses.
    pub(super) fn field<T: Field>(&self, name: &'static str) -> Result<T, Error> {
        let value = self.held(name).and_then(|held| held.value.as_ref());
        T::from_value(value).map_err(|reason| {
            let (key, value) = self.shown(name);
            Error::Malformed { key, value, reason }.in_line(self.line(name))
        })
    }

    /// The setting called `name` as an error shows it: the key of the broker's file, and the value that holds.
    pub(super) fn shown(&self, name: &'static str) -> (&'static str, String) {
        let held = self.held(name);
        if let Some(given) = held.and_then(|held| held.given.first()) {
            return (given.key, given.text.clone());
        }
        let setting = SETTINGS.iter().find(|setting| setting.name() == name);
        let value = held.and_then(|held| held.value.as_ref()).map(Value::to_string);
        (setting.and_then(|setting| setting.broker_key).unwrap_or(name), value.unwrap_or_default())
    }

    /// The number held for the setting called `name`; 0 when it is none.
    pub(super) fn number(&self, name: &str) -> u64 {
        match self.held(name).and_then(|held| held.value.as_ref()) {
            Some(Value::Number(number)) => u64::try_from(*number).unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether the operator gave the setting called `name` a value.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.held(name).is_some_and(|held| !held.given.is_empty())
    }

    /// The line in which the setting called `name` was given.
    pub(super) fn line(&self, name: &str) -> Option<u32> {
        self.held(name).and_then(|held| held.given.first()).and_then(|given| given.line)
    }

    fn give(&mut self, property: &Property) -> Result<(), Error> {
        let (place, key, factor) = find_broker_key(&property.key)?;
        let setting = SETTINGS.get(place).unwrap_or(&Setting::OF_BROKER);
        let value = setting.parse(key, factor, &property.value)?;
        let text = match (&value, factor) {
            (Value::Number(number), 2..) if *number >= 0 => (number / factor).to_string(),
            _ => value.to_string(),
        };
        let Some(held) = self.held.get_mut(place) else { return Ok(()) };
        if let (Some(first), true) = (held.given.first(), held.value.as_ref() != Some(&value)) {
            return Err(Error::Contradiction {
                key,
                value: text,
                other_key: first.key,
                other_value: first.text.clone(),
                rule: "both set the same value, in different units; give one",
            });
        }
        held.value = Some(value);
        held.given.push(Given { key, text, line: property.line });
        Ok(())
    }

    fn default_of(&self, setting: &Setting, machine: Machine) -> Result<Option<Value>, Error> {
        match setting.default {
            DefaultValue::Text(text) => setting.parse(setting.name(), 1, text).map(Some),
            DefaultValue::Unset => Ok(None),
            DefaultValue::Computed { compute, .. } => {
                let number = compute(self, machine);
                Ok(Some(Value::Number(i64::try_from(number).unwrap_or(i64::MAX))))
            }
        }
    }
}

/// As DescribeConfigs shows it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// The row, the key as the table spells it, and the unit of that key.
fn find_broker_key(key: &str) -> Result<(usize, &'static str, i64), Error> {
    for (place, setting) in SETTINGS.iter().enumerate() {
        let alias = setting.aliases.iter().find(|alias| alias.key == key);
        match (setting.broker_key, alias) {
            (Some(known), _) if known == key => return Ok((place, known, 1)),
            (_, Some(alias)) => return Ok((place, alias.key, alias.factor)),
            _ => {}
        }
    }
    if let Some(&(key, reason)) = UNSUPPORTED_BROKER_KEYS.iter().find(|(known, _)| *known == key) {
        return Err(Error::Unsupported { key, reason });
    }
    // A topic's key in the broker's file: its default has another name there.
    let by_topic_key = SETTINGS.iter().find(|setting| setting.topic_key == Some(key));
    let known = || {
        let aliases = |setting: &Setting| setting.aliases.iter().map(|alias| alias.key);
        SETTINGS.iter().flat_map(move |setting| setting.broker_key.into_iter().chain(aliases(setting)))
    };
    let nearest = by_topic_key.and_then(|setting| setting.broker_key).or_else(|| nearest(key, known()));
    Err(Error::UnknownKey { key: key.to_owned(), nearest })
}

/// A type that code receives instead of a text.
pub(super) trait Field: Sized {
    /// Errors: what is wrong with the form of the value.
    fn from_value(value: Option<&Value>) -> Result<Self, &'static str>;
}

macro_rules! number_field {
    ($($type:ty)*) => { $(
        impl Field for $type {
            fn from_value(value: Option<&Value>) -> Result<Self, &'static str> {
                match value {
                    Some(Value::Number(number)) => Self::try_from(*number).map_err(|_| NOT_OF_ITS_KIND),
                    _ => Err(NOT_OF_ITS_KIND),
                }
            }
        }
    )* };
}

number_field!(i16 i32 u32 u64 usize);

/// Only a row whose bounds do not fit its type can cause it; a test goes through all rows.
const NOT_OF_ITS_KIND: &str = "not of the setting's type";

/// Absent, negative and [`i64::MAX`] are Kafka's ways to say "never" or "no limit".
impl Field for Option<u64> {
    fn from_value(value: Option<&Value>) -> Result<Self, &'static str> {
        match value {
            None | Some(Value::Number(i64::MAX | ..=-1)) => Ok(None),
            some => u64::from_value(some).map(Some),
        }
    }
}

impl Field for bool {
    fn from_value(value: Option<&Value>) -> Result<Self, &'static str> {
        match value {
            Some(Value::Boolean(value)) => Ok(*value),
            _ => Err(NOT_OF_ITS_KIND),
        }
    }
}

impl Field for BrokerId {
    fn from_value(value: Option<&Value>) -> Result<Self, &'static str> {
        i32::from_value(value).map(Self)
    }
}

macro_rules! word_field {
    ($type:ty: $($text:literal => $value:expr),*) => {
        impl Field for $type {
            fn from_value(value: Option<&Value>) -> Result<Self, &'static str> {
                match text(value)? {
                    $($text => Ok($value),)*
                    _ => Err(NOT_OF_ITS_KIND),
                }
            }
        }
    };
}

word_field!(Durability: "synced" => Self::Synced, "written" => Self::Written);
word_field!(TimestampType: "CreateTime" => Self::CreateTime, "LogAppendTime" => Self::LogAppendTime);
word_field!(ShardIdle: "park" => Self::Park, "spin" => Self::Spin);

impl Field for ShardCores {
    fn from_value(value: Option<&Value>) -> Result<Self, &'static str> {
        match text(value)? {
            "auto" => Ok(Self::Auto),
            list if list.contains([',', '-']) => cpus(list).map(Self::Cpus).ok_or(NOT_CORES),
            count => match count.parse() {
                Ok(count) if (1..=SHARD_COUNT_MAX).contains(&count) => Ok(Self::Count(count)),
                _ => Err(NOT_CORES),
            },
        }
    }
}

const NOT_CORES: &str =
    "must be auto, a count from 1 to 256, or CPUs from 0 to 4095 such as 0,2-5 (one alone: 3-3), none twice";
/// More are not worth their memory.
const SHARD_COUNT_MAX: u16 = 256;
/// CPUs that a mask of the kernel's can name in this program.
const CPU_COUNT_MAX: u16 = 4096;

/// The CPUs of a list of numbers and ranges.
fn cpus(list: &str) -> Option<Vec<u16>> {
    let number = |text: &str| text.trim().parse().ok().filter(|&cpu: &u16| cpu < CPU_COUNT_MAX);
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = number(first)?..=number(last)?;
        if range.is_empty() || range.clone().any(|cpu| cpus.contains(&cpu)) {
            return None;
        }
        cpus.extend(range);
    }
    (cpus.len() <= usize::from(SHARD_COUNT_MAX)).then_some(cpus)
}

impl Field for PathBuf {
    fn from_value(value: Option<&Value>) -> Result<Self, &'static str> {
        text(value).map(Self::from)
    }
}

impl Field for Vec<Listener> {
    fn from_value(value: Option<&Value>) -> Result<Self, &'static str> {
        listener::parse(text(value)?)
    }
}

impl Field for AdminListener {
    fn from_value(value: Option<&Value>) -> Result<Self, &'static str> {
        listener::parse_admin(text(value)?)
    }
}

fn text(value: Option<&Value>) -> Result<&str, &'static str> {
    match value {
        Some(Value::Text(text)) => Ok(text),
        _ => Err(NOT_OF_ITS_KIND),
    }
}
