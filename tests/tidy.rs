//! The rules of the house that a program can check: layout, rooms and their imports, sizes, words, the map.
//!
//! Each rule is a function from the [`Tree`] of tracked files to findings, so that it is tested on samples that break it,
//! and then held against the repository. A limit that the code breaks today is listed in `tidy/ratchet.rs`: such a
//! list may only shrink, so an entry that is no longer needed fails too. Standard library only; well under a second.

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/layout.rs"]
mod layout;
#[path = "tidy/map.rs"]
mod map;
#[path = "tidy/purity.rs"]
mod purity;
#[path = "tidy/ratchet.rs"]
mod ratchet;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/scripts.rs"]
mod scripts;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/words.rs"]
mod words;

use tree::Tree;

/// One broken rule. `key` names the offender in a ratchet list; `text` is what a person reads.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    key: String,
    text: String,
}

impl Finding {
    fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key: key.into(), text: text.into() }
    }
}

/// Fails with one line per finding.
fn hold(rule: &str, findings: &[Finding]) {
    let lines: Vec<_> = findings.iter().map(|finding| format!("  {}\n", finding.text)).collect();
    assert!(lines.is_empty(), "{rule}:\n{}", lines.concat());
}

#[test]
fn top_level_is_closed() {
    hold("the top level is closed", &layout::top_level(Tree::here()));
}

#[test]
fn file_names_say_a_question() {
    hold("a file is named after the question it answers", &layout::file_names(Tree::here()));
}

#[test]
fn folders_are_small() {
    let found = sizes::folders(Tree::here());
    hold("a folder holds at most 20 files", &ratchet::apply(found, ratchet::FOLDERS));
}

#[test]
fn files_are_short() {
    let found = sizes::files(Tree::here());
    hold("a file has at most 800 lines", &ratchet::apply(found, ratchet::FILES));
}

#[test]
fn functions_are_short() {
    let found = sizes::functions(Tree::here());
    hold("a function has at most 70 lines", &ratchet::apply(found, ratchet::FUNCTIONS));
}

#[test]
fn repository_is_small() {
    if !Tree::here().from_git {
        println!("skipped: not a git work tree, so what is tracked is unknown");
        return;
    }
    hold("no tracked file above 200 KB, the tree below 8 MB", &sizes::bytes(Tree::here()));
}

#[test]
fn rooms_are_those_of_the_table() {
    hold("src/ has its rooms, and src/lib.rs their table", &rooms::table(Tree::here()));
}

#[test]
fn rooms_import_only_what_the_table_grants() {
    let found = imports::check(Tree::here());
    hold("a room imports what its row grants", &ratchet::apply(found, ratchet::IMPORTS));
}

#[test]
fn only_drivers_name_the_runtime() {
    let found = imports::drivers(Tree::here());
    hold("only drivers name crate::runtime", &ratchet::apply(found, ratchet::DRIVERS));
}

#[test]
fn pure_rooms_touch_no_machine() {
    let found = purity::pure_rooms(Tree::here());
    hold("a pure room names no file, socket, clock or thread", &ratchet::apply(found, ratchet::PURITY));
}

#[test]
fn only_the_runtime_names_the_kernel() {
    let found = purity::kernel(Tree::here());
    hold("only runtime/ names io_uring, libc or glommio", &ratchet::apply(found, ratchet::KERNEL));
}

#[test]
fn unsafe_is_opened_only_in_the_runtime() {
    hold("unsafe only in runtime/ and the listed files", &purity::unsafe_code(Tree::here(), ratchet::UNSAFE));
}

#[test]
fn modules_open_with_their_purpose() {
    hold("a module opens with //!", &words::module_docs(Tree::here()));
}

#[test]
fn banned_words_are_absent() {
    let found = words::banned(Tree::here());
    hold("banned words and names", &ratchet::apply(found, ratchet::WORDS));
}

#[test]
fn no_machine_path_or_registry_host() {
    hold("no machine path, no registry host", &words::places(Tree::here()));
}

#[test]
fn map_is_true() {
    hold("src/ARCHITECTURE.md names every folder, and only what exists", &map::check(Tree::here()));
}

#[test]
fn scripts_are_short_and_stop_on_errors() {
    hold("a script has at most 100 lines and set -euo pipefail", &scripts::check(Tree::here()));
}

#[test]
fn dependencies_are_permitted() {
    hold("licences and bans of .deny.toml", &dependencies::check(Tree::here()));
}
