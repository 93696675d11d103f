//! The macro that turns tables into messages, and the traits that those implement.
//!
//! A table names its fields in wire order, in Kafka's spelling, with Kafka's notation for versions:
//!
//! ```text
//! messages! {
//!     /// What it asks for.
//!     request ThingRequest<'a> of Thing {          // an API key of `api.rs`, which has versions and flexibility
//!         name: &'a str, 0+;                       // in every version
//!         old: i32 = -1, 0-3;                      // in versions 0 to 3, -1 elsewhere
//!         owner: Option<&'a str>, 1+, null 2+;     // in versions from 1, null from 2
//!         rack: &'a str, 4+, tag 0, ignorable;     // in the tagged section; dropped silently below 4
//!         parts: Vec<Part>, 0+;                    // a struct of its own, in the same versions
//!     }
//!     part Part { index: i32, 0+; }
//! }
//! ```
//!
//! It becomes a struct with public fields, its `Default`, its codec and its [`Schema`]. A field that a version does not
//! carry has its default after decoding. Encoding it with another value is an error, unless it is `ignorable`: nobody
//! shall believe that a flag was sent which was not.

use super::api::ApiKey;
use super::schema::Schema;
use super::{Reader, Writer};
use crate::protocol::Result;

/// A request's or a response's body. Decoded, it borrows from the frame.
pub trait Message<'a>: Sized {
    const API_KEY: ApiKey;
    const SCHEMA: Schema;

    /// Reads a body; what follows it stays in the reader.
    ///
    /// # Errors
    /// `UnknownVersion`, or what is wrong with the bytes.
    fn decode(reader: &mut Reader<'a>, version: i16) -> Result<Self>;

    /// Appends the body to `writer`.
    ///
    /// # Errors
    /// `UnknownVersion`, or the field that this version cannot carry; a part of the body has been written then.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<()>;
}

/// What a client sends.
pub trait Request<'a>: Message<'a> {}

/// What a broker answers.
pub trait Response<'a>: Message<'a> {}

