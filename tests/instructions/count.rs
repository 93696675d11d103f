//! What one append and one fetch cost in instructions, counted by valgrind and held by a ratchet of 5 %.
//!
//! The shard's core over plain memory, from the frame to the encoded reply; the kernel's part and the disk are not in it. The
//! program runs itself under callgrind, which counts inside [`counted`] alone. Instructions do not depend on the machine's load,
//! so a change of work shows where a time would not. `RINGLOG_REWRITE=1` writes the new counts, after the reason for them is
//! known. `scripts/test instructions` builds it, optimised as a release is, and runs it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test: numbers are small, and a panic is a failure"
)]

mod bench;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Says to the program that it is the one whose instructions are counted: what it does, and how often.
const WORK: &str = "RINGLOG_INSTRUCTIONS";
const TIMES: u64 = 200;
/// Each may grow or shrink by one in so many before somebody must look.
const TOLERANCE: u64 = 20;

fn main() {
    if let Ok(name) = env::var(WORK) {
        bench::run(&name, TIMES);
        return;
    }
    let found: BTreeMap<String, u64> =
        bench::WORKS.iter().map(|work| ((*work).to_owned(), instructions(work) / TIMES)).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("counts.txt");
    if env::var_os("RINGLOG_REWRITE").is_some() {
        fs::write(&file, text_of(&found)).unwrap();
        return;
    }
    let known = parse(&fs::read_to_string(&file).unwrap());
    let off: Vec<String> = found
        .iter()
        .filter(|(work, count)| {
            known.get(*work).is_none_or(|known| count.abs_diff(*known) > known / TOLERANCE)
        })
        .map(|(work, count)| format!("{work}: {count} instructions, {:?} are recorded", known.get(work)))
        .collect();
    assert!(off.is_empty(), "{}\nRINGLOG_REWRITE=1 records them", off.join("\n"));
    assert_eq!(known.len(), found.len(), "a count without its work");
    println!("{}test result: ok. {} passed; 0 failed", text_of(&found), found.len());
}

/// Instructions inside [`bench::counted`] in a run of this program.
fn instructions(work: &str) -> u64 {
    let out = env::temp_dir().join(format!("ringlog-callgrind-{work}-{}.out", std::process::id()));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*bench*counted*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().unwrap())
        .env(WORK, work)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = fs::read_to_string(&out).unwrap();
    fs::remove_file(&out).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap().trim();
    let count = total.parse().unwrap();
    assert!(count > 0, "callgrind saw nothing of the work: {said}");
    count
}

fn text_of(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(work, count)| format!("{work} {count}\n")).collect()
}

fn parse(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(work, count)| (work.to_owned(), count.parse().unwrap()))
        .collect()
}
