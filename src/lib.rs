//! Ringlog: an event streaming broker that speaks the Apache Kafka protocol.
//!
//! One pinned thread per core owns its partitions and their segment files; all data I/O goes through
//! io_uring, directly to disk. The map of the code is `src/ARCHITECTURE.md`; this is its table of rooms,
//! each of which imports only what its row grants (checked by `tests/tidy.rs`).
//!
//! | room | one duty | may import |
//! |---|---|---|
//! | [`model`] | nouns: offsets, epochs, ids, record batch v2, error codes, cluster image, limits | nothing |
//! | [`config`] | one table declaring every setting; parse, check, print | model |
//! | [`protocol`] | bytes to typed messages and back: `kafka/` (framing, the API table, the message tables and their codec), `records/` (what is inside a batch) | model |
//! | [`runtime`] | the only door to the machine: memory, files, sockets, the ring, threads, clock, signals | model, config |
//! | [`storage`] | a shard's partitions on disk: append, read, flush, recovery, retention, behind one core without I/O | model, config, runtime |
//! | [`controller`] | the cluster's metadata: commands to records, records to the image, their log and snapshots | model, config, protocol¹, runtime, storage |
//! | [`broker`] | connections, requests, shards and the threads that run them | all above |
//! | [`admin`] | HTTP: health, metrics | model, config, security, runtime, broker |
//! | [`client`] | the other end of the wire, and the public Rust client: connections, metadata, produce, fetch, administration | model, config, protocol, security, runtime |
//! | [`measure`] | load generator, floor programs, histograms, figures and what they are held against | model, config, protocol, runtime, client |
//! | [`cli`] | arguments, start-up, offline tools | all above |
//!
//! ¹ only the versioned schemas of the records kept in the metadata, group and transaction logs.

pub mod admin;
pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
pub mod controller;
pub mod measure;
pub mod model;
pub mod protocol;
pub mod runtime;
pub mod storage;
