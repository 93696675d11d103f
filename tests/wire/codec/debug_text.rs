//! Reads what `Debug` prints back into a tree, so that two crates' messages can be compared field by field.

use ringlog::model::TopicId;
use ringlog::protocol::kafka::schema::{FieldSchema, Kind, Schema};

/// A printed value.
#[derive(Debug, PartialEq)]
pub enum Tree {
    Struct(Vec<(String, Tree)>),
    List(Vec<Tree>),
    /// Anything else, as printed; `Some(…)` is not kept.
    Leaf(String),
}

/// Parses the text of a derived `Debug`.
pub fn parse(text: &str) -> Tree {
    let mut rest = text;
    let tree = value(&mut rest);
    assert_eq!(rest, "", "all of it is understood");
    tree
}

/// The oracle's own, and the fields of InitProducerId 6, which neither knows as a version.
const ONLY_THEIRS: [&str; 5] = [
    "unknown_tagged_fields",
    "enable_2_pc",
    "keep_prepared_txn",
    "ongoing_txn_producer_id",
    "ongoing_txn_producer_epoch",
];

/// Asserts that both trees say the same about every field of `schema` in `version`, absent and defaulted ones included.
pub fn assert_same(schema: &Schema, version: i16, ours: &Tree, theirs: &Tree) {
    let (Tree::Struct(ours), Tree::Struct(theirs)) = (ours, theirs) else {
        panic!("{}: {ours:?} and {theirs:?} should be structs", schema.name);
    };
    let names = |fields: &[(String, Tree)]| fields.iter().map(|field| field.0.clone()).collect::<Vec<_>>();
    let their_names: Vec<_> =
        names(theirs).into_iter().filter(|name| !ONLY_THEIRS.contains(&&**name)).collect();
    assert_eq!(names(ours), their_names, "{}", schema.name);
    for (field, ((_, ours), (_, theirs))) in schema.fields.iter().zip(ours.iter().zip(theirs)) {
        // Where a version has no field, Kafka's default of a nullable one is empty rather than null: no difference that
        // anything can be sent by.
        let absent = !field.versions.contains(version) && matches!(field.kind, Kind::Nullable(_));
        if !absent {
            assert_same_value(schema, field, &field.kind, version, (ours, theirs));
        }
    }
}

fn assert_same_value(schema: &Schema, field: &FieldSchema, kind: &Kind, version: i16, pair: (&Tree, &Tree)) {
    match (kind, pair) {
        (Kind::Nullable(inner), (ours, theirs)) => {
            let null = Tree::Leaf("None".to_owned());
            assert_eq!(*ours == null, *theirs == null, "{}.{} in version {version}", schema.name, field.name);
            if *ours != null {
                assert_same_value(schema, field, inner, version, (ours, theirs));
            }
        }
        (Kind::Struct(inner), (ours, theirs)) => assert_same(inner, version, ours, theirs),
        (Kind::Array(inner), (Tree::List(ours), Tree::List(theirs))) => {
            assert_eq!(ours.len(), theirs.len(), "{}.{} in version {version}", schema.name, field.name);
            for pair in ours.iter().zip(theirs) {
                assert_same_value(schema, field, inner, version, pair);
            }
        }
        // Printed by length here and in full there. No struct has two, so encoding to the same bytes is proof enough.
        (Kind::Records, _) => {}
        (Kind::Uuid, (ours, theirs)) => {
            assert_eq!(uuid(ours), uuid(theirs), "{}.{}", schema.name, field.name)
        }
        (_, (ours, theirs)) => {
            assert_eq!(ours, theirs, "{}.{} in version {version}", schema.name, field.name)
        }
    }
}

/// Our topic ids are printed in base64, other uuids as lists, the oracle's in hexadecimal with hyphens.
fn uuid(tree: &Tree) -> Vec<u8> {
    let number = |leaf: &Tree| match leaf {
        Tree::Leaf(text) => text.parse().expect("a byte"),
        _ => panic!("{leaf:?} is not a byte"),
    };
    match tree {
        Tree::List(bytes) => bytes.iter().map(number).collect(),
        Tree::Leaf(text) if text.len() == 36 => {
            let digits = text.replace('-', "");
            u128::from_str_radix(&digits, 16).expect("hexadecimal").to_be_bytes().to_vec()
        }
        Tree::Leaf(text) => TopicId::parse(text).expect("base64").0.to_vec(),
        Tree::Struct(_) => panic!("{tree:?} is not a uuid"),
    }
}

fn value(rest: &mut &str) -> Tree {
    if take(rest, "[") {
        return Tree::List(sequence(rest, "]", value));
    }
    if rest.starts_with(['"', '{']) || rest.starts_with("b\"") {
        return Tree::Leaf(quoted(rest));
    }
    let end = rest.find([' ', ',', '(', ')', ']', '}']).unwrap_or(rest.len());
    let word = &rest[..end];
    *rest = &rest[end..];
    if word == "Some" {
        assert!(take(rest, "("));
        let inner = value(rest);
        assert!(take(rest, ")"));
        return inner;
    }
    if take(rest, " { ") {
        let fields = sequence(rest, " }", |rest| {
            let colon = rest.find(": ").expect("a field has a name");
            let name = rest[..colon].to_owned();
            *rest = &rest[colon + 2..];
            (name, value(rest))
        });
        return Tree::Struct(fields);
    }
    // `Inline(5 bytes)`
    let mut leaf = word.to_owned();
    if rest.starts_with('(') {
        let close = rest.find(')').expect("closed") + 1;
        leaf.push_str(&rest[..close]);
        *rest = &rest[close..];
    }
    Tree::Leaf(leaf)
}

fn sequence<T>(rest: &mut &str, end: &str, mut element: impl FnMut(&mut &str) -> T) -> Vec<T> {
    let mut elements = Vec::new();
    while !take(rest, end) {
        elements.push(element(rest));
        take(rest, ", ");
    }
    elements
}

/// A string, bytes, or an (always empty) map, as printed.
fn quoted(rest: &mut &str) -> String {
    let start = rest.find(['"', '{']).expect("it begins so");
    let close = if rest[start..].starts_with('{') { '}' } else { '"' };
    let mut escaped = false;
    let end = rest[start + 1..].find(|character| {
        let closes = !escaped && character == close;
        escaped = character == '\\' && !escaped;
        closes
    });
    let length = start + 1 + end.expect("closed") + 1;
    let text = rest[..length].to_owned();
    *rest = &rest[length..];
    text
}

fn take(rest: &mut &str, token: &str) -> bool {
    let found = rest.strip_prefix(token);
    *rest = found.unwrap_or(rest);
    found.is_some()
}

#[test]
fn printed_values_are_read_back() {
    let leaf = |text: &str| Tree::Leaf(text.to_owned());
    let text =
        r#"A { n: -1, s: Some("a\" }, [x"), list: [B { b: b"\"\x00" }], records: Inline(3 bytes), map: {} }"#;
    let inner = Tree::Struct(vec![("b".to_owned(), leaf(r#"b"\"\x00""#))]);
    let fields = [
        ("n", leaf("-1")),
        ("s", leaf(r#""a\" }, [x""#)),
        ("list", Tree::List(vec![inner])),
        ("records", leaf("Inline(3 bytes)")),
        ("map", leaf("{}")),
    ];
    assert_eq!(parse(text), Tree::Struct(fields.map(|(name, tree)| (name.to_owned(), tree)).into()));
}
