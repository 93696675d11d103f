//! The fourteen rooms of `src/` and what each may import. The same table is the rustdoc of `src/lib.rs`.

use crate::Finding;
use crate::tree::Tree;

pub struct Room {
    pub name: &'static str,
    /// As the table says it.
    pub imports: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Touches nothing outside of memory.
    Pure,
    /// The door to the machine.
    Impure,
    /// Pure but for its drivers.
    Core,
    /// The command line.
    Edge,
}

const fn room(name: &'static str, imports: &'static str, kind: Kind) -> Room {
    Room { name, imports, kind }
}

/// In order: a room imports only rooms above it.
pub const ROOMS: [Room; 14] = [
    room("model", "nothing", Kind::Pure),
    room("config", "model", Kind::Pure),
    room("protocol", "model", Kind::Pure),
    room("security", "model, config", Kind::Pure),
    room("runtime", "model, config", Kind::Impure),
    room("storage", "model, config, runtime", Kind::Core),
    room("replication", "model, config, runtime, storage", Kind::Core),
    room("controller", "model, config, protocol¹, runtime, storage", Kind::Core),
    room("coordinator", "model, config, protocol¹, runtime, replication", Kind::Core),
    room("broker", "all above", Kind::Core),
    room("admin", "model, config, security, runtime, broker", Kind::Core),
    room("client", "model, config, protocol, security, runtime", Kind::Core),
    room("measure", "model, config, protocol, runtime, client", Kind::Core),
    room("cli", "all above", Kind::Edge),
];

/// What ¹ grants: the versioned schemas of records kept in the metadata, group and transaction logs.
pub const RECORD_SCHEMAS: [&str; 3] = ["protocol", "kafka", "records"];

/// How far a room may reach into another.
#[derive(Debug, PartialEq, Eq)]
pub enum Grant {
    No,
    RecordSchemas,
    Yes,
}

