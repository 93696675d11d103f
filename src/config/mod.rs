//! Settings: one table that declares each once, and the parsed, typed values that the other rooms receive.
//!
//! Pure: no file is opened here, no clock and no machine is asked; what a default depends on (memory, CPUs)
//! comes in as [`Machine`]. The syntax is that of Kafka's `server.properties`, the names are Kafka's where
//! Kafka has one. A key that is accepted is honoured by the place its row names ([`Setting::honoured_by`]);
//! an unknown key, a value out of bounds and two values that contradict each other are an [`Error`].
//!
//! Read in this order: `table` (the rows), `setting` (what a row says), `values` (text to values),
//! `broker` and `topic` (values to structs, contradictions, the flush rule), `describe` and `reference` (printing).

mod broker;
mod choices;
mod describe;
mod error;
mod listener;
mod nearest;
mod properties;
mod reference;
mod setting;
mod table;
mod topic;
mod values;

pub use broker::Machine;
pub use choices::{ShardCores, ShardIdle, TimestampType};
pub use describe::{Entry, Source, Synonym, describe_broker, describe_topic};
pub use error::Error;
pub use listener::{AdminListener, Endpoint, Host, Listener};
pub use properties::{FILE_BYTES_MAX, Property, parse_override, parse_properties};
pub use reference::reference;
pub use setting::{Alias, DefaultValue, KafkaType, Kind, Setting, Unit};
pub use table::{BrokerConfig, SETTINGS, TopicConfig};
