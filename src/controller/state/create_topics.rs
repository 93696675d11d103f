//! Deciding which topics are made. The order of the checks is Kafka's, since it decides which error a client sees.
//!
//! One difference: Kafka lets two names of one request collide, because it compares them with existing topics only;
//! here the second is refused, as it would be in a request of its own.

use super::{
    Assignment, Context, CreateMode, CreateOutcome, NewTopic, Record, Refusal, Reply, State, changed_configs,
    stored_bytes,
};
use crate::config::TopicConfig;
use crate::controller::uuid::random_uuid;
use crate::model::image::TopicImage;
use crate::model::limits::{PARTITIONS_MAX, PARTITIONS_PER_REQUEST_MAX, TOPIC_CONFIG_VALUE_BYTES_MAX};
use crate::model::topic_name::{self, CLUSTER_METADATA, collision_key};
use crate::model::{BrokerId, TopicId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl State {
    pub(super) fn create_topics(
        &self,
        topics: &[NewTopic],
        mode: CreateMode,
        context: &mut Context<'_>,
    ) -> Result<(Vec<Record>, Reply), Refusal> {
        let named = by_first_appearance(topics);
        check_partitions_in_request(&named, context)?;
        // Later topics of the request must see the earlier ones.
        let mut ahead = self.clone();
        let mut records = Vec::new();
        let mut outcomes = Vec::with_capacity(named.len());
        for (new, times) in named {
            let result = ahead.create_topic(new, times, mode, context, &mut records);
            outcomes.push(CreateOutcome { name: new.name.clone(), result });
        }
        if mode == CreateMode::ValidateOnly {
            records.clear();
        }
        Ok((records, Reply::CreateTopics(outcomes)))
    }

    fn create_topic(
        &mut self,
        new: &NewTopic,
        times: usize,
        mode: CreateMode,
        context: &mut Context<'_>,
        records: &mut Vec<Record>,
    ) -> Result<Arc<TopicImage>, Refusal> {
        if times > 1 {
            return Err(Refusal::TopicNamedTwice);
        }
        if let (CreateMode::IfAbsent, Some(existing)) = (mode, self.image.topic(&new.name)) {
            return Ok(Arc::clone(existing));
        }
        self.check_name(&new.name)?;
        let configs = check_configs(&new.configs, context)?;
        let partition_count = self.partition_count_of(new, context)?;
        if self.partition_count + i64::from(partition_count) > PARTITIONS_MAX {
            return Err(Refusal::PartitionsInCluster);
        }
        let topic = TopicImage {
            id: self.fresh_topic_id(context),
            name: new.name.as_str().into(),
            internal: topic_name::is_internal(&new.name),
            partition_count,
            created_at_start: self.image.start_count(),
            configs,
        };
        self.check_room(stored_bytes(&topic.name, &topic.configs))?;
        let record = Record::TopicCreated { topic: topic.clone() };
        self.apply_decided(&record);
        records.push(record);
        Ok(Arc::new(topic))
    }

    fn check_name(&self, name: &str) -> Result<(), Refusal> {
        if name == CLUSTER_METADATA {
            return Err(Refusal::TopicNameReserved { name: name.to_owned() });
        }
        topic_name::check(name)?;
        if self.image.topic(name).is_some() {
            return Err(Refusal::TopicExists { name: name.to_owned() });
        }
        match collision_key(name).and_then(|key| self.collisions.get(&key)) {
            Some(existing) => {
                Err(Refusal::TopicNameCollides { name: name.to_owned(), existing: existing.to_string() })
            }
            None => Ok(()),
        }
    }

    fn partition_count_of(&self, new: &NewTopic, context: &Context<'_>) -> Result<i32, Refusal> {
        if !new.assignments.is_empty() {
            if new.replication_factor != -1 {
                return Err(Refusal::AssignmentBesideReplicationFactor);
            }
            if new.partition_count != -1 {
                return Err(Refusal::AssignmentBesidePartitionCount);
            }
            return self.check_assignments(&new.assignments);
        }
        match new.replication_factor {
            -1 | 1 => {}
            wanted @ 2.. => return Err(Refusal::ReplicationFactorOutOfReach { wanted }),
            _ => return Err(Refusal::ReplicationFactor),
        }
        match new.partition_count {
            -1 => Ok(context.config.num_partitions),
            count @ 1.. => Ok(count),
            _ => Err(Refusal::PartitionCount),
        }
    }

    /// Every partition from 0 on once, each on this broker, which is the only one.
    fn check_assignments(&self, assignments: &[Assignment]) -> Result<i32, Refusal> {
        let mut partitions = BTreeSet::new();
        for Assignment { partition, brokers } in assignments {
            if !partitions.insert(*partition) {
                return Err(Refusal::AssignmentTwice { partition: *partition });
            }
            self.check_replicas(brokers)?;
        }
        let count = i32::try_from(partitions.len()).map_err(|_| Refusal::PartitionsInRequest)?;
        // As many different numbers as there are from 0 to the last.
        let dense = partitions.first() == Some(&0) && partitions.last() == Some(&(count - 1));
        if dense { Ok(count) } else { Err(Refusal::AssignmentGap) }
    }

    fn check_replicas(&self, brokers: &[i32]) -> Result<(), Refusal> {
        let BrokerId(only) = self.image.broker().id;
        if let Some(&broker) = brokers.iter().find(|&&broker| broker != only) {
            return Err(Refusal::AssignmentBrokerUnknown { broker });
        }
        match brokers.len() {
            0 => Err(Refusal::AssignmentEmpty),
            1 => Ok(()),
            _ => Err(Refusal::AssignmentBrokerTwice { broker: only }),
        }
    }

    fn fresh_topic_id(&self, context: &mut Context<'_>) -> TopicId {
        let fresh = |id: &TopicId| self.image.topic_by_id(*id).is_none();
        let mut tries = (0..ID_TRIES_MAX).map(|_| TopicId(random_uuid(context.random)));
        let Some(id) = tries.find(fresh) else { panic!("the source of random bytes repeats itself") };
        id
    }
}

/// Two random ids are never the same by chance, but a simulation may draw few.
const ID_TRIES_MAX: usize = 100;

/// Each name once, where it came first, and how often it came.
fn by_first_appearance(topics: &[NewTopic]) -> Vec<(&NewTopic, usize)> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    topics.iter().filter_map(|topic| Some((topic, times.remove(topic.name.as_str())?))).collect()
}

