//! Conversations with a broker, one file per API: what is asked in every version, and the answers as text.
//!
//! The same conversations are held with the broker's core in memory (their transcripts are the golden files), and with a
//! running Ringlog and a running Apache Kafka (`differential`), where the answers are compared field by field. What
//! differs from run to run (ids, ports, times) is replaced by names.

pub mod batches;
mod tree;

mod api_versions;
mod create_topics;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod fetch;
mod find_coordinator;
mod incremental_alter_configs;
mod init_producer_id;
mod list_offsets;
mod metadata;
pub mod produce;
mod refused;

use ringlog::model::TopicId;
use ringlog::protocol::kafka::header::{RequestHeader, ResponseHeader};
use ringlog::protocol::kafka::messages::{create_topics as create, metadata as meta};
use ringlog::protocol::kafka::schema::Schema;
use ringlog::protocol::kafka::{ApiKey, Message, Reader, Request, Writer};
pub use tree::Tree;

/// A conversation, and the name of its golden file.
pub type Conversation = (&'static str, fn(&mut Script<'_>));

/// All conversations.
pub const ALL: &[Conversation] = &[
    ("api_versions", api_versions::talk),
    ("create_topics", create_topics::talk),
    ("delete_topics", delete_topics::talk),
    ("describe_cluster", describe_cluster::talk),
    ("describe_configs", describe_configs::talk),
    ("fetch", fetch::talk),
    ("find_coordinator", find_coordinator::talk),
    ("incremental_alter_configs", incremental_alter_configs::talk),
    ("init_producer_id", init_producer_id::talk),
    ("list_offsets", list_offsets::talk),
    ("metadata", metadata::talk),
    ("produce", produce::talk),
    ("refused", refused::talk),
];

/// Conversations with a broker that makes no topic because it is asked for one, and looks at retention often.
pub const OTHER_SETTINGS: &[Conversation] = &[
    ("incremental_alter_configs_in_time", incremental_alter_configs::segments_and_retention),
    ("metadata_without_auto_creation", metadata::without_auto_creation),
];

/// A broker to talk with, over one connection at a time.
pub trait Broker {
    /// Sends a frame, given without its length.
    fn send(&mut self, frame: &[u8]);
    /// The next answer without its length; `None`: the broker has closed the connection.
    fn receive(&mut self) -> Option<Vec<u8>>;
    /// Opens a new connection in place of the old one.
    fn reconnect(&mut self);
    /// The port that it tells its clients.
    fn port(&self) -> u16;
    /// Wall clock, ms.
    fn now_ms(&self) -> i64;
    /// Lets some time pass.
    fn pause(&mut self, time: std::time::Duration);
}

/// What one case came to, in one version.
#[derive(Debug, PartialEq)]
pub struct Block {
    pub case: String,
    pub version: Option<i16>,
    pub exchanges: Vec<Exchange>,
}

/// A request and what came back.
#[derive(Debug, PartialEq)]
pub struct Exchange {
    /// The API's name, or what a frame made by hand is.
    pub name: String,
    pub request: Tree,
    pub answer: Tree,
}

/// A conversation under way.
pub struct Script<'b> {
    broker: &'b mut dyn Broker,
    blocks: Vec<Block>,
    next_correlation_id: i32,
    next_topic: u32,
    /// What stands in texts, and what is written instead.
    names: Vec<(String, String)>,
    /// Those that are told apart in what comes back.
    producer_ids: Vec<i64>,
    writer: Writer,
}