macro_rules! messages {
    ($(
        $(#[$meta:meta])*
        $kind:ident $name:ident $(<$life:lifetime>)? $(of $api:ident)? {
            $(
                $(#[$field_meta:meta])*
                $field:ident : $ty:ty $(= $default:expr)?, $first:literal $(- $last:literal)? $(+)?
                $(, $flag:ident $($value:literal)? $(+)?)* ;
            )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name $(<$life>)? {
            $($(#[$field_meta])* pub $field: $ty,)*
        }

        impl $(<$life>)? Default for $name $(<$life>)? {
            fn default() -> Self {
                Self { $($field: $crate::protocol::kafka::table::default_of!($($default)?),)* }
            }
        }

        $crate::protocol::kafka::table::codec! {
            [$($life)?] $name
            $($field: $ty = [$($default)?], $first [$(until $last)?] [$($flag $($value)?),*];)*
        }

        $crate::protocol::kafka::table::message! { $kind [$($life)?] $name $($api)? }
    )*};
}

macro_rules! default_of {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

macro_rules! codec {
    ([] $name:ident $($rows:tt)*) => {
        $crate::protocol::kafka::table::codec! { ['frame] [$name] [] $($rows)* }
    };
    ([$life:lifetime] $name:ident $($rows:tt)*) => {
        $crate::protocol::kafka::table::codec! { [$life] [$name<$life>] [<$life>] $($rows)* }
    };
    ([$life:lifetime] [$this:ty] [$($parameters:tt)*] $(
        $field:ident : $ty:ty = [$($default:expr)?], $first:literal [$(until $last:literal)?]
        [$($flag:ident $($value:literal)?),*];
    )*) => {
        const _: () = {
            use $crate::protocol::Result;
            use $crate::protocol::kafka::field::{Context, Field};
            use $crate::protocol::kafka::schema::{FieldSchema, Kind, Schema, tags_ascend};
            use $crate::protocol::kafka::{Reader, Writer, table};

            #[expect(non_upper_case_globals, reason = "each constant is the row of the field whose name it bears")]
            impl $($parameters)* $this {
                $(
                    const $field: FieldSchema =
                        FieldSchema::new(
                            stringify!($field),
                            <$ty as Field<'_>>::KIND,
                            $first,
                        )
                        $(.until($last))?
                        $(.$flag($($value)?))*;
                )*
            }

            impl<$life> Field<$life> for $this {
                const KIND: Kind =
                    Kind::Struct(Schema {
                        name: table::bare_name(stringify!($this)),
                        fields: &[$(Self::$field),*],
                    });

                fn bytes_min(context: Context) -> usize {
                    let mut bytes = usize::from(context.flexible);
                    $(
                        if Self::$field.is_plain_in(context.version) {
                            let field_bytes = <$ty as Field<'_>>::bytes_min(context);
                            bytes = bytes.saturating_add(field_bytes);
                        }
                    )*
                    bytes
                }

                fn decode(
                    reader: &mut Reader<$life>,
                    context: Context,
                ) -> Result<Self> {
                    let mut message = Self::default();
                    $(
                        if Self::$field.is_plain_in(context.version) {
                            message.$field = Field::decode(reader, context)?;
                            table::check_null(&message.$field, &Self::$field, context)?;
                        }
                    )*
                    if context.flexible {
                        reader.tagged_fields(|reader, tag| {
                            let _ = (&reader, tag);
                            $(
                                if Self::$field.has_tag(tag, context.version) {
                                    message.$field = Field::decode(reader, context)?;
                                    table::check_null(&message.$field, &Self::$field, context)?;
                                    return Ok(true);
                                }
                            )*
                            Ok(false)
                        })?;
                    }
                    Ok(message)
                }

                fn encode(
                    &self,
                    writer: &mut Writer,
                    context: Context,
                ) -> Result<()> {
                    const { assert!(tags_ascend(&[$(Self::$field),*])) };
                    let mut tagged: u32 = 0;
                    $(
                        if Self::$field.is_plain_in(context.version) {
                            table::check_null(&self.$field, &Self::$field, context)?;
                            Field::encode(&self.$field, writer, context)?;
                            if const { table::is_error_code(stringify!($field)) } {
                                writer.note_error(Field::error_code(&self.$field));
                            }
                        } else if Self::$field.is_tagged_in(context.version) || !Self::$field.ignorable {
                            let default: $ty = table::default_of!($($default)?);
                            if self.$field != default {
                                table::check_version(&Self::$field, context)?;
                                tagged = tagged.saturating_add(1);
                            }
                        }
                    )*
                    if context.flexible {
                        writer.put_varint(tagged);
                    }
                    if tagged > 0 {
                        $(
                            if let (Some(tag), true) = (Self::$field.tag, Self::$field.is_tagged_in(context.version)) {
                                let default: $ty = table::default_of!($($default)?);
                                if self.$field != default {
                                    writer.put_tagged(tag, |writer| Field::encode(&self.$field, writer, context))?;
                                }
                            }
                        )*
                    }
                    Ok(())
                }
            }
        };
    };
}

macro_rules! message {
    (part [$($life:lifetime)?] $name:ident) => {};
    ($kind:ident [] $name:ident $api:ident) => {
        $crate::protocol::kafka::table::message! { $kind ['frame] [$name] $api }
    };
    ($kind:ident [$life:lifetime] $name:ident $api:ident) => {
        $crate::protocol::kafka::table::message! { $kind [$life] [$name<$life>] $api }
    };
    ($kind:ident [$life:lifetime] [$this:ty] $api:ident) => {
        const _: () = {
            use $crate::protocol::Result;
            use $crate::protocol::kafka::field::Field;
            use $crate::protocol::kafka::schema::Schema;
            use $crate::protocol::kafka::{ApiKey, Message, Reader, Writer, table};

            impl<$life> Message<$life> for $this {
                const API_KEY: ApiKey = ApiKey::$api;
                const SCHEMA: Schema = table::schema_of(<Self as Field<'_>>::KIND);

                fn decode(reader: &mut Reader<$life>, version: i16) -> Result<Self> {
                    Field::decode(reader, table::context(Self::API_KEY, version)?)
                }

                fn encode(&self, writer: &mut Writer, version: i16) -> Result<()> {
                    Field::encode(self, writer, table::context(Self::API_KEY, version)?)
                }
            }
        };

        $crate::protocol::kafka::table::message! { $kind [$life] [$this] }
    };
    (request [$life:lifetime] [$this:ty]) => {
        impl<$life> $crate::protocol::kafka::Request<$life> for $this {}
    };
    (response [$life:lifetime] [$this:ty]) => {
        impl<$life> $crate::protocol::kafka::Response<$life> for $this {}
    };
}

pub(super) use {codec, default_of, message, messages};

use super::field::{Context, Field};
use super::schema::{FieldSchema, Kind};
use crate::protocol::Error;

/// Whether `version` of an API is known, and its form.
pub(super) fn context(api: ApiKey, version: i16) -> Result<Context> {
    if !api.versions().contains(version) {
        return Err(Error::UnknownVersion { api_key: api.code(), version });
    }
    Ok(Context { version, flexible: api.is_flexible(version) })
}

/// Null only in the versions that allow it.
#[inline]
pub(super) fn check_null<'a>(value: &impl Field<'a>, field: &FieldSchema, context: Context) -> Result<()> {
    if context.version < field.null_from && value.is_null() {
        return Err(Error::NullNotAllowed { field: field.name, version: context.version });
    }
    Ok(())
}

/// Whether a field says how a request, or a part of it, went.
pub(super) const fn is_error_code(field: &str) -> bool {
    matches!(field.as_bytes(), b"error_code")
}

/// A value that is not the default only in the versions that carry the field.
pub(super) fn check_version(field: &FieldSchema, context: Context) -> Result<()> {
    if field.versions.contains(context.version) {
        return Ok(());
    }
    Err(Error::FieldNotInVersion { field: field.name, version: context.version })
}

/// The schema inside the kind of a struct.
pub(super) const fn schema_of(kind: Kind) -> Schema {
    match kind {
        Kind::Struct(schema) => schema,
        _ => panic!("only structs are messages; evaluated at compile time"),
    }
}

/// A type's name without its lifetime.
pub(super) const fn bare_name(name: &'static str) -> &'static str {
    let mut length = 0_usize;
    let mut rest = name.as_bytes();
    while let [byte, others @ ..] = rest {
        if !byte.is_ascii_alphanumeric() {
            break;
        }
        length = length.saturating_add(1);
        rest = others;
    }
    name.split_at(length).0
}
