//! Conversations as text for people to read.
//!
//! Versions that say the same stand together: a field that only some of them carry is written once for all.

use crate::script::{Block, Exchange, Tree};

/// The transcript of a conversation.
pub fn transcript(blocks: &[Block]) -> String {
    let mut text = String::new();
    let mut case = "";
    let mut rest = blocks;
    while let Some((first, others)) = rest.split_first() {
        let mut exchanges = joined(&first.exchanges, &first.exchanges).unwrap_or_default();
        let mut last = first;
        rest = others;
        while let Some((next, others)) = rest.split_first() {
            if next.case != first.case {
                break;
            }
            let Some(both) = joined(&exchanges, &next.exchanges) else { break };
            exchanges = both;
            last = next;
            rest = others;
        }
        if first.case != case {
            case = &first.case;
            text.push_str(&format!("## {case}\n\n"));
        }
        match (first.version, last.version) {
            (Some(from), Some(to)) if from != to => text.push_str(&format!("versions {from} to {to}\n")),
            (Some(version), _) => text.push_str(&format!("version {version}\n")),
            _ => {}
        }
        for exchange in &exchanges {
            text.push_str(&format!("> {} ", exchange.name));
            lines(&exchange.request, 2, &mut text);
            text.push_str("\n< ");
            lines(&exchange.answer, 2, &mut text);
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

/// Both in one; `None` if they contradict each other.
fn joined(these: &[Exchange], those: &[Exchange]) -> Option<Vec<Exchange>> {
    if these.len() != those.len() {
        return None;
    }
    let pairs = these.iter().zip(those);
    pairs
        .map(|(this, that)| {
            let request = join(&this.request, &that.request)?;
            let answer = join(&this.answer, &that.answer)?;
            (this.name == that.name).then(|| Exchange { name: this.name.clone(), request, answer })
        })
        .collect()
}

fn join(this: &Tree, that: &Tree) -> Option<Tree> {
    match (this, that) {
        (Tree::Struct(these), Tree::Struct(those)) => {
            let mut fields = Vec::new();
            for (name, value) in these {
                let other = those.iter().find(|(known, _)| known == name);
                let both = other.map_or(Some(value.clone()), |(_, other)| join(value, other))?;
                fields.push((*name, both));
            }
            let missing = |(name, _): &&(&str, Tree)| !these.iter().any(|(known, _)| known == name);
            fields.extend(those.iter().filter(missing).cloned());
            Some(Tree::Struct(fields))
        }
        (Tree::List(these), Tree::List(those)) if these.len() == those.len() => these
            .iter()
            .zip(those)
            .map(|(this, that)| join(this, that))
            .collect::<Option<_>>()
            .map(Tree::List),
        _ => (this == that).then(|| this.clone()),
    }
}

/// In one line where it fits, else one field or element to a line.
fn lines(tree: &Tree, indent: usize, into: &mut String) {
    let line = tree.line();
    if line.len() + indent <= LINE_CHARS_MAX {
        into.push_str(&line);
        return;
    }
    let margin = " ".repeat(indent + 2);
    match tree {
        Tree::Struct(fields) => {
            into.push('{');
            for (name, value) in fields {
                into.push_str(&format!("\n{margin}{name}: "));
                lines(value, indent + 2, into);
            }
            into.push('}');
        }
        Tree::List(elements) => {
            into.push('[');
            for element in elements {
                into.push_str(&format!("\n{margin}"));
                lines(element, indent + 2, into);
            }
            into.push(']');
        }
        _ => into.push_str(&line),
    }
}

const LINE_CHARS_MAX: usize = 116;