impl<'b> Script<'b> {
    /// Holds one conversation.
    pub fn run(broker: &'b mut dyn Broker, talk: fn(&mut Script<'_>)) -> Vec<Block> {
        let mut script = Script {
            broker,
            blocks: Vec::new(),
            next_correlation_id: 1,
            next_topic: 0,
            names: Vec::new(),
            producer_ids: Vec::new(),
            writer: Writer::new(),
        };
        let cluster = script.ask(12, &meta::MetadataRequest::default()).field("cluster_id").line();
        script.names.push((cluster, "<cluster>".to_owned()));
        talk(&mut script);
        std::mem::take(&mut script.blocks)
    }

    /// One case in every version that is served.
    pub fn versions(&mut self, api: ApiKey, case: &str, mut talk: impl FnMut(&mut Self, i16)) {
        let versions = api.versions();
        self.versions_from(versions.first, versions.last, case, &mut talk);
    }

    /// One case in some versions.
    pub fn versions_from(&mut self, first: i16, last: i16, case: &str, mut talk: impl FnMut(&mut Self, i16)) {
        for version in first..=last {
            self.blocks.push(Block { case: case.to_owned(), version: Some(version), exchanges: Vec::new() });
            talk(self, version);
        }
    }

    /// One case whose requests say their versions themselves.
    pub fn case(&mut self, case: &str, talk: impl FnOnce(&mut Self)) {
        self.blocks.push(Block { case: case.to_owned(), version: None, exchanges: Vec::new() });
        talk(self);
    }

    /// Sends a request and writes it down with its answer.
    pub fn call<'m, M: Request<'m>>(&mut self, version: i16, request: &M) -> Tree {
        let frame = self.frame(version, request);
        self.call_frame(M::API_KEY, version, &frame)
    }

    /// The same with a frame that was made by hand.
    pub fn call_frame(&mut self, api: ApiKey, version: i16, frame: &[u8]) -> Tree {
        let request = self.request_tree(api, version, frame);
        let answer = self.exchange(api, version, frame);
        self.write_down(api.name(), request, &answer);
        answer
    }

    /// Sends a frame that no codec makes, and writes `what` it is down with the answer, which is read as that to
    /// `version` of `api`.
    pub fn call_raw(&mut self, what: &str, api: ApiKey, version: i16, frame: &[u8]) {
        let answer = self.exchange(api, version, frame);
        self.write_down(what, Tree::Struct(Vec::new()), &answer);
    }

    /// Sends a request that may get no answer, then one that does: tells which came.
    pub fn tell<'m, M: Request<'m>>(&mut self, version: i16, request: &M) {
        let frame = self.frame(version, request);
        let request = self.request_tree(M::API_KEY, version, &frame);
        self.broker.send(&frame);
        self.next_correlation_id += 1;
        let probe =
            self.frame(0, &ringlog::protocol::kafka::messages::api_versions::ApiVersionsRequest::default());
        let expected = self.next_correlation_id;
        self.broker.send(&probe);
        let answer = match self.broker.receive() {
            None => {
                self.broker.reconnect();
                "connection closed"
            }
            Some(reply) if reply[..4] == expected.to_be_bytes() => "no answer",
            Some(_) => {
                self.broker.receive();
                "an answer"
            }
        };
        self.next_correlation_id += 1;
        self.write_down(M::API_KEY.name(), request, &Tree::Leaf(answer.to_owned()));
    }

    /// Sends a request, not written down.
    pub fn ask<'m, M: Request<'m>>(&mut self, version: i16, request: &M) -> Tree {
        let frame = self.frame(version, request);
        self.exchange(M::API_KEY, version, &frame)
    }

    /// A name that was not used before and is written as `name`.
    pub fn name(&mut self, name: &str) -> String {
        self.next_topic += 1;
        let run = self.broker.now_ms() % 1_000_000_000;
        let fresh = format!("{name}-{run:09}-{:03}", self.next_topic);
        self.names.push((fresh.clone(), name.to_owned()));
        fresh
    }

    /// A name like `fresh` with another character is written alike.
    pub fn name_like(&mut self, fresh: &str, from: &str, to: &str) -> String {
        let other = fresh.replace(from, to);
        let written = self.renamed(fresh).replace(from, to);
        self.names.push((other.clone(), written));
        other
    }

    /// Makes a topic with a fresh name that is written as `name`.
    pub fn topic(&mut self, name: &str, partition_count: i32, configs: &[(&str, &str)]) -> String {
        let fresh = self.name(name);
        let mut configs: Vec<_> = configs
            .iter()
            .map(|&(name, value)| create::CreatableTopicConfig { name, value: Some(value) })
            .collect();
        if configs.iter().all(|config| config.name != "retention.ms") {
            configs.push(create::CreatableTopicConfig { name: "retention.ms", value: Some("-1") });
        }
        let topic = create::CreatableTopic {
            name: &fresh,
            num_partitions: partition_count,
            replication_factor: 1,
            configs,
            ..create::CreatableTopic::default()
        };
        let request = create::CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 30_000,
            ..create::CreateTopicsRequest::default()
        };
        let answer = self.ask(7, &request);
        let result = &answer.field("topics").list()[0];
        assert_eq!(result.field("error_code").line(), "0", "{name} is made: {}", answer.line());
        self.await_topic(&fresh, name, partition_count);
        fresh
    }

    /// A broker may know of a topic a moment after its controller does.
    fn await_topic(&mut self, fresh: &str, name: &str, partition_count: i32) {
        for _ in 0..200 {
            let answer = self.ask(12, &named(fresh));
            let topic = &answer.field("topics").list()[0];
            let Tree::Uuid(id) = topic.field("topic_id") else { panic!("no id") };
            let ready = topic.field("partitions").list().iter().filter(|partition| {
                partition.field("error_code").line() == "0" && partition.field("leader_id").number() >= 0
            });
            if ready.count() == usize::try_from(partition_count).expect("a count") {
                self.names.push((TopicId(*id).to_string(), format!("<id of {name}>")));
                self.await_logs(fresh, partition_count);
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{name} does not appear");
    }

    /// Kafka's logs follow its metadata a moment later.
    fn await_logs(&mut self, name: &str, partition_count: i32) {
        use ringlog::protocol::kafka::messages::list_offsets as list;
        for partition_index in 0..partition_count {
            for _ in 0..200 {
                let partition =
                    list::ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() };
                let topic = list::ListOffsetsTopic { name, partitions: vec![partition] };
                let request =
                    list::ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
                let answer = self.ask(9, &request);
                let part = &answer.field("topics").list()[0].field("partitions").list()[0];
                if part.field("error_code").line() == "0" {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }

    /// A producer's id, not used before.
    pub fn producer_id(&mut self) -> i64 {
        let request = ringlog::protocol::kafka::messages::init_producer_id::InitProducerIdRequest::default();
        let id = self.ask(4, &request).field("producer_id").number();
        self.producer_ids.push(id);
        id
    }

    /// The id of a topic.
    pub fn topic_id(&mut self, fresh: &str) -> TopicId {
        let answer = self.ask(12, &named(fresh));
        let Tree::Uuid(id) = answer.field("topics").list()[0].field("topic_id") else { panic!("no id") };
        TopicId(*id)
    }

    /// A topic's own id shall be written as `name`.
    pub fn call_it(&mut self, fresh: &str, name: &str) {
        let id = self.topic_id(fresh).to_string();
        self.names.push((id, format!("<id of {name}>")));
    }

    /// Gives the broker time.
    pub fn pause(&mut self, time: std::time::Duration) {
        self.broker.pause(time);
    }

    /// Wall clock of the broker, ms.
    pub fn now_ms(&self) -> i64 {
        self.broker.now_ms()
    }

    /// A whole frame without its length.
    pub fn frame<'m, M: Request<'m>>(&mut self, version: i16, request: &M) -> Vec<u8> {
        let header = RequestHeader {
            api_key: M::API_KEY,
            api_version: version,
            correlation_id: self.next_correlation_id,
            client_id: Some("script"),
        };
        self.writer.clear();
        header.encode(&mut self.writer).expect("a header");
        request.encode(&mut self.writer, version).expect("a request that the version can carry");
        self.writer.encoded().to_vec()
    }

    fn exchange(&mut self, api: ApiKey, version: i16, frame: &[u8]) -> Tree {
        self.broker.send(frame);
        self.next_correlation_id += 1;
        let Some(reply) = self.broker.receive() else {
            self.broker.reconnect();
            return Tree::Leaf("connection closed".to_owned());
        };
        let sent = frame.get(4..8).unwrap_or_default();
        assert_eq!(&reply[..4], sent, "answers come in the order of their requests");
        let mut reader = Reader::new(&reply);
        ResponseHeader::decode(&mut reader, api, version).expect("a header");
        let body = &reply[reply.len() - reader.remaining()..];
        let (_, response) = schemas(api);
        let (tree, rest) = tree::read(&response, version, api.is_flexible(version), body);
        assert_eq!(rest, 0, "nothing stands behind an answer");
        tree
    }

    fn request_tree(&mut self, api: ApiKey, version: i16, frame: &[u8]) -> Tree {
        let mut reader = Reader::new(frame);
        RequestHeader::decode(&mut reader).expect("a header");
        let body = &frame[frame.len() - reader.remaining()..];
        let (request, _) = schemas(api);
        let (tree, _) = tree::read(&request, version, api.is_flexible(version), body);
        self.readable(&tree, "", false)
    }

    fn write_down(&mut self, name: &str, request: Tree, answer: &Tree) {
        let answer = self.readable(answer, "", true);
        let block = self.blocks.last_mut().expect("a case has begun");
        block.exchanges.push(Exchange { name: name.to_owned(), request, answer });
    }

    /// The tree with names in place of what differs between runs.
    fn readable(&mut self, tree: &Tree, field: &'static str, is_answer: bool) -> Tree {
        match tree {
            Tree::Struct(fields) => {
                let mut readable = Vec::new();
                for (name, value) in fields {
                    if *name == "throttle_time_ms" && value.line() == "0" {
                        continue;
                    }
                    readable.push((*name, self.readable(value, name, is_answer)));
                }
                Tree::Struct(readable)
            }
            Tree::List(elements) => {
                Tree::List(elements.iter().map(|element| self.readable(element, field, is_answer)).collect())
            }
            Tree::Records(bytes) => Tree::Leaf(batches::describe(bytes, &self.producer_ids, is_answer)),
            Tree::Uuid(bytes) if *bytes == [0; 16] => Tree::Leaf("no id".to_owned()),
            Tree::Uuid(bytes) => Tree::Leaf(self.readable_id(*bytes, is_answer)),
            Tree::Leaf(text) => Tree::Leaf(self.readable_leaf(text, field, is_answer)),
            Tree::Null => Tree::Null,
        }
    }

    /// By the topic's name, where that is known; an id that only the broker can have made has none.
    fn readable_id(&self, bytes: [u8; 16], is_answer: bool) -> String {
        let id = TopicId(bytes).to_string();
        let name = self.renamed(&id);
        let invented = bytes.iter().all(|byte| *byte == bytes[0]);
        if name == id && is_answer && !invented { "<an id>".to_owned() } else { name }
    }

    fn readable_leaf(&mut self, text: &str, field: &str, is_answer: bool) -> String {
        match field {
            "port" if text == self.broker.port().to_string() => "<port>".to_owned(),
            "error_code" | "topic_config_error_code" => {
                let code = text.parse().ok().and_then(ringlog::model::ErrorCode::from_code);
                code.map_or(text.to_owned(), |code| code.name().to_owned())
            }
            "producer_id" if is_answer && !text.starts_with('-') => "<an id>".to_owned(),
            "session_id" if is_answer && text != "0" => "<an id>".to_owned(),
            _ => self.renamed(text),
        }
    }

    fn renamed(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (found, name) in self.names.iter().rev() {
            if text.contains(found.as_str()) {
                text = text.replace(found.as_str(), name);
            }
        }
        without_times(&text)
    }
}

impl Drop for Script<'_> {
    /// Tells where a conversation ended that did not come to its end.
    fn drop(&mut self) {
        if let (true, Some(block)) = (std::thread::panicking(), self.blocks.last()) {
            let last = block.exchanges.last().map(|last| format!("{} {}", last.name, last.request.line()));
            eprintln!("in '{}', version {:?}, behind {last:?}", block.case, block.version);
        }
    }
}

/// Metadata of one topic, which shall not be made.
pub fn named(name: &str) -> meta::MetadataRequest<'_> {
    let topic = meta::MetadataRequestTopic { name: Some(name), ..meta::MetadataRequestTopic::default() };
    meta::MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: false,
        ..meta::MetadataRequest::default()
    }
}

