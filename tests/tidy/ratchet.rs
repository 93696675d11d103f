//! Today's offenders. A list may only shrink: an entry that no longer offends is reported until it is removed.

use crate::Finding;

/// Folders with more than 20 files: `path/`.
pub const FOLDERS: &[&str] = &[];
/// Files with more than 800 lines: `path`.
pub const FILES: &[&str] = &[];
/// Functions with more than 70 lines: `path name`.
pub const FUNCTIONS: &[&str] =
    &["src/measure/table/rows.rs latencies", "src/measure/table/rows.rs throughput"];
/// Imports that the table does not grant: `path room`.
pub const IMPORTS: &[&str] = &[];
/// Files other than drivers that name `crate::runtime`: `path`.
pub const DRIVERS: &[&str] = &[];
/// Files of pure rooms that touch the machine: `path what`.
pub const PURITY: &[&str] = &[];
/// Files outside of `runtime/` that name the kernel's crates: `path crate`.
pub const KERNEL: &[&str] = &[];
/// Files outside of `runtime/` that may open `unsafe`: `path`.
/// The model of the mesh stands in for the shards, and reads the chunk that they share.
pub const UNSAFE: &[&str] = &["tests/mesh/model.rs"];
/// Files with a banned word or name: `path word`.
pub const WORDS: &[&str] = &[
    "src/storage/checkpoint.rs epoch",
    "src/storage/partition/epochs.rs epoch",
    "src/storage/partition/producers.rs epoch",
    "src/storage/partition/producers/tests.rs epoch",
];

/// The findings that are not listed, and the listed that were not found.
pub fn apply(findings: Vec<Finding>, listed: &[&str]) -> Vec<Finding> {
    let stale = listed.iter().filter(|key| !findings.iter().any(|finding| finding.key == **key));
    let stale: Vec<_> = stale
        .map(|key| {
            Finding::new(*key, format!("{key}: offends no longer; remove it from tests/tidy/ratchet.rs"))
        })
        .collect();
    findings.into_iter().filter(|finding| !listed.contains(&finding.key.as_str())).chain(stale).collect()
}

#[test]
fn a_listed_offender_passes_and_a_stale_entry_fails() {
    let findings = || vec![Finding::new("a", "a is long"), Finding::new("b", "b is long")];
    let texts = |listed: &[&str]| apply(findings(), listed).into_iter().map(|f| f.key).collect::<Vec<_>>();
    assert_eq!(texts(&[]), ["a", "b"]);
    assert_eq!(texts(&["a"]), ["b"]);
    assert_eq!(texts(&["a", "b", "c"]), ["c"]);
}
