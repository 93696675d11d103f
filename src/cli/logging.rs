//! Logging: lines for people, or one JSON object per line, to stderr.

use std::io::{self, IsTerminal as _};

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use super::Error;

/// How and how much is logged.
#[derive(Clone, Debug, Args)]
pub(super) struct Logging {
    /// Lines for people, or one JSON object per line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub log_format: Format,
    /// error, warn, info, debug, trace or off; also per part, as in info,ringlog::storage=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = parse_level)]
    pub log_level: Targets,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

impl Logging {
    /// Sends everything logged in this process to stderr from here on.
    pub(super) fn start(&self) -> Result<(), Error> {
        let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
        let lines = match self.log_format {
            Format::Text => lines.boxed(),
            Format::Json => lines.json().flatten_event(true).boxed(),
        };
        let lines = lines.with_filter(self.log_level.clone());
        tracing_subscriber::registry().with(lines).try_init().map_err(|_| Error::LoggingTwice)
    }
}

/// Every part must end in a level: the library would take a mistyped level for the name of a part.
fn parse_level(text: &str) -> Result<Targets, String> {
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        let is_level = level.parse::<LevelFilter>().is_ok() && !level.is_empty();
        if !is_level || level.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{part:?} does not end in error, warn, info, debug, trace or off"));
        }
    }
    text.parse::<Targets>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_understood_and_a_mistyped_one_is_not() {
        for good in ["info", "WARN", "off", "info,ringlog::storage=debug", "ringlog=trace"] {
            assert!(parse_level(good).is_ok(), "{good}");
        }
        for wrong in ["", "inof", "info,", "ringlog=", "ringlog=inof", "info,ringlog", "3"] {
            assert!(parse_level(wrong).is_err(), "{wrong}");
        }
    }
}
