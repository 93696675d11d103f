//! `ringlog topic`: topics made, listed, described and deleted, over the wire.

use std::fmt::Write as _;

use clap::{Args, Subcommand};

use super::bootstrap::{Bootstrap, parse_pair};
use super::json::Json;
use super::{Error, print};
use crate::client::admin::{ConfigEntry, ConfigSource, CreatedTopic, NewTopic, Resource};
use crate::client::{self, Client, Found, Partition, Place, Topic as Described};
use crate::model::{BrokerId, ErrorCode, Offset};

/// Create, list, describe and delete topics
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Topic {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a topic
    Create {
        /// The topic
        name: String,
        /// How many partitions; the broker's default without it
        #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// How many brokers hold each partition; the broker's default without it
        #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i16).range(1..))]
        replication_factor: Option<i16>,
        /// A setting of the topic; may be given again
        #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse_pair)]
        config: Vec<(String, String)>,
        /// Say what was created as a JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        bootstrap: Bootstrap,
    },
    /// List the topics and their partitions
    List {
        /// One JSON array instead of text
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        bootstrap: Bootstrap,
    },
    /// Show a topic's durability, settings, leaders and offsets
    Describe {
        /// The topic
        name: String,
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        bootstrap: Bootstrap,
    },
    /// Delete a topic and all its records
    Delete {
        /// The topic
        name: String,
        /// Say what was deleted as a JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        bootstrap: Bootstrap,
    },
}

const EXAMPLES: &str = "\
Examples:
  ringlog topic create orders --partitions 4 --config ringlog.durability=written
  ringlog topic list --json | jq -r '.[].name'
  ringlog topic describe orders
  ringlog topic delete orders --bootstrap 127.0.0.1:9092";

impl Topic {
    pub(super) fn run(self) -> Result<(), Error> {
        match self.action {
            Action::Create { name, partitions, replication_factor, config, json, bootstrap } => {
                let new = NewTopic {
                    name: &name,
                    partition_count: partitions,
                    replication_factor,
                    configs: &config,
                    validate_only: false,
                };
                print(&created(&bootstrap.connect()?.create_topic(&new)?, json))
            }
            Action::List { json, bootstrap } => list(&mut bootstrap.connect()?, json),
            Action::Describe { name, json, bootstrap } => describe(&mut bootstrap.connect()?, &name, json),
            Action::Delete { name, json, bootstrap } => {
                bootstrap.connect()?.delete_topic(&name)?;
                print(&if json {
                    format!("{}\n", Json::Object(vec![("deleted", Json::Text(name))]))
                } else {
                    format!("deleted {name}\n")
                })
            }
        }
    }

    pub(super) const fn is_json(&self) -> bool {
        match self.action {
            Action::Create { json, .. }
            | Action::List { json, .. }
            | Action::Describe { json, .. }
            | Action::Delete { json, .. } => json,
        }
    }
}

fn created(topic: &CreatedTopic, json: bool) -> String {
    let count = topic.partition_count;
    if json {
        let object = Json::Object(vec![
            ("created", Json::from(topic.name.as_str())),
            ("id", topic.id.map_or(Json::Null, |id| Json::Text(id.to_string()))),
            ("partitions", count.map_or(Json::Null, |count| Json::Number(count.into()))),
        ]);
        return format!("{object}\n");
    }
    let count = count.map_or(String::new(), |count| format!(", partitions {count}"));
    format!("created {}{count}\n", topic.name)
}

fn list(client: &mut Client, json: bool) -> Result<(), Error> {
    client.refresh_all()?;
    let count = |topic: &Described| i64::try_from(topic.partitions.len()).unwrap_or(i64::MAX);
    let topics = client.metadata().topics();
    if json {
        let row = |topic: &Described| {
            Json::Object(vec![
                ("name", Json::from(topic.name.as_str())),
                ("id", Json::Text(topic.id.to_string())),
                ("partitions", Json::Number(count(topic))),
                ("internal", Json::Boolean(topic.is_internal)),
            ])
        };
        return print(&format!("{}\n", Json::List(topics.map(row).collect())));
    }
    let lines: Vec<String> = topics.map(|topic| format!("{:>6}  {}\n", count(topic), topic.name)).collect();
    print(&lines.concat())
}

