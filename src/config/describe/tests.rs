//! Entries as Apache Kafka 4.2.0 gave them for the same settings, where it has them.

use super::*;
use crate::config::Machine;

fn broker(file: &str) -> BrokerConfig {
    BrokerConfig::load(Some(file), &[], Machine { memory_bytes: 1 << 30, cpu_count: 2 }).unwrap()
}

fn shown(entries: &[Entry], name: &str) -> String {
    let entry = entries.iter().find(|entry| entry.name == name).unwrap();
    let synonyms: Vec<String> =
        entry.synonyms.iter().map(|s| format!("{:?}:{}={}", s.source, s.name, s.value)).collect();
    let value = entry.value.as_deref().unwrap_or("null");
    format!("{value} {} {:?} [{}]", entry.kafka_type.name(), entry.source, synonyms.join(", "))
}

fn topic(file: &str, overrides: &[(&str, &str)]) -> Vec<Entry> {
    let overrides: Vec<_> =
        overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    describe_topic(&broker(file), &overrides).unwrap()
}

#[test]
fn a_topics_entries_are_kafkas() {
    let entries = topic("log.retention.hours=100\nlog.segment.bytes=2097152", &[("segment.ms", " 1234567")]);
    for (name, expected) in [
        ("cleanup.policy", "delete list Default [Default:log.cleanup.policy=delete]"),
        ("compression.type", "producer string Default [Default:compression.type=producer]"),
        (
            "flush.messages",
            "9223372036854775807 long Default [Default:log.flush.interval.messages=9223372036854775807]",
        ),
        ("flush.ms", "9223372036854775807 long Default []"),
        ("max.message.bytes", "1048588 int Default [Default:message.max.bytes=1048588]"),
        ("preallocate", "false boolean Default [Default:log.preallocate=false]"),
        ("remote.storage.enable", "false boolean Default []"),
        ("retention.ms", "360000000 long Default []"),
        ("segment.jitter.ms", "0 long Default []"),
        ("segment.ms", "1234567 long Topic [Topic:segment.ms=1234567]"),
        (
            "segment.bytes",
            "2097152 int StaticBroker [StaticBroker:log.segment.bytes=2097152, Default:log.segment.bytes=1073741824]",
        ),
    ] {
        assert_eq!(shown(&entries, name), expected, "{name}");
    }
    assert!(entries.is_sorted_by_key(|entry| entry.name));
    assert!(!entries.iter().any(|entry| entry.is_sensitive));
    let read_only = entries.iter().filter(|entry| entry.is_read_only).map(|entry| entry.name);
    assert_eq!(read_only.collect::<Vec<_>>(), [DURABILITY], "a log keeps it while it is served");
}

#[test]
fn a_brokers_entries_are_kafkas() {
    let entries = describe_broker(&broker("log.retention.hours=100\nnum.partitions=4\nmax.connections=+5"));
    for (name, expected) in [
        ("num.partitions", "4 int StaticBroker [StaticBroker:num.partitions=4, Default:num.partitions=1]"),
        (
            "log.retention.hours",
            "100 int StaticBroker [StaticBroker:log.retention.hours=100, Default:log.retention.hours=168]",
        ),
        ("log.retention.minutes", "null int Default []"),
        ("log.retention.ms", "null long Default []"),
        ("log.flush.interval.ms", "null long Default []"),
        ("advertised.listeners", "null list Default []"),
        ("log.segment.bytes", "1073741824 int Default [Default:log.segment.bytes=1073741824]"),
        (
            "max.connections",
            "5 int StaticBroker [StaticBroker:max.connections=5, Default:max.connections=2147483647]",
        ),
        ("memory.bytes", "268435456 long Default [Default:memory.bytes=268435456]"),
    ] {
        assert_eq!(shown(&entries, name), expected, "{name}");
    }
    assert!(entries.is_sorted_by_key(|entry| entry.name));
    assert!(entries.iter().all(|entry| entry.is_read_only));
}

#[test]
fn the_durability_is_the_one_that_holds_and_names_what_it_follows_from() {
    let name = "ringlog.durability";
    for (file, overrides, expected) in [
        ("", &[][..], "synced string Default [Default:ringlog.durability=synced]"),
        (
            "",
            &[("flush.messages", "9")],
            "written string Topic [Topic:flush.messages=9, Default:ringlog.durability=synced]",
        ),
        (
            "log.flush.interval.ms=9",
            &[],
            "written string StaticBroker [StaticBroker:log.flush.interval.ms=9, Default:ringlog.durability=synced]",
        ),
        (
            "ringlog.durability=written",
            &[("flush.messages", "1")],
            "synced string Topic [Topic:flush.messages=1, StaticBroker:ringlog.durability=written, \
             Default:ringlog.durability=synced]",
        ),
        (
            "ringlog.durability=written\nlog.flush.interval.ms=9",
            &[],
            "written string StaticBroker [StaticBroker:ringlog.durability=written, Default:ringlog.durability=synced]",
        ),
    ] {
        assert_eq!(shown(&topic(file, overrides), name), expected, "{file:?} {overrides:?}");
    }
    let entries = describe_broker(&broker("log.flush.interval.messages=2"));
    let expected = "written string StaticBroker [StaticBroker:log.flush.interval.messages=2, Default:ringlog.durability=synced]";
    assert_eq!(shown(&entries, name), expected);
}
