//! What is printed: rows of named values, as columns for people or as a JSON object per line.

use std::io::{self, BufWriter, StdoutLock, Write as _};

use crate::cli::Error;
use crate::cli::json::Json;

/// Columns that are wider than this do not make those of later rows wider. Unit: characters.
const WIDTH_MAX: usize = 40;
const KIND_WIDTH: usize = 12;

/// Prints rows to stdout as they come.
pub(super) struct Rows {
    is_json: bool,
    output: BufWriter<StdoutLock<'static>>,
    /// Kinds of rows so far, and the widths of their columns.
    tables: Vec<(&'static str, Vec<usize>)>,
}

impl Rows {
    pub(super) fn new(is_json: bool) -> Self {
        Self { is_json, output: BufWriter::new(io::stdout().lock()), tables: Vec::new() }
    }

    /// Prints a row. All of a `kind` have the same names in the same order.
    pub(super) fn row(&mut self, kind: &'static str, values: Vec<(&'static str, Json)>) -> Result<(), Error> {
        let written = if self.is_json {
            let mut members = vec![("row", Json::from(kind))];
            members.extend(values);
            writeln!(self.output, "{}", Json::Object(members))
        } else {
            let text = self.text(kind, &values);
            self.output.write_all(text.as_bytes())
        };
        written.map_err(|error| Error::Stdout { error })
    }

    /// Brings everything to stdout.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.output.flush().map_err(|error| Error::Stdout { error })
    }

    fn text(&mut self, kind: &'static str, values: &[(&'static str, Json)]) -> String {
        let cells: Vec<String> = values.iter().map(|(name, value)| cell(name, value)).collect();
        let known = self.tables.iter().position(|(known, _)| *known == kind);
        let table = known.unwrap_or(self.tables.len());
        if known.is_none() {
            self.tables.push((kind, vec![0; values.len()]));
        }
        let Some((_, widths)) = self.tables.get_mut(table) else { return String::new() };
        for ((width, cell), (name, _)) in widths.iter_mut().zip(&cells).zip(values) {
            *width = (*width).max(name.len()).max(cell.chars().count().min(WIDTH_MAX));
        }
        let mut text = String::new();
        if known.is_none() {
            text += &line(&format!("#{kind}"), values.iter().map(|(name, _)| *name), widths);
        }
        text + &line(kind, cells.iter().map(String::as_str), widths)
    }
}

fn line<'a>(kind: &str, cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let mut text = format!("{kind:<KIND_WIDTH$}");
    for (cell, &width) in cells.zip(widths) {
        text += &format!("  {cell:>width$}");
    }
    text.push('\n');
    text
}

/// A value in a column: one word without control characters.
fn cell(name: &str, value: &Json) -> String {
    match value {
        // Under the name that the column has for other rows.
        Json::Text(text) if name.ends_with("_hex") => format!("0x{text}"),
        Json::Null => "-".to_owned(),
        Json::Boolean(value) => if *value { "yes" } else { "no" }.to_owned(),
        Json::Text(text) => {
            let is_plain = |character: char| !character.is_whitespace() && !character.is_control();
            if text.chars().all(is_plain) && !text.starts_with('"') && !["", "-"].contains(&text.as_str()) {
                text.clone()
            } else {
                value.to_string()
            }
        }
        value => value.to_string(),
    }
}

/// A number that is never negative; beyond what JSON's readers hold, as text.
pub(super) fn unsigned(value: u64) -> Json {
    i64::try_from(value).map_or_else(|_| Json::Text(value.to_string()), Json::Number)
}

/// A number of things in memory.
pub(super) fn count(value: usize) -> Json {
    unsigned(crate::model::number::wide(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_names_and_grow_and_cells_are_one_word() {
        let mut rows = Rows::new(false);
        let first = rows.text("batch", &[("offset", Json::Number(7)), ("codec", Json::from("none"))]);
        assert_eq!(first, "#batch        offset  codec\nbatch              7   none\n");
        let second = rows.text("batch", &[("offset", Json::Number(12_345_678)), ("codec", Json::Null)]);
        assert_eq!(second, "batch         12345678      -\n");
        let third =
            rows.text("batch", &[("offset", Json::Boolean(true)), ("codec", Json::from("a b\u{1b}"))]);
        assert_eq!(third, "batch              yes  \"a b\\u001b\"\n");
        for (text, expected) in [("", "\"\""), ("-", "\"-\""), ("\"", "\"\\\"\""), ("é", "é")] {
            assert_eq!(cell("key", &Json::from(text)), expected);
        }
        assert_eq!(cell("key_hex", &Json::from("ff00")), "0xff00");
        assert_eq!(unsigned(u64::MAX), Json::from("18446744073709551615"));
    }
}
