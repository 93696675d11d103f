//! The first lines of a broker that serves: where it is, what it promises, and what to try next.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use crate::config::{BrokerConfig, ShardIdle};
use crate::model::Durability;

/// What is known only once the broker listens.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    /// The port of each listener, in the order of [`BrokerConfig::listeners`]: what port 0 became.
    pub ports: &'a [u16],
    /// The CPU of each shard.
    pub cpus: &'a [usize],
    /// Where data lies, in full.
    pub data: &'a Path,
    /// Where health and metrics are served.
    pub admin: Option<SocketAddr>,
}

/// Where it listens, with the ports that were bound.
#[must_use]
pub fn addresses(config: &BrokerConfig, ports: &[u16]) -> Vec<String> {
    config
        .listeners
        .iter()
        .zip(ports)
        .map(|(listener, &port)| listener.bind.with_port(port).to_string())
        .collect()
}

/// The lines for people, with a warning for every listener that other machines may reach.
#[must_use]
pub fn banner(config: &BrokerConfig, started: &Started<'_>) -> String {
    let listeners = || config.listeners.iter().zip(started.ports);
    let addresses = addresses(config, started.ports);
    let cpus: Vec<String> = started.cpus.iter().map(usize::to_string).collect();
    let idle = match config.shard_idle {
        ShardIdle::Park => "sleeps when idle",
        ShardIdle::Spin => "never sleeps",
    };
    let mut lines = format!("Ringlog {}, node {}\n", env!("CARGO_PKG_VERSION"), config.node_id.0);
    let mut line = |label: &str, text: &str| {
        let _infallible = writeln!(lines, "  {label:<11} {text}");
    };
    line("listening", &addresses.join(", "));
    line("shards", &format!("{} on CPU {}, {idle}", cpus.len(), cpus.join(", ")));
    line("data", &started.data.display().to_string());
    line("durability", durability(config.topic_defaults.durability));
    if let Some(address) = started.admin {
        line("metrics", &format!("http://{address}/metrics"));
    }
    if let Some((listener, &port)) = listeners().next() {
        let address = listener.advertised.with_port(port);
        line("try", &format!("echo hello | ringlog produce demo -b {address}"));
        line("", &format!("ringlog consume demo -b {address}"));
    }
    if !config.auto_create_topics_enable {
        line("", "(create the topic first: auto.create.topics.enable is false)");
    }
    for (listener, &port) in listeners().filter(|(listener, _)| !listener.is_loopback()) {
        let address = listener.bind.with_port(port);
        let _infallible = writeln!(
            lines,
            "warning: other machines may reach {address}, and this version has no access control and no encryption"
        );
    }
    if let Some(address) = started.admin.filter(|address| !address.ip().is_loopback()) {
        let _infallible = writeln!(lines, "warning: other machines may read health and metrics at {address}");
    }
    lines
}

fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Synced => "synced: what is acknowledged survives the loss of power",
        Durability::Written => {
            "written: what is acknowledged survives the death of the process, not of the machine"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Machine;

    fn banner_of(file: &str, ports: &[u16]) -> String {
        let machine = Machine { memory_bytes: 1 << 30, cpu_count: 2 };
        let config = BrokerConfig::load(Some(file), &[], machine).unwrap();
        let admin = Some(SocketAddr::from(([127, 0, 0, 1], 9644)));
        banner(&config, &Started { ports, cpus: &[0], data: Path::new("/srv/ringlog-data"), admin })
    }

    #[test]
    fn the_first_lines_of_a_broker_with_defaults() {
        let expected = format!(
            "Ringlog {}, node 0
  listening   127.0.0.1:9092, [::1]:9092
  shards      1 on CPU 0, sleeps when idle
  data        /srv/ringlog-data
  durability  synced: what is acknowledged survives the loss of power
  metrics     http://127.0.0.1:9644/metrics
  try         echo hello | ringlog produce demo -b 127.0.0.1:9092
              ringlog consume demo -b 127.0.0.1:9092
",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(banner_of("", &[9092, 9092]), expected);
    }

    #[test]
    fn a_listener_that_others_can_reach_is_warned_of_by_its_real_port() {
        let file = "listeners=PLAINTEXT://127.0.0.1:0,PLAINTEXT://0.0.0.0:0\n\
            advertised.listeners=PLAINTEXT://127.0.0.1:1,PLAINTEXT://host:2";
        let text = banner_of(file, &[4001, 4002]);
        assert!(text.contains("listening   127.0.0.1:4001, 0.0.0.0:4002\n"), "{text}");
        assert!(text.contains("-b 127.0.0.1:1\n"), "{text}");
        let warnings: Vec<&str> = text.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert_eq!(warnings.len(), 1, "{text}");
        assert!(warnings[0].contains("0.0.0.0:4002"), "{text}");
    }
}
