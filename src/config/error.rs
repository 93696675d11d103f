//! What can be wrong with settings. The operator's fault (refuse to start) or the peer's (INVALID_CONFIG): never ours.

use std::fmt;

use super::setting::Kind;

/// Each names the key, the value and the bound, and says what to do where that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key that no row of the table has.
    #[error("unknown key {}{}", Shown(key), Hint(*nearest))]
    UnknownKey { key: String, nearest: Option<&'static str> },
    /// A key that Kafka has and Ringlog has not, with the reason.
    #[error("key {key} is not supported: {reason}")]
    Unsupported { key: &'static str, reason: &'static str },
    /// A value outside its kind or bounds. `factor`: the unit of `key`, in units of the bound.
    #[error("{key} = {}: must be {}{}", Shown(value), Bound(*bound, *factor), Reason(*reason))]
    OutOfBounds { key: &'static str, value: String, bound: Kind, factor: i64, reason: Option<&'static str> },
    /// A value of the right kind whose form is wrong.
    #[error("{key} = {}: {reason}", Shown(value))]
    Malformed { key: &'static str, value: String, reason: &'static str },
    /// Two values that cannot hold together.
    #[error("{key} = {} contradicts {other_key} = {}: {rule}", Shown(value), Shown(other_value))]
    Contradiction {
        key: &'static str,
        value: String,
        other_key: &'static str,
        other_value: String,
        rule: &'static str,
    },
    /// One key twice in one file, with different values.
    #[error("{} is given twice, first in line {first_line} with another value", Shown(key))]
    GivenTwice { key: String, first_line: u32 },
    /// Not the syntax of a properties file, or of `key=value`.
    #[error("{reason}")]
    Syntax { reason: &'static str },
    /// More than a settings file may hold.
    #[error("{what} too large: at most {limit}")]
    TooLarge { what: &'static str, limit: usize },
    /// Where in the file another error was found. Lines count from 1.
    #[error("line {line}: {error}")]
    InLine { line: u32, error: Box<Error> },
}

impl Error {
    /// The same error, with the line it was found in; one that has a line already keeps it.
    #[must_use]
    pub(super) fn in_line(self, line: Option<u32>) -> Self {
        match line {
            Some(line) if !matches!(self, Self::InLine { .. }) => {
                Self::InLine { line, error: Box::new(self) }
            }
            _ => self,
        }
    }
}

/// Longest piece of foreign text in an error. Unit: characters.
const SHOWN_CHARS_MAX: usize = 120;

/// Foreign text in quotes, shortened, with what a terminal would obey made harmless.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_long = self.0.chars().nth(SHOWN_CHARS_MAX).is_some();
        let start: String = self.0.chars().take(SHOWN_CHARS_MAX).collect();
        write!(f, "\"{}\"{}", start.escape_debug(), if is_long { "…" } else { "" })
    }
}

struct Hint(Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest}?"))
    }
}

struct Reason(Option<&'static str>);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |reason| write!(f, " ({reason})"))
    }
}

struct Bound(Kind, i64);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_bound(f, self.1)
    }
}