/// Thirteen digits are a time of these years.
fn without_times(text: &str) -> String {
    let mut result = String::new();
    let mut digits = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        let is_time = digits.len() == 13 && digits.starts_with('1');
        result.push_str(if is_time { "<time>" } else { &digits });
        digits.clear();
        if character != '\0' {
            result.push(character);
        }
    }
    result
}

macro_rules! schemas {
    ($($api:ident: $module:ident $request:ident $response:ident;)*) => {
        /// Of an API's request and response.
        fn schemas(api: ApiKey) -> (Schema, Schema) {
            use ringlog::protocol::kafka::messages::*;
            match api {
                $(ApiKey::$api => {
                    (<$module::$request as Message<'_>>::SCHEMA, <$module::$response as Message<'_>>::SCHEMA)
                })*
                other => panic!("{other} has no conversation"),
            }
        }
    };
}

schemas! {
    Produce: produce ProduceRequest ProduceResponse;
    Fetch: fetch FetchRequest FetchResponse;
    ListOffsets: list_offsets ListOffsetsRequest ListOffsetsResponse;
    Metadata: metadata MetadataRequest MetadataResponse;
    FindCoordinator: find_coordinator FindCoordinatorRequest FindCoordinatorResponse;
    ApiVersions: api_versions ApiVersionsRequest ApiVersionsResponse;
    CreateTopics: create_topics CreateTopicsRequest CreateTopicsResponse;
    DeleteTopics: delete_topics DeleteTopicsRequest DeleteTopicsResponse;
    InitProducerId: init_producer_id InitProducerIdRequest InitProducerIdResponse;
    DescribeConfigs: describe_configs DescribeConfigsRequest DescribeConfigsResponse;
    IncrementalAlterConfigs: incremental_alter_configs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse;
    DescribeCluster: describe_cluster DescribeClusterRequest DescribeClusterResponse;
}
