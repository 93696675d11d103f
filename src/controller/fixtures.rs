//! What the tests of this room share.

use super::state::NewTopic;
use crate::config::{BrokerConfig, Machine};

/// A topic with the broker's defaults.
pub fn topic(name: &str) -> NewTopic {
    NewTopic { name: name.to_owned(), partition_count: -1, replication_factor: -1, ..NewTopic::default() }
}

/// The settings of a broker with this `node.id`, and `num.partitions` = 4.
pub fn config(node_id: i32) -> BrokerConfig {
    let text = format!("node.id={node_id}\nnum.partitions=4\n");
    BrokerConfig::load(Some(&text), &[], Machine { memory_bytes: 8 << 30, cpu_count: 2 }).unwrap()
}

/// Random-looking bytes that are the same for the same seed.
pub fn random_from(seed: u64) -> impl FnMut() -> [u8; 16] {
    let mut state = u128::from(seed);
    move || {
        state =
            state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(0x9e37_79b9_7f4a_7c15);
        (state ^ state >> 64).to_be_bytes()
    }
}
