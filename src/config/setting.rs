//! What a row of the table says about one setting, and how the text of a value is read under it.

use std::fmt;

use super::broker::Machine;
use super::error::Error;
use super::values::{Value, Values};

/// One setting. Declared once, in `table`; everything printed about it is made from here.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name in the broker's file. With a topic key beside it, the default of that topic key.
    pub broker_key: Option<&'static str>,
    /// Its name among a topic's settings.
    pub topic_key: Option<&'static str>,
    /// Other names in the broker's file, in a larger unit (Kafka's `log.retention.hours`).
    pub aliases: &'static [Alias],
    /// Type and bounds of the value.
    pub kind: Kind,
    /// What a number counts.
    pub unit: Unit,
    /// The value when none is given.
    pub default: DefaultValue,
    /// Whether Kafka shows the broker key without a value as long as it is not given (`log.retention.ms`).
    pub is_null_by_default: bool,
    /// Whether a change takes effect in a running broker; otherwise it waits for the next start.
    pub is_dynamic: bool,
    /// One sentence: what the value does.
    pub meaning: &'static str,
    /// Why the default is what it is.
    pub reason: &'static str,
    /// Why values are refused that Apache Kafka would take, where there are any.
    pub refuses: Option<&'static str>,
    /// The room, and the part of it, that acts on the value.
    pub honoured_by: &'static str,
}

/// Another name of a setting, in a unit that is `factor` times as large.
/// Bounds: those of Kafka's type INT, and after multiplication the setting's own.
#[derive(Clone, Copy, Debug)]
pub struct Alias {
    pub key: &'static str,
    pub factor: i64,
    /// What Kafka shows when it is not given: the default of the setting in this unit, or nothing.
    pub default: Option<&'static str>,
}

/// Type and bounds of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    /// From `min` to `max`, both included, or the value `or` (a "none" outside the range).
    Number {
        kafka_type: KafkaType,
        min: i64,
        max: i64,
        or: Option<i64>,
    },
    /// One of these words.
    Word {
        kafka_type: KafkaType,
        words: &'static [&'static str],
    },
    /// A text with a form of its own, of at most 4,096 bytes.
    Text {
        kafka_type: KafkaType,
        form: &'static str,
    },
}

/// The types by which Kafka's DescribeConfigs sorts values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaType {
    Boolean,
    String,
    Int,
    Long,
    List,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    None,
    Bytes,
    Milliseconds,
    Records,
}

/// The value of a setting that is not given.
#[derive(Clone, Copy, Debug)]
pub enum DefaultValue {
    Text(&'static str),
    /// No value; the meaning says what happens then.
    Unset,
    /// A number that depends on the machine and on rows that stand earlier in the table.
    Computed {
        rule: &'static str,
        compute: fn(&Values, Machine) -> u64,
    },
}

/// Longest value of kind [`Kind::Text`]. Unit: bytes. A path on Linux has at most 4,096.
pub const TEXT_BYTES_MAX: usize = 4096;

/// Largest value under an [`Alias`].
const ALIAS_MAX: i64 = i32::MAX as i64;

impl Setting {
    /// What rows of the broker have in common.
    pub(super) const OF_BROKER: Self = Self {
        broker_key: None,
        topic_key: None,
        aliases: &[],
        kind: Kind::Boolean,
        unit: Unit::None,
        default: DefaultValue::Unset,
        is_null_by_default: false,
        is_dynamic: false,
        meaning: "",
        reason: "",
        refuses: None,
        honoured_by: "",
    };

    /// What rows of topics have in common: a topic's own value can be changed while the broker runs.
    pub(super) const OF_TOPIC: Self = Self { is_dynamic: true, ..Self::OF_BROKER };

    /// The name under which the setting is known: the topic key, else the broker key.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.topic_key.or(self.broker_key).unwrap_or_default()
    }

    /// Reads `text`, given under `key`, which is `factor` times the setting's unit.
    /// Errors: [`Error::OutOfBounds`], naming `key` and the bounds.
    pub(super) fn parse(&self, key: &'static str, factor: i64, text: &str) -> Result<Value, Error> {
        self.kind.parse(text.trim(), factor).ok_or_else(|| Error::OutOfBounds {
            key,
            value: text.to_owned(),
            bound: self.kind,
            factor,
            reason: self.refuses,
        })
    }
}

