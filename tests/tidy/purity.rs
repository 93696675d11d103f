//! What a room may touch: pure rooms nothing of the machine, the kernel's interfaces only through `runtime/`.

use crate::Finding;
use crate::rooms::{self, Kind};
use crate::tree::Tree;

/// The door to the machine, its measuring instruments included (`sim/` is its twin).
const RUNTIME: &str = "src/runtime/";

/// Crates that talk to the kernel.
const KERNEL_CRATES: [&str; 5] = ["io_uring", "libc", "glommio", "nix", "rustix"];

/// What pure code does not name. Addresses (`std::net::IpAddr`) and durations are values, and allowed.
const MACHINE: [&str; 13] = [
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::os",
    "std::io::stdin",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "File::open",
    "Instant::now",
    "SystemTime::now",
    "tokio::",
];

pub fn pure_rooms(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        if file.room().and_then(rooms::find).is_none_or(|room| room.kind != Kind::Pure) {
            continue;
        }
        let source = file.source();
        for named in MACHINE {
            if let Some(position) = find_path(&source.code, named) {
                let line = source.line(position);
                let text = format!("{}:{line}: a pure room names {named}", file.path);
                findings.push(Finding::new(format!("{} {named}", file.path), text));
            }
        }
    }
    findings
}

pub fn kernel(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| file.path.starts_with("src/") && !file.path.starts_with(RUNTIME)) {
        let source = file.source();
        for (position, word) in source.words() {
            let path =
                source.after(position, word).starts_with("::") || source.before(position).ends_with("use");
            if KERNEL_CRATES.contains(&word) && path && !source.before(position).ends_with("::") {
                let text = format!("{}:{}: {word} outside of runtime/", file.path, source.line(position));
                findings.push(Finding::new(format!("{} {word}", file.path), text));
            }
        }
    }
    findings
}

/// `permitted` are files outside of `runtime/` that may open `unsafe`; one that does not is reported too.
pub fn unsafe_code(tree: &Tree, permitted: &[&str]) -> Vec<Finding> {
    let mut opened = Vec::new();
    for file in tree.rust().filter(|file| !file.path.starts_with(RUNTIME)) {
        let source = file.source();
        if let Some((position, _)) = source.words().find(|(_, word)| *word == "unsafe") {
            let text = format!("{}:{}: unsafe outside of runtime/", file.path, source.line(position));
            opened.push(Finding::new(file.path.as_str(), text));
        }
    }
    crate::ratchet::apply(opened, permitted)
}

/// Position of the path where it stands as whole segments.
fn find_path(code: &str, path: &str) -> Option<usize> {
    code.match_indices(path).map(|(position, _)| position).find(|&position| {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let before = code.get(..position).and_then(|before| before.chars().next_back());
        let after = code.get(position + path.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(is_name) && (path.ends_with("::") || !after.is_some_and(is_name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pure_room_that_touches_the_machine_is_caught() {
        let found = |path: &str, text: &str| pure_rooms(&Tree::of(&[(path, text)])).len();
        assert_eq!(found("src/config/parse.rs", "let text = std::fs::read(path);"), 1);
        assert_eq!(found("src/model/x.rs", "let now = Instant::now();"), 1);
        assert_eq!(found("src/model/x.rs", "use std::net::IpAddr; // std::fs\nlet s = \"std::fs\";"), 0);
        assert_eq!(found("src/runtime/x.rs", "std::fs::read(path)"), 0);
    }

    #[test]
    fn the_kernel_is_named_in_the_runtime_only() {
        let found = |path: &str, text: &str| kernel(&Tree::of(&[(path, text)])).len();
        assert_eq!(found("src/storage/x.rs", "use io_uring::IoUring;"), 1);
        assert_eq!(found("src/storage/x.rs", "let n = libc::EIO;"), 1);
        assert_eq!(found("src/storage/x.rs", "use libc;"), 1);
        assert_eq!(found("src/storage/x.rs", "crate::runtime::io_uring::probe()"), 0);
        assert_eq!(found("src/runtime/x.rs", "use io_uring::IoUring;"), 0);
    }

    #[test]
    fn unsafe_is_caught_and_its_list_only_shrinks() {
        let tree =
            Tree::of(&[("src/storage/x.rs", "unsafe { f() }"), ("src/runtime/y.rs", "unsafe { f() }")]);
        assert_eq!(unsafe_code(&tree, &[]).len(), 1);
        assert_eq!(unsafe_code(&tree, &["src/storage/x.rs"]), []);
        assert_eq!(unsafe_code(&tree, &["src/storage/x.rs", "src/storage/z.rs"]).len(), 1);
        assert_eq!(unsafe_code(&Tree::of(&[("src/model/x.rs", "// unsafe\nunsafe_code")]), &[]), []);
    }
}
