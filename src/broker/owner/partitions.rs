//! Which partitions this shard owns, and how the image's changes reach their logs.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::Owner;
use crate::config::{BrokerConfig, TimestampType, TopicConfig};
use crate::model::image::{Image, TopicImage};
use crate::model::{PartitionIndex, ShardPlace, TopicId, TopicPartition};
use crate::runtime::memory::ArenaMemory;
use crate::storage::PartitionSlot;
use crate::storage::partition::LogConfig;

/// Partitions by topic. Looked up per request; walked, in no order, for figures alone, and whoever shows them sorts them.
#[derive(Debug, Default)]
pub struct Partitions {
    place: ShardPlace,
    topics: HashMap<TopicId, TopicSlots, BuildHasherDefault<TopicIdHasher>>,
}

/// Topic ids are random, and only this broker makes those that are kept: their own bits are the hash.
#[derive(Debug, Default)]
struct TopicIdHasher(u64);

impl Hasher for TopicIdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(size_of::<u64>()) {
            let mut padded = [0; size_of::<u64>()];
            padded.iter_mut().zip(word).for_each(|(target, byte)| *target = *byte);
            self.0 ^= u64::from_le_bytes(padded);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct TopicSlots {
    /// By the numbers of the partitions; `None`: another shard's.
    slots: Vec<Option<PartitionSlot>>,
    topic: Arc<TopicImage>,
    min_insync_replicas: u32,
    figures: TopicFigures,
}

/// What a topic's partitions at one shard have taken, and the shard's clients been given of it, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicFigures {
    pub batches_in: u64,
    pub records_in: u64,
    pub bytes_in: u64,
    /// Of batches in replies to fetches.
    pub bytes_out: u64,
}

impl Partitions {
    /// Those of the shard at this place; none yet.
    #[must_use]
    pub fn of(place: ShardPlace) -> Self {
        Self { place, ..Self::default() }
    }

    /// Which shard's they are.
    #[must_use]
    pub const fn place(&self) -> ShardPlace {
        self.place
    }

    /// Where the partition is; `None` if the topic or the partition is not known here, or another shard's.
    #[must_use]
    pub fn slot(&self, topic: TopicId, partition: i32) -> Option<PartitionSlot> {
        self.topics.get(&topic)?.slot(partition)
    }

    /// Where the partition is, how many of its replicas must be in sync for a produce with acks=all, and what is counted of its
    /// topic.
    pub fn find(
        &mut self,
        topic: TopicId,
        partition: i32,
    ) -> Option<(PartitionSlot, u32, &mut TopicFigures)> {
        let known = self.topics.get_mut(&topic)?;
        Some((known.slot(partition)?, known.min_insync_replicas, &mut known.figures))
    }

    /// What is counted of a topic.
    pub fn figures_mut(&mut self, topic: TopicId) -> Option<&mut TopicFigures> {
        self.topics.get_mut(&topic).map(|known| &mut known.figures)
    }

    /// Each topic, what is counted of it, and the numbers and slots of its partitions here; in no order.
    pub fn topics(
        &self,
    ) -> impl Iterator<Item = (&Arc<TopicImage>, TopicFigures, impl Iterator<Item = (usize, PartitionSlot)>)>
    {
        self.topics.values().map(|known| {
            let slots = known.slots.iter().enumerate();
            (&known.topic, known.figures, slots.filter_map(|(number, slot)| Some((number, (*slot)?))))
        })
    }

    /// Takes a topic whose partitions have these slots, in order; those of other shards have none here.
    pub fn insert(
        &mut self,
        broker: &BrokerConfig,
        topic: Arc<TopicImage>,
        slots: Vec<Option<PartitionSlot>>,
    ) {
        let min_insync_replicas = config_of(broker, &topic).min_insync_replicas;
        let figures = self.topics.get(&topic.id).map(|known| known.figures).unwrap_or_default();
        self.topics.insert(topic.id, TopicSlots { slots, topic, min_insync_replicas, figures });
    }
}