impl Kind {
    /// A whole number of Kafka's type INT.
    pub(super) const fn int(min: i64, max: i64) -> Self {
        Self::Number { kafka_type: KafkaType::Int, min, max, or: None }
    }

    /// A whole number of Kafka's type LONG.
    pub(super) const fn long(min: i64, max: i64) -> Self {
        Self::Number { kafka_type: KafkaType::Long, min, max, or: None }
    }

    /// One of some words.
    pub(super) const fn word(words: &'static [&'static str]) -> Self {
        Self::Word { kafka_type: KafkaType::String, words }
    }

    /// Only `false`: the setting exists so that tools see the truth.
    pub(super) const ONLY_FALSE: Self = Self::Word { kafka_type: KafkaType::Boolean, words: &["false"] };

    /// The type that DescribeConfigs reports.
    #[must_use]
    pub const fn kafka_type(self) -> KafkaType {
        match self {
            Self::Boolean => KafkaType::Boolean,
            Self::Number { kafka_type, .. }
            | Self::Word { kafka_type, .. }
            | Self::Text { kafka_type, .. } => kafka_type,
        }
    }

    /// `None` when the text is not of this kind or not within the bounds.
    pub(super) fn parse(self, text: &str, factor: i64) -> Option<Value> {
        match self {
            Self::Boolean if text.eq_ignore_ascii_case("true") => Some(Value::Boolean(true)),
            Self::Boolean => text.eq_ignore_ascii_case("false").then_some(Value::Boolean(false)),
            Self::Number { min, max, or, .. } => {
                let number = text.parse::<i64>().ok()?;
                if factor > 1 && number > ALIAS_MAX {
                    return None;
                }
                let number = if number < 0 { number } else { number.checked_mul(factor)? };
                ((min..=max).contains(&number) || or == Some(number)).then_some(Value::Number(number))
            }
            Self::Word { kafka_type, words } => {
                let is_same = |word: &&&str| match kafka_type {
                    KafkaType::Boolean => word.eq_ignore_ascii_case(text),
                    _ => **word == text,
                };
                words.iter().find(is_same).map(|&word| Value::Text(word.to_owned()))
            }
            Self::Text { .. } => {
                let is_sound = !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
                (is_sound && !text.contains(char::is_control)).then(|| Value::Text(text.to_owned()))
            }
        }
    }

    /// Writes the bounds in a unit that is `factor` times as large.
    pub(super) fn write_bound(self, f: &mut fmt::Formatter<'_>, factor: i64) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("true or false"),
            Self::Number { kafka_type, min, max, or } => {
                let max = if factor > 1 { ALIAS_MAX } else { max };
                match kafka_type {
                    _ if min == max => write!(f, "{min}")?,
                    KafkaType::Long if max == i64::MAX => write!(f, "a whole number from {min}")?,
                    _ => write!(f, "a whole number from {min} to {max}")?,
                }
                or.map_or(Ok(()), |or| write!(f, ", or {or}"))
            }
            Self::Word { words, .. } => {
                for (place, word) in words.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { " or " })?;
                    f.write_str(word)?;
                }
                Ok(())
            }
            Self::Text { form, .. } => f.write_str(form),
        }
    }
}

/// The bounds, in words.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_bound(f, 1)
    }
}

impl KafkaType {
    /// Its number in DescribeConfigs. Source: KIP-569.
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Long => 5,
            Self::List => 7,
        }
    }

    /// Its name in Kafka's documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Int => "int",
            Self::Long => "long",
            Self::List => "list",
        }
    }
}

impl Unit {
    /// Its name, empty for a pure number.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Bytes => "bytes",
            Self::Milliseconds => "milliseconds",
            Self::Records => "records",
        }
    }
}

/// The default, or the rule by which it is computed.
impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Unset => f.write_str("none"),
            Self::Computed { rule, .. } => f.write_str(rule),
        }
    }
}
