//! A message read by its schema into names and values: for people to read, and for comparing field by field.
//!
//! An interpreter of its own, beside the codec's macros. It trusts its input: a broker's answer that does not parse is a
//! failure of the test.

use ringlog::protocol::kafka::schema::{FieldSchema, Kind, Schema, Versions};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Struct(Vec<(&'static str, Tree)>),
    List(Vec<Tree>),
    /// A number, a word, or a text in quotes.
    Leaf(String),
    Uuid([u8; 16]),
    Records(Vec<u8>),
    Null,
}

/// Reads a whole body; what stands behind it is returned as a number of bytes.
pub fn read(schema: &Schema, version: i16, flexible: bool, bytes: &[u8]) -> (Tree, usize) {
    let mut reader = SchemaReader { bytes, version, flexible };
    let tree = reader.fields(schema);
    (tree, reader.bytes.len())
}

struct SchemaReader<'a> {
    bytes: &'a [u8],
    version: i16,
    flexible: bool,
}

impl<'a> SchemaReader<'a> {
    fn fields(&mut self, schema: &Schema) -> Tree {
        let carried = |field: &&FieldSchema| contains(field.versions, self.version);
        let fields: Vec<&FieldSchema> = schema.fields.iter().filter(carried).collect();
        let mut values = Vec::new();
        for field in fields.iter().filter(|field| field.tag.is_none()) {
            values.push((field.name, self.value(&field.kind)));
        }
        if self.flexible {
            for _ in 0..self.varint() {
                let tag = self.varint();
                let size = usize::try_from(self.varint()).expect("a size");
                let field = fields.iter().find(|field| field.tag == Some(tag));
                let Some(field) = field else {
                    self.take(size);
                    continue;
                };
                values.push((field.name, self.value(&field.kind)));
            }
        }
        Tree::Struct(values)
    }

    fn value(&mut self, kind: &Kind) -> Tree {
        match kind {
            Kind::Bool => Tree::Leaf((self.take(1)[0] != 0).to_string()),
            Kind::Int8 => Tree::Leaf(self.take(1)[0].cast_signed().to_string()),
            Kind::Int16 => Tree::Leaf(i16::from_be_bytes(self.fixed()).to_string()),
            Kind::Int32 => Tree::Leaf(i32::from_be_bytes(self.fixed()).to_string()),
            Kind::Int64 => Tree::Leaf(i64::from_be_bytes(self.fixed()).to_string()),
            Kind::Uuid => Tree::Uuid(self.fixed()),
            Kind::String => match self.length(2) {
                Some(bytes) => Tree::Leaf(format!("{:?}", String::from_utf8_lossy(self.take(bytes)))),
                None => Tree::Null,
            },
            Kind::Records => match self.length(4) {
                Some(bytes) => Tree::Records(self.take(bytes).to_vec()),
                None => Tree::Null,
            },
            Kind::Array(element) => match self.length(4) {
                Some(count) => Tree::List((0..count).map(|_| self.value(element)).collect()),
                None => Tree::Null,
            },
            Kind::Struct(schema) => self.fields(schema),
            Kind::Nullable(inner) => self.value(inner),
        }
    }

    fn length(&mut self, fixed_bytes: usize) -> Option<usize> {
        let length = match (self.flexible, fixed_bytes) {
            (true, _) => i64::from(self.varint()) - 1,
            (false, 2) => i64::from(i16::from_be_bytes(self.fixed())),
            (false, _) => i64::from(i32::from_be_bytes(self.fixed())),
        };
        usize::try_from(length).ok()
    }

    fn varint(&mut self) -> u32 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = self.take(1)[0];
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }

    fn fixed<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().expect("as many as were taken")
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        assert!(count <= self.bytes.len(), "the answer ends in the middle of a field");
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        taken
    }
}

const fn contains(versions: Versions, version: i16) -> bool {
    versions.first <= version && version <= versions.last
}

impl Tree {
    /// The field of this name, of a struct.
    pub fn field(&self, name: &str) -> &Self {
        let Self::Struct(fields) = self else { panic!("{self:?} has no fields") };
        let found = fields.iter().find(|(known, _)| *known == name);
        &found.unwrap_or_else(|| panic!("no field {name} in {self:?}")).1
    }

    /// The elements of a list.
    pub fn list(&self) -> &[Self] {
        let Self::List(elements) = self else { panic!("{self:?} is not a list") };
        elements
    }

    /// A number's value.
    pub fn number(&self) -> i64 {
        let Self::Leaf(text) = self else { panic!("{self:?} is not a number") };
        text.parse().expect("a number")
    }

    /// All of it in one line.
    pub fn line(&self) -> String {
        match self {
            Self::Struct(fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|(name, value)| format!("{name}: {}", value.line())).collect();
                format!("{{{}}}", fields.join(", "))
            }
            Self::List(elements) => {
                format!("[{}]", elements.iter().map(Self::line).collect::<Vec<_>>().join(", "))
            }
            Self::Leaf(text) => text.clone(),
            Self::Uuid(bytes) => ringlog::model::TopicId(*bytes).to_string(),
            Self::Records(bytes) => format!("{} bytes", bytes.len()),
            Self::Null => "null".to_owned(),
        }
    }
}
