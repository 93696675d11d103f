//! Licences and bans of `.deny.toml`, held against what Cargo would build: the part of `cargo deny` that needs neither
//! an installation nor a network, so that it is checked everywhere.

use std::collections::BTreeSet;
use std::process::Command;

use crate::Finding;
use crate::tree::Tree;

const POLICY: &str = ".deny.toml";

/// A package as `cargo tree` names it.
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    licence: &'a str,
}

/// Every package that is built here or in tests has a permitted licence and is not banned.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(policy) = tree.file(POLICY) else {
        return vec![Finding::new(POLICY, format!("{POLICY} is missing"))];
    };
    match listing() {
        Ok(listing) => judge(&policy.text, &listing),
        Err(error) => vec![Finding::new("cargo", format!("cargo tree: {error}"))],
    }
}

/// One line `name|version|licence` per package; the lock file is read, never written.
fn listing() -> Result<String, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments =
        ["tree", "--locked", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}|{l}"];
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(cargo).current_dir(root).args(arguments).output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

fn judge(policy: &str, listing: &str) -> Vec<Finding> {
    let allowed = strings(policy, "[licenses]", "allow");
    let banned = strings(policy, "[bans]", "deny");
    if allowed.is_empty() || banned.is_empty() {
        return vec![Finding::new(POLICY, format!("{POLICY}: no [licenses] allow or no [bans] deny"))];
    }
    let packages: BTreeSet<_> = listing.lines().collect();
    let mut findings = Vec::new();
    for package in packages.into_iter().filter_map(package) {
        let Package { name, version, licence } = package;
        if banned.contains(&name) {
            findings.push(Finding::new(name, format!("{name} {version}: is banned in {POLICY}")));
        }
        if !permits(licence, &allowed) {
            findings
                .push(Finding::new(name, format!("{name} {version}: licence '{licence}' is not permitted")));
        }
    }
    findings
}

/// `name vVERSION (source)|licence (*)`, the parentheses as Cargo likes.
fn package(line: &str) -> Option<Package<'_>> {
    let (package, licence) = line.split_once('|')?;
    let mut words = package.split(' ');
    let licence = licence.trim_end_matches("(*)").trim();
    Some(Package { name: words.next()?, version: words.next()?, licence })
}

/// An SPDX expression: of `OR` one side must be allowed, of `AND` both; the old `/` is an `OR`. `AND` binds tighter.
fn permits(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut tokens = spaced.split_whitespace().peekable();
    let result = any_of(&mut tokens, allowed);
    result && tokens.next().is_none()
}

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(tokens: &mut Tokens<'_>, allowed: &[&str]) -> bool {
    let mut result = all_of(tokens, allowed);
    while tokens.next_if_eq(&"OR").is_some() {
        result |= all_of(tokens, allowed);
    }
    result
}

fn all_of(tokens: &mut Tokens<'_>, allowed: &[&str]) -> bool {
    let mut result = one(tokens, allowed);
    while tokens.next_if_eq(&"AND").is_some() {
        result &= one(tokens, allowed);
    }
    result
}

fn one(tokens: &mut Tokens<'_>, allowed: &[&str]) -> bool {
    if tokens.next_if_eq(&"(").is_some() {
        let result = any_of(tokens, allowed);
        return tokens.next_if_eq(&")").is_some() && result;
    }
    let Some(licence) = tokens.next() else { return false };
    if tokens.next_if_eq(&"WITH").is_some() {
        let exception = tokens.next().unwrap_or_default();
        return allowed.contains(&format!("{licence} WITH {exception}").as_str());
    }
    allowed.contains(&licence)
}

/// The quoted strings of `key = [ … ]` in a section of a TOML file; comments do not count.
fn strings<'a>(toml: &'a str, section: &str, key: &str) -> Vec<&'a str> {
    let lines = toml.lines().map(|line| line.split('#').next().unwrap_or_default());
    let inside = lines.skip_while(|line| line.trim() != section).skip(1);
    let inside = inside.take_while(|line| !line.starts_with('['));
    let from_key = inside.skip_while(|line| line.split('=').next().map(str::trim) != Some(key));
    let mut strings = Vec::new();
    for line in from_key {
        strings.extend(line.split('"').skip(1).step_by(2));
        if line.trim_end().ends_with(']') {
            break;
        }
    }
    strings
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str =
        "[bans]\ndeny = [\"openssl\"]\n[licenses]\nallow = [\n  \"MIT\", # why \"not\"\n  \"ISC\",\n]\n";

    fn found(listing: &str) -> Vec<String> {
        judge(TOML, listing).into_iter().map(|finding| finding.key).collect()
    }

    #[test]
    fn the_policy_is_read() {
        assert_eq!(strings(TOML, "[licenses]", "allow"), ["MIT", "ISC"]);
        assert_eq!(strings(TOML, "[bans]", "deny"), ["openssl"]);
        assert_eq!(judge("", "a v1|MIT")[0].key, POLICY);
    }

    #[test]
    fn a_foreign_licence_is_caught() {
        assert_eq!(
            found("a v1.0.0|MIT\nb v1.0.0 (proc-macro)|Apache-2.0 OR MIT (*)\n"),
            Vec::<String>::new()
        );
        assert_eq!(found("a v1.0.0|GPL-3.0-only\nb v1.0.0|\nc v1|MIT AND GPL-2.0\n"), ["a", "b", "c"]);
    }

    #[test]
    fn a_banned_package_is_caught() {
        assert_eq!(found("openssl v0.10.0|MIT"), ["openssl"]);
    }

    #[test]
    fn expressions_are_evaluated() {
        let permits = |expression| permits(expression, &["MIT", "ISC", "A WITH E"]);
        for good in ["MIT", "X OR MIT", "MIT/X", "(X OR MIT) AND ISC", "X OR MIT AND ISC", "A WITH E OR X"] {
            assert!(permits(good), "{good}");
        }
        for bad in ["", "X", "MIT AND X", "(X OR MIT) AND Y", "A", "A WITH F", "(MIT", "MIT ISC", "X OR"] {
            assert!(!permits(bad), "{bad}");
        }
    }
}
