//! Identities: brokers, topics, partitions, producers.

use std::fmt;

/// A broker's `node.id`. Bounds: 0 to 2,097,151, so that `id * 1024 + shard` stays an `i32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerId(pub i32);

/// A topic's unique id (KIP-516): 16 random bytes, never reused; all zero means "none".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

/// A cluster's id: 16 random bytes, chosen when the first data directory is made; clients see the 22 characters.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

/// A data directory's id: 16 random bytes, chosen when it is made; the arena that belongs to it carries it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryId(pub [u8; 16]);

/// The number of a partition in its topic, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionIndex(pub i32);

/// The id under which a producer numbers its batches (KIP-98); -1 means "not idempotent".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

/// One partition of one topic, by id: survives the re-creation of a topic under the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic_id: TopicId,
    pub partition: PartitionIndex,
}

impl ProducerId {
    /// No producer id: a batch that is not idempotent.
    pub const NONE: Self = Self(-1);
}

impl TopicId {
    /// The absent id.
    pub const ZERO: Self = Self([0; 16]);
    /// The id that Kafka gives to its metadata log; no topic has it.
    pub const METADATA: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
}

macro_rules! base64_id {
    ($name:ident) => {
        impl $name {
            /// Parses the 22 characters that [`fmt::Display`] writes; `None` for anything else.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                parse_base64(text).map(Self)
            }
        }

        /// URL-safe base64 without padding: how Kafka prints ids.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_base64(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_base64(self.0, f)
            }
        }
    };
}

base64_id!(TopicId);
base64_id!(ClusterId);
base64_id!(DirectoryId);

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic_id, self.partition.0)
    }
}

impl fmt::Display for PartitionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn parse_base64(text: &str) -> Option<[u8; 16]> {
    if text.len() != 22 {
        return None;
    }
    let mut value: u128 = 0;
    for (place, character) in text.bytes().enumerate() {
        let digit = u128::from(base64_digit(character)?);
        if place < 21 {
            value = value << 6 | digit;
        } else if digit & 0xf == 0 {
            value = value << 2 | digit >> 4;
        } else {
            return None;
        }
    }
    Some(value.to_be_bytes())
}

fn base64_digit(character: u8) -> Option<u8> {
    let place = BASE64_URL.iter().position(|&known| known == character)?;
    u8::try_from(place).ok()
}

fn write_base64(id: [u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let value = u128::from_be_bytes(id);
    for place in 0..22u32 {
        let digit = if place < 21 { value >> (122 - 6 * place) } else { value << 4 } & 0x3f;
        let character = usize::try_from(digit).ok().and_then(|d| BASE64_URL.get(d)).copied().unwrap_or(b'?');
        write!(f, "{}", char::from(character))?;
    }
    Ok(())
}

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_prints_as_kafka_does_and_parses_back() {
        let id = TopicId([0x0f, 0xed, 0xcb, 0xa9, 0x87, 0x65, 0x43, 0x21, 0, 1, 2, 3, 4, 5, 6, 0xff]);
        assert_eq!(id.to_string(), "D-3LqYdlQyEAAQIDBAUG_w");
        assert_eq!(TopicId::parse(&id.to_string()), Some(id));
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(TopicId::parse("AAAAAAAAAAAAAAAAAAAAAB"), None);
        assert_eq!(TopicId::parse("short"), None);
    }
}
