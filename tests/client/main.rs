//! The project's own client, as a library and on the command line, against a real broker: this tree's own, started with
//! everything at its default, or with `RINGLOG_BOOTSTRAP=HOST:PORT` any that speaks the protocol.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panic")]

mod broker;
mod command_line;
mod inspect;
mod library;
