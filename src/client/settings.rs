//! What a client is told before it connects.

use std::time::Duration;

use super::{Error, Result};

/// Where the cluster is, how long to wait, how much to accept. [`Settings::new`] gives sane values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Brokers to ask first, `HOST:PORT`; one that answers is enough.
    pub bootstrap: Vec<String>,
    /// What brokers call this client in their logs and quotas.
    pub client_id: String,
    /// For one attempt at one address.
    pub connect_timeout: Duration,
    /// For one request, beside what the broker was told it may wait.
    pub request_timeout: Duration,
    /// For one call with all its retries.
    pub retry_timeout: Duration,
    /// Pause before the first retry; doubles up to a second.
    pub retry_pause: Duration,
    /// Largest reply that is accepted. Unit: bytes.
    pub reply_bytes_max: usize,
}

/// Longest pause between two tries.
pub(super) const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

impl Settings {
    /// Settings for the cluster behind these comma-separated addresses.
    ///
    /// # Errors
    /// `Address`, `NoAddress`.
    pub fn new(bootstrap: &str) -> Result<Self> {
        let addresses = bootstrap.split(',').map(str::trim).filter(|text| !text.is_empty());
        let bootstrap: Vec<String> = addresses
            .map(|text| match split_address(text) {
                Some(_) => Ok(text.to_owned()),
                None => Err(Error::Address { text: text.to_owned() }),
            })
            .collect::<Result<_>>()?;
        if bootstrap.is_empty() {
            return Err(Error::NoAddress);
        }
        Ok(Self {
            bootstrap,
            client_id: "ringlog-client".to_owned(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            retry_timeout: Duration::from_secs(30),
            retry_pause: Duration::from_millis(50),
            reply_bytes_max: 128 << 20,
        })
    }
}

/// Host and port; an IPv6 address stands in brackets.
fn split_address(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = bare.unwrap_or(host);
    let plain = !is_host.is_empty() && !is_host.contains(['[', ']', ' ', '/']);
    (plain && (bare.is_some() || !host.contains(':'))).then_some(())?;
    Some((is_host, port.parse().ok().filter(|&port| port > 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        assert_eq!(split_address("a:1"), Some(("a", 1)));
        assert_eq!(split_address("[::1]:9092"), Some(("::1", 9092)));
        for wrong in ["", "a", "a:", ":1", "a:0", "a:65536", "::1:9092", "[::1]", "http://a:1", "a b:1"] {
            assert_eq!(split_address(wrong), None, "{wrong}");
        }
        assert_eq!(Settings::new(" a:1, b:2,").unwrap().bootstrap, ["a:1", "b:2"]);
        assert!(matches!(Settings::new(","), Err(Error::NoAddress)));
        assert!(matches!(Settings::new("a:1,b"), Err(Error::Address { text }) if text == "b"));
    }
}
