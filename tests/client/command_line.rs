//! The subcommands that talk to a broker, as a user runs them.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::broker::{Broker, shared};

/// What the command printed, and its exit code.
pub fn run(broker: &Broker, arguments: &[&str], stdin: &str) -> (String, Option<i32>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringlog"))
        .args(arguments)
        .args(["--bootstrap", &broker.address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (text, output.status.code())
}

/// A broker was named that may be of another kind.
fn broker_was_named() -> bool {
    std::env::var_os("RINGLOG_BOOTSTRAP").is_some()
}

#[test]
fn a_topic_is_made_filled_read_described_and_deleted() {
    let broker = shared();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let topic = &format!("cli-{now}");
    let done = |arguments: &[&str], stdin: &str| {
        let (text, code) = run(&broker, arguments, stdin);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    };
    let create = ["topic", "create", topic, "--partitions", "2", "--config", "retention.ms=1000000"];
    assert_eq!(done(&create, ""), format!("created {topic}, partitions 2\n"));
    let produce =
        ["produce", topic, "--key-separator", ":", "--codec", "zstd", "--header", "h=1", "--partition", "1"];
    assert_eq!(done(&produce, "k:one\nno key\n:\n"), format!("sent 3 records to {topic}\n"));
    assert_eq!(done(&["consume", topic], ""), "one\nno key\n\n");
    assert_eq!(done(&["consume", topic, "--from", "1", "--count", "1", "--partition", "1"], ""), "no key\n");
    assert_eq!(done(&["consume", topic, "--from", "end"], ""), "");
    let json = done(&["consume", topic, "--json", "--count", "1"], "");
    assert!(json.starts_with("{\"partition\":1,\"offset\":0,\"timestamp\":"), "{json}");
    assert!(
        json.ends_with("\"key\":\"k\",\"value\":\"one\",\"headers\":[{\"key\":\"h\",\"value\":\"1\"}]}\n"),
        "{json}"
    );
    let described = done(&["topic", "describe", topic], "");
    assert!(described.contains("set         retention.ms=1000000\n"), "{described}");
    // What is acknowledged is on stable media by default; other brokers do not say.
    let flushed = if described.contains("  -  ") && broker_was_named() { "-" } else { "3" };
    let row = format!("        1       0                 0               3  {flushed:>14}         0  0\n");
    assert!(described.contains(&row), "{described}");
    assert!(done(&["topic", "list"], "").contains(&format!("     2  {topic}\n")));
    assert_eq!(done(&["topic", "delete", topic], ""), format!("deleted {topic}\n"));
    let (text, code) = run(&broker, &["topic", "describe", topic], "");
    assert_eq!(code, Some(1));
    assert_eq!(
        text,
        format!("error: UNKNOWN_TOPIC_OR_PARTITION (topic {topic}): no such topic or partition\n")
    );
}

/// Whatever a program asks for as JSON it can read, also when it fails.
#[test]
fn under_json_what_is_done_and_what_goes_wrong_is_one_json_line() {
    let broker = shared();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let topic = &format!("cli-json-{now}");
    let (created, code) = run(&broker, &["topic", "create", topic, "-p", "1", "--json"], "");
    assert_eq!(code, Some(0), "{created}");
    assert!(created.starts_with(&format!("{{\"created\":\"{topic}\",\"id\":\"")), "{created}");
    assert!(created.ends_with("\",\"partitions\":1}\n"), "{created}");
    let sent = run(&broker, &["produce", topic, "--json"], "a\nb");
    assert_eq!(sent, (format!("{{\"topic\":\"{topic}\",\"records\":2}}\n"), Some(0)));
    for arguments in [
        &["topic", "create", topic, "--json"][..],
        &["topic", "describe", "cli-absent", "--json"],
        &["topic", "delete", "cli-absent", "--json"],
        &["produce", topic, "--partition", "7", "--json"],
        &["consume", topic, "--partition", "7", "--json"],
        &["consume", "cli-absent", "--json"],
    ] {
        let (text, code) = run(&broker, arguments, "x\n");
        assert_eq!(code, Some(1), "{arguments:?}: {text}");
        assert!(text.starts_with("{\"error\":\"") && text.ends_with("\"}\n"), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
    }
    let deleted = run(&broker, &["topic", "delete", topic, "--json"], "");
    assert_eq!(deleted, (format!("{{\"deleted\":\"{topic}\"}}\n"), Some(0)));
}
