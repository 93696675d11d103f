//! Topic names: which are legal, which collide, which are the broker's own. Kafka's rules and sentences.

use super::limits::TOPIC_NAME_CHARS_MAX;

/// The topic in which groups keep their offsets.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// The topic in which transactions keep their state.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// Kafka's name for its metadata log; no topic may have it.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Why a name is refused. The sentences are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameFault {
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    #[error("Topic name is invalid: '{name}' is not allowed")]
    Dots { name: String },
    #[error(
        "Topic name is invalid: the length of '{name}' is longer than the max allowed length {}",
        TOPIC_NAME_CHARS_MAX
    )]
    TooLong { name: String },
    #[error(
        "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    )]
    Characters { name: String },
}

/// Checks `name`: 1 to 249 ASCII letters, digits, `.`, `_`, `-`, and neither `.` nor `..`.
///
/// # Errors
/// What is wrong with it.
pub fn check(name: &str) -> Result<(), TopicNameFault> {
    if name.is_empty() {
        return Err(TopicNameFault::Empty);
    }
    if name == "." || name == ".." {
        return Err(TopicNameFault::Dots { name: name.to_owned() });
    }
    if name.chars().count() > TOPIC_NAME_CHARS_MAX {
        return Err(TopicNameFault::TooLong { name: name.to_owned() });
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.bytes().all(legal) {
        return Err(TopicNameFault::Characters { name: name.to_owned() });
    }
    Ok(())
}

/// What names that collide have in common; `None` if `name` collides with none.
///
/// Metrics print `.` and `_` alike, so that two topics which differ in those only could not be told apart.
#[must_use]
pub fn collision_key(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

/// Whether a topic of this name is the broker's own.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kafka_does() {
        for legal in ["a", "A-z_0.9", "...", "-", &"a".repeat(249)] {
            assert_eq!(check(legal), Ok(()), "{legal}");
        }
        let sentence = |name: &str| check(name).unwrap_err().to_string();
        assert_eq!(sentence(""), "Topic name is invalid: the empty string is not allowed");
        assert_eq!(sentence("."), "Topic name is invalid: '.' is not allowed");
        assert_eq!(sentence(".."), "Topic name is invalid: '..' is not allowed");
        let long = "a".repeat(250);
        let expected = format!(
            "Topic name is invalid: the length of '{long}' is longer than the max allowed length 249"
        );
        assert_eq!(sentence(&long), expected);
        for name in ["bad/name", "sp ace", "ü", "a\nb", "a\0"] {
            let expected = format!(
                "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            );
            assert_eq!(sentence(name), expected);
        }
    }

    #[test]
    fn names_that_differ_in_dots_and_underscores_only_collide() {
        assert_eq!(collision_key("a.b_c"), collision_key("a_b.c"));
        assert_ne!(collision_key("a.b"), collision_key("a.c"));
        assert_eq!(collision_key("ab"), None);
    }
}
