//! How fast a broker is, and how fast it could be: the loader, the floor, the figures and what they are held against.
//!
//! The loader (`driver/loader/`) speaks the Kafka protocol to any broker from a thread and a ring of its own, at maximum
//! rate or at a fixed one, and counts what passed and what it cost. The *floor* (`driver/floor/`) is the least that any
//! broker must do with the same bytes: receive, CRC, a copy or a durable write, reply. A figure of a broker is judged by
//! its ratio to the floor's, taken in turns on the same machine; `table/` holds the rows and their bars.
//!
//! Cores are pure: workloads, frames, replies, schedules and figures. The drivers measure and start processes.

pub mod batch;
pub mod cpu;
pub mod driver;
pub mod figures;
pub mod latency;
pub mod reply;
pub mod request;
pub mod schedule;
pub mod table;
pub mod workload;
