//! How values of each wire type are read and written, in inflexible and flexible versions (KIP-482).
//!
//! ```text
//! type        inflexible                   flexible
//! bool, int   big-endian, fixed size       the same
//! uuid        16 bytes                     the same
//! string      i16 length (-1 null), UTF-8  varint length + 1 (0 null), UTF-8
//! records     i32 length (-1 null), bytes  varint length + 1 (0 null), bytes
//! array       i32 count (-1 null), elements  varint count + 1 (0 null), elements
//! struct      its fields                   its fields, then the tagged section
//! ```

use super::schema::Kind;
use super::{Reader, Records, Rows, Writer};
use crate::model::TopicId;
use crate::protocol::{Error, Result};

/// What decides the form of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    pub version: i16,
    pub flexible: bool,
}

/// A type that a row of a table can have.
pub(super) trait Field<'a>: Sized {
    const KIND: Kind;

    /// The fewest bytes that any value takes.
    fn bytes_min(context: Context) -> usize;

    fn decode(reader: &mut Reader<'a>, context: Context) -> Result<Self>;

    fn encode(&self, writer: &mut Writer, context: Context) -> Result<()>;

    fn is_null(&self) -> bool {
        false
    }

    /// What it says as an error code; 0 for all that is none.
    fn error_code(&self) -> i16 {
        0
    }
}

/// A type that also has a form for null.
pub(super) trait Nullable<'a>: Field<'a> {
    fn decode_nullable(reader: &mut Reader<'a>, context: Context) -> Result<Option<Self>>;

    fn encode_null(writer: &mut Writer, context: Context);
}

/// A null must be a value where the type has no place for it.
fn not_null<T>(value: Option<T>) -> Result<T> {
    value.ok_or(Error::UnexpectedNull)
}

macro_rules! integer_fields {
    ($($ty:ident $kind:ident)*) => {$(
        impl<'a> Field<'a> for $ty {
            const KIND: Kind = Kind::$kind;

            #[inline]
            fn bytes_min(_: Context) -> usize {
                size_of::<$ty>()
            }

            #[inline]
            fn decode(reader: &mut Reader<'a>, _: Context) -> Result<Self> {
                reader.array().map($ty::from_be_bytes)
            }

            #[inline]
            fn encode(&self, writer: &mut Writer, _: Context) -> Result<()> {
                writer.put(&self.to_be_bytes());
                Ok(())
            }
        }
    )*};
}

integer_fields! { i8 Int8 i32 Int32 i64 Int64 }

impl<'a> Field<'a> for i16 {
    const KIND: Kind = Kind::Int16;

    #[inline]
    fn bytes_min(_: Context) -> usize {
        size_of::<Self>()
    }

    #[inline]
    fn decode(reader: &mut Reader<'a>, _: Context) -> Result<Self> {
        reader.array().map(Self::from_be_bytes)
    }

    #[inline]
    fn encode(&self, writer: &mut Writer, _: Context) -> Result<()> {
        writer.put(&self.to_be_bytes());
        Ok(())
    }

    #[inline]
    fn error_code(&self) -> i16 {
        *self
    }
}

impl<'a> Field<'a> for bool {
    const KIND: Kind = Kind::Bool;

    #[inline]
    fn bytes_min(_: Context) -> usize {
        1
    }

    #[inline]
    fn decode(reader: &mut Reader<'a>, _: Context) -> Result<Self> {
        let [byte] = reader.array()?;
        Ok(byte != 0)
    }

    #[inline]
    fn encode(&self, writer: &mut Writer, _: Context) -> Result<()> {
        writer.put(&[u8::from(*self)]);
        Ok(())
    }
}

/// Uuids that are not topic ids.
impl<'a> Field<'a> for [u8; 16] {
    const KIND: Kind = Kind::Uuid;

    #[inline]
    fn bytes_min(_: Context) -> usize {
        16
    }

    #[inline]
    fn decode(reader: &mut Reader<'a>, _: Context) -> Result<Self> {
        reader.array()
    }

    #[inline]
    fn encode(&self, writer: &mut Writer, _: Context) -> Result<()> {
        writer.put(self);
        Ok(())
    }
}

impl<'a> Field<'a> for TopicId {
    const KIND: Kind = Kind::Uuid;

    #[inline]
    fn bytes_min(context: Context) -> usize {
        <[u8; 16]>::bytes_min(context)
    }

    #[inline]
    fn decode(reader: &mut Reader<'a>, _: Context) -> Result<Self> {
        reader.array().map(TopicId)
    }

    #[inline]
    fn encode(&self, writer: &mut Writer, context: Context) -> Result<()> {
        self.0.encode(writer, context)
    }
}

impl<'a> Field<'a> for &'a str {
    const KIND: Kind = Kind::String;

    #[inline]
    fn bytes_min(context: Context) -> usize {
        if context.flexible { 1 } else { 2 }
    }

    fn decode(reader: &mut Reader<'a>, context: Context) -> Result<Self> {
        Self::decode_nullable(reader, context).and_then(not_null)
    }

    fn encode(&self, writer: &mut Writer, context: Context) -> Result<()> {
        let too_long = Error::StringTooLong { bytes: self.len() };
        let length = i16::try_from(self.len()).map_err(|_| too_long)?;
        if context.flexible {
            writer.put_compact_length(self.len())?;
        } else {
            writer.put(&length.to_be_bytes());
        }
        writer.put(self.as_bytes());
        Ok(())
    }
}

