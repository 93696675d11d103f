//! A topic's own settings, and the rule of design §2 point 2 by which flush settings mean a durability.

use super::*;
use crate::config::{Machine, TimestampType};
use crate::model::Durability::{Synced, Written};

fn broker(file: &str) -> BrokerConfig {
    BrokerConfig::load(Some(file), &[], Machine { memory_bytes: 1 << 30, cpu_count: 2 }).unwrap()
}

fn resolve(file: &str, overrides: &[(&str, &str)]) -> Result<TopicConfig, Error> {
    let overrides: Vec<_> =
        overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TopicConfig::resolve(&broker(file), &overrides)
}

#[test]
fn a_topic_takes_its_own_value_else_the_brokers() {
    let file = "log.segment.bytes=2097152\nlog.retention.hours=1\nlog.message.timestamp.type=LogAppendTime";
    let config = resolve(file, &[("segment.bytes", "1048576"), ("retention.bytes", "-1")]).unwrap();
    assert_eq!(
        (config.segment_bytes, config.retention_ms, config.retention_bytes),
        (1_048_576, Some(3_600_000), None)
    );
    assert_eq!(config.message_timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(resolve(file, &[]).unwrap(), broker(file).topic_defaults);
    assert_eq!(resolve("", &[("segment.ms", "5"), ("segment.ms", "6")]).unwrap().segment_ms, 6);
}

#[test]
fn flush_settings_mean_a_durability_unless_one_is_given() {
    const NEVER: &str = "9223372036854775807";
    for (file, overrides, durability) in [
        ("", &[][..], Synced),
        ("", &[("flush.messages", "1")], Synced),
        ("", &[("flush.messages", "2")], Written),
        ("", &[("flush.ms", "1000")], Written),
        ("", &[("flush.messages", "1"), ("flush.ms", "1000")], Synced),
        ("", &[("flush.messages", NEVER)], Synced),
        ("", &[("flush.messages", "2"), ("ringlog.durability", "synced")], Synced),
        ("", &[("flush.messages", "1"), ("ringlog.durability", "written")], Written),
        ("log.flush.interval.messages=10000", &[], Written),
        ("log.flush.interval.ms=10000", &[], Written),
        ("log.flush.interval.messages=1", &[], Synced),
        ("log.flush.interval.messages=10000\nringlog.durability=synced", &[], Synced),
        ("log.flush.interval.messages=10000", &[("flush.messages", "1")], Synced),
        ("log.flush.interval.messages=10000", &[("flush.messages", NEVER)], Synced),
        ("log.flush.interval.messages=10000", &[("flush.messages", NEVER), ("flush.ms", "5")], Written),
        ("ringlog.durability=written", &[], Written),
        ("ringlog.durability=written", &[("flush.messages", "1")], Synced),
        ("ringlog.durability=written", &[("flush.ms", NEVER)], Written),
        ("ringlog.durability=written", &[("ringlog.durability", "synced")], Synced),
        ("ringlog.durability=synced", &[("flush.messages", "100")], Written),
    ] {
        let config = resolve(file, overrides).unwrap();
        assert_eq!(config.durability, durability, "{file:?} {overrides:?}");
    }
}

#[test]
fn a_finite_flush_stays_beside_the_durability_it_means() {
    let config = resolve("", &[("flush.messages", "100"), ("flush.ms", "0")]).unwrap();
    assert_eq!((config.flush_messages, config.flush_ms, config.durability), (Some(100), Some(0), Written));
}

#[test]
fn what_a_topic_cannot_have_is_refused_with_the_reason() {
    for (key, value, words) in [
        ("cleanup.policy", "compact", "log compaction comes later"),
        ("cleanup.policy", "compact,delete", "log compaction comes later"),
        ("delete.retention.ms", "1", "log compaction comes later"),
        ("compression.type", "zstd", "must be producer (the broker does not compress again"),
        ("preallocate", "true", "allocated ahead"),
        ("unclean.leader.election.enable", "true", "must be false"),
        ("remote.storage.enable", "true", "no tiered storage"),
        ("local.retention.ms", "1", "no tiered storage"),
        ("leader.replication.throttled.replicas", "*", "replication comes later"),
        ("segment.bytes", "1048575", "segment.bytes = \"1048575\": must be a whole number from 1048576"),
        ("retention.ms", "-2", "from -1"),
        ("retention.ms", "1.5", "whole number"),
        ("log.retention.ms", "1", "did you mean retention.ms?"),
        ("num.partitions", "1", "unknown key \"num.partitions\""),
        ("segment.byte", "1", "did you mean segment.bytes?"),
    ] {
        let error = resolve("", &[(key, value)]).unwrap_err().to_string();
        assert!(error.contains(words), "{key}={value}: {error}");
    }
    for (key, value) in
        [("cleanup.policy", "delete"), ("preallocate", "FALSE"), ("compression.type", "producer")]
    {
        assert_eq!(resolve("", &[(key, value)]).unwrap(), resolve("", &[]).unwrap(), "{key}");
    }
}
