//! Random messages as bytes, from their schemas: the naive twin of the codec's encoders.

use ringlog::protocol::kafka::schema::{FieldSchema, Kind, Schema};

/// Where choices come from: bytes, then zeros without end. Fewer and smaller bytes make smaller messages, so shrinking
/// the source shrinks the message.
pub struct Choices<'a> {
    pub bytes: &'a [u8],
}

/// The form of a message, and what may be in it.
#[derive(Clone, Copy)]
pub struct Form {
    pub version: i16,
    pub flexible: bool,
    /// Tagged fields that no version has, among those that it has. A codec that drops them does not encode the same.
    pub unknown_tags: bool,
}

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        first
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.next() % bound
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next())
    }
}

/// The body of one message.
pub fn message(schema: &Schema, form: Form, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    structure(schema, form, choices, false, &mut out);
    out
}

fn structure(schema: &Schema, form: Form, choices: &mut Choices<'_>, loaded: bool, out: &mut Vec<u8>) {
    let here = |field: &&FieldSchema| field.versions.contains(form.version);
    for field in schema.fields.iter().filter(here).filter(|field| field.tag.is_none()) {
        let null_allowed = form.version >= field.null_from;
        value(&field.kind, form, choices, Ask { loaded, null_allowed }, out);
    }
    if !form.flexible {
        return;
    }
    let mut tagged = Vec::new();
    for field in schema.fields.iter().filter(here).filter(|field| field.tag.is_some()) {
        // Half of them have their default, which is not sent; the others anything else.
        if choices.below(2) == 1 {
            let mut bytes = Vec::new();
            value(&field.kind, form, choices, Ask { loaded: true, null_allowed: false }, &mut bytes);
            tagged.push((field.tag.unwrap_or_default(), bytes));
        }
    }
    if form.unknown_tags && choices.below(4) == 3 {
        let bytes = vec![choices.next(); usize::from(choices.below(200))];
        tagged.push((1000 + u32::from(choices.next()), bytes));
    }
    varint(u32::try_from(tagged.len()).expect("a few"), out);
    for (tag, bytes) in tagged {
        varint(tag, out);
        varint(u32::try_from(bytes.len()).expect("small"), out);
        out.extend(bytes);
    }
}

/// What a value must be.
#[derive(Clone, Copy)]
struct Ask {
    /// Nothing that is anybody's default: not empty, not null, not 0, not -1, not the largest.
    loaded: bool,
    null_allowed: bool,
}

fn value(kind: &Kind, form: Form, choices: &mut Choices<'_>, ask: Ask, out: &mut Vec<u8>) {
    match kind {
        Kind::Bool => out.push(if ask.loaded { 1 } else { choices.below(2) }),
        Kind::Int8 => integer::<1>(choices, ask, out),
        Kind::Int16 => integer::<2>(choices, ask, out),
        Kind::Int32 => integer::<4>(choices, ask, out),
        Kind::Int64 => integer::<8>(choices, ask, out),
        Kind::Uuid => integer::<16>(choices, ask, out),
        Kind::String => {
            let text = string(choices, ask);
            match form.flexible {
                true => length(text.len(), form, out),
                false => out.extend(i16::try_from(text.len()).expect("short").to_be_bytes()),
            }
            out.extend(text.as_bytes());
        }
        Kind::Records => {
            let bytes = vec![choices.next(); usize::from(choices.below(180))];
            length(bytes.len(), form, out);
            out.extend(bytes);
        }
        Kind::Array(element) => {
            let count = choices.below(4) + u8::from(ask.loaded);
            length(usize::from(count), form, out);
            for _ in 0..count {
                value(element, form, choices, Ask { null_allowed: false, ..ask }, out);
            }
        }
        Kind::Struct(schema) => structure(schema, form, choices, ask.loaded, out),
        Kind::Nullable(inner) if ask.null_allowed && !ask.loaded && choices.below(3) == 2 => {
            match (form.flexible, inner) {
                (true, _) => out.push(0),
                (false, Kind::String) => out.extend((-1_i16).to_be_bytes()),
                (false, _) => out.extend((-1_i32).to_be_bytes()),
            }
        }
        Kind::Nullable(inner) => value(inner, form, choices, ask, out),
    }
}

fn integer<const N: usize>(choices: &mut Choices<'_>, ask: Ask, out: &mut Vec<u8>) {
    let mut bytes: [u8; N] = match choices.below(4) {
        0 => [0; N],
        1 => [0xff; N],
        _ => choices.array(),
    };
    if ask.loaded {
        bytes[0] = 0x2a;
    }
    out.extend(bytes);
}

fn string(choices: &mut Choices<'_>, ask: Ask) -> String {
    const CHARACTERS: [char; 8] = ['a', 'Z', '0', '.', '-', '"', 'ß', '\u{1f980}'];
    let length = match choices.below(16) {
        15 => 140,
        small => small + u8::from(ask.loaded),
    };
    (0..length).map(|_| CHARACTERS[usize::from(choices.below(8))]).collect()
}

fn length(length: usize, form: Form, out: &mut Vec<u8>) {
    let length = u32::try_from(length).expect("small");
    match form.flexible {
        true => varint(length + 1, out),
        false => out.extend(length.to_be_bytes()),
    }
}

fn varint(value: u32, out: &mut Vec<u8>) {
    let low = u8::try_from(value & 0x7f).expect("seven bits");
    if value < 0x80 {
        out.push(low);
    } else {
        out.push(low | 0x80);
        varint(value >> 7, out);
    }
}
