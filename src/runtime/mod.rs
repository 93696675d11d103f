//! The only door to the machine: memory that outlives the process, files, sockets, the shard's io_uring
//! ring, worker threads, mailboxes, clocks, timers and signals.
//!
//! Impure, and the one room where `unsafe` may stand (a file opens it with `#![expect(unsafe_code, …)]`,
//! a block says why it is sound). It knows nothing of partitions, requests or records: bytes, positions
//! and tokens go in, completions come out. It imports `model` only.
//!
//! A shard is a pinned thread that owns one [`ring`] and sleeps in it; there is no async executor.
//! Whatever blocks (open, rename, delete) runs on worker threads through [`disk`].

pub mod clock;
pub mod disk;
pub mod error;
pub mod file;
pub mod mailbox;
pub mod memory;
pub mod mesh;
pub mod net;
pub mod parallel;
pub mod preflight;
pub mod process;
pub mod ring;
pub mod signal;
pub mod sim;
pub mod thread;
pub mod timer;
pub mod waker;
pub mod worker;

pub use error::{DiskAction, Error, Result};
