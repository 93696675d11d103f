//! Ringlog beside Apache Kafka: the same conversations with both, answers compared field by field.
//!
//! Skipped unless `RINGLOG_KAFKA` names a running Apache Kafka 4.2 (`HOST:PORT`) with empty storage, node id 0 and
//! `num.partitions=4`. Ringlog is started here, with the same settings, unless `RINGLOG_BROKER` names one that runs.
//! `RINGLOG_KAFKA_CLOSED` may name a second Apache Kafka, with `auto.create.topics.enable=false` and
//! `log.initial.task.delay.ms` and `log.retention.check.interval.ms` of 100.
//! `RINGLOG_CASES` narrows the conversations to those whose names contain it; `RINGLOG_SEED` begins the random ones elsewhere.
//! What may differ, and why, stands in `differences.txt`: a row there that no difference needs fails too.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper that panics fails its test, as it should"
)]

mod allowed;
mod random;
#[path = "../script/mod.rs"]
mod script;
mod socket;

use std::collections::BTreeMap;
use std::env;
use std::io::Write as _;
use std::time::Duration;

use allowed::Allowed;
use ringlog::protocol::kafka::messages::init_producer_id::InitProducerIdRequest;
use script::{Block, Script, Tree};
use socket::{Ringlog, SocketBroker};

#[test]
fn answers_are_those_of_apache_kafka() {
    let Ok(kafka) = env::var("RINGLOG_KAFKA") else {
        // Not through the test's own output, which is not shown where it passes.
        let told = std::io::stderr().write_all(b"skipped: RINGLOG_KAFKA names no Apache Kafka\n");
        return told.expect("somewhere to say it");
    };
    let started = env::var("RINGLOG_BROKER").is_err().then(|| Ringlog::start(true));
    let ours = env::var("RINGLOG_BROKER")
        .unwrap_or_else(|_| started.as_ref().map(Ringlog::address).unwrap_or_default());
    await_producer_ids(&kafka);
    let wanted = env::var("RINGLOG_CASES").unwrap_or_default();
    let mut allowed = Allowed::read();
    let mut report = String::new();
    let mut compared = 0;
    for &(name, talk) in script::ALL.iter().chain(random::ALL) {
        if !name.contains(&wanted) {
            continue;
        }
        let theirs = Script::run(&mut SocketBroker::connect(&kafka), talk);
        let own = Script::run(&mut SocketBroker::connect(&ours), talk);
        eprintln!("{name}");
        compared += own.iter().map(|block| block.exchanges.len()).sum::<usize>();
        compare(name, &theirs, &own, &mut allowed, &mut report);
    }
    if let Ok(closed) = env::var("RINGLOG_KAFKA_CLOSED") {
        let ours = Ringlog::start(false);
        for &(name, talk) in script::OTHER_SETTINGS {
            let theirs = Script::run(&mut SocketBroker::connect(&closed), talk);
            let own = Script::run(&mut SocketBroker::connect(&ours.address()), talk);
            compare(name, &theirs, &own, &mut allowed, &mut report);
        }
    }
    println!("{compared} answers compared, {} differences allowed", allowed.used());
    if wanted.is_empty() {
        report.push_str(&allowed.unused());
    }
    assert!(report.is_empty(), "\n{report}");
}

