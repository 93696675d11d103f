//! Just enough of Rust's syntax to read names, paths and function bounds: comments and literals are blanked, the rest is
//! scanned by bytes. No parser: a construct it misreads may at worst be reported wrongly, and is then in plain sight.

use std::ops::Range;

/// Rust text with comments, strings and characters replaced by blanks of the same length; lines stay where they are.
pub struct Source {
    pub code: String,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// One-based line of the `fn`.
    pub line: usize,
    pub line_count: usize,
}

/// A path below `crate::`, its segments, and the one-based line.
#[derive(Debug, PartialEq, Eq)]
pub struct CratePath {
    pub segments: Vec<String>,
    pub line: usize,
}

impl Source {
    pub fn new(text: &str) -> Self {
        Self { code: blank(text) }
    }

    /// One-based line of a byte position.
    pub fn line(&self, position: usize) -> usize {
        self.code.bytes().take(position).filter(|&byte| byte == b'\n').count() + 1
    }

    /// Every identifier or keyword with its position.
    pub fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.code.as_str();
        let mut position = 0;
        std::iter::from_fn(move || {
            loop {
                let rest = code.get(position..)?;
                let skipped = rest.find(|c: char| c.is_alphanumeric() || c == '_')?;
                let start = position + skipped;
                let word = word_at(code, start);
                position = start + word.len();
                if !word.starts_with(|c: char| c.is_ascii_digit()) {
                    return Some((start, word));
                }
            }
        })
    }

    /// What follows the word at `position`, blanks skipped.
    pub fn after(&self, position: usize, word: &str) -> &str {
        self.code.get(position + word.len()..).unwrap_or_default().trim_start()
    }

    /// What stands before `position`, blanks skipped.
    pub fn before(&self, position: usize) -> &str {
        self.code.get(..position).unwrap_or_default().trim_end()
    }

    pub fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for (position, word) in self.words().filter(|(_, word)| *word == "fn") {
            let name: String = self
                .after(position, word)
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '$')
                .collect();
            if name.is_empty() {
                continue; // the type `fn(…)`
            }
            if let Some(body) = body(&self.code, position) {
                let line = self.line(position);
                functions.push(Function { name, line, line_count: self.line(body.end - 1) - line + 1 });
            }
        }
        functions
    }

    /// Paths that start at `crate::`, groups expanded. A path of one segment `*`, or `as`, renames the root.
    pub fn crate_paths(&self) -> Vec<CratePath> {
        let mut paths = Vec::new();
        for (position, word) in self.words().filter(|(_, word)| *word == "crate") {
            let line = self.line(position);
            let after = self.after(position, word);
            if let Some(tree) = after.strip_prefix("::") {
                for segments in expand(tree) {
                    paths.push(CratePath { segments, line });
                }
            } else if after.starts_with("as ") || self.before(position).ends_with("extern") {
                paths.push(CratePath { segments: vec!["as".to_owned()], line });
            }
        }
        paths
    }

    /// Chains of `super::`: their count, line, and how many inline modules surround them.
    pub fn super_chains(&self) -> Vec<(usize, usize, usize)> {
        let modules = self.inline_modules();
        let mut chains = Vec::new();
        for (position, word) in self.words().filter(|(_, word)| *word == "super") {
            if self.before(position).ends_with("super::") {
                continue;
            }
            let mut count = 1;
            let mut rest = self.after(position, word);
            while let Some(next) =
                rest.strip_prefix("::").and_then(|rest| rest.trim_start().strip_prefix("super"))
            {
                count += 1;
                rest = next;
            }
            let depth = modules.iter().filter(|range| range.contains(&position)).count();
            chains.push((count, self.line(position), depth));
        }
        chains
    }

    fn inline_modules(&self) -> Vec<Range<usize>> {
        self.words()
            .filter(|(_, word)| *word == "mod")
            .filter_map(|(position, _)| body(&self.code, position))
            .collect()
    }
}

