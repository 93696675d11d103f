//! Shell scripts: short, and stopped by the first error.

use crate::Finding;
use crate::tree::{File, Tree};

const LINES_MAX: usize = 100;
const FIRST_COMMAND: &str = "set -euo pipefail";

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_script(file)) {
        let mut find = |text: String| findings.push(Finding::new(file.path.as_str(), text));
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            find(format!("{}: {lines} lines; past {LINES_MAX} it becomes a Rust program", file.path));
        }
        let mut commands = file.text.lines().map(str::trim);
        let first = commands.find(|line| !line.is_empty() && !line.starts_with('#'));
        if first != Some(FIRST_COMMAND) {
            find(format!("{}: the first command is not '{FIRST_COMMAND}'", file.path));
        }
    }
    findings
}

fn is_script(file: &File) -> bool {
    let first = file.text.lines().next().unwrap_or_default();
    file.path.ends_with(".sh") || first.starts_with("#!") && first.ends_with("sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn a_script_that_runs_on_after_an_error_is_caught() {
        assert_eq!(found("scripts/a", "#!/usr/bin/env bash\n# why\nset -euo pipefail\ncd x\n"), 0);
        assert_eq!(found("scripts/a", "#!/usr/bin/env bash\ncd x\nset -euo pipefail\n"), 1);
        assert_eq!(found("tests/wire/a.sh", "set -e\n"), 1);
        assert_eq!(found("src/a.rs", "#![allow(x)]\n"), 0);
    }

    #[test]
    fn a_long_script_is_caught() {
        let text = format!("#!/bin/sh\n{FIRST_COMMAND}\n{}", "true\n".repeat(LINES_MAX));
        assert_eq!(found("scripts/a", &text), 1);
    }
}
