//! The settings' reference as text, made from the table.

use std::fmt::Write as _;

use super::setting::Setting;
use super::table::SETTINGS;

/// What `ringlog config keys` prints.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    for setting in SETTINGS {
        page.push('\n');
        page.push_str(&heading(setting));
        page.push('\n');
        for (label, text) in body(setting) {
            wrapped(&mut page, label, &text);
        }
    }
    page
}

const HEAD: &str = "\
Settings of Ringlog. In the broker's file (the syntax of Kafka's server.properties): key=value.
\"topic KEY\" is the name among a topic's own settings; the broker's key then gives topics their default.
";

/// Width of the page. Unit: characters.
const WIDTH: usize = 100;
/// Where the text of a labelled line begins. Unit: characters.
const INDENT: usize = 12;

fn heading(setting: &Setting) -> String {
    let mut heading = setting.broker_key.unwrap_or_default().to_owned();
    if let Some(key) = setting.topic_key {
        let _infallible = write!(heading, "{}topic {key}", if heading.is_empty() { "" } else { ", " });
    }
    heading
}

fn body(setting: &Setting) -> Vec<(&'static str, String)> {
    let kind = setting.kind;
    let unit = setting.unit.name();
    let unit = if unit.is_empty() { String::new() } else { format!(" of {unit}") };
    let mut lines = vec![
        ("does", setting.meaning.to_owned()),
        ("value", format!("{}{unit}: {kind}", kind.kafka_type().name())),
        ("default", format!("{} ({})", setting.default, setting.reason)),
    ];
    if !setting.aliases.is_empty() {
        let aliases = setting.aliases.iter().map(|alias| alias.key).collect::<Vec<_>>();
        lines.push(("also", aliases.join(", ")));
    }
    if let Some(refuses) = setting.refuses {
        lines.push(("refused", format!("other values that Kafka knows: {refuses}")));
    }
    let changes = match (setting.is_dynamic, setting.topic_key, setting.broker_key) {
        (false, None, _) => "at the next start",
        (false, Some(_), None) => "never",
        (false, Some(_), Some(_)) => "a topic's never, the broker's at the next start",
        (true, _, None) => "at once",
        (true, _, Some(_)) => "a topic's at once, the broker's at the next start",
    };
    lines.push(("changes", changes.to_owned()));
    lines.push(("honoured", setting.honoured_by.to_owned()));
    lines
}

fn wrapped(page: &mut String, label: &str, text: &str) {
    let mut line = format!("  {label:<width$}", width = INDENT - 2);
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            page.push_str(&line);
            page.push('\n');
            line = " ".repeat(INDENT);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    page.push_str(&line);
    page.push('\n');
}
