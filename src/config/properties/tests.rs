//! The parser against what Java 17's `Properties.load` makes of the same bytes, and against hostile files.

use proptest::prelude::*;

use super::*;

fn pairs(text: &str) -> Vec<(String, String)> {
    parse_properties(text).unwrap().into_iter().map(|property| (property.key, property.value)).collect()
}

/// Expected values: printed by `java.util.Properties.load` for the same text, then trimmed as Kafka trims them.
#[test]
fn java_properties_are_read_as_java_reads_them() {
    let text = "# comment\n! also comment\n   # indented comment \\\na=1\nb : 2\nc 3\nd\ne\\ f = x\\=y\n\
        g\\:h:i=j\nk = va\\\n    lue\\\n   s\nl = back\\\\\nm=\\u0041\\u00e9\\ud83d\\ude00\nn = tab\\tx\\q trailing  \n  \
        o   =   =p\nq==r\ns:=t\nv\\\n\nw=\\\n\n#x=notcomment\ny=a\\\n#b\nz=1\rzz=2\r\nzzz=3\\";
    let expected = [
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
        ("d", ""),
        ("e f", "x=y"),
        ("g:h", "i=j"),
        ("k", "values"),
        ("l", "back\\"),
        ("m", "Aé😀"),
        ("n", "tab\txq trailing"),
        ("o", "=p"),
        ("q", "=r"),
        ("s", "=t"),
        ("v", ""),
        ("w", ""),
        ("y", "a#b"),
        ("z", "1"),
        ("zz", "2"),
        ("zzz", "3"),
    ];
    assert_eq!(pairs(text), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[test]
fn lines_are_counted_where_an_entry_begins() {
    let lines = |text: &str| -> Vec<_> {
        parse_properties(text).unwrap().iter().map(|property| property.line.unwrap()).collect()
    };
    assert_eq!(lines("\na=1\r\n\r\nb=\\\n 2\rc=3"), [2, 4, 6]);
    assert_eq!(pairs("\u{feff}a=1"), [("a".to_owned(), "1".to_owned())]);
}

#[test]
fn what_java_passes_over_is_refused() {
    let error = |text: &str| parse_properties(text).unwrap_err().to_string();
    assert_eq!(error("a=1\n=2"), "line 2: expected a key before the value");
    assert_eq!(error("a=1\na=2"), "line 2: \"a\" is given twice, first in line 1 with another value");
    assert_eq!(error("a=\\u12"), "line 1: expected four hexadecimal digits after \\u");
    assert_eq!(error("a=\\ud83d!"), "line 1: half a surrogate pair in \\u");
    assert_eq!(pairs("a=1\na = 1"), [("a".to_owned(), "1".to_owned())]);
}

#[test]
fn sizes_are_bounded() {
    let refused = |text: &str| match parse_properties(text).unwrap_err() {
        Error::InLine { error, .. } => *error,
        error => error,
    };
    let limit_of = |text: &str| match refused(text) {
        Error::TooLarge { limit, .. } => limit,
        other => panic!("{other}"),
    };
    assert_eq!(limit_of(&"#".repeat(FILE_BYTES_MAX + 1)), FILE_BYTES_MAX);
    assert!(parse_properties(&"#".repeat(FILE_BYTES_MAX)).unwrap().is_empty());
    assert_eq!(limit_of(&"k".repeat(KEY_BYTES_MAX + 1)), KEY_BYTES_MAX);
    assert_eq!(limit_of(&format!("k={}", "v".repeat(VALUE_BYTES_MAX + 1))), VALUE_BYTES_MAX);
    let many = |count: usize| (0..count).map(|number| format!("k{number}=v\n")).collect::<String>();
    assert_eq!(limit_of(&many(PROPERTY_COUNT_MAX + 1)), PROPERTY_COUNT_MAX);
    assert_eq!(pairs(&many(PROPERTY_COUNT_MAX)).len(), PROPERTY_COUNT_MAX);
}

#[test]
fn an_override_is_split_at_its_first_equals_sign() {
    let property = parse_override(" a.b = c=d\\t ").unwrap();
    assert_eq!((property.key.as_str(), property.value.as_str(), property.line), ("a.b", "c=d\\t", None));
    assert!(parse_override("a.b").is_err());
    assert!(parse_override("=b").is_err());
}

proptest! {
    /// Any text is either refused, or gives entries within the bounds that are in the order of their lines.
    #[test]
    fn any_text_gives_entries_or_an_error(text in "([a-c#!=: \\t\\\\u0-9\\r\\n]|\\PC){0,200}") {
        if let Ok(properties) = parse_properties(&text) {
            let lines: Vec<_> = properties.iter().map(|property| property.line).collect();
            prop_assert!(lines.is_sorted());
            for property in &properties {
                prop_assert!(!property.key.is_empty());
                prop_assert_eq!(property.value.trim(), &property.value);
            }
        }
    }

    /// What is written with escapes is read back.
    #[test]
    fn escaped_entries_are_read_back(key in "[a-z=:# \\\\]{1,20}", value in "[a-z=:#!\\\\]{0,20}") {
        let escape = |text: &str| text.chars().flat_map(|character| ['\\', character]).collect::<String>();
        let escaped_key = escape(&key).replace("\\u", "u").replace("\\t", "t").replace("\\n", "n")
            .replace("\\r", "r").replace("\\f", "f");
        let escaped_value = value.replace('\\', "\\\\");
        prop_assert_eq!(pairs(&format!("{escaped_key}={escaped_value}")), [(key, value)]);
    }
}
