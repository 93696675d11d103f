//! The codec against an oracle, against hand-written bytes, and against hostile peers.
//!
//! Messages are made from their schemas, as bytes, by `generate.rs`: an encoder of its own that interprets the tables
//! instead of expanding them. Every message of every version goes through the same checks; none is left out by
//! forgetting it, since the list in `catalog.rs` must name two messages for each API of the table.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper that panics fails its test, as it should"
)]

mod catalog;
mod debug_text;
mod defaults;
mod generate;
mod hostile;
mod oracle;
mod round_trip;
mod vectors;
