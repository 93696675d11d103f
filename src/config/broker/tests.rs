//! Defaults, bounds, unknown keys and contradictions of a broker's settings.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::{Kind, SETTINGS, ShardCores, parse_override};
use crate::model::limits::PRODUCER_BYTES;
use crate::model::{BrokerId, Durability};

const MACHINE: Machine = Machine { memory_bytes: 16 << 30, cpu_count: 4 };

fn load(file: &str) -> Result<BrokerConfig, Error> {
    BrokerConfig::load(Some(file), &[], MACHINE)
}

fn refusal(file: &str) -> String {
    load(file).map(|_| "accepted").unwrap_err().to_string()
}

#[test]
fn with_nothing_given_a_broker_serves_this_machine() {
    let config = BrokerConfig::load(None, &[], MACHINE).unwrap();
    let binds: Vec<String> = config.listeners.iter().map(|listener| listener.bind.to_string()).collect();
    assert_eq!(binds, ["127.0.0.1:9092", "[::1]:9092"]);
    assert!(
        config
            .listeners
            .iter()
            .all(|listener| listener.is_loopback() && listener.bind == listener.advertised)
    );
    assert_eq!((config.node_id, config.log_dir.as_path()), (BrokerId(0), Path::new("./ringlog-data")));
    assert_eq!(
        (config.memory_bytes, config.arena_bytes, config.read_cache_bytes),
        (1 << 30, 256 << 20, 128 << 20)
    );
    assert_eq!((config.socket_request_max_bytes, config.max_connections), (104_857_600, 2_147_483_647));
    assert_eq!((config.shard_cores, config.shard_idle), (ShardCores::Auto, ShardIdle::Park));
    let topic = config.topic_defaults;
    assert_eq!((topic.durability, topic.flush_messages, topic.flush_ms), (Durability::Synced, None, None));
    assert_eq!((topic.retention_ms, topic.retention_bytes), (Some(604_800_000), None));
    assert_eq!(
        (topic.message_timestamp_before_max_ms, topic.message_timestamp_after_max_ms),
        (None, Some(3_600_000))
    );
}

#[test]
fn shards_are_counted_or_named_and_share_what_the_broker_may_take() {
    let cores = |value: &str| load(&format!("shard.cores={value}")).unwrap().shard_cores;
    assert_eq!(cores("3"), ShardCores::Count(3));
    assert_eq!(cores("3-3"), ShardCores::Cpus(vec![3]));
    assert_eq!(cores("0, 2-4,9"), ShardCores::Cpus(vec![0, 2, 3, 4, 9]));
    let config = load("memory.bytes=134217728").unwrap();
    assert_eq!(config.shard_count_max(), 4);
    for count in 1..=4 {
        let share = config.of_shard(count);
        assert!(share.arena_bytes * count <= config.arena_bytes && share.arena_bytes.is_multiple_of(4096));
        assert!(share.commit_log_bytes_max * count as u64 <= config.commit_log_bytes_max);
        assert!(share.producers_max() * count <= config.producers_max());
        assert!(share.request_bytes_left() * count <= config.request_bytes_left() + count * 4096 * 3);
    }
}

/// Design §2: every budget is inside `memory.bytes`, on a small machine too.
#[test]
fn defaults_agree_with_each_other_on_any_machine() {
    for memory_bytes in [0, 1, 64 << 20, 100 << 20, 256 << 20, 1 << 30, 3 << 30, u64::MAX] {
        let config = BrokerConfig::load(None, &[], Machine { memory_bytes, cpu_count: 1 }).unwrap();
        let producers = config.producers_max() * PRODUCER_BYTES;
        let sum = config.arena_bytes + config.read_cache_bytes + producers + config.socket_request_max_bytes;
        assert!(sum <= config.memory_bytes, "{memory_bytes}");
    }
}

