//! A cluster as a client sees it: its metadata, a connection to each broker that is needed, and what is tried again.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::connection::{Connection, Reply};
use super::error::check;
use super::metadata::{Metadata, Topic, TopicFault};
use super::settings::{RETRY_PAUSE_MAX, Settings};
use super::{Error, Result};
use crate::model::{BrokerId, ErrorCode, PartitionIndex, TopicId};
use crate::protocol::kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use crate::protocol::kafka::{ApiKey, Request};

/// Where producers, consumers and administration begin. One per thread; every call blocks.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    metadata: Metadata,
    /// At most one per broker.
    connections: BTreeMap<BrokerId, Connection>,
    /// To an address of the settings, whose id is not known: for questions that any broker answers.
    first: Option<Connection>,
    /// Where the next search for an address begins.
    next_bootstrap: usize,
}

/// The code of a topic that is not there; retriable, since it may be on its way.
const ABSENT: Option<ErrorCode> = Some(ErrorCode::UnknownTopicOrPartition);

/// How long a topic that is not there may take to appear, as one does that was created through another broker.
const TOPIC_PATIENCE: Duration = Duration::from_secs(2);

impl Client {
    /// Connects to the first address that answers, and learns the cluster's brokers.
    ///
    /// # Errors
    /// That of the last address, if none answers; what the question for metadata can end with.
    pub fn connect(settings: Settings) -> Result<Self> {
        let mut client = Self {
            settings,
            metadata: Metadata::default(),
            connections: BTreeMap::new(),
            first: None,
            next_bootstrap: 0,
        };
        client.ask_metadata(Some(&[]), false)?;
        Ok(client)
    }

    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is known; ask with [`refresh`](Self::refresh), [`refresh_all`](Self::refresh_all), [`topic`](Self::topic).
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Asks for every topic again.
    ///
    /// # Errors
    /// Of the connection, after retries.
    pub fn refresh_all(&mut self) -> Result<Vec<TopicFault>> {
        self.retrying(|client| client.ask_metadata(None, false))
    }

    /// Asks for these topics again. Topics that are not there are not created.
    ///
    /// # Errors
    /// Of the connection, after retries.
    pub fn refresh(&mut self, topics: &[&str]) -> Result<Vec<TopicFault>> {
        self.retrying(|client| client.ask_metadata(Some(topics), false))
    }

    /// The topic, from memory or asked for. One that is not there is waited for for two seconds; with `create` the broker
    /// may create it, if it is set to (`auto.create.topics.enable`).
    ///
    /// # Errors
    /// `Refused`; of the connection.
    pub fn topic(&mut self, name: &str, create: bool) -> Result<&Topic> {
        let mut retry = self.retry();
        let patience = Instant::now().checked_add(TOPIC_PATIENCE);
        while self.metadata.topic(name).is_none() {
            let Err(error) = self.look_up(name, create) else { continue };
            let absent = error.code() == ABSENT;
            if !error.is_retriable() || absent && patience.is_none_or(|patience| Instant::now() >= patience) {
                return Err(error);
            }
            retry.pause(error)?;
        }
        let absent =
            || Error::Missing { address: self.settings.bootstrap.join(","), what: format!("topic {name}") };
        self.metadata.topic(name).ok_or_else(absent)
    }

    fn look_up(&mut self, name: &str, create: bool) -> Result<()> {
        let faults = self.ask_metadata(Some(&[name]), create)?;
        match faults.iter().find(|fault| fault.topic == name) {
            Some(fault) => Err(Error::refused(fault.code, format!("topic {name}"), None)),
            None if self.metadata.topic(name).is_some() => Ok(()),
            None => {
                Err(Error::refused(ErrorCode::UnknownTopicOrPartition.code(), format!("topic {name}"), None))
            }
        }
    }

