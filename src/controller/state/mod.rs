//! The metadata as a state machine: commands are decided into records, records are applied to the image.
//!
//! Pure. [`State::decide`] changes nothing; [`State::apply`] is the only mutator and the same code live and on replay.
//! A clone costs a few reference counts, so that the driver applies ahead on a clone and keeps it only when the records
//! are durable. Lives: one per broker, on the control thread.
//!
//! Invariants: at most one topic per name, per id, and per set of names that collide; the partitions of all topics are at
//! most [`PARTITIONS_MAX`](crate::model::limits::PARTITIONS_MAX); ids, starts and producer ids are never given twice.

mod alter_configs;
mod command;
mod create_topics;
mod delete_topics;
mod record;
mod refusal;

pub use command::{
    AlterOutcome, Assignment, Command, ConfigChange, ConfigOperation, CreateMode, CreateOutcome,
    DeleteOutcome, NewTopic, ProducerIdBlock, Reply, TopicConfigChanges, TopicSelector,
};
pub use record::{Inconsistent, Record};
pub use refusal::Refusal;

use crate::config::BrokerConfig;
use crate::model::image::{BrokerImage, MetadataOffset, TopicImage};
use crate::model::limits::{METADATA_BYTES_MAX, PARTITIONS_PER_TOPIC_MAX, PRODUCER_ID_BLOCK_COUNT};
use crate::model::topic_name::{self, collision_key};
use crate::model::{ClusterId, Image, ProducerId, SharedMap, StartCount, TopicId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    image: Image,
    /// From [`collision_key`] to the name of the one topic that has it.
    collisions: SharedMap<String, Arc<str>>,
    partition_count: i64,
    /// Bytes that the topics take in a snapshot, at most.
    topic_bytes: u64,
}

/// What a decision depends on besides the state.
pub struct Context<'a> {
    pub config: &'a BrokerConfig,
    /// 16 random bytes at each call. The entropy is the driver's, so that a simulation repeats itself.
    pub random: &'a mut dyn FnMut() -> [u8; 16],
}

impl State {
    /// The state before the first record.
    #[must_use]
    pub fn new(cluster_id: ClusterId, broker: BrokerImage) -> Self {
        let image = Image::new(cluster_id, broker);
        Self { image, collisions: SharedMap::new(), partition_count: 0, topic_bytes: 0 }
    }

    #[must_use]
    pub const fn image(&self) -> &Image {
        &self.image
    }

    /// Replaces what clients are told of this broker: a setting of the process, not a record.
    pub fn set_broker(&mut self, broker: BrokerImage) {
        self.image.set_broker(broker);
    }

    /// Length of a snapshot of it, at most. Unit: bytes.
    #[must_use]
    pub const fn snapshot_bytes_max(&self) -> u64 {
        SNAPSHOT_BYTES_MIN + self.topic_bytes
    }

    /// Applies what [`Self::decide`] has just made, on a copy of the state that it decided on.
    pub(super) fn apply_decided(&mut self, record: &Record) {
        let applied = self.apply(record);
        assert_eq!(applied, Ok(()), "what was decided can be applied");
    }

    /// Whether a topic may take so many bytes more.
    fn check_room(&self, more_bytes: u64) -> Result<(), Refusal> {
        if self.topic_bytes + more_bytes > METADATA_BYTES_MAX { Err(Refusal::MetadataFull) } else { Ok(()) }
    }

    /// The records that carry out `command`, and the answer once they are durable. Changes nothing.
    ///
    /// # Errors
    /// The command as a whole is refused. What is refused of a single topic stands in its row of the reply.
    pub fn decide(
        &self,
        command: &Command,
        context: &mut Context<'_>,
    ) -> Result<(Vec<Record>, Reply), Refusal> {
        match command {
            Command::CreateTopics { topics, mode } => self.create_topics(topics, *mode, context),
            Command::DeleteTopics { topics } => Ok(self.delete_topics(topics)),
            Command::AlterTopicConfigs { topics, validate_only } => {
                Ok(self.alter_configs(topics, *validate_only, context))
            }
            Command::AllocateProducerIds => self.allocate_producer_ids(),
            Command::RegisterStart => Ok(self.register_start()),
        }
    }

    fn allocate_producer_ids(&self) -> Result<(Vec<Record>, Reply), Refusal> {
        let first = self.image.next_producer_id();
        let next = first.0.checked_add(PRODUCER_ID_BLOCK_COUNT).ok_or(Refusal::ProducerIdsExhausted)?;
        let record = Record::ProducerIdsAllocated { next_producer_id: ProducerId(next) };
        let block = ProducerIdBlock { first, count: PRODUCER_ID_BLOCK_COUNT };
        Ok((vec![record], Reply::AllocateProducerIds(block)))
    }

    fn register_start(&self) -> (Vec<Record>, Reply) {
        // One start a nanosecond would take centuries to get there.
        let start_count = StartCount(self.image.start_count().0.saturating_add(1));
        (vec![Record::BrokerStarted { start_count }], Reply::RegisterStart(start_count))
    }

    /// Applies `record` and counts it.
    ///
    /// # Errors
    /// The record cannot follow the ones before it; the state is as before. What [`Self::decide`] has just returned
    /// always can.
    pub fn apply(&mut self, record: &Record) -> Result<(), Inconsistent> {
        match record {
            Record::BrokerStarted { start_count } => self.apply_start(*start_count)?,
            Record::ProducerIdsAllocated { next_producer_id } => {
                self.apply_producer_ids(*next_producer_id)?
            }
            Record::TopicCreated { topic } => self.apply_created(topic)?,
            Record::TopicConfigsChanged { topic_id, changes } => self.apply_configs(*topic_id, changes)?,
            Record::TopicDeleted { topic_id } => self.apply_deleted(*topic_id)?,
        }
        let MetadataOffset(offset) = self.image.metadata_offset();
        self.image.set_metadata_offset(MetadataOffset(offset + 1));
        Ok(())
    }

