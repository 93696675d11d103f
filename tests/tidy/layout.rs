//! What lies where: the closed top level, and file names that say something.

use std::collections::BTreeSet;

use crate::Finding;
use crate::tree::Tree;

const VISIBLE: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "rust-toolchain.toml",
    "bench",
    "scripts",
    "src",
    "tests",
    "tuning",
];
const HIDDEN: [&str; 7] =
    [".ci", ".clippy.toml", ".config", ".deny.toml", ".gitattributes", ".gitignore", ".rustfmt.toml"];
/// Names that say where things were put, not what question they answer.
const EMPTY_NAMES: [&str; 9] =
    ["common", "helper", "helpers", "manager", "misc", "type", "types", "util", "utils"];

pub fn top_level(tree: &Tree) -> Vec<Finding> {
    let names: BTreeSet<_> = tree.files.iter().filter_map(|file| file.path.split('/').next()).collect();
    names
        .into_iter()
        .filter(|name| !VISIBLE.contains(name) && !HIDDEN.contains(name))
        .map(|name| Finding::new(name, format!("{name}: has no place at the top level")))
        .collect()
}

pub fn file_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let parts = file.path.split('/').map(|part| part.trim_end_matches(".rs"));
        if let Some(name) = parts.into_iter().find(|part| EMPTY_NAMES.contains(part)) {
            findings
                .push(Finding::new(file.path.as_str(), format!("{}: '{name}' names no question", file.path)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_top_level_name_is_caught() {
        let tree = Tree::of(&[("Cargo.toml", ""), ("docs/a.md", ""), ("src/lib.rs", ""), ("notes.txt", "")]);
        let keys: Vec<_> = top_level(&tree).into_iter().map(|finding| finding.key).collect();
        assert_eq!(keys, ["docs", "notes.txt"]);
    }

    #[test]
    fn an_empty_name_is_caught() {
        let tree = Tree::of(&[
            ("src/model/utils.rs", ""),
            ("src/model/types/a.rs", ""),
            ("src/model/offset.rs", ""),
        ]);
        assert_eq!(file_names(&tree).len(), 2);
    }
}
