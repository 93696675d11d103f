//! `ringlog serve`: settings, logging, then the broker.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::logging::Logging;
use super::{Error, banner, machine};
use crate::admin::driver::{Admin, Bound};
use crate::broker::driver;
use crate::config::{self, BrokerConfig, FILE_BYTES_MAX, Machine, Property, parse_override};

/// Start the broker and serve until SIGTERM or SIGINT
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    /// Settings, in the syntax of Kafka's server.properties
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over the file's; may be given again, and a later one wins
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_override)]
    set: Vec<Property>,
    /// Where all data lies: the same as --set log.dirs=DIR, and wins over it
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    #[command(flatten)]
    logging: Logging,
}

const EXAMPLES: &str = "\
Examples:
  ringlog serve
  ringlog serve --data /var/lib/ringlog --set listeners=PLAINTEXT://127.0.0.1:9092
  ringlog serve --config server.properties --log-format json --log-level info,ringlog::storage=debug

Every setting: ringlog config keys";

impl Serve {
    pub(super) fn run(self) -> Result<(), Error> {
        let machine = machine::this_machine()?;
        let data = self.data.map(|value| Property { key: "log.dirs".to_owned(), value, line: None });
        let overrides: Vec<Property> = self.set.into_iter().chain(data).collect();
        let config = load(self.config.as_deref(), &overrides, machine)?;
        self.logging.start()?;
        run_broker(config)
    }
}

/// Runs a broker with these settings until it is told to stop.
fn run_broker(config: BrokerConfig) -> Result<(), Error> {
    let bound = Bound::bind(&config)?;
    let admin = OnceCell::new();
    let start_admin = |config: &BrokerConfig| match bound.map(|bound| bound.serve(config)).transpose() {
        Ok(serving) => drop(serving.map(|serving| admin.set(serving))),
        Err(error) => tracing::error!(%error, "no health and metrics"),
    };
    let announce = |config: &BrokerConfig, started: &driver::Started, watch: driver::Watch| {
        if let Some(admin) = admin.get() {
            admin.begin_watching(banner::addresses(config, &started.ports), watch);
        }
        let shown = banner::Started {
            ports: &started.ports,
            cpus: &started.cpus,
            data: &started.data,
            admin: admin.get().map(Admin::address),
        };
        let lines = banner::banner(config, &shown);
        // On the terminal or in a pipe that is gone: the broker serves either way.
        let _ = std::io::stdout().write_all(lines.as_bytes()).and_then(|()| std::io::stdout().flush());
    };
    Ok(driver::serve(config, start_admin, announce)?)
}

/// The settings of `file` and of the command line.
pub(super) fn load(
    file: Option<&Path>,
    overrides: &[Property],
    machine: Machine,
) -> Result<BrokerConfig, Error> {
    let text = file.map(read).transpose()?;
    BrokerConfig::load(text.as_deref(), overrides, machine).map_err(|error| match (file, &error) {
        // An error with a line is one of the file's.
        (Some(path), config::Error::InLine { .. } | config::Error::TooLarge { .. }) => {
            Error::SettingInFile { path: path.to_owned(), error: Box::new(error) }
        }
        _ => Error::Setting { error: Box::new(error) },
    })
}

/// The text of a settings file; of one that is too large, enough to be refused.
fn read(path: &Path) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| Error::ReadFile { path: path.to_owned(), error })?;
    if bytes.len() > FILE_BYTES_MAX {
        // The limit may have cut a character in two.
        let error = config::Error::TooLarge { what: "the settings file is", limit: FILE_BYTES_MAX };
        return Err(Error::SettingInFile { path: path.to_owned(), error: Box::new(error) });
    }
    String::from_utf8(bytes).map_err(|error| Error::NotUtf8 {
        path: path.to_owned(),
        valid_bytes: error.utf8_error().valid_up_to(),
    })
}