    /// The leader of a partition and the topic's id, from memory or asked for.
    ///
    /// # Errors
    /// `NoSuchPartition`; LEADER_NOT_AVAILABLE, if it has none; what [`topic`](Self::topic) ends with.
    pub(super) fn leader(&mut self, topic: &str, index: PartitionIndex) -> Result<(BrokerId, TopicId)> {
        let found = self.topic(topic, false)?;
        let Some(partition) = found.partition(index) else {
            let (topic, count) = (topic.to_owned(), found.partitions.len());
            return Err(Error::NoSuchPartition { topic, partition: index.0, count });
        };
        let (leader, id) = (partition.leader, found.id);
        let none = || Error::refused(ErrorCode::LeaderNotAvailable.code(), format!("{topic}-{index}"), None);
        let leader = leader.filter(|&leader| self.metadata.broker(leader).is_some());
        leader.map(|leader| (leader, id)).ok_or_else(none)
    }

    /// After an error: drops the broker's connection if it is of no more use, and forgets the topics whose leaders may
    /// have changed.
    pub(super) fn after_error<'t>(
        &mut self,
        error: &Error,
        broker: BrokerId,
        topics: impl IntoIterator<Item = &'t str>,
    ) {
        if error.is_connection_lost() {
            self.connections.remove(&broker);
        }
        for topic in topics {
            self.metadata.forget(topic);
        }
    }

    /// Forgets a topic, so that its leaders are asked for again.
    pub(super) fn forget(&mut self, topic: &str) {
        self.metadata.forget(topic);
    }

    /// The connection to a broker, opened if need be.
    ///
    /// # Errors
    /// `Missing`, if the metadata do not name it; what opening ends with.
    pub(super) fn connection(&mut self, broker: BrokerId) -> Result<&mut Connection> {
        if !self.connections.contains_key(&broker) {
            let named = self.metadata.broker(broker).map(|broker| broker.address.clone());
            let unknown = || Error::Missing {
                address: self.settings.bootstrap.join(","),
                what: format!("the address of broker {}", broker.0),
            };
            let connection = Connection::open(&named.ok_or_else(unknown)?, &self.settings)?;
            self.connections.insert(broker, connection);
        }
        let gone = Error::Missing { address: String::new(), what: "a connection".to_owned() };
        self.connections.get_mut(&broker).ok_or(gone)
    }

    /// Asks any broker.
    ///
    /// # Errors
    /// `Version`; of the connection.
    pub(super) fn ask_any<'m, M: Request<'m>>(&mut self, request: &M) -> Result<Reply> {
        let connection = self.any()?;
        let reply = connection.version(M::API_KEY).and_then(|version| connection.call(version, request));
        if reply.as_ref().is_err_and(Error::is_connection_lost) {
            self.first = None;
        }
        reply
    }

    /// Asks the controller, or any broker if none is known: that of a KRaft cluster hands requests on.
    ///
    /// # Errors
    /// `Version`; of the connection.
    pub(super) fn ask_controller<'m, M: Request<'m>>(&mut self, request: &M) -> Result<Reply> {
        match self.known_controller() {
            Some(controller) => self.ask(controller, request),
            None => self.ask_any(request),
        }
    }

    /// The version in which [`ask_controller`](Self::ask_controller) would ask.
    ///
    /// # Errors
    /// `Version`; of the connection.
    pub(super) fn controller_version(&mut self, api_key: ApiKey) -> Result<i16> {
        match self.known_controller() {
            Some(controller) => self.connection(controller)?.version(api_key),
            None => self.any()?.version(api_key),
        }
    }

    fn known_controller(&self) -> Option<BrokerId> {
        self.metadata.controller.filter(|&id| self.metadata.broker(id).is_some())
    }

    /// Asks this broker.
    ///
    /// # Errors
    /// `Version`; of the connection, which is dropped then.
    pub(super) fn ask<'m, M: Request<'m>>(&mut self, broker: BrokerId, request: &M) -> Result<Reply> {
        let connection = self.connection(broker)?;
        let reply = connection.version(M::API_KEY).and_then(|version| connection.call(version, request));
        if let Err(error) = &reply {
            self.after_error(error, broker, []);
        }
        reply
    }

    /// Calls `attempt` until it succeeds, fails for good, or the time for retries is over.
    ///
    /// # Errors
    /// `attempt`'s; `GaveUp`.
    pub(super) fn retrying<T>(&mut self, mut attempt: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        let mut retry = self.retry();
        loop {
            match attempt(self) {
                Err(error) if error.is_retriable() => retry.pause(error)?,
                result => return result,
            }
        }
    }

    /// The same for questions about a topic that any broker knows: one that is not there is not waited for.
    ///
    /// # Errors
    /// `attempt`'s; `GaveUp`.
    pub(super) fn retrying_if_there<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let mut retry = self.retry();
        loop {
            match attempt(self) {
                Err(error) if error.is_retriable() && error.code() != ABSENT => retry.pause(error)?,
                result => return result,
            }
        }
    }

    pub(super) fn retry(&self) -> Retry {
        Retry::new(self.settings.retry_timeout, self.settings.retry_pause)
    }

    /// `None` asks for all topics.
    fn ask_metadata(&mut self, topics: Option<&[&str]>, create: bool) -> Result<Vec<TopicFault>> {
        let connection = self.any()?;
        let version = connection.version(ApiKey::Metadata)?;
        let request = MetadataRequest {
            topics: topics.map(|topics| {
                let row =
                    |&name| MetadataRequestTopic { name: Some(name), ..MetadataRequestTopic::default() };
                topics.iter().map(row).collect()
            }),
            // Before version 4 there was no choice.
            allow_auto_topic_creation: create || version < 4,
            ..MetadataRequest::default()
        };
        let reply = connection.call(version, &request);
        if reply.as_ref().is_err_and(Error::is_connection_lost) {
            self.first = None;
        }
        let reply = reply?;
        let response: MetadataResponse<'_> = reply.body()?;
        check(response.error_code, || "metadata".to_owned(), None)?;
        let faults = self.metadata.apply(&response, topics.is_none());
        let metadata = &self.metadata;
        self.connections.retain(|&id, connection| {
            metadata.broker(id).is_some_and(|broker| broker.address == connection.address())
        });
        Ok(faults)
    }

    /// A connection to whichever address answers first, the one used last or else in turn: those of the settings, then
    /// those that the cluster named.
    fn any(&mut self) -> Result<&mut Connection> {
        if self.first.is_none() {
            let named = self.metadata.brokers().map(|broker| broker.address.clone());
            let addresses: Vec<String> = self.settings.bootstrap.iter().cloned().chain(named).collect();
            let mut last = Error::NoAddress;
            for (place, address) in
                addresses.iter().cycle().skip(self.next_bootstrap).take(addresses.len()).enumerate()
            {
                match Connection::open(address, &self.settings) {
                    Ok(connection) => {
                        self.next_bootstrap = (self.next_bootstrap + place) % addresses.len();
                        self.first = Some(connection);
                        break;
                    }
                    Err(error) => last = error,
                }
            }
            if self.first.is_none() {
                return Err(last);
            }
        }
        self.first.as_mut().ok_or(Error::NoAddress)
    }
}

/// How long to go on trying, and how long to wait between.
#[derive(Debug)]
pub(super) struct Retry {
    began: Instant,
    timeout: Duration,
    pause: Duration,
}

impl Retry {
    pub(super) fn new(timeout: Duration, pause: Duration) -> Self {
        Self { began: Instant::now(), timeout, pause }
    }

    /// Waits before the next try, longer each time.
    ///
    /// # Errors
    /// `GaveUp` because of `last`, when no time is left.
    pub(super) fn pause(&mut self, last: Error) -> Result<()> {
        let after = self.began.elapsed();
        if after.saturating_add(self.pause) > self.timeout {
            return Err(Error::GaveUp { after, last: Box::new(last) });
        }
        thread::sleep(self.pause);
        self.pause = self.pause.saturating_mul(2).min(RETRY_PAUSE_MAX);
        Ok(())
    }
}