/// From the opening brace at or behind `start` to behind its match; `None` if a `;` comes first.
fn body(code: &str, start: usize) -> Option<Range<usize>> {
    let mut round = 0_i32;
    let mut curly = 0_i32;
    let mut open = None;
    for (position, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => round += 1,
            b')' | b']' => round -= 1,
            b';' if round == 0 && open.is_none() => return None,
            b'{' if open.is_some() || round == 0 => {
                open.get_or_insert(position);
                curly += 1;
            }
            b'}' if open.is_some() => {
                curly -= 1;
                if curly == 0 {
                    return open.map(|open| open..position + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The paths of a use tree: `a::{b, c::d}` gives `a::b` and `a::c::d`; what follows the tree is not read.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim_start();
    if let Some(group) = tree.strip_prefix('{') {
        return items(group).into_iter().flat_map(expand).collect();
    }
    if tree.starts_with('*') {
        return vec![vec!["*".to_owned()]];
    }
    let segment = word_at(tree, 0);
    let rest = tree.get(segment.len()..).unwrap_or_default().trim_start();
    let Some(rest) = rest.strip_prefix("::").filter(|rest| !rest.trim_start().starts_with('<')) else {
        return vec![vec![segment.to_owned()]];
    };
    let mut paths = expand(rest);
    for path in &mut paths {
        path.insert(0, segment.to_owned());
    }
    paths
}

/// The items of a group whose opening brace is consumed, split at its own commas.
fn items(group: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (position, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b'}' | b',' if depth == 0 => {
                items.extend(group.get(start..position).filter(|item| !item.trim().is_empty()));
                start = position + 1;
                if byte == b'}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items
}

fn word_at(code: &str, start: usize) -> &str {
    let rest = code.get(start..).unwrap_or_default();
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

/// Replaces comments and literals by blanks.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_word = false;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if in_word && !rest.starts_with(['"', '\'']) {
            0
        } else {
            literal(rest)
        };
        let taken = if skipped > 0 { skipped } else { first.len_utf8() };
        let (token, after) = rest.split_at(taken);
        if skipped > 0 {
            code.extend(token.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        } else {
            code.push(first);
        }
        in_word = skipped == 0 && (first.is_alphanumeric() || first == '_');
        rest = after;
    }
    code
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut position = 0;
    while let Some(tail) = rest.get(position..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with("/*") {
            depth += 1;
            position += 2;
        } else if tail.starts_with("*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return position;
            }
        } else {
            position += tail.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Length of the string or character literal at the start, prefixes included; 0 if there is none.
fn literal(rest: &str) -> usize {
    let prefix = rest.find(|c| !matches!(c, 'b' | 'c' | 'r')).unwrap_or(0);
    let raw = rest.get(..prefix).is_some_and(|prefix| prefix.contains('r'));
    let tail = rest.get(prefix..).unwrap_or_default();
    if prefix > 2 {
        return 0;
    }
    if raw {
        let hashes = tail.bytes().take_while(|&byte| byte == b'#').count();
        let opened = tail.get(hashes..).unwrap_or_default();
        if !opened.starts_with('"') {
            return 0;
        }
        let close = format!("\"{}", "#".repeat(hashes));
        let inner = opened.get(1..).and_then(|inner| inner.find(&close)).unwrap_or(opened.len());
        return (prefix + hashes + 1 + inner + close.len()).min(rest.len());
    }
    if tail.starts_with('"') {
        return prefix + quoted(tail, b'"');
    }
    let mut characters = tail.chars().skip(1);
    let is_character = tail.starts_with('\'')
        && match (characters.next(), characters.next()) {
            (Some('\\'), _) | (_, Some('\'')) => true,
            _ => false, // a lifetime
        };
    if is_character { prefix + quoted(tail, b'\'') } else { 0 }
}

/// Length up to behind the closing quote, escapes skipped.
fn quoted(tail: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (position, byte) in tail.bytes().enumerate().skip(1) {
        if escaped {
            escaped = false;
        } else if byte == b'\\' {
            escaped = true;
        } else if byte == quote {
            return position + 1;
        }
    }
    tail.len()
}

#[cfg(test)]
#[path = "source/tests.rs"]
mod tests;