/// A topic as the wire tells of it.
fn describe(client: &mut Client, name: &str, json: bool) -> Result<(), Error> {
    if let Some(fault) = client.refresh(&[name])?.first() {
        return Err(client::Error::refused(fault.code, format!("topic {name}"), None).into());
    }
    let topic = client.topic(name, false)?.clone();
    let configs = client.configs(Resource::Topic(name))?;
    // Nobody can be asked about the others.
    let led: Vec<&Partition> =
        topic.partitions.iter().filter(|partition| partition.leader.is_some()).collect();
    let mut everywhere = |place| {
        let places: Vec<_> = led.iter().map(|partition| (partition.index, place)).collect();
        client.offsets(name, &places)
    };
    let starts = everywhere(Place::Beginning)?;
    let ends = everywhere(Place::End)?;
    let flushed = match everywhere(Place::Flushed) {
        // Not Ringlog.
        Err(error) if error.code() == Some(ErrorCode::UnsupportedVersion) => Vec::new(),
        flushed => flushed?,
    };
    let offset = |found: &[Found], place: Option<usize>| found.get(place?)?.offset;
    let rows = topic.partitions.iter().map(|partition| {
        let place = led.iter().position(|led| led.index == partition.index);
        Row {
            partition,
            log_start_offset: offset(&starts, place),
            high_watermark: offset(&ends, place),
            flushed_offset: offset(&flushed, place),
        }
    });
    let rows: Vec<Row<'_>> = rows.collect();
    print(&if json { describe_json(&topic, &configs, &rows) } else { describe_text(&topic, &configs, &rows) })
}

/// A partition and what its leader says of its log.
struct Row<'a> {
    partition: &'a Partition,
    log_start_offset: Option<Offset>,
    high_watermark: Option<Offset>,
    flushed_offset: Option<Offset>,
}

fn durability(configs: &[ConfigEntry]) -> Option<&str> {
    configs.iter().find(|entry| entry.name == "ringlog.durability")?.value.as_deref()
}

fn own(configs: &[ConfigEntry]) -> impl Iterator<Item = &ConfigEntry> {
    configs.iter().filter(|entry| entry.source == ConfigSource::Topic)
}

fn describe_text(topic: &Described, configs: &[ConfigEntry], rows: &[Row<'_>]) -> String {
    let mut text = String::new();
    let mut line = |line: String| _ = writeln!(text, "{line}");
    line(format!("topic       {}", topic.name));
    line(format!("id          {}", topic.id));
    if let Some(durability) = durability(configs) {
        line(format!("durability  {durability}"));
    }
    for entry in own(configs) {
        line(format!("set         {}={}", entry.name, entry.value.as_deref().unwrap_or_default()));
    }
    line("partition  leader  log_start_offset  high_watermark  flushed_offset  replicas  isr".to_owned());
    let number = |offset: Option<Offset>| offset.map_or("-".to_owned(), |offset| offset.0.to_string());
    for row in rows {
        line(format!(
            "{:>9}  {:>6}  {:>16}  {:>14}  {:>14}  {:>8}  {}",
            row.partition.index,
            row.partition.leader.map_or("none".to_owned(), |leader| leader.0.to_string()),
            number(row.log_start_offset),
            number(row.high_watermark),
            number(row.flushed_offset),
            ids(&row.partition.replicas),
            ids(&row.partition.isr),
        ));
    }
    text
}

fn ids(brokers: &[BrokerId]) -> String {
    brokers.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(",")
}

fn describe_json(topic: &Described, configs: &[ConfigEntry], rows: &[Row<'_>]) -> String {
    let number = |offset: Option<Offset>| offset.map_or(Json::Null, |offset| Json::Number(offset.0));
    let brokers = |ids: &[BrokerId]| Json::List(ids.iter().map(|id| Json::Number(id.0.into())).collect());
    let partitions = rows.iter().map(|row| {
        let partition = row.partition;
        Json::Object(vec![
            ("partition", Json::Number(partition.index.0.into())),
            ("leader", partition.leader.map_or(Json::Null, |leader| Json::Number(leader.0.into()))),
            ("leader_epoch", Json::Number(partition.leader_epoch.0.into())),
            ("log_start_offset", number(row.log_start_offset)),
            ("high_watermark", number(row.high_watermark)),
            ("flushed_offset", number(row.flushed_offset)),
            ("replicas", brokers(&partition.replicas)),
            ("isr", brokers(&partition.isr)),
        ])
    });
    let configs_json = configs.iter().map(|entry| {
        Json::Object(vec![
            ("name", Json::from(entry.name.as_str())),
            ("value", Json::text_or_null(entry.value.as_deref())),
            ("own", Json::Boolean(entry.source == ConfigSource::Topic)),
        ])
    });
    let object = Json::Object(vec![
        ("name", Json::from(topic.name.as_str())),
        ("id", Json::Text(topic.id.to_string())),
        ("durability", Json::text_or_null(durability(configs))),
        ("partitions", Json::List(partitions.collect())),
        ("configs", Json::List(configs_json.collect())),
    ]);
    format!("{object}\n")
}
