//! A broker's settings as a whole: what they are given, the defaults that depend on the machine, contradictions.

use super::choices::ShardIdle;
use super::error::Error;
use super::listener::Listener;
use super::properties::{Property, parse_properties};
use super::table::BrokerConfig;
use super::values::Values;
use crate::model::limits::{BLOCK_BYTES, PRODUCER_BYTES, PRODUCERS_PER_SHARD_MAX};
use crate::model::number::wide;

/// Part of `memory.bytes` that a shard needs at least. Unit: bytes.
const SHARD_MEMORY_BYTES_MIN: usize = 32 << 20;
/// Part of `arena.bytes` that a shard needs at least, and has where nobody says how many shards there are. Unit: bytes.
const SHARD_ARENA_BYTES_MIN: usize = 2 << 20;
const SHARD_ARENA_BYTES_OF_CHOICE: usize = 8 << 20;
/// What a shard may take for requests is not divided further. Unit: bytes.
const SHARD_REQUEST_BYTES_MIN: u64 = 1 << 20;
/// Part of `memory.bytes` that producer state may take.
const PRODUCERS_SHARE: usize = 16;

/// What defaults and checks must know of the machine; whoever starts the broker measures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// RAM that this process may use, a container's limit included.
    pub memory_bytes: u64,
    /// CPUs that this process may run on.
    pub cpu_count: usize,
}

impl BrokerConfig {
    /// The settings that `file` (the text of a properties file) and `overrides` give: an override replaces what the
    /// file says under the same key, and a later one an earlier one.
    /// Errors: the first that is found; in the order syntax, single values, values together.
    pub fn load(file: Option<&str>, overrides: &[Property], machine: Machine) -> Result<Self, Error> {
        let mut properties = file.map(parse_properties).transpose()?.unwrap_or_default();
        for given in overrides {
            properties.retain(|known| known.key != given.key);
            properties.push(given.clone());
        }
        let values = Values::read(&properties, machine)?;
        check_one_directory(&values)?;
        let mut config = Self::from_values(values)?;
        config.advertise()?;
        config.check_memory()?;
        config.check_requests()?;
        config.check_commit_log()?;
        config.check_spinning(machine)?;
        config.topic_defaults.durability = super::topic::default_durability(&config);
        Ok(config)
    }

    /// Whether the setting with this name was given a value, not left to its default.
    #[must_use]
    pub fn is_given(&self, key: &str) -> bool {
        self.values.is_given(key)
    }

    /// Idempotent producers that a shard remembers at most: as many as a sixteenth of `memory.bytes` holds.
    #[must_use]
    pub fn producers_max(&self) -> usize {
        (self.memory_bytes / PRODUCERS_SHARE / PRODUCER_BYTES).min(PRODUCERS_PER_SHARD_MAX)
    }

    /// What `memory.bytes` leaves for requests and replies, beside the arena, the read cache and producer state.
    #[must_use]
    pub fn request_bytes_left(&self) -> usize {
        self.memory_bytes
            .saturating_sub(self.arena_bytes)
            .saturating_sub(self.read_cache_bytes)
            .saturating_sub(self.producers_max() * PRODUCER_BYTES)
    }

    /// How many shards `memory.bytes` and `arena.bytes` have room for: a batch of the largest size fits into each one's part of the
    /// arena.
    #[must_use]
    pub fn shard_count_max(&self) -> usize {
        self.shard_count_for(self.topic_defaults.max_message_bytes / 4 * 5)
    }

    /// How many there are where nobody says how many: a few of the largest batches fit into each one's part.
    #[must_use]
    pub fn shard_count_of_choice(&self) -> usize {
        self.shard_count_for(SHARD_ARENA_BYTES_OF_CHOICE.max(self.topic_defaults.max_message_bytes * 2))
    }

    fn shard_count_for(&self, arena_bytes: usize) -> usize {
        let arenas = self.arena_bytes / arena_bytes.max(SHARD_ARENA_BYTES_MIN);
        (self.memory_bytes / SHARD_MEMORY_BYTES_MIN).min(arenas).max(1)
    }

    /// What one of `count` shards may take of what is the broker's as a whole.
    #[must_use]
    pub fn of_shard(&self, count: usize) -> Self {
        let count = count.max(1);
        let share = |bytes: usize| bytes / count / BLOCK_BYTES * BLOCK_BYTES;
        Self {
            memory_bytes: self.memory_bytes / count,
            arena_bytes: share(self.arena_bytes),
            read_cache_bytes: share(self.read_cache_bytes),
            // Two files each, however little that is.
            commit_log_bytes_max: (self.commit_log_bytes_max / wide(count))
                .max(self.commit_log_file_bytes * 2),
            queued_max_request_bytes: self
                .queued_max_request_bytes
                .map(|bytes| (bytes / wide(count)).max(SHARD_REQUEST_BYTES_MIN.min(bytes))),
            ..self.clone()
        }
    }

