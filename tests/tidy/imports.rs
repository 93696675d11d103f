//! Who imports whom: every `crate::` path of a room against its row.

use crate::Finding;
use crate::rooms::{self, Grant, Kind, RECORD_SCHEMAS};
use crate::tree::{File, Tree};

/// Every path into another room is granted by the table, and no path hides which room it reaches.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let Some(room) = file.room().and_then(rooms::find) else { continue };
        let source = file.source();
        for path in source.crate_paths() {
            let target = path.segments.first().map_or("", String::as_str);
            let schemas = path.segments.iter().zip(RECORD_SCHEMAS).filter(|(found, wanted)| *found == wanted);
            let problem = match (rooms::find(target).is_some(), room.grants(target)) {
                (false, _) => format!("crate::{target} is no room (rename, glob or macro at the root?)"),
                (true, Grant::No) => format!("{} may not import {target}", room.name),
                (true, Grant::RecordSchemas) if schemas.count() < RECORD_SCHEMAS.len() => {
                    format!("{} may import only {} of {target}", room.name, RECORD_SCHEMAS.join("::"))
                }
                _ => continue,
            };
            let key = format!("{} {target}", file.path);
            findings.push(Finding::new(key, format!("{}:{}: {problem}", file.path, path.line)));
        }
        for (count, line, inline_modules) in source.super_chains() {
            if count >= module_depth(file) + inline_modules {
                let text = format!("{}:{line}: super reaches the root; write crate::ROOM", file.path);
                findings.push(Finding::new(format!("{} super", file.path), text));
            }
        }
    }
    findings
}

/// What a core may name of the runtime: buffers and mapped memory are values, without I/O.
const VALUES: [&str; 2] = ["runtime", "memory"];

/// In a room of cores and drivers, `crate::runtime` is named by drivers (`driver.rs`, `driver/`, and `recovery/`, which drives
/// blocking I/O at a start) and by tests.
pub fn drivers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let core = file.room().and_then(rooms::find).is_some_and(|room| room.kind == Kind::Core);
        let mut parts = file.path.split('/');
        if !core || parts.any(|part| ["driver", "driver.rs", "recovery", "tests", "tests.rs"].contains(&part))
        {
            continue;
        }
        let source = file.source();
        // Unit tests stand last in their file, and may drive.
        let tests = source.code.find("mod tests {").map_or(usize::MAX, |position| source.line(position));
        for path in source.crate_paths().iter().filter(|path| path.line < tests) {
            let values =
                path.segments.iter().zip(VALUES).filter(|(found, value)| *found == value).count() == 2;
            if path.segments.first().is_some_and(|room| room == "runtime") && !values {
                let text = format!("{}:{}: crate::runtime outside of a driver", file.path, path.line);
                findings.push(Finding::new(file.path.as_str(), text));
            }
        }
    }
    findings
}

/// How many `super` lead from the file's own module to the root.
fn module_depth(file: &File) -> usize {
    let inner = file.path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.split('/').filter(|part| *part != "mod").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> String {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.text + "\n").collect()
    }

    #[test]
    fn granted_imports_pass() {
        assert_eq!(
            found("src/storage/log.rs", "use crate::{model::{Offset, batch}, runtime::Disk, storage::x};"),
            ""
        );
        assert_eq!(
            found("src/controller/state/mod.rs", "use crate::protocol::kafka::records::TopicRecord;"),
            ""
        );
        assert_eq!(found("src/model/batch/tests.rs", "use super::super::crc;"), "");
        assert_eq!(found("src/model/offset.rs", "mod tests { use super::super::crc; }"), "");
    }

    #[test]
    fn an_import_that_is_not_granted_is_caught_in_every_spelling() {
        for text in [
            "use crate::broker::Shard;",
            "use crate::{model::Offset, broker::{self, Shard}};",
            "fn f() { crate::broker::g() }",
            "use crate :: broker;",
            "use crate::{\n    model,\n    broker,\n};",
        ] {
            assert!(found("src/storage/log.rs", text).contains("storage may not import broker"), "{text}");
        }
    }

    #[test]
    fn siblings_that_must_not_meet_do_not() {
        assert!(
            found("src/replication/isr.rs", "use crate::controller::X;")
                .contains("may not import controller")
        );
        assert!(
            found("src/controller/x.rs", "use crate::replication::X;").contains("may not import replication")
        );
        assert!(
            found("src/controller/x.rs", "use crate::protocol::kafka::produce;").contains("may import only")
        );
    }

    #[test]
    fn the_root_cannot_be_hidden() {
        for text in ["use crate as root;", "extern crate self as root;", "use crate::*;", "crate::table!{}"] {
            assert!(found("src/model/x.rs", text).contains("is no room"), "{text}");
        }
        assert!(found("src/model/x.rs", "use super::super::broker;").contains("super reaches the root"));
        assert!(found("src/model/mod.rs", "use super::broker;").contains("super reaches the root"));
    }

    #[test]
    fn a_core_that_names_the_runtime_is_caught() {
        let text = "use crate::runtime::Disk;";
        let at = |path: &str, text: &str| drivers(&Tree::of(&[(path, text)])).len();
        assert_eq!(at("src/storage/append.rs", text), 1);
        assert_eq!(at("src/storage/append.rs", "use crate::runtime::{memory::Buffer, Disk};"), 1);
        assert_eq!(at("src/storage/append.rs", "use crate::runtime::memory::Buffer;"), 0);
        assert_eq!(at("src/storage/driver.rs", text), 0);
        assert_eq!(at("src/storage/driver/flush.rs", text), 0);
        assert_eq!(at("src/storage/append/tests.rs", text), 0);
        assert_eq!(at("src/storage/append.rs", "mod tests {\n use crate::runtime::Disk; }"), 0);
        assert_eq!(at("src/cli/serve.rs", text), 0);
    }
}
