//! What shards say to each other.

use crate::broker::owner::{Answer, Ask};
use crate::model::image::MetadataOffset;

/// One message of the mesh.
#[derive(Debug)]
pub enum Message {
    /// From connections to partitions. `image`: what the asker knows of the metadata; who knows less hears of it first.
    Ask { image: MetadataOffset, ask: Ask<'static> },
    /// From partitions to connections.
    Answer(Answer),
}