    /// Joins `advertised.listeners` to the listeners.
    fn advertise(&mut self) -> Result<(), Error> {
        const KEY: &str = "advertised.listeners";
        if self.values.is_given(KEY) {
            let advertised: Vec<Listener> = self.values.field(KEY)?;
            if advertised.len() != 1 && advertised.len() != self.listeners.len() {
                return self.contradiction(
                    KEY,
                    "listeners",
                    "advertise one address, or one for each listener",
                );
            }
            for (listener, told) in self.listeners.iter_mut().zip(advertised.iter().cycle()) {
                listener.advertised = told.bind.clone();
            }
        }
        let advertised = || self.listeners.iter().map(|listener| &listener.advertised);
        if advertised().any(|endpoint| endpoint.host.is_wildcard()) {
            return self.contradiction(
                "listeners",
                KEY,
                "clients cannot connect to every address: advertise the one they shall use",
            );
        }
        if self.values.is_given(KEY) && advertised().any(|endpoint| endpoint.port == 0) {
            return self.contradiction("listeners", KEY, "clients cannot connect to port 0");
        }
        Ok(())
    }

    fn check_memory(&self) -> Result<(), Error> {
        if self.arena_bytes > self.memory_bytes / 2 {
            return self.contradiction(
                "arena.bytes",
                "memory.bytes",
                "the arena takes at most half of the memory",
            );
        }
        if !self.arena_bytes.is_multiple_of(BLOCK_BYTES) {
            return self.malformed("arena.bytes", "must be a multiple of 4096");
        }
        if self.read_cache_bytes > self.memory_bytes / 4 {
            return self.contradiction(
                "read.cache.bytes",
                "memory.bytes",
                "the read cache takes at most a quarter of the memory",
            );
        }
        Ok(())
    }

    fn check_requests(&self) -> Result<(), Error> {
        const KEY: &str = "socket.request.max.bytes";
        if self.socket_request_max_bytes > self.request_bytes_left() {
            return self.contradiction(
                KEY,
                "memory.bytes",
                "arena, read cache and producer state leave no room for it",
            );
        }
        let largest = u64::try_from(self.socket_request_max_bytes).unwrap_or(u64::MAX);
        if self.queued_max_request_bytes.is_some_and(|bytes| bytes < largest) {
            return self.contradiction("queued.max.request.bytes", KEY, "must hold the largest request");
        }
        if self.topic_defaults.max_message_bytes > self.socket_request_max_bytes {
            return self.contradiction("max.message.bytes", KEY, "such a batch fits into no request");
        }
        Ok(())
    }

    fn check_commit_log(&self) -> Result<(), Error> {
        const FILE: &str = "commit.log.file.bytes";
        let block = u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX);
        if !self.commit_log_file_bytes.is_multiple_of(block) {
            return self.malformed(FILE, "must be a multiple of 4096");
        }
        if self.commit_log_file_bytes > self.commit_log_bytes_max / 2 {
            return self.contradiction(FILE, "commit.log.bytes.max", "the log must hold at least two files");
        }
        Ok(())
    }

    fn check_spinning(&self, machine: Machine) -> Result<(), Error> {
        if self.shard_idle == ShardIdle::Spin && machine.cpu_count < 2 {
            return self
                .malformed("shard.idle", "a spinning shard would leave the control thread no CPU: park");
        }
        Ok(())
    }

    /// The error that the settings called `name` and `other` contradict each other, with the values they have.
    fn contradiction(
        &self,
        name: &'static str,
        other: &'static str,
        rule: &'static str,
    ) -> Result<(), Error> {
        let (key, value) = self.values.shown(name);
        let (other_key, other_value) = self.values.shown(other);
        let line = self.values.line(name).or_else(|| self.values.line(other));
        Err(Error::Contradiction { key, value, other_key, other_value, rule }.in_line(line))
    }

    fn malformed(&self, name: &'static str, reason: &'static str) -> Result<(), Error> {
        let (key, value) = self.values.shown(name);
        Err(Error::Malformed { key, value, reason }.in_line(self.values.line(name)))
    }
}

/// `log.dirs` is a list in Kafka; a comma is no part of a path there.
fn check_one_directory(values: &Values) -> Result<(), Error> {
    let (key, value) = values.shown("log.dirs");
    if value.contains(',') {
        let reason = "several directories come later: this version keeps all data in one";
        return Err(Error::Malformed { key, value, reason }.in_line(values.line("log.dirs")));
    }
    Ok(())
}

const MIB: u64 = 1024 * 1024;

/// Default of `memory.bytes`; the least is what the setting itself allows.
pub(super) fn memory_bytes(_: &Values, machine: Machine) -> u64 {
    whole_mib((machine.memory_bytes / 4).clamp(16 * MIB, 1024 * MIB))
}

/// Default of `arena.bytes`.
pub(super) fn arena_bytes(values: &Values, _: Machine) -> u64 {
    whole_mib((values.number("memory.bytes") / 2).min(256 * MIB))
}

/// Default of `read.cache.bytes`.
pub(super) fn read_cache_bytes(values: &Values, _: Machine) -> u64 {
    whole_mib(values.number("memory.bytes") / 8)
}

/// Default of `socket.request.max.bytes`; 1 when nothing is left, which the checks then refuse.
pub(super) fn socket_request_max_bytes(values: &Values, _: Machine) -> u64 {
    let memory_bytes = values.number("memory.bytes");
    let taken = values.number("arena.bytes").saturating_add(values.number("read.cache.bytes"));
    let left = memory_bytes.saturating_sub(taken).saturating_sub(memory_bytes / PRODUCERS_SHARE as u64);
    left.clamp(1, 100 * MIB)
}

fn whole_mib(bytes: u64) -> u64 {
    bytes / MIB * MIB
}

#[cfg(test)]
mod tests;