impl TopicSlots {
    fn slot(&self, partition: i32) -> Option<PartitionSlot> {
        *self.slots.get(usize::try_from(partition).ok()?)?
    }
}

/// Makes, changes and deletes partitions so that they are those of the new image; they are those of the old one. Only what both
/// do not share is looked at: an image comes with every block of producer ids.
pub(super) fn follow<M: ArenaMemory>(owner: &mut Owner<M>, old: &Image, image: &Image) {
    let gone = old.topics_changed_since(image).filter(|topic| image.topic_by_id(topic.id).is_none());
    delete(owner, gone);
    for topic in image.topics_changed_since(old) {
        let known = owner.partitions.topics.get(&topic.id);
        if known.is_some_and(|known| Arc::ptr_eq(&known.topic, topic)) {
            continue;
        }
        let config = log_config_of(&owner.config, topic);
        let mut slots = known.map(|known| known.slots.clone()).unwrap_or_default();
        for &slot in slots.iter().flatten() {
            owner.log.set_config(slot, config);
        }
        for partition in topic.partitions().skip(slots.len()) {
            let id = TopicPartition { topic_id: topic.id, partition };
            let leader_epoch = image.leader_epoch(topic);
            let is_ours = owner.partitions.place.owns(topic.id, partition.0);
            let create = || owner.log.create_partition(id, folder_of(topic, partition), config, leader_epoch);
            slots.push(is_ours.then(create));
        }
        owner.partitions.insert(&owner.config, Arc::clone(topic), slots);
    }
}

fn delete<'i, M: ArenaMemory>(owner: &mut Owner<M>, topics: impl Iterator<Item = &'i Arc<TopicImage>>) {
    let mut gone = Vec::new();
    for topic in topics {
        let known = owner.partitions.topics.remove(&topic.id);
        for (partition, slot) in known.into_iter().flat_map(|known| known.slots).enumerate() {
            // Unique, since a topic id is: a partition of the same name may follow at once.
            gone.extend(slot.map(|slot| (slot, format!(".deleted-{}-{partition}", topic.id))));
        }
    }
    let slots: Vec<PartitionSlot> = gone.iter().map(|&(slot, _)| slot).collect();
    owner.log.delete_partitions(gone);
    super::fetch::handle_gone(owner, &slots);
    for slot in slots {
        super::produce::handle_deleted(owner, slot);
        super::list_offsets::handle_ready(owner, slot);
    }
}

/// A partition's folder below the data directory.
#[must_use]
pub fn folder_of(topic: &TopicImage, partition: PartitionIndex) -> String {
    format!("{}-{partition}", topic.name)
}

/// What a topic's settings mean to its logs.
#[must_use]
pub fn log_config_of(broker: &BrokerConfig, topic: &TopicImage) -> LogConfig {
    to_log_config(&config_of(broker, topic))
}

/// The topic's settings. The controller has checked them; should they not resolve, the broker's defaults hold.
fn config_of(broker: &BrokerConfig, topic: &TopicImage) -> TopicConfig {
    TopicConfig::resolve(broker, &topic.configs).unwrap_or(broker.topic_defaults)
}

fn to_log_config(config: &TopicConfig) -> LogConfig {
    LogConfig {
        durability: config.durability,
        segment_bytes: config.segment_bytes,
        segment_ms: signed(config.segment_ms),
        segment_jitter_ms: signed(config.segment_jitter_ms),
        segment_index_bytes: config.segment_index_bytes,
        retention_bytes: config.retention_bytes,
        retention_ms: config.retention_ms.map(signed),
        batch_bytes_max: config.max_message_bytes,
        log_append_time: config.message_timestamp_type == TimestampType::LogAppendTime,
        timestamp_before_max_ms: config.message_timestamp_before_max_ms.map_or(i64::MAX, signed),
        timestamp_after_max_ms: config.message_timestamp_after_max_ms.map_or(i64::MAX, signed),
        index_interval_bytes: config.index_interval_bytes.max(1),
        file_delete_delay_ms: signed(config.file_delete_delay_ms),
        flush_records: config.flush_messages.map(signed),
        flush_ms: config.flush_ms.map(signed),
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
