//! What the client knows of the cluster: brokers, topics, and which broker leads which partition. Pure: it is told
//! answers, and answers questions.

use std::collections::BTreeMap;

use crate::model::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};
use crate::protocol::kafka::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

/// The last answers of the cluster, put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub cluster_id: Option<String>,
    pub controller: Option<BrokerId>,
    brokers: BTreeMap<BrokerId, Broker>,
    topics: BTreeMap<String, Topic>,
}

/// A broker and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: BrokerId,
    /// `HOST:PORT`.
    pub address: String,
    pub rack: Option<String>,
}

/// A topic that the cluster described without an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    /// Zero from brokers that know no ids.
    pub id: TopicId,
    pub is_internal: bool,
    /// In order of their index.
    pub partitions: Vec<Partition>,
}

/// A partition as the cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub index: PartitionIndex,
    /// `None` while it has none.
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
    pub offline: Vec<BrokerId>,
}

/// A topic that the cluster could not describe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFault {
    pub topic: String,
    pub code: i16,
}

impl Metadata {
    /// The brokers in order of their id.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values()
    }

    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.get(&id)
    }

    /// The topics that were asked for so far and are there, in order of name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values()
    }

    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// Takes an answer over. `all`: it was to name every topic, so that what is not in it is gone. Returns the topics
    /// of the answer that have an error; they are forgotten.
    pub(super) fn apply(&mut self, response: &MetadataResponse<'_>, all: bool) -> Vec<TopicFault> {
        self.cluster_id = response.cluster_id.map(str::to_owned).or(self.cluster_id.take());
        self.controller = Some(BrokerId(response.controller_id)).filter(|id| id.0 >= 0);
        self.brokers = response.brokers.iter().map(|row| (BrokerId(row.node_id), broker(row))).collect();
        let mut before = if all { std::mem::take(&mut self.topics) } else { BTreeMap::new() };
        let mut faults = Vec::new();
        for row in &response.topics {
            let Some(name) = row.name else { continue };
            let known = before.remove(name).or_else(|| self.topics.remove(name));
            if row.error_code == 0 {
                self.topics.insert(name.to_owned(), topic(name, row, known));
            } else {
                faults.push(TopicFault { topic: name.to_owned(), code: row.error_code });
            }
        }
        faults
    }

    /// Forgets a topic, so that it is asked for again.
    pub(super) fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }
}

impl Topic {
    /// The partition with this index.
    #[must_use]
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        let place = self.partitions.binary_search_by_key(&index, |partition| partition.index).ok()?;
        self.partitions.get(place)
    }
}

fn broker(row: &MetadataResponseBroker<'_>) -> Broker {
    let host = if row.host.contains(':') { format!("[{}]", row.host) } else { row.host.to_owned() };
    Broker {
        id: BrokerId(row.node_id),
        address: format!("{host}:{}", row.port),
        rack: row.rack.map(str::to_owned),
    }
}

/// The topic of `row`. A broker that lags may still name an older leader than the one known: it is not believed, unless
/// the topic is another one of the same name.
fn topic(name: &str, row: &MetadataResponseTopic<'_>, known: Option<Topic>) -> Topic {
    let known = known.filter(|known| known.id == row.topic_id);
    let newer = |partition: &Partition| {
        let known = known.as_ref()?.partition(partition.index)?;
        (known.leader_epoch > partition.leader_epoch).then(|| known.clone())
    };
    let mut partitions: Vec<Partition> = row.partitions.iter().map(partition).collect();
    for partition in &mut partitions {
        if let Some(newer) = newer(partition) {
            *partition = newer;
        }
    }
    partitions.sort_by_key(|partition| partition.index);
    partitions.dedup_by_key(|partition| partition.index);
    Topic { name: name.to_owned(), id: row.topic_id, is_internal: row.is_internal, partitions }
}

fn partition(row: &MetadataResponsePartition) -> Partition {
    let ids = |nodes: &[i32]| nodes.iter().copied().map(BrokerId).collect();
    Partition {
        index: PartitionIndex(row.partition_index),
        leader: Some(BrokerId(row.leader_id)).filter(|id| id.0 >= 0),
        leader_epoch: LeaderEpoch(row.leader_epoch),
        replicas: ids(&row.replica_nodes),
        isr: ids(&row.isr_nodes),
        offline: ids(&row.offline_replicas),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorCode;

    fn row(name: &str, id: u8, leader_id: i32, leader_epoch: i32) -> MetadataResponseTopic<'_> {
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_id,
            leader_epoch,
            ..MetadataResponsePartition::default()
        };
        MetadataResponseTopic {
            name: Some(name),
            topic_id: TopicId([id; 16]),
            partitions: vec![partition(1), partition(0)],
            ..MetadataResponseTopic::default()
        }
    }

    fn answer(topics: Vec<MetadataResponseTopic<'_>>) -> MetadataResponse<'_> {
        let broker = MetadataResponseBroker { node_id: 1, host: "::1", port: 9092, rack: None };
        MetadataResponse { brokers: vec![broker], topics, controller_id: 1, ..MetadataResponse::default() }
    }

    #[test]
    fn leaders_are_found_and_partitions_sorted() {
        let mut metadata = Metadata::default();
        assert_eq!(metadata.apply(&answer(vec![row("a", 1, 1, 0), row("b", 2, -1, 0)]), false), []);
        let topic = metadata.topic("a").unwrap();
        assert_eq!(topic.partition(PartitionIndex(1)).unwrap().leader, Some(BrokerId(1)));
        assert_eq!(topic.partition(PartitionIndex(2)), None);
        assert_eq!(metadata.topic("b").unwrap().partitions[0].leader, None);
        assert_eq!(metadata.broker(BrokerId(1)).unwrap().address, "[::1]:9092");
        assert_eq!(metadata.controller, Some(BrokerId(1)));
    }

    #[test]
    fn an_older_leader_is_not_believed_unless_the_topic_is_another() {
        let leader = |metadata: &Metadata| metadata.topic("a").unwrap().partitions[0].leader;
        let mut metadata = Metadata::default();
        metadata.apply(&answer(vec![row("a", 1, 2, 5)]), false);
        metadata.apply(&answer(vec![row("a", 1, 3, 4)]), false);
        assert_eq!(leader(&metadata), Some(BrokerId(2)));
        metadata.apply(&answer(vec![row("a", 1, 3, 6)]), false);
        assert_eq!(leader(&metadata), Some(BrokerId(3)));
        metadata.apply(&answer(vec![row("a", 9, 4, 0)]), false);
        assert_eq!(leader(&metadata), Some(BrokerId(4)));
    }

    #[test]
    fn what_an_answer_about_all_leaves_out_is_gone_and_faults_are_handed_on() {
        let mut metadata = Metadata::default();
        metadata.apply(&answer(vec![row("a", 1, 1, 0), row("b", 2, 1, 0)]), false);
        metadata.apply(&answer(vec![row("c", 3, 1, 0)]), false);
        assert_eq!(metadata.topics().count(), 3);
        let code = ErrorCode::UnknownTopicOrPartition.code();
        let broken = MetadataResponseTopic { error_code: code, ..row("b", 2, 1, 0) };
        let faults = metadata.apply(&answer(vec![row("a", 1, 1, 0), broken]), true);
        assert_eq!(faults, [TopicFault { topic: "b".to_owned(), code }]);
        assert_eq!(metadata.topics().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["a"]);
        metadata.forget("a");
        assert_eq!(metadata.topic("a"), None);
    }
}
