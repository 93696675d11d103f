//! Settings of topics and of the broker.

pub mod describe_configs;
pub mod incremental_alter_configs;