    fn apply_start(&mut self, found: StartCount) -> Result<(), Inconsistent> {
        let current = self.image.start_count();
        if found <= current {
            return Err(Inconsistent::StartNotLater { current, found });
        }
        self.image.set_start_count(found);
        Ok(())
    }

    fn apply_producer_ids(&mut self, found: ProducerId) -> Result<(), Inconsistent> {
        let current = self.image.next_producer_id();
        if found <= current {
            return Err(Inconsistent::ProducerIdsGivenTwice { current, found });
        }
        self.image.set_next_producer_id(found);
        Ok(())
    }

    fn apply_created(&mut self, topic: &TopicImage) -> Result<(), Inconsistent> {
        topic_name::check(&topic.name).map_err(|fault| Inconsistent::TopicName { fault })?;
        let name = || topic.name.to_string();
        if !(1..=PARTITIONS_PER_TOPIC_MAX).contains(&topic.partition_count) {
            return Err(Inconsistent::PartitionCount { name: name(), found: topic.partition_count });
        }
        let current = self.image.start_count();
        if topic.created_at_start > current {
            return Err(Inconsistent::MadeLater { name: name(), current, found: topic.created_at_start });
        }
        if self.image.topic_by_id(topic.id).is_some() {
            return Err(Inconsistent::TopicIdTaken { id: topic.id });
        }
        if self.image.topic(&topic.name).is_some() {
            return Err(Inconsistent::TopicNameTaken { name: name() });
        }
        if let Some(key) = collision_key(&topic.name) {
            self.collisions.insert(key, Arc::clone(&topic.name));
        }
        self.partition_count += i64::from(topic.partition_count);
        self.topic_bytes += stored_bytes(&topic.name, &topic.configs);
        self.image.put_topic(topic.clone());
        Ok(())
    }

    fn apply_configs(
        &mut self,
        topic_id: TopicId,
        changes: &[(String, Option<String>)],
    ) -> Result<(), Inconsistent> {
        let topic = self.image.topic_by_id(topic_id).ok_or(Inconsistent::TopicUnknown { id: topic_id })?;
        let mut topic = TopicImage::clone(topic);
        let bytes_before = stored_bytes(&topic.name, &topic.configs);
        topic.configs = changed_configs(&topic.configs, changes.iter().cloned());
        self.topic_bytes = self.topic_bytes - bytes_before + stored_bytes(&topic.name, &topic.configs);
        self.image.put_topic(topic);
        Ok(())
    }

    fn apply_deleted(&mut self, topic_id: TopicId) -> Result<(), Inconsistent> {
        let topic = self.image.remove_topic(topic_id).ok_or(Inconsistent::TopicUnknown { id: topic_id })?;
        if let Some(key) = collision_key(&topic.name) {
            self.collisions.remove(key.as_str());
        }
        self.partition_count -= i64::from(topic.partition_count);
        self.topic_bytes -= stored_bytes(&topic.name, &topic.configs);
        Ok(())
    }

    /// Records that make this state out of an empty one: what a snapshot holds. In a fixed order.
    pub fn to_records(&self) -> impl Iterator<Item = Record> {
        let start_count = self.image.start_count();
        let next_producer_id = self.image.next_producer_id();
        let started = (start_count > StartCount(0)).then_some(Record::BrokerStarted { start_count });
        let allocated =
            (next_producer_id > ProducerId(0)).then_some(Record::ProducerIdsAllocated { next_producer_id });
        let topics =
            self.image.topics().map(|topic| Record::TopicCreated { topic: TopicImage::clone(topic) });
        started.into_iter().chain(allocated).chain(topics)
    }

    /// The end of a replay of [`Self::to_records`]: the offset is the snapshot's, not the number of its records.
    ///
    /// # Errors
    /// No log has so few records and says so much.
    pub fn finish_snapshot(&mut self, offset: MetadataOffset) -> Result<(), Inconsistent> {
        if offset < self.image.metadata_offset() {
            return Err(Inconsistent::SnapshotOffset { found: offset.0 });
        }
        self.image.set_metadata_offset(offset);
        Ok(())
    }
}

/// Everything of a snapshot but its topics: the header, the number of starts, the producer ids.
const SNAPSHOT_BYTES_MIN: u64 = 128;

/// Bytes that a topic takes in a snapshot, at most.
fn stored_bytes(name: &str, configs: &[(String, String)]) -> u64 {
    let config_bytes = |(key, value): &(String, String)| 24 + key.len() + value.len();
    (80 + name.len() + configs.iter().map(config_bytes).sum::<usize>()) as u64
}

/// The sorted settings that `configs` become.
fn changed_configs(
    configs: &[(String, String)],
    changes: impl IntoIterator<Item = (String, Option<String>)>,
) -> Vec<(String, String)> {
    let mut changed: BTreeMap<String, String> = configs.iter().cloned().collect();
    for (key, value) in changes {
        match value {
            Some(value) => changed.insert(key, value),
            None => changed.remove(&key),
        };
    }
    changed.into_iter().collect()
}

#[cfg(test)]
mod tests;
