//! Administration: topics made, described and deleted, settings and the cluster shown.

use std::time::Duration;

use super::error::check;
use super::{Client, Error, Result};
use crate::model::{BrokerId, TopicId};
use crate::protocol::kafka::ApiKey;
use crate::protocol::kafka::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use crate::protocol::kafka::messages::delete_topics::{
    DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::protocol::kafka::messages::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use crate::protocol::kafka::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
};

/// A topic to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewTopic<'a> {
    pub name: &'a str,
    /// `None`: the broker's default.
    pub partition_count: Option<i32>,
    /// `None`: the broker's default.
    pub replication_factor: Option<i16>,
    /// Settings, key and value.
    pub configs: &'a [(String, String)],
    /// Only ask whether it could be made.
    pub validate_only: bool,
}

/// A topic as it was made. Brokers before Kafka 2.4 do not tell the numbers, those before 2.8 not the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    pub name: String,
    pub id: Option<TopicId>,
    pub partition_count: Option<i32>,
    pub replication_factor: Option<i16>,
}

/// What has settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Topic(&'a str),
    Broker(BrokerId),
}

/// A setting and where its value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// `None`: not set, or a secret.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub is_read_only: bool,
    pub is_sensitive: bool,
}

/// Which of the places that can name a setting named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    Topic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
    /// Another one, by Kafka's number.
    Other(i8),
}

/// The cluster, as one of its brokers describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub id: String,
    pub controller: Option<BrokerId>,
    /// Id and `HOST:PORT`, in order of id.
    pub brokers: Vec<(BrokerId, String)>,
}

impl Client {
    /// Makes a topic.
    ///
    /// # Errors
    /// `Refused` with the broker's sentence; of the connection, after retries.
    pub fn create_topic(&mut self, new: &NewTopic<'_>) -> Result<CreatedTopic> {
        let configs = new
            .configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name, value: Some(value) })
            .collect();
        let topic = CreatableTopic {
            name: new.name,
            num_partitions: new.partition_count.unwrap_or(-1),
            replication_factor: new.replication_factor.unwrap_or(-1),
            configs,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: self.timeout_ms(),
            validate_only: new.validate_only,
        };
        self.at_controller(|client| {
            let reply = client.ask_controller(&request)?;
            let response: CreateTopicsResponse<'_> = reply.body()?;
            let row = response.topics.iter().find(|row| row.name == new.name);
            let row = row.ok_or_else(|| client.left_out(new.name))?;
            check(row.error_code, || format!("topic {}", new.name), row.error_message)?;
            Ok(CreatedTopic {
                name: row.name.to_owned(),
                id: Some(row.topic_id).filter(|&id| id != TopicId::ZERO),
                partition_count: Some(row.num_partitions).filter(|&count| count >= 0),
                replication_factor: Some(row.replication_factor).filter(|&count| count >= 0),
            })
        })
    }

    /// Deletes a topic and all its records.
    ///
    /// # Errors
    /// `Refused`; of the connection, after retries.
    pub fn delete_topic(&mut self, name: &str) -> Result<()> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState { name: Some(name), ..DeleteTopicState::default() }],
            timeout_ms: self.timeout_ms(),
            ..DeleteTopicsRequest::default()
        };
        let by_name = DeleteTopicsRequest {
            topic_names: vec![name],
            timeout_ms: request.timeout_ms,
            ..DeleteTopicsRequest::default()
        };
        self.at_controller(|client| {
            let version = client.controller_version(ApiKey::DeleteTopics)?;
            let reply = client.ask_controller(if version >= 6 { &request } else { &by_name })?;
            let response: DeleteTopicsResponse<'_> = reply.body()?;
            let row = response.responses.iter().find(|row| row.name == Some(name));
            let row = row.ok_or_else(|| client.left_out(name))?;
            check(row.error_code, || format!("topic {name}"), row.error_message)
        })?;
        self.forget(name);
        Ok(())
    }

    /// The settings of a topic or a broker, in the broker's order.
    ///
    /// # Errors
    /// `Refused`; of the connection, after retries.
    pub fn configs(&mut self, resource: Resource<'_>) -> Result<Vec<ConfigEntry>> {
        let (resource_type, name) = match resource {
            Resource::Topic(name) => (RESOURCE_TOPIC, name.to_owned()),
            Resource::Broker(id) => (RESOURCE_BROKER, id.0.to_string()),
        };
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name: &name,
                configuration_keys: None,
            }],
            ..DescribeConfigsRequest::default()
        };
        self.retrying_if_there(|client| {
            // A broker's settings are its own to tell.
            let reply = match resource {
                Resource::Topic(_) => client.ask_any(&request),
                Resource::Broker(id) => client.ask(id, &request),
            }?;
            let response: DescribeConfigsResponse<'_> = reply.body()?;
            let row = response.results.iter().find(|row| row.resource_name == name);
            let row = row.ok_or_else(|| client.left_out(&name))?;
            check(row.error_code, || format!("settings of {name}"), row.error_message)?;
            Ok(row.configs.iter().map(config_entry).collect())
        })
    }

    /// The cluster's id, controller and brokers.
    ///
    /// # Errors
    /// `Refused`; of the connection, after retries.
    pub fn cluster(&mut self) -> Result<Cluster> {
        let request = DescribeClusterRequest::default();
        self.retrying(|client| {
            let reply = client.ask_any(&request)?;
            let response: DescribeClusterResponse<'_> = reply.body()?;
            check(response.error_code, || "cluster".to_owned(), response.error_message)?;
            let mut brokers: Vec<(BrokerId, String)> = response
                .brokers
                .iter()
                .map(|row| (BrokerId(row.broker_id), format!("{}:{}", row.host, row.port)))
                .collect();
            brokers.sort();
            let controller = Some(BrokerId(response.controller_id)).filter(|id| id.0 >= 0);
            Ok(Cluster { id: response.cluster_id.to_owned(), controller, brokers })
        })
    }

    /// As [`Client::retrying_if_there`]; between tries the controller is looked up again.
    fn at_controller<T>(&mut self, mut attempt: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        let mut stale = false;
        self.retrying_if_there(|client| {
            if std::mem::replace(&mut stale, true) {
                client.refresh(&[])?;
            }
            attempt(client)
        })
    }

    fn timeout_ms(&self) -> i32 {
        millis(self.settings().request_timeout)
    }

    fn left_out(&self, what: &str) -> Error {
        Error::Missing { address: self.settings().bootstrap.join(","), what: what.to_owned() }
    }
}

/// For a field of a request; what does not fit waits as long as the field can say.
pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Kafka's numbers of resource types.
const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;

fn config_entry(row: &DescribeConfigsResourceResult<'_>) -> ConfigEntry {
    ConfigEntry {
        name: row.name.to_owned(),
        value: row.value.map(str::to_owned),
        source: match row.config_source {
            1 => ConfigSource::Topic,
            2 => ConfigSource::DynamicBroker,
            3 => ConfigSource::DynamicDefaultBroker,
            4 => ConfigSource::StaticBroker,
            5 => ConfigSource::Default,
            other => ConfigSource::Other(other),
        },
        is_read_only: row.read_only,
        is_sensitive: row.is_sensitive,
    }
}
