//! The machine's side of the broker: start-up, the shard's loop over its ring, the control thread, the end.
//!
//! [`serve`] runs on the first thread, which becomes the control thread: it owns the metadata and talks with the shard by
//! mailboxes. The shard's thread is pinned and sleeps in its ring alone.

mod control;
mod disk;
mod error;
mod figures;
mod frames;
mod logs;
mod peers;
mod rebuild;
mod reserve;
mod revival;
mod shard_loop;
mod sockets;
mod start;
mod stop;
mod token;

use std::sync::Arc;

pub use self::error::Error;
pub use self::figures::{
    DeviceFigures, MemoryFigures, PARTITIONS_MAX, PartitionFigures, STAGES, ShardFigures, ShardState, Stage,
    TurnFigures, Watch,
};
pub use self::start::Started;
use crate::config::BrokerConfig;

/// Starts a broker, tells `on_starting` when threads may be started (signals are blocked from then on), `on_started` when it serves,
/// and serves until SIGTERM or SIGINT. What was acknowledged is as durable as its
/// topic promises whenever this ends; after a stop that had time to seal everything, on stable media.
///
/// A signal during the start ends the process with code 0, a second one during a stop with 128 and its number, and a stop that has
/// not come to its end within 5 s with 0: the next start recovers.
///
/// # Errors
/// [`Error`]: why it refuses to start, or what ended it.
pub fn serve(
    config: BrokerConfig,
    on_starting: impl FnOnce(&BrokerConfig),
    on_started: impl FnOnce(&BrokerConfig, &Started, Watch),
) -> Result<(), Error> {
    let config = Arc::new(config);
    let prepared = start::prepare(&config, on_starting)?;
    control::run(prepared, |started, watch| on_started(&config, started, watch))
}