impl<'a> Nullable<'a> for &'a str {
    fn decode_nullable(reader: &mut Reader<'a>, context: Context) -> Result<Option<Self>> {
        let length = reader
            .length(context.flexible, |reader| reader.array().map(i16::from_be_bytes).map(i32::from))?;
        let Some(bytes) = length else { return Ok(None) };
        if bytes > STRING_BYTES_MAX {
            return Err(Error::StringTooLong { bytes });
        }
        let text = reader.bytes(bytes)?;
        let checked = std::str::from_utf8(text);
        checked.map(Some).map_err(|error| Error::NotUtf8 { bytes, valid_bytes: error.valid_up_to() })
    }

    fn encode_null(writer: &mut Writer, context: Context) {
        if context.flexible { writer.put(&[0]) } else { writer.put(&(-1_i16).to_be_bytes()) }
    }
}

/// Longest string, in inflexible versions by its form, in flexible ones by Kafka's rule.
const STRING_BYTES_MAX: usize = 0x7fff;

impl<'a> Field<'a> for Records<'a> {
    const KIND: Kind = Kind::Records;

    #[inline]
    fn bytes_min(context: Context) -> usize {
        count_bytes_min(context)
    }

    fn decode(reader: &mut Reader<'a>, context: Context) -> Result<Self> {
        Self::decode_nullable(reader, context).and_then(not_null)
    }

    fn encode(&self, writer: &mut Writer, context: Context) -> Result<()> {
        encode_count(writer, context, self.bytes())?;
        match *self {
            Self::Inline(bytes) => writer.put(bytes),
            Self::External { bytes } => writer.put_external(bytes),
        }
        Ok(())
    }
}

impl<'a> Nullable<'a> for Records<'a> {
    fn decode_nullable(reader: &mut Reader<'a>, context: Context) -> Result<Option<Self>> {
        let Some(bytes) = decode_count(reader, context)? else { return Ok(None) };
        reader.bytes(bytes).map(|bytes| Some(Self::Inline(bytes)))
    }

    fn encode_null(writer: &mut Writer, context: Context) {
        encode_null_count(writer, context);
    }
}

impl<'a, T: Field<'a>> Field<'a> for Vec<T> {
    const KIND: Kind = Kind::Array(&T::KIND);

    #[inline]
    fn bytes_min(context: Context) -> usize {
        count_bytes_min(context)
    }

    fn decode(reader: &mut Reader<'a>, context: Context) -> Result<Self> {
        Self::decode_nullable(reader, context).and_then(not_null)
    }

    fn encode(&self, writer: &mut Writer, context: Context) -> Result<()> {
        encode_count(writer, context, self.len())?;
        self.iter().try_for_each(|element| element.encode(writer, context))
    }
}

impl<'a, T: Field<'a>> Nullable<'a> for Vec<T> {
    fn decode_nullable(reader: &mut Reader<'a>, context: Context) -> Result<Option<Self>> {
        let Some(count) = decode_count(reader, context)? else { return Ok(None) };
        decode_elements(reader, context, count).map(Some)
    }

    fn encode_null(writer: &mut Writer, context: Context) {
        encode_null_count(writer, context);
    }
}

impl<'a, T: Field<'a>> Field<'a> for Rows<T> {
    const KIND: Kind = Kind::Array(&T::KIND);

    #[inline]
    fn bytes_min(context: Context) -> usize {
        count_bytes_min(context)
    }

    fn decode(reader: &mut Reader<'a>, context: Context) -> Result<Self> {
        let count = decode_count(reader, context).and_then(not_null)?;
        if count == 1 {
            return T::decode(reader, context).map(Self::One);
        }
        decode_elements(reader, context, count).map(Self::Many)
    }

    fn encode(&self, writer: &mut Writer, context: Context) -> Result<()> {
        encode_count(writer, context, self.len())?;
        self.iter().try_for_each(|element| element.encode(writer, context))
    }
}

impl<'a, T: Nullable<'a>> Field<'a> for Option<T> {
    const KIND: Kind = Kind::Nullable(&T::KIND);

    #[inline]
    fn bytes_min(context: Context) -> usize {
        T::bytes_min(context)
    }

    fn decode(reader: &mut Reader<'a>, context: Context) -> Result<Self> {
        T::decode_nullable(reader, context)
    }

    fn encode(&self, writer: &mut Writer, context: Context) -> Result<()> {
        match self {
            Some(value) => value.encode(writer, context),
            None => {
                T::encode_null(writer, context);
                Ok(())
            }
        }
    }

    fn is_null(&self) -> bool {
        self.is_none()
    }
}

#[inline]
fn count_bytes_min(context: Context) -> usize {
    if context.flexible { 1 } else { 4 }
}

#[inline]
fn decode_count(reader: &mut Reader<'_>, context: Context) -> Result<Option<usize>> {
    reader.length(context.flexible, |reader| reader.array().map(i32::from_be_bytes))
}

fn decode_elements<'a, T: Field<'a>>(
    reader: &mut Reader<'a>,
    context: Context,
    count: usize,
) -> Result<Vec<T>> {
    let mut elements = reader.reserve(count, T::bytes_min(context))?;
    for _ in 0..count {
        elements.push(T::decode(reader, context)?);
    }
    Ok(elements)
}

#[inline]
pub(super) fn encode_count(writer: &mut Writer, context: Context, count: usize) -> Result<()> {
    if context.flexible {
        return writer.put_compact_length(count);
    }
    let counted = i32::try_from(count).map_err(|_| Error::TooLong { length: count })?;
    writer.put(&counted.to_be_bytes());
    Ok(())
}

#[inline]
fn encode_null_count(writer: &mut Writer, context: Context) {
    if context.flexible { writer.put(&[0]) } else { writer.put(&(-1_i32).to_be_bytes()) }
}
