//! Before and after a run: the topic made, its leaders waited for, the versions agreed on; the topic deleted.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::admin::NewTopic;
use crate::client::{Client, Connection, Place, Settings};
use crate::measure::driver::{Error, Result};
use crate::measure::request::Target;
use crate::model::{Durability, ErrorCode, PartitionIndex};
use crate::protocol::kafka::ApiKey;
use crate::runtime::clock::{Clock, SystemClock};

/// A topic that was made for one run.
pub struct MadeTopic {
    client: Client,
    pub target: Target,
    pub address: SocketAddr,
    pub partitions: u32,
}

/// Longest time that a topic may take to be served.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a topic with a name of its own at the broker at `bootstrap`.
///
/// Ringlog is told the durability by its name. A broker that refuses that setting is taken for Apache Kafka, which
/// acknowledges from its page cache, or with `flush.messages=1` from stable media.
///
/// # Errors
/// Of the connection; a refusal; leaders that do not come.
pub fn make_topic(bootstrap: &str, partitions: u32, durability: Durability) -> Result<MadeTopic> {
    let settings = Settings::new(bootstrap)?;
    let mut client = Client::connect(settings.clone())?;
    let topic = format!("bench-{}-{}", std::process::id(), SystemClock.now().nanoseconds());
    let row = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    // Deleted topics give their space back soon.
    let common = row("file.delete.delay.ms", "1000");
    let own = [row("ringlog.durability", durability.name()), common.clone()];
    let kafka = match durability {
        Durability::Synced => vec![common, row("flush.messages", "1")],
        Durability::Written => vec![common],
    };
    let new = |configs| NewTopic {
        name: &topic,
        partition_count: i32::try_from(partitions).ok(),
        replication_factor: Some(1),
        configs,
        validate_only: false,
    };
    match client.create_topic(&new(&own)) {
        Err(error) if error.code() == Some(ErrorCode::InvalidConfig) => client.create_topic(&new(&kafka))?,
        result => result?,
    };
    wait_for_leaders(&mut client, &topic, partitions)?;
    let topic_id = client.topic(&topic, false)?.id;
    let address = leader_address(&client, bootstrap)?;
    let connection = Connection::open(&address.to_string(), &settings)?;
    let target = Target {
        topic,
        topic_id,
        produce_version: connection.version(ApiKey::Produce)?,
        fetch_version: connection.version(ApiKey::Fetch)?,
    };
    Ok(MadeTopic { client, target, address, partitions })
}

impl MadeTopic {
    /// Deletes the topic.
    ///
    /// # Errors
    /// Of the connection; a refusal.
    pub fn delete(mut self) -> Result<()> {
        Ok(self.client.delete_topic(&self.target.topic)?)
    }
}

fn wait_for_leaders(client: &mut Client, topic: &str, partitions: u32) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        client.refresh(&[topic])?;
        let found = client.metadata().topic(topic);
        let led = found.map_or(0, |found| found.partitions.iter().filter(|row| row.leader.is_some()).count());
        if led >= partitions as usize {
            // A leader that the metadata name may not know it yet; one that tells its log's end does.
            let ends = (0..partitions).map(|index| (PartitionIndex(index.cast_signed()), Place::End));
            client.offsets(topic, &ends.collect::<Vec<_>>())?;
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(Error::NoLeader { topic: topic.to_owned(), waited: PATIENCE })
}

/// One broker is loaded: the first that the cluster names, or else the one that was asked.
fn leader_address(client: &Client, bootstrap: &str) -> Result<SocketAddr> {
    let named = client.metadata().brokers().next().map(|broker| broker.address.clone());
    resolve(&named.unwrap_or_else(|| bootstrap.to_owned()))
}

/// The first address of `HOST:PORT`.
///
/// # Errors
/// There is none.
pub fn resolve(address: &str) -> Result<SocketAddr> {
    let none = || Error::NoAddress { address: address.to_owned() };
    address.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(none)
}