#[test]
fn every_row_has_one_name_a_home_and_a_default_within_its_bounds() {
    const ROOMS: [&str; 14] = [
        "model",
        "config",
        "protocol",
        "security",
        "runtime",
        "storage",
        "replication",
        "controller",
        "coordinator",
        "broker",
        "admin",
        "client",
        "measure",
        "cli",
    ];
    let mut keys = BTreeSet::new();
    for setting in SETTINGS {
        for key in setting.broker_key.into_iter().chain(setting.aliases.iter().map(|alias| alias.key)) {
            assert!(keys.insert(("broker", key)), "{key} twice");
        }
        assert!(setting.topic_key.is_none_or(|key| keys.insert(("topic", key))), "{} twice", setting.name());
        for part in setting.honoured_by.split("; ") {
            let room = part.split(['/', ':']).next().unwrap();
            assert!(ROOMS.contains(&room), "{}: {part}", setting.name());
        }
        assert!(setting.meaning.ends_with('.') && !setting.reason.is_empty(), "{}", setting.name());
        let (min, max) = match setting.kind {
            Kind::Number { min, max, .. } => (min, max),
            _ => (0, 0),
        };
        assert!(min <= max, "{}", setting.name());
    }
}

/// The bounds of each row fit the type of its field: both ends are loaded, and one beyond each is refused.
#[test]
fn both_ends_of_every_range_are_accepted_and_one_beyond_is_not() {
    for setting in SETTINGS {
        let (Kind::Number { min, max, .. }, Some(key)) = (setting.kind, setting.broker_key) else { continue };
        for (number, is_within) in
            [(Some(min), true), (Some(max), true), (min.checked_sub(1), false), (max.checked_add(1), false)]
        {
            let Some(number) = number else { continue };
            let error =
                load(&format!("{key}={number}")).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!error.contains("not of the setting's type"), "{error}");
            let is_refused = error.contains("must be a whole number") || error.contains("must be 1 (");
            assert_eq!(is_refused, !is_within, "{key}={number}: {error}");
        }
    }
}

#[test]
fn a_wrong_value_is_named_with_its_bound() {
    assert_eq!(
        refusal("\nnum.partitions=0"),
        "line 2: num.partitions = \"0\": must be a whole number from 1 to 10000"
    );
    assert_eq!(
        refusal("default.replication.factor=3"),
        "line 1: default.replication.factor = \"3\": must be 1 (replication comes later: this version is one broker)"
    );
    assert_eq!(
        refusal("log.roll.hours=0"),
        "line 1: log.roll.hours = \"0\": must be a whole number from 1 to 2147483647"
    );
    assert_eq!(
        refusal("auto.create.topics.enable=yes"),
        "line 1: auto.create.topics.enable = \"yes\": must be true or false"
    );
    assert_eq!(refusal("shard.idle=sleep"), "line 1: shard.idle = \"sleep\": must be park or spin");
    assert_eq!(
        refusal("log.cleanup.policy=compact"),
        "line 1: log.cleanup.policy = \"compact\": must be delete (log compaction comes later)"
    );
    for wrong in ["0", "-1", "1,", "2-1", "0,0-1", "257", "a", "4096-4096", "0-300"] {
        assert!(refusal(&format!("shard.cores={wrong}")).contains("0,2-5"), "{wrong}");
    }
    assert!(refusal("log.dirs=/a,/b").contains("several directories come later"));
    assert!(refusal("listeners=SSL://:9092").contains("there is no TLS"));
    assert!(refusal("connections.max.idle.ms=0").contains("from 1, or -1"));
    assert!(refusal("log.retention.hours=9223372036854775807").contains("must be a whole number from -1"));
    assert!(refusal(&format!("num.partitions={}", "\u{1b}[2J9".repeat(1000))).len() < 800);
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    assert_eq!(
        refusal("log.segment.byte=1"),
        "line 1: unknown key \"log.segment.byte\"; did you mean log.segment.bytes?"
    );
    assert_eq!(
        refusal("segment.bytes=1"),
        "line 1: unknown key \"segment.bytes\"; did you mean log.segment.bytes?"
    );
    assert_eq!(
        refusal("max.message.bytes=1"),
        "line 1: unknown key \"max.message.bytes\"; did you mean message.max.bytes?"
    );
    assert_eq!(refusal("group.max.size=1"), "line 1: unknown key \"group.max.size\"");
    assert_eq!(refusal("broker.id=1"), "line 1: key broker.id is not supported: use node.id");
}

