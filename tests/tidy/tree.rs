//! The tracked files and their text, read once.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Folders that are never part of the project; only needed where git cannot say what is tracked.
const OUTPUT_FOLDERS: [&str; 4] = [".git", "target", "ringlog-data", "__pycache__"];

pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Empty if the file is not UTF-8.
    pub text: String,
    pub size_bytes: u64,
}

pub struct Tree {
    pub files: Vec<File>,
    /// False where the list comes from walking the folder.
    pub from_git: bool,
}

impl File {
    pub fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    /// The folder and the name; the folder is empty at the top.
    pub fn split(&self) -> (&str, &str) {
        self.path.rsplit_once('/').unwrap_or(("", &self.path))
    }

    /// The first folder under `src/`, or `None` for files outside of rooms.
    pub fn room(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split_once('/').map(|(room, _)| room)
    }

    pub fn source(&self) -> crate::source::Source {
        crate::source::Source::new(&self.text)
    }
}

impl Tree {
    /// The repository itself.
    pub fn here() -> &'static Self {
        static TREE: OnceLock<Tree> = OnceLock::new();
        TREE.get_or_init(|| Self::read(Path::new(env!("CARGO_MANIFEST_DIR"))))
    }

    /// A made-up tree, for the rules' own tests.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let file = |&(path, text): &(&str, &str)| File {
            path: path.to_owned(),
            text: text.to_owned(),
            size_bytes: text.len() as u64,
        };
        Self { files: files.iter().map(file).collect(), from_git: true }
    }

    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// Whether a file or folder of this path is there.
    pub fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    }

    fn read(root: &Path) -> Self {
        let listed = git_files(root);
        let from_git = listed.is_some();
        let mut paths = listed.unwrap_or_else(|| walk(root));
        paths.sort();
        let files = paths.into_iter().filter_map(|path| read_file(root, path)).collect();
        Self { files, from_git }
    }
}

/// A file that is listed but gone (deleted, not yet staged) is no file.
fn read_file(root: &Path, path: String) -> Option<File> {
    let bytes = std::fs::read(root.join(&path)).ok()?;
    let size_bytes = bytes.len() as u64;
    Some(File { path, text: String::from_utf8(bytes).unwrap_or_default(), size_bytes })
}

/// Tracked files and those that the next `git add` would take.
fn git_files(root: &Path) -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"];
    let output = Command::new("git").current_dir(root).args(arguments).output().ok()?;
    let listed = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<_> = listed.split_terminator('\0').map(str::to_owned).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

fn walk(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if OUTPUT_FOLDERS.iter().any(|output| name == *output) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(relative) = path.strip_prefix(root) {
                paths.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    paths
}

#[test]
fn tree_reads_this_repository() {
    let tree = Tree::here();
    assert!(tree.file("Cargo.toml").is_some_and(|file| file.text.contains("[package]")));
    assert!(tree.has("src/model") && tree.has("src/model/") && !tree.has("src/mod"));
    assert!(!tree.has("target"));
}
