//! The Apache Kafka wire protocol: frames, headers, the table of APIs, the tables of messages and their codec.
//!
//! A message is declared once, as a table in [`messages`]; the macro of `table.rs` makes of it a struct, a decoder, an
//! encoder and a [`schema`]. Decoding borrows from the frame and is bounded (see [`Reader`]); encoding goes into a
//! reusable buffer and can leave record bytes out, to be sent from where they lie (see [`Writer`]).
//!
//! What this room does not do: it accepts no version outside the table, keeps no unknown tagged field, and does not
//! look into records.
//!
//! Source: the Kafka protocol guide; KIP-482 (flexible versions, tagged fields); the message definitions of Kafka 4.2.

pub mod api;
mod field;
pub mod frame;
pub mod header;
pub mod messages;
mod reader;
mod records;
mod rows;
pub mod schema;
mod table;
mod writer;

pub use api::ApiKey;
pub use reader::Reader;
pub use records::Records;
pub use rows::Rows;
pub use table::{Message, Request, Response};
pub use writer::{Cut, Piece, Writer};
