//! Addresses to listen on, and what clients are told of them.
//!
//! One name may stand for several addresses here (Kafka allows that for one IPv4 and one IPv6 address of one
//! port): the default listens on both loopbacks. Names are not looked up: that is `runtime`'s.

use std::fmt;
use std::net::IpAddr;

/// One listening socket. The only protocol is PLAINTEXT, so a listener has no name of its own yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where to listen. Port 0 means any free one.
    pub bind: Endpoint,
    /// What Metadata answers to clients that came by this listener. Port 0 means the one that was bound.
    pub advertised: Endpoint,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: Host,
    pub port: u16,
}

/// The host of an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// No host given: every address of the machine. Never advertised.
    Any,
    Ip(IpAddr),
    /// A name to be looked up: letters, digits, `-`, `.` and `_`, at most 253 characters.
    Name(String),
}

/// Where health and metrics are served (`admin.listener`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListener {
    Off,
    /// By HTTP. Port 0 means any free one.
    At(Endpoint),
}

impl Listener {
    /// Whether only this machine can reach it. A name other than `localhost` counts as reachable.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.bind.is_loopback()
    }
}

impl Endpoint {
    /// Whether only this machine can reach it. A name other than `localhost` counts as reachable.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Any => false,
            Host::Ip(address) => address.is_loopback(),
            Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
        }
    }

    /// The same with `bound_port` in place of port 0.
    #[must_use]
    pub fn with_port(&self, bound_port: u16) -> Self {
        let port = if self.port == 0 { bound_port } else { self.port };
        Self { host: self.host.clone(), port }
    }
}

impl Host {
    /// Whether it stands for every address of the machine: to listen on, not to connect to.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Ip(address) => address.is_unspecified(),
            Self::Name(_) => false,
        }
    }
}

/// Most listeners of one broker.
pub const LISTENER_COUNT_MAX: usize = 16;

/// Reads `PLAINTEXT://host:port,…`. Each is advertised as it is bound. Errors: what is wrong, in words.
pub(super) fn parse(text: &str) -> Result<Vec<Listener>, &'static str> {
    let mut listeners: Vec<Listener> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (name, address) = part.split_once("://").ok_or("expected PLAINTEXT://host:port")?;
        if !name.eq_ignore_ascii_case("PLAINTEXT") {
            return Err("only the listener name PLAINTEXT is served: there is no TLS and no SASL yet");
        }
        let bind = parse_endpoint(address)?;
        if bind.port != 0 && listeners.iter().any(|listener| listener.bind == bind) {
            return Err("one address is given twice");
        }
        if listeners.len() == LISTENER_COUNT_MAX {
            return Err("at most 16 listeners");
        }
        listeners.push(Listener { advertised: bind.clone(), bind });
    }
    Ok(listeners)
}

/// Reads `http://host:port` or `off`. Errors: what is wrong, in words.
pub(super) fn parse_admin(text: &str) -> Result<AdminListener, &'static str> {
    if text == "off" {
        return Ok(AdminListener::Off);
    }
    let address = text.strip_prefix("http://").ok_or("expected http://host:port, or off")?;
    parse_endpoint(address).map(AdminListener::At)
}

fn parse_endpoint(address: &str) -> Result<Endpoint, &'static str> {
    let (host, port) = address.rsplit_once(':').ok_or("expected a port after the host")?;
    let is_digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_digits).ok_or("the port must be from 0 to 65535")?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match (host, bracketed) {
        ("", _) => Host::Any,
        (_, Some(address)) => Host::Ip(IpAddr::V6(
            address.parse().map_err(|_| "expected an IPv6 address between the brackets")?,
        )),
        (host, None) if host.contains(':') => return Err("an IPv6 address stands in brackets: [::1]:9092"),
        (host, None) => host.parse().map(Host::Ip).or_else(|_| parse_name(host))?,
    };
    Ok(Endpoint { host, port })
}

fn parse_name(host: &str) -> Result<Host, &'static str> {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    // A name of digits and dots is an address with a slip in it.
    let is_address = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if host.len() > 253 || is_address || !host.bytes().all(is_sound) {
        return Err("the host must be an address or a name");
    }
    Ok(Host::Name(host.to_owned()))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

/// As Metadata gives it: an IPv6 address without brackets, nothing for [`Host::Any`].
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Ip(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_form_are_read_and_printed() {
        let listeners = parse(
            "PLAINTEXT://127.0.0.1:9092, PLAINTEXT://[::1]:0,plaintext://node-1.local:1,PLAINTEXT://:9",
        );
        let printed: Vec<String> =
            listeners.unwrap().iter().map(|l| format!("{} {}", l.bind, l.is_loopback())).collect();
        assert_eq!(printed, ["127.0.0.1:9092 true", "[::1]:0 true", "node-1.local:1 false", ":9 false"]);
    }

    #[test]
    fn wrong_addresses_are_refused() {
        for wrong in [
            "",
            ",",
            "127.0.0.1:9092",
            "SSL://127.0.0.1:9092",
            "PLAINTEXT://127.0.0.1",
            "PLAINTEXT://127.0.0.1:65536",
            "PLAINTEXT://127.0.0.1:+1",
            "PLAINTEXT://::1:9092",
            "PLAINTEXT://[::1:9092",
            "PLAINTEXT://[x]:1",
            "PLAINTEXT://127.0.0.300:1",
            "PLAINTEXT://a b:1",
            "PLAINTEXT://h:1,",
            "PLAINTEXT://h:1,PLAINTEXT://h:1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&vec!["PLAINTEXT://:0"; 17].join(",")).is_err());
    }
}
