//! `ringlog config`: the reference of all settings, and a check of a file without starting.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::json::Json;
use super::{Error, machine, print, serve};
use crate::config::{Kind, SETTINGS, Setting, reference};

/// Print the reference of all settings, or check a settings file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print every setting: what it does, its bounds, its default and the reason for it
    Keys {
        /// One JSON array instead of text
        #[arg(long)]
        json: bool,
    },
    /// Check a settings file on this machine without starting anything
    Check {
        /// A file in the syntax of Kafka's server.properties
        file: PathBuf,
    },
}

const EXAMPLES: &str = "\
Examples:
  ringlog config keys | less
  ringlog config keys --json | jq '.[] | select(.topic_key != null) | .topic_key'
  ringlog config check /etc/ringlog/server.properties";

impl Config {
    pub(super) const fn is_json(&self) -> bool {
        matches!(self.action, Action::Keys { json: true })
    }

    pub(super) fn run(self) -> Result<(), Error> {
        match self.action {
            Action::Keys { json: false } => print(&reference()),
            Action::Keys { json: true } => {
                let rows = SETTINGS.iter().map(row).collect();
                print(&format!("{}\n", Json::List(rows)))
            }
            Action::Check { file } => {
                serve::load(Some(&file), &[], machine::this_machine()?)?;
                print(&format!("{}: valid\n", file.display()))
            }
        }
    }
}

fn row(setting: &Setting) -> Json {
    let (min, max) = match setting.kind {
        Kind::Number { min, max, .. } => (Json::Number(min), Json::Number(max)),
        _ => (Json::Null, Json::Null),
    };
    let unit = Some(setting.unit.name()).filter(|unit| !unit.is_empty());
    let aliases = setting.aliases.iter().map(|alias| Json::from(alias.key)).collect();
    Json::Object(vec![
        ("broker_key", Json::text_or_null(setting.broker_key)),
        ("topic_key", Json::text_or_null(setting.topic_key)),
        ("aliases", Json::List(aliases)),
        ("type", Json::from(setting.kind.kafka_type().name())),
        ("unit", Json::text_or_null(unit)),
        ("bounds", Json::Text(setting.kind.to_string())),
        ("min", min),
        ("max", max),
        ("default", Json::Text(setting.default.to_string())),
        ("reason", Json::from(setting.reason)),
        ("dynamic", Json::Boolean(setting.is_dynamic)),
        ("meaning", Json::from(setting.meaning)),
        ("refuses", Json::text_or_null(setting.refuses)),
        ("honoured_by", Json::from(setting.honoured_by)),
    ])
}
