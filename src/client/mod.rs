//! The other end of the wire, and Ringlog's public Rust client. Works against any broker that speaks the Kafka protocol
//! with record batches v2 (Kafka 0.11 and later; tried with 4.2).
//!
//! A [`Client`] knows the cluster and connects to its brokers; a [`Producer`] and a [`Consumer`] are made from one each,
//! and the administrative calls ([`admin`]) are its own. Everything blocks, and belongs to one thread.
//!
//! What it does not do: consumer groups, transactions, TLS and SASL come later.

pub mod admin;
mod cluster;
mod connection;
mod consumer;
mod error;
mod metadata;
mod offsets;
mod producer;
mod settings;
mod versions;

pub use cluster::Client;
pub use connection::{Connection, Reply};
pub use consumer::{ConsumedRecord, Consumer, ConsumerSettings, OffsetReset, Polled, Start};
pub use error::{Error, Result};
pub use metadata::{Broker, Metadata, Partition, Topic, TopicFault};
pub use offsets::{Found, Place};
pub use producer::{Acks, Delivery, Producer, ProducerSettings, Sent};
pub use settings::Settings;
pub use versions::BrokerVersions;
