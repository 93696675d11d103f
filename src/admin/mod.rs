//! Health and metrics by HTTP, for whoever runs the broker.
//!
//! Core and driver: [`page`] writes what shards have told as OpenMetrics text; [`driver`] listens, on a thread of its own, and asks
//! the shards by messages, so that nothing is shared with them. It changes nothing: every request is a GET.

pub mod driver;
pub mod page;