pub fn find(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

impl Room {
    pub fn grants(&self, other: &str) -> Grant {
        if other == self.name {
            return Grant::Yes;
        }
        let above = ROOMS.iter().take_while(|room| room.name != self.name).any(|room| room.name == other);
        let mut named = self.imports.split(", ");
        if self.imports == "all above" && above || named.clone().any(|import| import == other) {
            Grant::Yes
        } else if named.any(|import| import.strip_suffix('¹') == Some(other)) {
            Grant::RecordSchemas
        } else {
            Grant::No
        }
    }
}

/// The folders of `src/` are rooms; `src/lib.rs` declares each and says of it what the constant says, in its order.
pub fn table(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |text: String| findings.push(Finding::new("src/lib.rs", text));
    for file in tree.files.iter().filter(|file| file.path.starts_with("src/")) {
        match file.room() {
            Some(name) if self::find(name).is_none() => {
                find(format!("{}: src/{name}/ is no room; there are fourteen", file.path));
            }
            None if !["src/lib.rs", "src/main.rs", "src/ARCHITECTURE.md"].contains(&file.path.as_str()) => {
                find(format!("{}: lies outside of the rooms", file.path));
            }
            _ => {}
        }
    }
    let Some(lib) = tree.file("src/lib.rs") else {
        find("src/lib.rs is missing".to_owned());
        return findings;
    };
    let rows = rows(&lib.text);
    for room in ROOMS.iter().filter(|room| tree.has(&format!("src/{}", room.name))) {
        match rows.iter().find(|(name, _)| *name == room.name) {
            None => find(format!("src/lib.rs: the table has no row for {}", room.name)),
            Some((_, imports)) if *imports != room.imports => {
                find(format!("src/lib.rs: {} may import '{}', not '{imports}'", room.name, room.imports));
            }
            Some(_) => {}
        }
    }
    let order: Vec<_> =
        rows.iter().map(|(name, _)| ROOMS.iter().position(|room| room.name == *name)).collect();
    if !order.is_sorted() || order.contains(&None) {
        find("src/lib.rs: the table's rows are not the rooms in their order".to_owned());
    }
    findings.extend(declarations(&lib.text, tree));
    findings
}

/// Name and imports of each row `| [`name`] | duty | imports |`.
fn rows(lib: &str) -> Vec<(&str, &str)> {
    lib.lines()
        .filter_map(|line| line.strip_prefix("//! | [`"))
        .filter_map(|row| {
            let (name, rest) = row.split_once("`]")?;
            let imports = rest.trim_end().strip_suffix('|')?.rsplit('|').next()?;
            Some((name, imports.trim()))
        })
        .collect()
}

/// `src/lib.rs` has `mod` lines for the rooms and nothing else but attributes.
fn declarations(lib: &str, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in crate::source::Source::new(lib).code.lines().map(str::trim) {
        let module = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "));
        let known = module.and_then(|name| name.strip_suffix(';')).is_some_and(|name| find(name).is_some());
        if !known && !line.is_empty() && !line.starts_with("#!") {
            findings
                .push(Finding::new(line, format!("src/lib.rs: '{line}' is neither a room nor an attribute")));
        }
    }
    if let Some(main) = tree.file("src/main.rs") {
        let source = main.source();
        for (position, _) in source.words().filter(|(_, word)| *word == "ringlog") {
            let after = source.after(position, "ringlog");
            if !after.starts_with("::cli") {
                findings
                    .push(Finding::new("src/main.rs", "src/main.rs calls something else than ringlog::cli"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! | [`model`] | nouns | nothing |\n//! | [`cli`] | edge | all above |\npub mod cli;\npub mod model;\n";

    fn found(files: &[(&str, &str)]) -> String {
        table(&Tree::of(files)).into_iter().map(|finding| finding.text + "\n").collect()
    }

    #[test]
    fn a_true_table_passes() {
        assert_eq!(found(&[("src/lib.rs", LIB), ("src/model/mod.rs", ""), ("src/cli/mod.rs", "")]), "");
    }

    #[test]
    fn a_fifteenth_room_is_caught() {
        assert!(found(&[("src/lib.rs", LIB), ("src/common/mod.rs", "")]).contains("src/common/ is no room"));
        assert!(found(&[("src/lib.rs", LIB), ("src/common.rs", "")]).contains("lies outside"));
        assert!(found(&[("src/lib.rs", &format!("{LIB}pub mod common;\n"))]).contains("'pub mod common;'"));
    }

    #[test]
    fn a_table_that_differs_is_caught() {
        let wider = LIB.replace("| nothing |", "| config |");
        assert!(found(&[("src/lib.rs", &wider), ("src/model/mod.rs", "")]).contains("not 'config'"));
        assert!(found(&[("src/lib.rs", LIB), ("src/config/mod.rs", "")]).contains("no row for config"));
        let swapped = "//! | [`cli`] | edge | all above |\n//! | [`model`] | nouns | nothing |\n";
        assert!(found(&[("src/lib.rs", swapped)]).contains("in their order"));
    }

    #[test]
    fn main_only_calls_the_command_line() {
        let main = "fn main() { ringlog::broker::serve() }";
        assert!(found(&[("src/lib.rs", LIB), ("src/main.rs", main)]).contains("ringlog::cli"));
    }

    #[test]
    fn grants_follow_the_table() {
        let grants = |from: &str, to: &str| find(from).unwrap().grants(to);
        assert_eq!(grants("model", "config"), Grant::No);
        assert_eq!(grants("storage", "runtime"), Grant::Yes);
        assert_eq!(grants("controller", "protocol"), Grant::RecordSchemas);
        assert_eq!(grants("controller", "replication"), Grant::No);
        assert_eq!(grants("broker", "admin"), Grant::No);
        assert_eq!(grants("cli", "measure"), Grant::Yes);
    }

    #[test]
    fn the_table_itself_has_no_cycle() {
        for (place, room) in ROOMS.iter().enumerate() {
            for import in room.imports.split(", ").filter(|import| !["nothing", "all above"].contains(import))
            {
                let import = import.trim_end_matches('¹');
                let above = ROOMS.iter().position(|other| other.name == import);
                assert!(above.is_some_and(|above| above < place), "{} imports {import}", room.name);
            }
        }
    }
}
