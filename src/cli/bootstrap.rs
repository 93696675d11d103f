//! Which cluster a command talks to.

use clap::Args;

use super::Error;
use crate::client::{Client, Settings};

/// The cluster's address.
#[derive(Clone, Debug, Args)]
pub(super) struct Bootstrap {
    /// Brokers to ask first, comma-separated; one that answers is enough
    #[arg(short, long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    bootstrap: String,
}

impl Bootstrap {
    pub(super) fn connect(&self) -> Result<Client, Error> {
        let settings = Settings { client_id: "ringlog-cli".to_owned(), ..Settings::new(&self.bootstrap)? };
        Ok(Client::connect(settings)?)
    }
}

/// `KEY=VALUE`.
pub(super) fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected key=value")?;
    if key.is_empty() { Err("the key is empty".to_owned()) } else { Ok((key.to_owned(), value.to_owned())) }
}
