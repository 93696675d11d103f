//! `--log-format json`: whatever the broker says is one JSON object per line.

use std::fs;

use crate::json::{Json, parse_object};
use crate::process::Scratch;

#[test]
fn as_json_every_line_of_a_start_a_warning_and_a_stop_is_an_object() {
    let scratch = Scratch::new("json");
    // On the disk, of which the broker warns, under a name that must be escaped.
    let arena = scratch.data.join("a \"quoted\" \\ name");
    fs::create_dir_all(&arena).unwrap();
    let setting = format!("arena.dir={}", arena.display());
    let command = || {
        let mut command = scratch.command(&[&setting]);
        command.args(["--log-format", "json"]);
        command
    };
    let broker = scratch.start_command(command()).unwrap_or_else(|ended| panic!("{}", ended.said));
    broker.kill();
    let broker = scratch.start_command(command()).unwrap_or_else(|ended| panic!("{}", ended.said));
    broker.signal("TERM");
    let ended = broker.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    let mut said = Vec::new();
    for line in ended.said.lines() {
        let object = parse_object(line).unwrap_or_else(|| panic!("not a JSON object: {line}"));
        let text = |name: &str| match object.get(name) {
            Some(Json::Text(text)) if !text.is_empty() => text.clone(),
            other => panic!("{name} is {other:?}: {line}"),
        };
        let timestamp = text("timestamp");
        assert!(timestamp.starts_with("20") && timestamp.ends_with('Z'), "{line}");
        if text("message").contains("not on tmpfs") {
            assert!(text("arena").contains("a \"quoted\" \\ name"), "{line}");
        }
        said.push((text("level"), text("message")));
    }
    for (level, words) in [("WARN", "not on tmpfs"), ("INFO", "stopping"), ("INFO", "stopped")] {
        let is_said = said.iter().any(|(found, message)| found == level && message.contains(words));
        assert!(is_said, "{level} {words:?}: {}", ended.said);
    }
}
