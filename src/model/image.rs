//! The cluster image: everything that the metadata records say, as one immutable value.
//!
//! The control thread owns an [`Image`], changes it by applying records, and publishes a copy as `Arc<Image>` to every
//! shard after each durable batch; nobody else changes one. A copy costs a few reference counts ([`SharedMap`]), so
//! thousands of topics do not make a change slow. An image never says more than the records up to its
//! [`Image::metadata_offset`], besides the endpoints, which are this process's own settings.
//!
//! Invariants: every topic is found by its name and by its id; `created_at_start <= start_count`.

use super::shared_map::SharedMap;
use super::{BrokerId, ClusterId, LeaderEpoch, PartitionIndex, ProducerId, StartCount, TopicId};
use std::fmt;
use std::sync::Arc;

/// The number of metadata records applied; the offset in the metadata log of the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataOffset(pub u64);

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    cluster_id: ClusterId,
    broker: Arc<BrokerImage>,
    metadata_offset: MetadataOffset,
    start_count: StartCount,
    next_producer_id: ProducerId,
    topics: SharedMap<Arc<str>, Arc<TopicImage>>,
    topics_by_id: SharedMap<TopicId, Arc<TopicImage>>,
}

/// A broker as clients must know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerImage {
    pub id: BrokerId,
    /// Advertised addresses, in the order of `listeners`.
    pub endpoints: Vec<Endpoint>,
}

/// One advertised address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name; a client is told the address of the listener that it came by.
    pub listener: String,
    pub host: String,
    pub port: u16,
}

/// One topic. Immutable: a change makes a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    pub id: TopicId,
    pub name: Arc<str>,
    /// The broker's own: clients may read it, not write it.
    pub internal: bool,
    /// Bounds: 1 to [`super::limits::PARTITIONS_PER_TOPIC_MAX`].
    pub partition_count: i32,
    /// The start during which it was made; see [`Image::leader_epoch`].
    pub created_at_start: StartCount,
    /// What was set on the topic itself: Kafka's names and the values as given, sorted by name, each once. Defaults are
    /// not here.
    pub configs: Vec<(String, String)>,
}

impl Image {
    /// The image before the first record.
    #[must_use]
    pub fn new(cluster_id: ClusterId, broker: BrokerImage) -> Self {
        Self {
            cluster_id,
            broker: Arc::new(broker),
            metadata_offset: MetadataOffset::default(),
            start_count: StartCount::default(),
            next_producer_id: ProducerId(0),
            topics: SharedMap::new(),
            topics_by_id: SharedMap::new(),
        }
    }

    #[must_use]
    pub const fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// This broker.
    #[must_use]
    pub fn broker(&self) -> &BrokerImage {
        &self.broker
    }

    /// Its version: of two images the one with the larger offset is the newer.
    #[must_use]
    pub const fn metadata_offset(&self) -> MetadataOffset {
        self.metadata_offset
    }

    /// The number of this start of the broker, from 1; the incarnation of the commit logs that it writes.
    #[must_use]
    pub const fn start_count(&self) -> StartCount {
        self.start_count
    }

