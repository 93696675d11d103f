//! What the tests of this room share.

use super::state::{NewTopic, TopicSettings};
use std::collections::BTreeMap;

/// A topic with the broker's defaults.
pub fn topic(name: &str) -> NewTopic {
    NewTopic { name: name.to_owned(), partition_count: -1, replication_factor: -1, ..NewTopic::default() }
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

/// Knows `retention.ms` (anything goes) and the list `cleanup.policy`.
pub struct SettingsFake;

impl TopicSettings for SettingsFake {
    fn check(&self, configs: &BTreeMap<String, String>) -> Result<(), String> {
        let known = |key: &str| matches!(key, "retention.ms" | "cleanup.policy");
        match configs.keys().find(|key| !known(key)) {
            Some(key) => Err(format!("Unknown topic config name: {key}")),
            None => Ok(()),
        }
    }

    fn list_default(&self, key: &str) -> Option<String> {
        (key == "cleanup.policy").then(|| "delete".to_owned())
    }
}
