//! Outputs held against files beside this one. After a wanted change, `RINGLOG_REWRITE=1 cargo test --test golden`
//! writes the files again, and the change is reviewed as a diff.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper that panics fails its test, as it should"
)]

mod inspect;
mod memory_broker;
mod metrics;
#[path = "../wire/script/mod.rs"]
mod script;
mod transcript;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Fails when `actual` is not what the file `name` holds; under `RINGLOG_REWRITE=1` writes it there instead.
fn hold(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("RINGLOG_REWRITE").is_some_and(|value| value == "1") {
        if let Err(error) = fs::write(&path, actual) {
            panic!("{}: {error}", path.display());
        }
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let mut lines = expected.lines().zip(actual.lines()).enumerate();
    let differing = lines.find(|(_, (expected, actual))| expected != actual);
    if let Some((place, (expected, actual))) = differing {
        panic!("{name}, line {}:\n  expected {expected}\n  found    {actual}\n{HOW}", place + 1);
    }
    assert!(
        expected == actual,
        "{name}: {} lines instead of {}\n{HOW}",
        actual.lines().count(),
        expected.lines().count()
    );
}

const HOW: &str = "wanted? RINGLOG_REWRITE=1 cargo test --test golden, and review the diff";

/// Every setting, default and bound that an operator can read of: none changes unseen.
#[test]
fn reference_of_settings() {
    hold("config_keys.txt", &ringlog::config::reference());
}

/// What a user reads who asks for help or makes a mistake: help and one-line errors, and the exit codes 0, 1 and 2.
#[test]
fn help_and_mistakes_of_the_command_line() {
    let settings = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden.properties");
    let mut transcript = String::new();
    for (file, line) in [
        ("", "--help"),
        ("", "serve --help"),
        ("", "config --help"),
        ("", "bench --help"),
        ("", "topic --help"),
        ("", "topic create --help"),
        ("", "topic describe --help"),
        ("", "produce --help"),
        ("", "consume --help"),
        ("", "produce a --codec lzma"),
        ("", "consume a --from yesterday"),
        ("", "topic create a --partitions 0"),
        ("", "topic create a --config b"),
        ("", "topic list --bootstrap nowhere"),
        ("", "topic list --bootstrap 127.0.0.1:1"),
        ("", "topic list --bootstrap 127.0.0.1:1 --json"),
        ("", "serve --set num.partitions"),
        ("", "serve --log-level inof"),
        ("", "serve --set num.partition=3"),
        ("", "serve --data /a,/b"),
        ("", "bench produce --batch-bytes 1T"),
        ("", "bench produce --connections 0"),
        ("", "config check does/not/exist"),
        ("node.id = 3\n# well\nlog.retention.hours = 1", "config check FILE"),
        ("node.id = 3\nlog.retention.hour = 1", "config check FILE"),
        ("node.id = -3", "config check FILE"),
        ("commit.log.bytes.max = 4194304", "config check FILE"),
        ("process.roles = broker,controller", "config check FILE"),
    ] {
        if let Err(error) = fs::write(&settings, file) {
            panic!("{}: {error}", settings.display());
        }
        transcript += &run(line, file, &settings);
    }
    hold("command_line.txt", &transcript);
}

/// What the broker answers to whom: every API, version and error that `tests/wire/script` asks for.
#[test]
fn conversations() {
    for &(name, talk) in script::ALL {
        let mut broker = memory_broker::MemoryBroker::new("num.partitions=4\nnode.id=0\n");
        let blocks = script::Script::run(&mut broker, talk);
        hold(&format!("{name}.txt"), &transcript::transcript(&blocks));
    }
}

/// Nobody can tell how many shards a broker has.
#[test]
fn conversations_with_several_shards() {
    for &(name, talk) in script::ALL {
        for count in [2, 3, 7] {
            let mut broker = memory_broker::MemoryBroker::of_many("num.partitions=4\nnode.id=0\n", count);
            let blocks = script::Script::run(&mut broker, talk);
            hold(&format!("{name}.txt"), &transcript::transcript(&blocks));
        }
    }
}

/// Nor how full the queues between them are, or who comes first.
#[test]
fn conversations_with_shards_whose_queues_are_full() {
    for &(name, talk) in script::ALL {
        for seed in 0..10 {
            let settings = "num.partitions=4\nnode.id=0\n";
            let mut broker = memory_broker::MemoryBroker::of_many_in_a_tight_mesh(settings, 4, seed);
            let blocks = script::Script::run(&mut broker, talk);
            hold(&format!("{name}.txt"), &transcript::transcript(&blocks));
        }
    }
}

/// The same with a broker of other settings.
#[test]
fn conversations_under_other_settings() {
    for &(name, talk) in script::OTHER_SETTINGS {
        let settings = "auto.create.topics.enable=false\nlog.retention.check.interval.ms=100\n";
        let blocks = script::Script::run(&mut memory_broker::MemoryBroker::new(settings), talk);
        hold(&format!("{name}.txt"), &transcript::transcript(&blocks));
    }
}

/// One command with what it printed; the settings file, whose path differs from machine to machine, is called FILE.
fn run(line: &str, file: &str, settings: &Path) -> String {
    let settings = settings.to_string_lossy();
    let arguments = line.split(' ').map(|word| if word == "FILE" { &*settings } else { word });
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringlog"));
    let output = command.args(arguments).env("COLUMNS", "100").stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("ringlog {line}: {error}"));
    let mut text = String::new();
    for file_line in file.lines() {
        text += &format!("| {file_line}\n");
    }
    text += &format!("$ ringlog {line}\n");
    text += &String::from_utf8_lossy(&output.stdout);
    text += &String::from_utf8_lossy(&output.stderr);
    text += &output.status.code().map_or("killed\n\n".to_owned(), |code| format!("exit code {code}\n\n"));
    text.replace(&*settings, "FILE")
}
