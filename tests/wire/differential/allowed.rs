//! The differences that are meant, read from `differences.txt`.

use std::fs;
use std::path::Path;

/// One row: patterns in which `*` stands for anything, and the reason.
struct Row {
    line: usize,
    patterns: [String; 5],
    used: bool,
}

/// All rows.
pub struct Allowed {
    rows: Vec<Row>,
}

impl Allowed {
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/differential/differences.txt");
        let text = fs::read_to_string(path).expect("differences.txt");
        let rows = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let rows = rows.map(|(place, line)| {
            let parts: Vec<String> = line.split('|').map(|part| part.trim().to_owned()).collect();
            let patterns = parts.try_into().expect("conversation | case | path | Kafka's | Ringlog's");
            Row { line: place + 1, patterns, used: false }
        });
        Self { rows: rows.collect() }
    }

    /// Whether some row covers the difference.
    pub fn allows(&mut self, name: &str, case: &str, path: &str, theirs: &str, ours: &str) -> bool {
        let found = [name, case, path, theirs, ours];
        let mut allowed = false;
        for row in &mut self.rows {
            if row.patterns.iter().zip(found).all(|(pattern, text)| matches(pattern, text)) {
                row.used = true;
                allowed = true;
            }
        }
        allowed
    }

    /// Number of rows that covered something.
    pub fn used(&self) -> usize {
        self.rows.iter().filter(|row| row.used).count()
    }

    /// Rows that covered nothing, to be taken out.
    pub fn unused(&self) -> String {
        let unused = self.rows.iter().filter(|row| !row.used);
        unused.map(|row| format!("differences.txt, line {}: nothing differs so\n", row.line)).collect()
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn stars_stand_for_anything() {
    assert!(matches("a*c*", "abcd") && matches("*", "") && matches("x", "x"));
    assert!(!matches("a*c", "abcd") && !matches("x", "xy") && !matches("*b*b", "ab"));
}