    /// The first producer id that was given to nobody.
    #[must_use]
    pub const fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }

    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics_by_id.get(&id)
    }

    /// All topics in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topics.iter().map(|(_, topic)| topic)
    }

    /// The topics that may not be the same in `older`, in the order of their names: few, if one was made out of the other by few
    /// changes, and none, if those had nothing to do with topics.
    pub fn topics_changed_since<'i>(&'i self, older: &'i Self) -> impl Iterator<Item = &'i Arc<TopicImage>> {
        self.topics.unshared(&older.topics).map(|(_, topic)| topic)
    }

    /// The topics from `name` on, in the order of their names.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topics.iter_from(name).map(|(_, topic)| topic)
    }

    #[must_use]
    pub const fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// The leader epoch of every partition of `topic`: the number of starts of the broker since the topic was made.
    ///
    /// So it begins at 0, and every start raises it before the first append, which is what keeps an offset from being
    /// given twice to different data under the same epoch. Saturates, after two thousand million starts.
    #[must_use]
    pub fn leader_epoch(&self, topic: &TopicImage) -> LeaderEpoch {
        let starts = self.start_count.0.saturating_sub(topic.created_at_start.0);
        LeaderEpoch(i32::try_from(starts).unwrap_or(i32::MAX))
    }

    /// Adds the topic, or replaces the one of the same id. The name must not belong to another id.
    pub fn put_topic(&mut self, topic: TopicImage) {
        assert!(
            topic.created_at_start <= self.start_count,
            "a topic is not made before the start it was made in"
        );
        let topic = Arc::new(topic);
        let same_name = self.topics.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        assert!(same_name.is_none_or(|old| old.id == topic.id), "one name, one topic");
        let same_id = self.topics_by_id.insert(topic.id, Arc::clone(&topic));
        assert!(same_id.is_none_or(|old| old.name == topic.name), "a topic keeps its name");
    }

    /// Takes the topic out and returns it.
    pub fn remove_topic(&mut self, id: TopicId) -> Option<Arc<TopicImage>> {
        let topic = self.topics_by_id.remove(&id)?;
        let named = self.topics.remove(&*topic.name);
        assert!(named.is_some(), "a topic is found by its id and by its name");
        Some(topic)
    }

    /// Counts one more start of the broker.
    pub fn set_start_count(&mut self, start_count: StartCount) {
        assert!(start_count >= self.start_count, "starts are counted upwards");
        self.start_count = start_count;
    }

    /// All ids below `next` are given out.
    pub fn set_next_producer_id(&mut self, next: ProducerId) {
        assert!(next >= self.next_producer_id, "a producer id is given once");
        self.next_producer_id = next;
    }

    /// The records below `offset` are applied.
    pub fn set_metadata_offset(&mut self, offset: MetadataOffset) {
        assert!(offset >= self.metadata_offset, "records are applied in order");
        self.metadata_offset = offset;
    }

    /// Replaces what clients are told of this broker: the process's settings, not a record.
    pub fn set_broker(&mut self, broker: BrokerImage) {
        self.broker = Arc::new(broker);
    }
}

impl TopicImage {
    #[must_use]
    pub fn has_partition(&self, partition: PartitionIndex) -> bool {
        (0..self.partition_count).contains(&partition.0)
    }

    /// The partitions in order.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = PartitionIndex> + use<> {
        (0..self.partition_count).map(PartitionIndex)
    }
}

impl fmt::Display for MetadataOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let mut image = Image::new(ClusterId([7; 16]), BrokerImage::default());
        image.set_start_count(StartCount(3));
        image
    }

    fn topic(id: u8, name: &str) -> TopicImage {
        TopicImage {
            id: TopicId([id; 16]),
            name: name.into(),
            internal: false,
            partition_count: 2,
            created_at_start: StartCount(3),
            configs: Vec::new(),
        }
    }

    #[test]
    fn a_topic_is_found_by_name_and_by_id_until_it_is_removed() {
        let mut image = image();
        image.put_topic(topic(2, "b"));
        image.put_topic(topic(1, "a"));
        assert_eq!(image.topics().map(|topic| &*topic.name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(image.topic("b"), image.topic_by_id(TopicId([2; 16])));
        let published = image.clone();
        assert_eq!(image.remove_topic(TopicId([2; 16])).map(|topic| topic.id), Some(TopicId([2; 16])));
        assert_eq!(image.topic("b"), None);
        assert_eq!(image.topic_by_id(TopicId([2; 16])), None);
        assert_eq!(image.topic_count(), 1);
        assert!(published.topic("b").is_some());
    }

    #[test]
    fn a_new_topic_begins_at_epoch_0_and_each_start_adds_1() {
        let mut image = image();
        image.put_topic(topic(1, "a"));
        let made = Arc::clone(image.topic("a").unwrap());
        assert_eq!(image.leader_epoch(&made), LeaderEpoch(0));
        image.set_start_count(StartCount(5));
        assert_eq!(image.leader_epoch(&made), LeaderEpoch(2));
    }

    #[test]
    fn what_has_nothing_to_do_with_topics_changes_none() {
        let mut image = image();
        image.put_topic(topic(1, "a"));
        let mut newer = image.clone();
        newer.set_next_producer_id(ProducerId(1_000));
        newer.set_start_count(StartCount(4));
        assert_eq!(newer.topics_changed_since(&image).count(), 0);
        newer.put_topic(topic(2, "b"));
        assert_eq!(newer.topics_changed_since(&image).filter(|topic| &*topic.name == "b").count(), 1);
        newer.remove_topic(TopicId([1; 16]));
        assert_eq!(image.topics_changed_since(&newer).filter(|topic| &*topic.name == "a").count(), 1);
    }

    #[test]
    fn partitions_are_numbered_from_0() {
        let topic = topic(1, "a");
        assert_eq!(topic.partitions().map(|p| p.0).collect::<Vec<_>>(), [0, 1]);
        assert!(topic.has_partition(PartitionIndex(1)));
        assert!(!topic.has_partition(PartitionIndex(2)));
        assert!(!topic.has_partition(PartitionIndex(-1)));
    }
}