#[test]
fn contradictory_pairs_are_refused() {
    for (file, words) in [
        (
            "arena.bytes=67108864\nmemory.bytes=67108864",
            "line 1: arena.bytes = \"67108864\" contradicts memory.bytes",
        ),
        (
            "memory.bytes=67108864\nread.cache.bytes=33554432",
            "contradicts memory.bytes = \"67108864\": the read cache",
        ),
        ("memory.bytes=67108864\nsocket.request.max.bytes=50000000", "leave no room"),
        ("queued.max.request.bytes=1000", "contradicts socket.request.max.bytes = \"104857600\""),
        (
            "message.max.bytes=200000000",
            "message.max.bytes = \"200000000\" contradicts socket.request.max.bytes",
        ),
        (
            "commit.log.bytes.max=4194304",
            "commit.log.file.bytes = \"4194304\" contradicts commit.log.bytes.max",
        ),
        ("commit.log.file.bytes=4194305", "multiple of 4096"),
        ("arena.bytes=67108865", "multiple of 4096"),
        (
            "log.retention.ms=1\nlog.retention.hours=1",
            "log.retention.hours = \"1\" contradicts log.retention.ms = \"1\"",
        ),
        ("listeners=PLAINTEXT://0.0.0.0:9092", "advertise the one they shall use"),
        ("advertised.listeners=PLAINTEXT://:9092", "advertise the one they shall use"),
        ("advertised.listeners=PLAINTEXT://h:0", "cannot connect to port 0"),
        (
            "listeners=PLAINTEXT://:1\nadvertised.listeners=PLAINTEXT://h:1,PLAINTEXT://g:1",
            "one address, or one for each listener",
        ),
    ] {
        let error = refusal(file);
        assert!(error.contains(words), "{file:?}: {error}");
    }
    let one_cpu = Machine { cpu_count: 1, ..MACHINE };
    assert!(BrokerConfig::load(Some("shard.idle=spin"), &[], one_cpu).is_err());
    assert!(BrokerConfig::load(Some("shard.idle=spin"), &[], MACHINE).is_ok());
}

#[test]
fn one_duration_in_two_units_is_accepted_when_both_agree() {
    let config = load("log.retention.hours=2\nlog.retention.minutes=120").unwrap();
    assert_eq!(config.topic_defaults.retention_ms, Some(7_200_000));
    assert_eq!(load("log.retention.hours=-1").unwrap().topic_defaults.retention_ms, None);
}

#[test]
fn an_override_replaces_the_file_and_a_later_one_an_earlier_one() {
    let overrides =
        ["num.partitions=3", "num.partitions=4", "log.dirs=/x"].map(|text| parse_override(text).unwrap());
    let config = BrokerConfig::load(Some("num.partitions=2\nnode.id=7"), &overrides, MACHINE).unwrap();
    assert_eq!(
        (config.num_partitions, config.node_id, config.log_dir.as_path()),
        (4, BrokerId(7), Path::new("/x"))
    );
    let wrong = [parse_override("num.partitions=no").unwrap()];
    let error = BrokerConfig::load(Some("num.partitions=2"), &wrong, MACHINE).unwrap_err().to_string();
    assert_eq!(error, "num.partitions = \"no\": must be a whole number from 1 to 10000");
}

#[test]
fn listeners_are_advertised_by_one_address_or_one_by_one() {
    let advertised = |file: &str| -> Vec<String> {
        load(file).unwrap().listeners.iter().map(|listener| listener.advertised.to_string()).collect()
    };
    assert_eq!(advertised("advertised.listeners=PLAINTEXT://h:1"), ["h:1", "h:1"]);
    assert_eq!(advertised("advertised.listeners=PLAINTEXT://h:1,PLAINTEXT://g:2"), ["h:1", "g:2"]);
    assert_eq!(advertised("listeners=PLAINTEXT://:9092\nadvertised.listeners=PLAINTEXT://h:1"), ["h:1"]);
    assert_eq!(advertised("listeners=PLAINTEXT://127.0.0.1:0"), ["127.0.0.1:0"]);
}

proptest! {
    /// Foreign text as key or value gives settings or one short line without control characters, never a panic.
    #[test]
    fn any_value_is_accepted_or_refused_in_one_line(
        row in 0..SETTINGS.len(),
        value in prop_oneof!["-?[0-9]{1,20}", "(PLAINTEXT://)?[a-z0-9.:,\\[\\]]{0,20}", "\\PC{0,300}", "[\\x00-\\x20]{0,3}"],
    ) {
        let setting = &SETTINGS[row];
        for key in [setting.broker_key.unwrap_or("x"), &value] {
            let given = Property { key: key.to_owned(), value: value.clone(), line: None };
            if let Err(error) = BrokerConfig::load(None, &[given], MACHINE) {
                let text = error.to_string();
                prop_assert!(text.len() < 2048 && !text.contains(char::is_control), "{:?}", text);
            }
        }
    }
}
