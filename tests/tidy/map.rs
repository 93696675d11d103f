//! `src/ARCHITECTURE.md` against `src/`: a map that misses a folder, or names one that is gone, is worse than none.

use std::collections::BTreeSet;

use crate::Finding;
use crate::rooms::ROOMS;
use crate::tree::Tree;

const MAP: &str = "src/ARCHITECTURE.md";

/// Every folder of `src/` stands in the map as `` `room/folder/` ``, and every such path, or path of a file, exists.
/// A folder that holds nothing but the tests of the file beside it needs no mention.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(map) = tree.file(MAP) else {
        return vec![Finding::new(MAP, format!("{MAP} is missing"))];
    };
    let named: BTreeSet<_> = map.text.split('`').skip(1).step_by(2).filter(|span| is_path(span)).collect();
    let mut findings = Vec::new();
    for folder in folders(tree) {
        if !named.contains(format!("{folder}/").as_str()) {
            findings.push(Finding::new(folder, format!("{MAP}: says nothing of `{folder}/`")));
        }
    }
    for path in named {
        let path = path.split('#').next().unwrap_or_default();
        if !tree.has(path) && !tree.has(&format!("src/{path}")) {
            findings.push(Finding::new(path, format!("{MAP}: `{path}` does not exist")));
        }
    }
    findings.extend(rows(&map.text));
    let linked = tree.file("README.md").and_then(|readme| first_link(&readme.text));
    if linked != Some(MAP) {
        findings.push(Finding::new("README.md", format!("README.md: the first link does not lead to {MAP}")));
    }
    findings
}

/// The map's table has the fourteen rooms in their order, each once, with what it may import.
fn rows(map: &str) -> Option<Finding> {
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let name = cells.next()?.trim_matches(['`', '*']).trim_end_matches('/').to_owned();
        Some((name, cells.nth(1)?.to_owned()))
    };
    let is_room = |line: &&str| line.starts_with("| `") || line.starts_with("| *");
    let found: Vec<_> = map.lines().filter(is_room).filter_map(row).collect();
    let expected = ROOMS.iter().map(|room| (room.name.to_owned(), room.imports.to_owned()));
    let wrong = expected.enumerate().find(|(place, row)| found.get(*place) != Some(row));
    let text = match wrong {
        Some((place, row)) => format!("{MAP}: row {} of the rooms is not {row:?}", place + 1),
        None if found.len() > ROOMS.len() => format!("{MAP}: more than {} rooms", ROOMS.len()),
        None => return None,
    };
    Some(Finding::new(MAP, text))
}

/// Folders below `src/`, without the `src/`.
fn folders(tree: &Tree) -> BTreeSet<&str> {
    tree.rust()
        .filter_map(|file| file.path.strip_prefix("src/"))
        .filter_map(|path| path.rsplit_once('/'))
        .filter(|(_, name)| *name != "tests.rs")
        .map(|(folder, _)| folder)
        .collect()
}

/// A folder (`a/`) or a file with one of our extensions; not a route, a type or a command.
fn is_path(span: &str) -> bool {
    let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let ends = ["/", ".rs", ".md", ".toml"].iter().any(|end| span.ends_with(end));
    plain && ends && !span.starts_with(['/', '.']) && span.len() > 3
}

fn first_link(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("](")?;
    rest.split_once(')').map(|(target, _)| target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> String {
        ROOMS.iter().map(|room| format!("| *{}* | duty | {} | kind |\n", room.name, room.imports)).collect()
    }

    fn found(map: &str) -> String {
        let map = table() + map;
        let files = [
            ("README.md", "the [map](src/ARCHITECTURE.md) and [more](LICENSE)"),
            ("src/ARCHITECTURE.md", map.as_str()),
            ("src/model/batch.rs", ""),
            ("src/model/batch/tests.rs", ""),
            ("src/model/image/x.rs", ""),
        ];
        check(&Tree::of(&files)).into_iter().map(|finding| finding.text + "\n").collect()
    }

    #[test]
    fn a_true_map_passes() {
        assert_eq!(
            found("`model/`, `model/image/`, `src/model/batch.rs`, `a::b`, `GET /metrics`, `.log`"),
            ""
        );
    }

    #[test]
    fn a_folder_that_is_not_in_the_map_is_caught() {
        assert!(found("`model/`").contains("says nothing of `model/image/`"));
    }

    #[test]
    fn a_path_that_is_gone_is_caught() {
        assert!(found("`model/` `model/image/` `broker/`").contains("`broker/` does not exist"));
        assert!(found("`model/` `model/image/` `model/gone.rs`").contains("`model/gone.rs` does not exist"));
    }

    #[test]
    fn a_table_that_differs_is_caught() {
        assert_eq!(rows(&table()), None);
        assert_eq!(rows(&table().replace("| *model* |", "| `model/` |")), None);
        assert!(rows(&table().replace("*broker*", "*brokers*")).is_some());
        assert!(rows(&table().replace("| nothing |", "| config |")).is_some());
        assert!(rows(&(table() + "| *broker* | duty | all above | kind |\n")).is_some());
    }

    #[test]
    fn the_readme_must_lead_here_first() {
        let tree = Tree::of(&[("README.md", "[licence](LICENSE) [map](src/ARCHITECTURE.md)"), (MAP, "")]);
        assert!(check(&tree).iter().any(|finding| finding.key == "README.md"));
        assert_eq!(check(&Tree::of(&[]))[0].key, MAP);
    }
}
