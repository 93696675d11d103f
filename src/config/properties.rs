//! The syntax of Kafka's `server.properties`, which is that of Java's property files.
//!
//! Lines end with LF, CR or CR LF. A line whose first visible character is `#` or `!` is a comment. A line that
//! ends with an odd number of backslashes goes on in the next, whose leading blanks are dropped. The key ends at
//! the first `=`, `:` or blank without a backslash before it. `\t \n \r \f \uXXXX` are what they are in Java; a
//! backslash before any other character is dropped.
//! Refused, where Java is silent: bytes that are not UTF-8 (the caller's check), a broken `\u`, a key given twice
//! with different values, and sizes above the maxima below.
//! Source: the documentation of `java.util.Properties.load`, compared with what Java 17 makes of the same files.

use super::error::Error;

/// Largest settings file. Unit: bytes.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Most entries of one file.
pub const PROPERTY_COUNT_MAX: usize = 1024;
/// Longest key, after escapes. Unit: bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// Longest value, after escapes. Unit: bytes.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;

/// One `key = value`, without the blanks around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    pub key: String,
    pub value: String,
    /// The line of its file where it begins, from 1; `None` when it does not come from a file.
    pub line: Option<u32>,
}

/// Reads a whole file. The order is kept; a key appears once.
/// Errors: [`Error::TooLarge`], or [`Error::InLine`] around [`Error::Syntax`], [`Error::GivenTwice`], [`Error::TooLarge`].
pub fn parse_properties(text: &str) -> Result<Vec<Property>, Error> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Error::TooLarge { what: "the settings file is", limit: FILE_BYTES_MAX });
    }
    let mut properties: Vec<Property> = Vec::new();
    for (line, logical) in LogicalLines::new(text) {
        let property = parse_line(&logical, line).map_err(|error| error.in_line(Some(line)))?;
        let known = properties.iter().find(|known| known.key == property.key);
        match known.map(|known| (known.line.unwrap_or_default(), known.value == property.value)) {
            Some((_, true)) => continue,
            Some((first_line, false)) => {
                return Err(Error::GivenTwice { key: property.key, first_line }.in_line(Some(line)));
            }
            None if properties.len() == PROPERTY_COUNT_MAX => {
                let error = Error::TooLarge { what: "the number of keys is", limit: PROPERTY_COUNT_MAX };
                return Err(error.in_line(Some(line)));
            }
            None => properties.push(property),
        }
    }
    Ok(properties)
}

/// Reads one `key=value` of the command line: everything up to the first `=` is the key, no escapes.
pub fn parse_override(text: &str) -> Result<Property, Error> {
    let (key, value) = text.split_once('=').ok_or(Error::Syntax { reason: "expected key=value" })?;
    checked(key.trim().to_owned(), value.trim().to_owned(), None)
}

fn parse_line(logical: &str, line: u32) -> Result<Property, Error> {
    let mut escaped = false;
    let ends_key = |character: char| {
        let ends = !escaped && (is_blank(character) || character == '=' || character == ':');
        escaped = character == '\\' && !escaped;
        ends
    };
    let key_end = logical.find(ends_key).unwrap_or(logical.len());
    let (key, rest) = logical.split_at(key_end);
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank);
    // Kafka trims values of every type; a value that needs blanks at its ends does not exist.
    checked(unescape(key)?, unescape(value)?.trim().to_owned(), Some(line))
}

fn checked(key: String, value: String, line: Option<u32>) -> Result<Property, Error> {
    if key.is_empty() {
        return Err(Error::Syntax { reason: "expected a key before the value" });
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::TooLarge { what: "the key is", limit: KEY_BYTES_MAX });
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(Error::TooLarge { what: "the value is", limit: VALUE_BYTES_MAX });
    }
    Ok(Property { key, value, line })
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\x0c')
}

fn unescape(text: &str) -> Result<String, Error> {
    let mut plain = String::with_capacity(text.len());
    // Java's \u gives UTF-16 units, so a character outside the first plane comes as two of them.
    let mut units: Vec<u16> = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let escape = if character == '\\' { rest.next() } else { None };
        if escape == Some('u') {
            units.push(hex_unit(&mut rest)?);
            continue;
        }
        push_units(&mut plain, &mut units)?;
        match (character, escape) {
            ('\\', Some('t')) => plain.push('\t'),
            ('\\', Some('n')) => plain.push('\n'),
            ('\\', Some('r')) => plain.push('\r'),
            ('\\', Some('f')) => plain.push('\x0c'),
            ('\\', Some(other)) => plain.push(other),
            ('\\', None) => {}
            (other, _) => plain.push(other),
        }
    }
    push_units(&mut plain, &mut units)?;
    Ok(plain)
}

fn hex_unit(rest: &mut std::str::Chars<'_>) -> Result<u16, Error> {
    let mut unit = 0u32;
    for _ in 0..4 {
        let digit = rest.next().and_then(|character| character.to_digit(16));
        unit = unit << 4
            | digit.ok_or(Error::Syntax { reason: r"expected four hexadecimal digits after \u" })?;
    }
    u16::try_from(unit).map_err(|_| Error::Syntax { reason: r"expected four hexadecimal digits after \u" })
}

fn push_units(plain: &mut String, units: &mut Vec<u16>) -> Result<(), Error> {
    for character in char::decode_utf16(units.drain(..)) {
        plain.push(character.map_err(|_| Error::Syntax { reason: r"half a surrogate pair in \u" })?);
    }
    Ok(())
}

/// Lines after continuation, without comments and empty lines, each with the number of its first line.
struct LogicalLines<'a> {
    rest: &'a str,
    line: u32,
}

impl<'a> LogicalLines<'a> {
    fn new(text: &'a str) -> Self {
        // A byte order mark is what some editors put first; it is no part of a key.
        Self { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 0 }
    }

    /// The next line as it stands, `None` at the end.
    fn natural(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        self.line = self.line.saturating_add(1);
        let (line, rest) = self.rest.split_once(['\n', '\r']).unwrap_or((self.rest, ""));
        let is_cr_lf = self.rest.get(line.len()..).is_some_and(|end| end.starts_with("\r\n"));
        self.rest = if is_cr_lf { rest.strip_prefix('\n').unwrap_or(rest) } else { rest };
        Some(line.trim_start_matches(is_blank))
    }
}

impl Iterator for LogicalLines<'_> {
    type Item = (u32, String);

    fn next(&mut self) -> Option<Self::Item> {
        let mut natural = self.natural()?;
        while natural.is_empty() || natural.starts_with(['#', '!']) {
            natural = self.natural()?;
        }
        let first_line = self.line;
        let mut logical = String::new();
        loop {
            let backslash_count = natural.bytes().rev().take_while(|&byte| byte == b'\\').count();
            if backslash_count % 2 == 0 {
                logical.push_str(natural);
                return Some((first_line, logical));
            }
            logical.push_str(natural.strip_suffix('\\').unwrap_or(natural));
            natural = self.natural().unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests;
