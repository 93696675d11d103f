//! Messages that show and change settings.

pub mod describe_configs;
pub mod incremental_alter_configs;
