//! `ringlog inspect` on what a real broker leaves behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::broker::Broker;
use crate::command_line::run;

/// What `ringlog inspect` prints of a file that must be sound.
fn inspect(what: &str, file: &Path, options: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringlog"));
    let output = command.args(["inspect", what]).arg(file).args(options).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{what} {}: {errors}", file.display());
    String::from_utf8(output.stdout).unwrap()
}

/// All files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Which subcommand reads it; `None` for the few that are text.
fn kind(file: &Path) -> Option<&'static str> {
    let is_below = |folder: &str| file.parent().is_some_and(|parent| parent.ends_with(folder));
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("log") if !is_below("metadata") => Some("segment"),
        Some("log" | "snapshot") => Some("snapshot"),
        Some("index") => Some("index"),
        Some("clog") => Some("commit-log"),
        None if is_below("checkpoints") => Some("snapshot"),
        _ => None,
    }
}

#[test]
fn every_file_that_a_broker_leaves_behind_can_be_looked_into() {
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("inspect-{}", std::process::id()));
    let broker = Broker::start(data.clone());
    let done = |arguments: &[&str], stdin: &str| {
        let (text, code) = run(&broker, arguments, stdin);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
    };
    done(&["topic", "create", "seen", "--partitions", "1", "--config", "ringlog.durability=synced"], "");
    for codec in ["none", "zstd", "lz4", "snappy", "gzip"] {
        let key = ["--key-separator", ":", "--header", "h=1"];
        done(&[&["produce", "seen", "--codec", codec][..], &key].concat(), "k:one\ntwo\n");
    }
    // While it runs, the commit log has what is synced: that of whichever shard has the partition.
    let streams = files(&data.join("commit-log"));
    let frames: String = streams.iter().map(|stream| inspect("commit-log", stream, &["--json"])).collect();
    assert_eq!(frames.matches("\"kind\":\"data\"").count(), 5, "{frames}");
    broker.stop();

    let mut kinds = Vec::new();
    for file in files(&data) {
        if let Some(kind) = kind(&file) {
            assert!(!inspect(kind, &file, &[]).is_empty(), "{}", file.display());
            for line in inspect(kind, &file, &["--json"]).lines() {
                assert!(line.starts_with("{\"row\":\"") && line.ends_with('}'), "{line}");
            }
            kinds.push(kind);
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["commit-log", "index", "segment", "snapshot"]);

    let segment = data.join("seen-0/00000000000000000000.log");
    let rows = inspect("segment", &segment, &["--records", "--json"]);
    assert_eq!(rows.matches("{\"row\":\"batch\",").count(), 5, "{rows}");
    let headers = "\"headers\":[{\"key\":\"h\",\"value\":\"1\"}]}\n";
    assert_eq!(rows.matches(&format!("\"key\":\"k\",\"value\":\"one\",{headers}")).count(), 5, "{rows}");
    assert_eq!(rows.matches(&format!("\"key\":null,\"value\":\"two\",{headers}")).count(), 5, "{rows}");
    let total = "{\"row\":\"total\",\"batches\":5,\"records\":10,\"base_offset\":0,\"end_offset\":10,";
    assert!(rows.lines().last().unwrap().starts_with(total), "{rows}");
    assert!(rows.ends_with("\"allocated_bytes\":0,\"bad_bytes\":0}\n"), "{rows}");
    let base = inspect("snapshot", &data.join("checkpoints/base"), &["--json"]);
    assert!(base.contains("\"clean\":true") && base.contains("\"flushed_offset\":10"), "{base}");
    let metadata = inspect("snapshot", &data.join("metadata/00000000000000000000.log"), &["--json"]);
    assert!(metadata.contains("\"name\":\"seen\""), "{metadata}");
    fs::remove_dir_all(data).unwrap();
}