/// Kafka's bound on one request; topics that will be refused count, those that came twice do not.
fn check_partitions_in_request(topics: &[(&NewTopic, usize)], context: &Context<'_>) -> Result<(), Refusal> {
    let mut total: i64 = 0;
    for (topic, times) in topics {
        if *times > 1 || topic.name == CLUSTER_METADATA {
            continue;
        }
        let assigned = i64::try_from(topic.assignments.len()).unwrap_or(i64::MAX);
        let count = match topic.partition_count {
            _ if assigned > 0 => assigned,
            -1 => i64::from(context.config.num_partitions),
            count => i64::from(count.max(0)),
        };
        total = total.saturating_add(count);
    }
    if total > PARTITIONS_PER_REQUEST_MAX { Err(Refusal::PartitionsInRequest) } else { Ok(()) }
}

fn check_configs(
    configs: &[(String, Option<String>)],
    context: &Context<'_>,
) -> Result<Vec<(String, String)>, Refusal> {
    let mut given = Vec::with_capacity(configs.len());
    for (key, value) in configs {
        let value = value.as_ref().ok_or_else(|| Refusal::ConfigNull { key: key.clone() })?;
        check_value_length(key, value)?;
        given.push((key.clone(), Some(value.clone())));
    }
    let configs = changed_configs(&[], given);
    TopicConfig::resolve(context.config, &configs)?;
    Ok(configs)
}

pub(super) fn check_value_length(key: &str, value: &str) -> Result<(), Refusal> {
    let (found, max) = (value.len(), TOPIC_CONFIG_VALUE_BYTES_MAX);
    if found > max { Err(Refusal::ConfigTooLong { key: key.to_owned(), found, max }) } else { Ok(()) }
}
