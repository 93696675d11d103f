//! Settings of topics and of the broker.

pub mod describe_configs;
