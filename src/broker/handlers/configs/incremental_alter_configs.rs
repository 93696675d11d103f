//! IncrementalAlterConfigs (key 44): changes topics' own settings; what is not named stays (KIP-339).
//!
//! The change holds for the logs of this shard before it is answered. A broker's settings cannot be changed while it
//! runs, and other resources do not exist: both are refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::shards::control::Waiting as ControlWaiting;
use crate::broker::shards::{RequestId, Shard};
use crate::controller::state::{
    AlterOutcome, Command, ConfigChange, ConfigOperation, Refusal, Reply, TopicConfigChanges,
};
use crate::model::error_code::ErrorCode;
use crate::protocol::kafka::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use crate::runtime::memory::ArenaMemory;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// Why a resource is not changed.
type Fault = (ErrorCode, String);

/// A request that waits for the controller.
#[derive(Debug)]
pub struct Waiting {
    id: RequestId,
    rows: Vec<Row>,
}

/// One resource of the request.
#[derive(Debug)]
struct Row {
    kind: i8,
    name: String,
    /// `None`: it is the controller's to decide, or nothing is to be changed.
    fault: Option<Fault>,
}

pub fn handle<M: ArenaMemory>(
    shard: &mut Shard<M>,
    id: RequestId,
    request: IncrementalAlterConfigsRequest<'_>,
) {
    let mut times: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for resource in &request.resources {
        *times.entry((resource.resource_type, resource.resource_name)).or_default() += 1;
    }
    let own_id = shard.image.broker().id.0;
    let mut topics = Vec::new();
    let mut rows = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let (kind, name) = (resource.resource_type, resource.resource_name);
        let judged = if times.get(&(kind, name)).is_some_and(|times| *times > 1) {
            Err(invalid("Each resource must appear at most once."))
        } else {
            judge(resource, own_id)
        };
        let fault = match judged {
            Ok(Some(topic)) => {
                topics.push(topic);
                None
            }
            Ok(None) => None,
            Err(fault) => Some(fault),
        };
        rows.push(Row { kind, name: name.to_owned(), fault });
    }
    let waiting = Waiting { id, rows };
    if topics.is_empty() {
        answer(shard, waiting, Vec::new());
        return;
    }
    let command = Command::AlterTopicConfigs { topics, validate_only: request.validate_only };
    shard.ask_controller(command, ControlWaiting::AlterConfigs(waiting));
}

/// The controller has decided; the image with the changes is here.
pub fn handle_answer<M: ArenaMemory>(shard: &mut Shard<M>, waiting: Waiting, reply: Result<Reply, Refusal>) {
    let of_topics = |row: &&Row| row.kind == TOPIC && row.fault.is_none();
    let outcomes = match reply {
        Ok(Reply::AlterTopicConfigs(outcomes)) => outcomes,
        other => {
            let refusal = other.err().unwrap_or(Refusal::Storage);
            let refused = |row: &Row| AlterOutcome { name: row.name.clone(), result: Err(refusal.clone()) };
            waiting.rows.iter().filter(of_topics).map(refused).collect()
        }
    };
    answer(shard, waiting, outcomes);
}

/// `outcomes`: one for each topic that has no fault yet, in order.
fn answer<M: ArenaMemory>(shard: &mut Shard<M>, mut waiting: Waiting, outcomes: Vec<AlterOutcome>) {
    let open = waiting.rows.iter_mut().filter(|row| row.kind == TOPIC && row.fault.is_none());
    for (row, outcome) in open.zip(outcomes) {
        debug_assert_eq!(row.name, outcome.name, "the controller answers in order");
        row.fault = outcome.result.err().map(|refusal| (refusal.error_code(), refusal.message()));
    }
    let responses = waiting
        .rows
        .iter()
        .map(|row| AlterConfigsResourceResponse {
            error_code: row.fault.as_ref().map_or(0, |(error, _)| error.code()),
            error_message: row.fault.as_ref().map(|(_, message)| message.as_str()),
            resource_type: row.kind,
            resource_name: &row.name,
        })
        .collect();
    let response =
        IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() };
    shard.reply(&waiting.id, &response, Vec::new());
}

/// What the controller is to decide; `None` if nothing is to be changed.
fn judge(resource: &AlterConfigsResource<'_>, own_id: i32) -> Result<Option<TopicConfigChanges>, Fault> {
    check_keys(&resource.configs)?;
    match resource.resource_type {
        TOPIC => {
            let changes = resource.configs.iter().map(change).collect::<Result<_, Fault>>()?;
            Ok(Some(TopicConfigChanges { name: resource.resource_name.to_owned(), changes }))
        }
        BROKER => judge_broker(resource, own_id).map(|()| None),
        BROKER_LOGGER => Err(invalid("The levels of a broker's loggers cannot be changed while it runs.")),
        CLIENT_METRICS => Err(invalid("There are no client metrics.")),
        GROUP => Err(invalid("There are no groups.")),
        other => Err(invalid(&format!("Unknown resource type {other}"))),
    }
}

fn check_keys(configs: &[AlterableConfig<'_>]) -> Result<(), Fault> {
    let mut keys = BTreeSet::new();
    if !configs.iter().all(|config| keys.insert(config.name)) {
        return Err(invalid("Error due to duplicate config keys"));
    }
    let needs_value =
        |config: &&AlterableConfig<'_>| config.config_operation != DELETE && config.value.is_none();
    let nulls: Vec<&str> = configs.iter().filter(needs_value).map(|config| config.name).collect();
    if nulls.is_empty() {
        return Ok(());
    }
    Err(invalid(&format!("Null value not supported for : {}", nulls.join(", "))))
}

fn judge_broker(resource: &AlterConfigsResource<'_>, own_id: i32) -> Result<(), Fault> {
    let name = resource.resource_name;
    // Without a name all brokers are meant.
    if !name.is_empty() {
        let Ok(id) = name.parse::<i32>() else {
            return Err(invalid(&format!("Node id must be an integer, but it is: {name}")));
        };
        if id != own_id {
            return Err(invalid(&format!("Unexpected broker id, expected {own_id}, but received {id}")));
        }
    }
    let keys: Vec<&str> = resource.configs.iter().map(|config| config.name).collect();
    if keys.is_empty() {
        return Ok(());
    }
    Err(invalid(&format!("Cannot update these configs dynamically: Set({})", keys.join(", "))))
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn change(config: &AlterableConfig<'_>) -> Result<ConfigChange, Fault> {
    let operation = match config.config_operation {
        SET => ConfigOperation::Set,
        DELETE => ConfigOperation::Delete,
        APPEND => ConfigOperation::Append,
        SUBTRACT => ConfigOperation::Subtract,
        other => return Err(invalid(&format!("Unknown operation {other}"))),
    };
    Ok(ConfigChange { key: config.name.to_owned(), operation, value: config.value.map(str::to_owned) })
}

fn invalid(message: &str) -> Fault {
    (ErrorCode::InvalidRequest, message.to_owned())
}
