//! Reads one JSON object, strictly: what a log line must be.

use std::collections::BTreeMap;

/// A value, as far as tests look into it.
#[derive(Debug, PartialEq)]
pub enum Json {
    Text(String),
    Object(BTreeMap<String, Json>),
    /// A number, a list, true, false or null, as it was written.
    Other(String),
}

/// The object that the whole of `text` is.
pub fn parse_object(text: &str) -> Option<BTreeMap<String, Json>> {
    let mut rest = text;
    match value(&mut rest)? {
        Json::Object(members) if rest.is_empty() => Some(members),
        _ => None,
    }
}

fn value(rest: &mut &str) -> Option<Json> {
    match rest.chars().next()? {
        '"' => string(rest).map(Json::Text),
        '{' => {
            let mut members = BTreeMap::new();
            let whole = list(rest, '{', '}', |rest| {
                let name = string(rest)?;
                *rest = rest.strip_prefix(':')?;
                // A name that comes twice is not one that can be looked up.
                members.insert(name, value(rest)?).is_none().then_some(())
            });
            whole.map(|()| Json::Object(members))
        }
        '[' => {
            let before = *rest;
            list(rest, '[', ']', |rest| value(rest).map(drop))?;
            Some(Json::Other(before[..before.len() - rest.len()].to_owned()))
        }
        _ => {
            let end = rest.find([',', '}', ']'])?;
            let (word, behind) = rest.split_at(end);
            let is_known = ["true", "false", "null"].contains(&word) || word.parse::<f64>().is_ok();
            *rest = behind;
            is_known.then(|| Json::Other(word.to_owned()))
        }
    }
}

fn list(
    rest: &mut &str,
    open: char,
    close: char,
    mut element: impl FnMut(&mut &str) -> Option<()>,
) -> Option<()> {
    *rest = rest.strip_prefix(open)?;
    while !rest.starts_with(close) {
        element(rest)?;
        match rest.strip_prefix(',') {
            Some(behind) if !behind.starts_with(close) => *rest = behind,
            Some(_) => return None,
            None => break,
        }
    }
    *rest = rest.strip_prefix(close)?;
    Some(())
}

fn string(rest: &mut &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = rest.strip_prefix('"')?.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => text.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                plain @ ('"' | '\\' | '/') => plain,
                _ => return None,
            }),
            control if control < ' ' => return None,
            plain => text.push(plain),
        }
    }
    *rest = chars.as_str();
    Some(text)
}

#[test]
fn what_is_not_one_object_is_refused() {
    let object = parse_object(r#"{"a":"b\"\u0041\\","c":{"d":[1,{}]},"e":-1.5,"f":null}"#).unwrap();
    assert_eq!(object["a"], Json::Text("b\"A\\".to_owned()));
    for wrong in [
        "",
        "text",
        "{",
        "{}}",
        "{a:1}",
        r#"{"a":b}"#,
        r#"{"a":1,}"#,
        r#"{"a":1}{"#,
        "[1]",
        r#"{"a":1,"a":2}"#,
    ] {
        assert_eq!(parse_object(wrong), None, "{wrong}");
    }
    assert_eq!(parse_object("{\"a\":\"b\nc\"}"), None, "an object on two lines");
}
