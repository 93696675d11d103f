//! Settings: no file makes the parser panic; what is accepted is within its bounds, what is refused is said in one line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringlog::config::{
    BrokerConfig, Error, Machine, TopicConfig, describe_broker, describe_topic, parse_properties,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match BrokerConfig::load(Some(text), &[], Machine { memory_bytes: 1 << 30, cpu_count: 2 }) {
        Ok(config) => {
            let taken = config.arena_bytes + config.read_cache_bytes + config.socket_request_max_bytes;
            assert!(taken <= config.memory_bytes && !config.listeners.is_empty());
            assert!(describe_broker(&config).iter().all(|entry| entry.is_read_only));
        }
        Err(error) => is_one_line(&error),
    }

    // The same entries as a topic's own settings.
    let Ok(broker) = BrokerConfig::load(None, &[], Machine { memory_bytes: 1 << 30, cpu_count: 2 }) else {
        return;
    };
    let Ok(properties) = parse_properties(text) else { return };
    let overrides: Vec<_> = properties.into_iter().map(|property| (property.key, property.value)).collect();
    match TopicConfig::resolve(&broker, &overrides) {
        Ok(config) => {
            assert!(config.segment_bytes >= 1024 * 1024 && config.min_insync_replicas >= 1);
            describe_topic(&broker, &overrides).expect("what is accepted can be described");
        }
        Err(error) => is_one_line(&error),
    }
});

fn is_one_line(error: &Error) {
    let text = error.to_string();
    assert!(text.len() < 4096 && !text.contains(char::is_control), "{text:?}");
}