/// A Kafka that has just begun has no producer ids to give for a moment.
fn await_producer_ids(kafka: &str) {
    let mut broker = SocketBroker::connect(kafka);
    Script::run(&mut broker, |script| {
        for _ in 0..200 {
            if script.ask(4, &InitProducerIdRequest::default()).field("error_code").line() == "0" {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("Kafka gives no producer ids");
    });
}

/// Writes down what differs; the same difference in several versions is one row.
fn compare(name: &str, theirs: &[Block], ours: &[Block], allowed: &mut Allowed, report: &mut String) {
    assert_eq!(theirs.len(), ours.len(), "{name}: both hold the whole conversation");
    let mut found: BTreeMap<(usize, usize, String), (String, Vec<i16>)> = BTreeMap::new();
    let mut cases: Vec<&str> = Vec::new();
    for (their_block, our_block) in theirs.iter().zip(ours) {
        if cases.last() != Some(&our_block.case.as_str()) {
            cases.push(&our_block.case);
        }
        let exchanges = their_block.exchanges.iter().zip(&our_block.exchanges).enumerate();
        for (place, (their_exchange, our_exchange)) in exchanges {
            let mut differing = Vec::new();
            differences(&their_exchange.answer, &our_exchange.answer, "", &mut differing);
            for (path, their, our) in differing {
                if allowed.allows(name, &our_block.case, &path, &their, &our) {
                    continue;
                }
                let row = format!("{path}\n    Kafka   {their}\n    Ringlog {our}\n");
                let asked = || format!("{} {}", our_exchange.name, our_exchange.request.line());
                let seen = found.entry((cases.len(), place, row)).or_insert_with(|| (asked(), Vec::new()));
                seen.1.extend(our_block.version);
            }
        }
    }
    for ((case, place, row), (asked, versions)) in found {
        let case = cases[case - 1];
        report.push_str(&format!(
            "{name} | {case} | {}: {asked}\n  {row}    versions {versions:?}\n",
            place + 1
        ));
    }
}

/// Path, Kafka's value and ours of everything that is not the same.
fn differences(theirs: &Tree, ours: &Tree, path: &str, into: &mut Vec<(String, String, String)>) {
    match (theirs, ours) {
        (Tree::Struct(their_fields), Tree::Struct(our_fields)) => {
            let dot = if path.is_empty() { "" } else { "." };
            let mut names: Vec<&str> = their_fields.iter().map(|(name, _)| *name).collect();
            names.extend(
                our_fields.iter().map(|(name, _)| *name).filter(|name| field(theirs, name).is_none()),
            );
            for name in names {
                let pair = (field(theirs, name), field(ours, name));
                compare_pair(pair, &format!("{path}{dot}{name}"), into);
            }
        }
        (Tree::List(their_elements), Tree::List(our_elements)) => {
            let their_keys: Vec<String> = keys(their_elements);
            let our_keys: Vec<String> = keys(our_elements);
            for key in their_keys.iter().chain(our_keys.iter().filter(|key| !their_keys.contains(key))) {
                let of = |keys: &[String]| keys.iter().position(|known| known == key);
                let their = of(&their_keys).and_then(|place| their_elements.get(place));
                let our = of(&our_keys).and_then(|place| our_elements.get(place));
                compare_pair((their, our), &format!("{path}[{key}]"), into);
            }
        }
        _ if theirs == ours => {}
        _ => into.push((path.to_owned(), theirs.line(), ours.line())),
    }
}

fn compare_pair(pair: (Option<&Tree>, Option<&Tree>), path: &str, into: &mut Vec<(String, String, String)>) {
    let line = |tree: Option<&Tree>| tree.map_or_else(|| "(absent)".to_owned(), Tree::line);
    match pair {
        (Some(theirs), Some(ours)) => differences(theirs, ours, path, into),
        (theirs, ours) => into.push((path.to_owned(), line(theirs), line(ours))),
    }
}

fn field<'a>(tree: &'a Tree, name: &str) -> Option<&'a Tree> {
    let Tree::Struct(fields) = tree else { return None };
    fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Fields whose values tell the elements of a list apart.
const NAMES: [&str; 6] = ["api_key", "name", "partition_index", "partition", "index", "topic_id"];

/// What tells the elements of a list apart: their keys or names, since their order says nothing; else their places.
fn keys(elements: &[Tree]) -> Vec<String> {
    let named = |element: &Tree| {
        let name = NAMES.iter().filter_map(|key| field(element, key)).find(|name| **name != Tree::Null)?;
        Some(name.line().trim_matches('"').to_owned())
    };
    let names: Vec<Option<String>> = elements.iter().map(named).collect();
    let once = |name: &String| names.iter().flatten().filter(|other| *other == name).count() == 1;
    let keys = names.iter().enumerate();
    keys.map(|(place, name)| name.clone().filter(once).unwrap_or_else(|| place.to_string())).collect()
}
