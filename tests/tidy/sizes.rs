//! How large things may grow: files, functions, folders, the repository.

use std::collections::BTreeMap;

use crate::Finding;
use crate::tree::Tree;

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const FOLDER_FILES_MAX: usize = 20;
const FILE_BYTES_MAX: u64 = 200_000;
const TREE_BYTES_MAX: u64 = 8_000_000;

/// Files that lie directly in one folder.
pub fn folders(tree: &Tree) -> Vec<Finding> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for file in tree.files.iter().filter(|file| file.path.contains('/')) {
        *counts.entry(file.split().0).or_default() += 1;
    }
    let large = counts.into_iter().filter(|(_, count)| *count > FOLDER_FILES_MAX);
    large
        .map(|(folder, count)| {
            Finding::new(
                format!("{folder}/"),
                format!("{folder}/: {count} files, {FOLDER_FILES_MAX} are allowed"),
            )
        })
        .collect()
}

/// Source files of any language.
pub fn files(tree: &Tree) -> Vec<Finding> {
    let source = |path: &str| [".rs", ".py", ".go", ".java", ".sh"].iter().any(|end| path.ends_with(end));
    tree.files
        .iter()
        .filter(|file| source(&file.path))
        .map(|file| (file.path.as_str(), file.text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| {
            Finding::new(path, format!("{path}: {lines} lines, {FILE_LINES_MAX} are allowed"))
        })
        .collect()
}

pub fn functions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for function in file.source().functions() {
            if function.line_count > FUNCTION_LINES_MAX {
                let text = format!(
                    "{}:{}: fn {} has {} lines, {FUNCTION_LINES_MAX} are allowed",
                    file.path, function.line, function.name, function.line_count
                );
                findings.push(Finding::new(format!("{} {}", file.path, function.name), text));
            }
        }
    }
    findings
}

pub fn bytes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.size_bytes > FILE_BYTES_MAX) {
        let text = format!("{}: {} bytes, {FILE_BYTES_MAX} are allowed", file.path, file.size_bytes);
        findings.push(Finding::new(file.path.as_str(), text));
    }
    let total: u64 = tree.files.iter().map(|file| file.size_bytes).sum();
    if total > TREE_BYTES_MAX {
        findings.push(Finding::new("", format!("the tree has {total} bytes, {TREE_BYTES_MAX} are allowed")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_folder_is_caught() {
        let paths: Vec<_> = (0..=FOLDER_FILES_MAX).map(|n| format!("src/model/{n}.rs")).collect();
        let mut files: Vec<_> = paths.iter().map(|path| (path.as_str(), "")).collect();
        files.push(("src/model/deep/x.rs", ""));
        assert_eq!(folders(&Tree::of(&files))[0].key, "src/model/");
        files.remove(0);
        assert_eq!(folders(&Tree::of(&files)), []);
    }

    #[test]
    fn a_long_file_is_caught() {
        let text = "\n".repeat(FILE_LINES_MAX);
        assert_eq!(files(&Tree::of(&[("src/a.rs", &text)])), []);
        assert_eq!(files(&Tree::of(&[("src/a.rs", &(text + "x"))])).len(), 1);
    }

    #[test]
    fn a_long_function_is_caught() {
        let text = |lines: usize| format!("impl A {{\n    pub fn f() {{{}}}\n}}\n", "\n".repeat(lines - 1));
        assert_eq!(functions(&Tree::of(&[("src/a.rs", &text(FUNCTION_LINES_MAX))])), []);
        let found = functions(&Tree::of(&[("src/a.rs", &text(FUNCTION_LINES_MAX + 1))]));
        assert_eq!(found[0].key, "src/a.rs f");
    }

    #[test]
    fn a_heavy_file_and_a_heavy_tree_are_caught() {
        let mut tree = Tree::of(&[("a", ""), ("b", "")]);
        tree.files[0].size_bytes = FILE_BYTES_MAX;
        assert_eq!(bytes(&tree), []);
        tree.files[0].size_bytes = FILE_BYTES_MAX + 1;
        tree.files[1].size_bytes = TREE_BYTES_MAX;
        assert_eq!(bytes(&tree).len(), 3);
    }
}
