//! What a message's table says, as data: for tools and tests that walk messages without knowing their types.
//!
//! The codec itself uses the same constants, folded at compile time.

/// A range of versions, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub first: i16,
    /// `i16::MAX` when the range is open (Kafka writes `4+`).
    pub last: i16,
}

impl Versions {
    /// Both ends inclusive.
    #[must_use]
    pub const fn new(first: i16, last: i16) -> Self {
        Self { first, last }
    }

    #[must_use]
    pub const fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }
}

/// A struct's name and its fields in wire order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    pub name: &'static str,
    pub fields: &'static [FieldSchema],
}

/// One row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSchema {
    pub name: &'static str,
    pub kind: Kind,
    /// Versions that carry the field.
    pub versions: Versions,
    /// First version in which a [`Kind::Nullable`] field may be null.
    pub null_from: i16,
    /// In the tagged section, under this number, instead of in line.
    pub tag: Option<u32>,
    /// A value may be dropped when a version does not carry it; otherwise that is an error.
    pub ignorable: bool,
}

/// The wire type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uuid,
    String,
    Records,
    Array(&'static Kind),
    Struct(Schema),
    /// The same with a form for null.
    Nullable(&'static Kind),
}

impl FieldSchema {
    /// A row that every version from `first` on carries in line; the methods below narrow it.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, first: i16) -> Self {
        let versions = Versions::new(first, i16::MAX);
        Self { name, kind, versions, null_from: first, tag: None, ignorable: false }
    }

    #[must_use]
    pub const fn until(mut self, last: i16) -> Self {
        self.versions.last = last;
        self
    }

    #[must_use]
    pub const fn null(mut self, first: i16) -> Self {
        self.null_from = first;
        self
    }

    #[must_use]
    pub const fn tag(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    #[must_use]
    pub const fn ignorable(mut self) -> Self {
        self.ignorable = true;
        self
    }

    /// Whether `version` carries the field in line.
    pub(super) const fn is_plain_in(&self, version: i16) -> bool {
        self.tag.is_none() && self.versions.contains(version)
    }

    /// Whether `version` carries the field in the tagged section.
    pub(super) const fn is_tagged_in(&self, version: i16) -> bool {
        self.tag.is_some() && self.versions.contains(version)
    }

    /// Whether `tag` in a message of `version` is this field.
    pub(super) const fn has_tag(&self, tag: u32, version: i16) -> bool {
        match self.tag {
            Some(own) => own == tag && self.versions.contains(version),
            None => false,
        }
    }
}

/// Whether the tags of `fields` ascend in declaration order, which is the order they are written in (KIP-482).
pub(super) const fn tags_ascend(fields: &[FieldSchema]) -> bool {
    let mut rest = fields;
    let mut next_min = 0;
    while let [field, others @ ..] = rest {
        if let Some(tag) = field.tag {
            if tag < next_min {
                return false;
            }
            next_min = tag.saturating_add(1);
        }
        rest = others;
    }
    true
}
