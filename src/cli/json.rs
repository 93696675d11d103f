//! JSON that commands print under `--json`. Written only: nothing is read.

use std::fmt::{self, Display, Write as _};

/// A JSON value; printing it gives one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    Null,
    Boolean(bool),
    Number(i64),
    Text(String),
    List(Vec<Json>),
    /// Members are printed in the order given.
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    /// A text, or `null`.
    #[must_use]
    pub fn text_or_null(text: Option<&str>) -> Self {
        text.map_or(Self::Null, Self::from)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(text) => write_text(f, text),
            Self::List(values) => {
                f.write_char('[')?;
                for (place, value) in values.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { "," })?;
                    value.fmt(f)?;
                }
                f.write_char(']')
            }
            Self::Object(members) => {
                f.write_char('{')?;
                for (place, (name, value)) in members.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { "," })?;
                    write_text(f, name)?;
                    f.write_char(':')?;
                    value.fmt(f)?;
                }
                f.write_char('}')
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            // DEL and C1 controls are legal in JSON; escaped, they cannot reach a terminal.
            control if control.is_control() => write!(f, "\\u{:04x}", u32::from(control))?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8259: quotes, backslashes and control characters are escaped.
    #[test]
    fn values_are_printed_as_json() {
        let value = Json::Object(vec![
            ("a", Json::List(vec![Json::Null, Json::Boolean(true), Json::Number(-1)])),
            ("b\"", Json::from("x\\\"\n\r\t\u{1}\u{9b}é")),
            ("c", Json::List(vec![])),
        ]);
        let expected = r#"{"a":[null,true,-1],"b\"":"x\\\"\n\r\t\u0001\u009bé","c":[]}"#;
        assert_eq!(value.to_string(), expected);
    }
}
