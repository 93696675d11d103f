//! What a client's call can end with.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::model::ErrorCode;
use crate::protocol;
use crate::protocol::kafka::ApiKey;
use crate::protocol::kafka::schema::Versions;
use crate::protocol::records::RecordsError;

/// What the client returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Every way in which a call fails. What the broker refused keeps its code.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{text:?} is not HOST:PORT")]
    Address { text: String },
    #[error("no bootstrap server is named")]
    NoAddress,
    #[error("cannot resolve {address}: {error}")]
    Resolve { address: String, error: Arc<io::Error> },
    #[error("cannot connect to {address}: {error}")]
    Connect { address: String, error: Arc<io::Error> },
    /// Sending or receiving failed half-way: whether the request took effect is not known.
    #[error("connection to {address}: {error}")]
    Connection { address: String, error: Arc<io::Error> },
    #[error("{address} closed the connection")]
    Closed { address: String },
    /// As above, whether it took effect is not known.
    #[error("no answer from {address} within {} ms", after.as_millis())]
    NoAnswer { address: String, after: Duration },
    #[error("{address} does not speak the Kafka protocol as it should: {error}")]
    Wire { address: String, error: protocol::Error },
    #[error("{address} answered request {found} where {expected} was due")]
    Correlation { address: String, expected: i32, found: i32 },
    #[error("request cannot be encoded: {error}")]
    Request { error: protocol::Error },
    #[error("{address} has no version of {api_key} that this client knows ({} to {})", ours.first, ours.last)]
    Version { address: String, api_key: ApiKey, ours: Versions },
    #[error("{}{}: {}", Named(*code), of(subject), message.as_deref().unwrap_or_else(|| explain(*code)))]
    Refused { code: i16, subject: String, message: Option<String> },
    #[error("partition {partition} of topic {topic} does not exist: it has {count}")]
    NoSuchPartition { topic: String, partition: i32, count: usize },
    #[error("{address} left {what} out of its answer")]
    Missing { address: String, what: String },
    #[error("records at offset {offset} of {topic}-{partition}: {error}")]
    Records { topic: String, partition: i32, offset: i64, error: RecordsError },
    #[error("a record does not fit: {error}")]
    Record { error: RecordsError },
    #[error("a record of {bytes} bytes is larger than {bytes_max}, the largest request")]
    RecordTooLarge { bytes: usize, bytes_max: usize },
    #[error("{what}")]
    Contradiction { what: &'static str },
    #[error("given up after {} ms; last: {last}", after.as_millis())]
    GaveUp { after: Duration, last: Box<Error> },
}

impl Error {
    /// A refusal with this code about `subject` (may be empty); `message` is the broker's own, if it sent one.
    #[must_use]
    pub fn refused(code: i16, subject: impl Into<String>, message: Option<&str>) -> Self {
        let message = message.filter(|message| !message.is_empty()).map(str::to_owned);
        Self::Refused { code, subject: subject.into(), message }
    }

    /// The broker's code, if it answered with one that Kafka 4.2 knows.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => ErrorCode::from_code(*code),
            Self::GaveUp { last, .. } => last.code(),
            _ => None,
        }
    }

    /// Whether the same call may succeed later, or elsewhere.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Refused { .. } => self.code().is_some_and(ErrorCode::is_retriable),
            _ => self.is_connection_lost(),
        }
    }

    /// Whether the connection it happened on is of no more use.
    #[must_use]
    pub const fn is_connection_lost(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Connection { .. }
                | Self::Closed { .. }
                | Self::NoAnswer { .. }
                | Self::Wire { .. }
                | Self::Correlation { .. }
        )
    }
}

/// `Ok` for code 0, else the refusal.
///
/// # Errors
/// `Refused`.
pub fn check(code: i16, subject: impl FnOnce() -> String, message: Option<&str>) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Error::refused(code, subject(), message)) }
}

/// A code by Kafka's name, or as a number if it is newer than we are.
struct Named(i16);

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match ErrorCode::from_code(self.0) {
            Some(code) => f.write_str(code.name()),
            None => write!(f, "error code {}", self.0),
        }
    }
}

fn of(subject: &str) -> String {
    if subject.is_empty() { String::new() } else { format!(" ({subject})") }
}

/// What a code means, for brokers that sent no sentence: the ones that a client's user meets.
fn explain(code: i16) -> &'static str {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::UnknownTopicOrPartition) => "no such topic or partition",
        Some(ErrorCode::TopicAlreadyExists) => "a topic of this name exists",
        Some(ErrorCode::LeaderNotAvailable) => "the partition has no leader at the moment",
        Some(ErrorCode::NotLeaderOrFollower) => "another broker leads the partition now",
        Some(ErrorCode::OffsetOutOfRange) => "no record has this offset any more, or yet",
        Some(ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge) => {
            "more bytes than the topic accepts"
        }
        Some(ErrorCode::CorruptMessage) => "the batch arrived damaged, or is not one",
        Some(ErrorCode::InvalidTopicException) => "not a legal topic name",
        Some(ErrorCode::KafkaStorageError) => "the broker cannot use its disk",
        Some(ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend) => {
            "fewer replicas are in sync than min.insync.replicas asks for"
        }
        Some(ErrorCode::UnsupportedVersion) => "the broker does not know this version",
        Some(code) if code.is_retriable() => "may pass by itself",
        _ => "the broker gave no reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_well_with_and_without_the_brokers_sentence() {
        let text = |code, subject: &str, message| Error::refused(code, subject, message).to_string();
        assert_eq!(text(36, "topic a", None), "TOPIC_ALREADY_EXISTS (topic a): a topic of this name exists");
        assert_eq!(text(36, "", Some("no way")), "TOPIC_ALREADY_EXISTS: no way");
        assert_eq!(text(999, "", None), "error code 999: the broker gave no reason");
    }

    #[test]
    fn what_may_pass_is_told_from_what_stays() {
        let retriable = |code: ErrorCode| Error::refused(code.code(), "", None).is_retriable();
        assert!(retriable(ErrorCode::NotLeaderOrFollower));
        assert!(!retriable(ErrorCode::MessageTooLarge));
        assert!(!Error::refused(999, "", None).is_retriable());
        assert!(Error::Closed { address: "a:1".to_owned() }.is_retriable());
        assert!(!Error::NoAddress.is_retriable());
    }
}
