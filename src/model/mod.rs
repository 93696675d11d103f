//! The nouns of the broker: offsets, epochs, ids, topic-partitions, record batch v2, error codes, limits.
//!
//! Pure: no room is imported, nothing is allocated that the caller did not ask for, no clock is read.
//! Every integer that means something is a type of its own, so that two of them cannot be exchanged.

pub mod batch;
pub mod crc;
pub mod durability;
pub mod epoch;
pub mod error_code;
pub mod histogram;
pub mod id;
pub mod image;
pub mod limits;
pub mod now;
pub mod number;
pub mod offset;
pub mod process;
pub mod shard;
pub mod shared_map;
pub mod topic_name;

pub use durability::Durability;
pub use epoch::{LeaderEpoch, ProducerEpoch, StartCount};
pub use error_code::ErrorCode;
pub use histogram::Histogram;
pub use id::{BrokerId, ClusterId, DirectoryId, PartitionIndex, ProducerId, TopicId, TopicPartition};
pub use image::Image;
pub use now::Now;
pub use offset::Offset;
pub use process::ProcessFigures;
pub use shard::ShardPlace;
pub use shared_map::SharedMap;
