//! Words and names that have no place in the tree, and the sentence that every module begins with.

use crate::Finding;
use crate::tree::{File, Tree};

/// Left-overs of work in progress, in code. Joined here so that this file does not contain them.
const UNFINISHED: [&str; 3] = [concat!("to", "do!"), concat!("db", "g!"), concat!("unimple", "mented!")];
/// Left-over in any text.
const FIX_ME: &str = concat!("FIX", "ME");
/// Abbreviations with two meanings; also as a part of a snake_case name.
const AMBIGUOUS: [&str; 3] = ["lso", "leo", "hw"];
/// A field, parameter or variable called just this says not which of seven epochs it is.
const BARE: &str = "epoch";
/// Kafka's own field names are kept on the wire.
const WIRE: &str = "src/protocol/";

/// Hosts from which packages come. A lock file of Cargo names one, of necessity.
const HOSTS: [&str; 9] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("proxy.golang", ".org"),
    concat!("repo.maven.apache", ".org"),
    concat!("repo1.maven", ".org"),
    concat!("deb.debian", ".org"),
];
/// Folders of the machine on which someone works.
const MACHINE_FOLDERS: [&str; 4] =
    [concat!("/wo", "rk"), concat!("/ro", "ot"), concat!("/ho", "me"), concat!("/Us", "ers")];

/// Rust files open with `//!`; unit tests in a file of their own belong to the file beside them.
pub fn module_docs(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|file| file.split().1 != "tests.rs" && !file.text.starts_with("//! "))
        .map(|file| Finding::new(file.path.as_str(), format!("{}: does not open with //!", file.path)))
        .collect()
}

pub fn banned(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        if file.path != "Cargo.lock" && file.text.contains(FIX_ME) {
            findings
                .push(Finding::new(format!("{} {FIX_ME}", file.path), format!("{}: {FIX_ME}", file.path)));
        }
        if file.is_rust() {
            banned_in_code(file, &mut findings);
        }
    }
    findings
}

fn banned_in_code(file: &File, findings: &mut Vec<Finding>) {
    let source = file.source();
    for (position, word) in source.words() {
        let after = source.after(position, word);
        let call = format!("{word}!");
        let problem = if after.starts_with('!') && UNFINISHED.contains(&call.as_str()) {
            format!("{call} is unfinished work")
        } else if word.split('_').any(|part| AMBIGUOUS.contains(&part)) {
            format!("'{word}' has two meanings; spell it out")
        } else if word == BARE
            && is_declaration(source.before(position), after)
            && !file.path.starts_with(WIRE)
        {
            format!("'{word}' does not say which epoch")
        } else {
            continue;
        };
        let text = format!("{}:{}: {problem}", file.path, source.line(position));
        findings.push(Finding::new(format!("{} {word}", file.path), text));
    }
}

fn is_declaration(before: &str, after: &str) -> bool {
    let typed = after.starts_with(':') && !after.starts_with("::");
    let bound = ["let", "let mut"].iter().any(|keyword| before.ends_with(keyword));
    typed || bound
}

pub fn places(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in
        tree.files.iter().filter(|file| file.path != "Cargo.lock" && !file.path.ends_with("/Cargo.lock"))
    {
        for (number, line) in file.text.lines().enumerate() {
            let host = HOSTS.into_iter().find(|host| line.contains(host));
            let folder = MACHINE_FOLDERS.into_iter().find(|folder| names_folder(line, folder));
            for found in host.into_iter().chain(folder) {
                let text = format!("{}:{}: names {found}", file.path, number + 1);
                findings.push(Finding::new(format!("{} {found}", file.path), text));
            }
        }
    }
    findings
}

/// Whether `folder` stands in the line as the beginning of an absolute path.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(position, _)| {
        let before = line.get(..position).and_then(|before| before.chars().next_back());
        let after = line.get(position + folder.len()..).and_then(|after| after.chars().next());
        let joined = |c: char| c.is_alphanumeric() || "_-./}>~*".contains(c);
        !before.is_some_and(joined) && !after.is_some_and(|c| c.is_alphanumeric() || "_-".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(path: &str, text: &str) -> Vec<String> {
        banned(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.key).collect()
    }

    #[test]
    fn a_module_without_a_purpose_is_caught() {
        let tree =
            Tree::of(&[("src/a.rs", "use b;"), ("src/b.rs", "//! B."), ("src/b/tests.rs", "use super::*;")]);
        let found: Vec<_> = module_docs(&tree).into_iter().map(|finding| finding.key).collect();
        assert_eq!(found, ["src/a.rs"]);
    }

    #[test]
    fn unfinished_work_is_caught() {
        for word in UNFINISHED {
            assert_eq!(words("src/a.rs", &format!("fn f() {{ {word}(x) }}")).len(), 1, "{word}");
            assert_eq!(words("src/a.rs", &format!("// no {word}(x) here")).len(), 0, "{word}");
        }
        assert_eq!(words("README.md", FIX_ME).len(), 1);
        assert_eq!(words("src/a.rs", &format!("// {FIX_ME}")).len(), 1);
    }

    #[test]
    fn ambiguous_names_are_caught() {
        assert_eq!(words("src/a.rs", "let lso = 1;").len(), 1);
        assert_eq!(words("src/a.rs", "fn leo() {}").len(), 1);
        assert_eq!(words("src/a.rs", "self.hw += 1; let old_hw = 2;").len(), 2);
        assert_eq!(words("src/a.rs", "let hwloc = also; // the lso").len(), 0);
    }

    #[test]
    fn a_bare_epoch_is_caught() {
        assert_eq!(words("src/a.rs", "struct A { epoch: i32 }").len(), 1);
        assert_eq!(words("src/a.rs", "let epoch = 1;").len(), 1);
        assert_eq!(
            words("src/a.rs", "use epoch::LeaderEpoch; mod epoch; let leader_epoch: u8 = 1;").len(),
            0
        );
        assert_eq!(words("src/protocol/kafka/fetch.rs", "epoch: i32").len(), 0);
    }

    #[test]
    fn a_machine_path_is_caught() {
        let found = |text: &str| places(&Tree::of(&[("README.md", text)])).len();
        for folder in MACHINE_FOLDERS {
            assert_eq!(found(&format!("see {folder}/x")), 1, "{folder}");
            assert_eq!(found(&format!("\"{folder}\"")), 1, "{folder}");
            assert_eq!(found(&format!("a{folder} b{folder}/c ${{x}}{folder}/y")), 0, "{folder}");
        }
    }

    #[test]
    fn a_registry_host_is_caught_except_in_the_lock_file() {
        for host in HOSTS {
            let text = format!("index = https://{host}/simple");
            assert_eq!(
                places(&Tree::of(&[("tests/a.toml", &text), ("Cargo.lock", &text)])).len(),
                1,
                "{host}"
            );
        }
    }
}
