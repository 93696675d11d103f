//! Claims of the state machine. Codes and sentences were taken from Apache Kafka 4.2.0, asked the same.

use super::*;
use crate::config::TopicConfig;
use crate::controller::fixtures::{self, random_from};
use crate::model::{BrokerId, ErrorCode, PartitionIndex};

/// What a client sees of a refusal.
type Seen = (ErrorCode, String);

/// Brokers per partition.
type Assigned<'a> = &'a [(i32, &'a [i32])];

/// A state in its first start, and what deciding needs.
struct Bench {
    state: State,
    config: BrokerConfig,
    random: Box<dyn FnMut() -> [u8; 16]>,
}

impl Bench {
    fn new() -> Self {
        let broker = BrokerImage { id: BrokerId(7), endpoints: Vec::new() };
        let state = State::new(ClusterId([1; 16]), broker);
        let mut bench = Self { state, config: fixtures::config(7), random: Box::new(random_from(1)) };
        bench.run(Command::RegisterStart);
        bench
    }

    fn decide(&mut self, command: &Command) -> Result<(Vec<Record>, Reply), Refusal> {
        let before = self.state.clone();
        let mut context = Context { config: &self.config, random: &mut *self.random };
        let decided = self.state.decide(command, &mut context);
        assert_eq!(self.state, before, "deciding changes nothing");
        decided
    }

    fn run(&mut self, command: Command) -> Reply {
        let (records, reply) = self.decide(&command).unwrap();
        for record in &records {
            self.state.apply(record).unwrap();
        }
        reply
    }

    /// Code and sentence per topic; `Ok` is the number of partitions.
    fn create(&mut self, topics: &[NewTopic], mode: CreateMode) -> Vec<(String, Result<i32, Seen>)> {
        let Reply::CreateTopics(outcomes) = self.run(Command::CreateTopics { topics: topics.to_vec(), mode })
        else {
            panic!("another reply");
        };
        let row = |outcome: CreateOutcome| {
            (outcome.name, outcome.result.map(|topic| topic.partition_count).map_err(|r| seen(&r)))
        };
        outcomes.into_iter().map(row).collect()
    }

    fn refusal(&mut self, topic: NewTopic) -> Seen {
        let mut rows = self.create(&[topic], CreateMode::Create);
        assert_eq!(rows.len(), 1);
        rows.remove(0).1.unwrap_err()
    }

    fn delete(&mut self, selectors: &[(Option<&str>, TopicId)]) -> Vec<DeleteOutcome> {
        let selector =
            |&(name, id): &(Option<&str>, TopicId)| TopicSelector { name: name.map(str::to_owned), id };
        match self.run(Command::DeleteTopics { topics: selectors.iter().map(selector).collect() }) {
            Reply::DeleteTopics(outcomes) => outcomes,
            _ => panic!("another reply"),
        }
    }

    fn alter(&mut self, topics: &[(&str, Vec<ConfigChange>)]) -> Vec<Result<(), Seen>> {
        let topics = topics
            .iter()
            .map(|(name, changes)| TopicConfigChanges { name: (*name).to_owned(), changes: changes.clone() })
            .collect();
        match self.run(Command::AlterTopicConfigs { topics, validate_only: false }) {
            Reply::AlterTopicConfigs(outcomes) => {
                outcomes.into_iter().map(|outcome| outcome.result.map_err(|r| seen(&r))).collect()
            }
            _ => panic!("another reply"),
        }
    }

    fn id(&self, name: &str) -> TopicId {
        self.state.image().topic(name).unwrap().id
    }

    fn config(&self, topic: &str, key: &str) -> Option<&str> {
        let configs = &self.state.image().topic(topic).unwrap().configs;
        configs.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

fn seen(refusal: &Refusal) -> Seen {
    (refusal.error_code(), refusal.message())
}

fn topic(name: &str, partition_count: i32, replication_factor: i16) -> NewTopic {
    NewTopic { partition_count, replication_factor, ..fixtures::topic(name) }
}

fn assigned(name: &str, assignments: Assigned<'_>) -> NewTopic {
    let assignment =
        |&(partition, brokers): &(i32, &[i32])| Assignment { partition, brokers: brokers.to_vec() };
    NewTopic { assignments: assignments.iter().map(assignment).collect(), ..topic(name, -1, -1) }
}

fn configured(name: &str, configs: &[(&str, Option<&str>)]) -> NewTopic {
    let config = |&(key, value): &(&str, Option<&str>)| (key.to_owned(), value.map(str::to_owned));
    NewTopic { configs: configs.iter().map(config).collect(), ..topic(name, 1, 1) }
}

fn change(key: &str, operation: ConfigOperation, value: Option<&str>) -> ConfigChange {
    ConfigChange { key: key.to_owned(), operation, value: value.map(str::to_owned) }
}

fn refused<T>(code: ErrorCode, message: &str) -> Result<T, Seen> {
    Err((code, message.to_owned()))
}

#[test]
fn a_topic_is_made_with_what_was_asked_or_the_default() {
    let mut bench = Bench::new();
    let rows = bench.create(&[topic("b", -1, -1), topic("a", 3, 1)], CreateMode::Create);
    assert_eq!(rows, [("b".to_owned(), Ok(4)), ("a".to_owned(), Ok(3))]);
    let image = bench.state.image();
    let made = image.topic("a").unwrap();
    assert!(made.has_partition(PartitionIndex(2)));
    assert_eq!(made.created_at_start, StartCount(1));
    assert_eq!(made.id.0[6] >> 4, 4, "a version 4 UUID");
    assert_eq!(made.id.0[8] >> 6, 2, "of the usual variant");
    assert!(!made.internal);
    assert_eq!(image.metadata_offset(), MetadataOffset(3));
}

#[test]
fn counts_are_refused_as_kafka_does() {
    let mut bench = Bench::new();
    let partitions = "Number of partitions was set to an invalid non-positive value.";
    let factor = "Replication factor must be larger than 0, or -1 to use the default value.";
    let out_of_reach = "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be \
                        reached because only 1 broker(s) are registered.";
    let cases = [
        (0, 1, ErrorCode::InvalidPartitions, partitions),
        (-2, 1, ErrorCode::InvalidPartitions, partitions),
        (1, 0, ErrorCode::InvalidReplicationFactor, factor),
        (1, -2, ErrorCode::InvalidReplicationFactor, factor),
        (0, 0, ErrorCode::InvalidReplicationFactor, factor),
        (1, 2, ErrorCode::InvalidReplicationFactor, out_of_reach),
    ];
    for (partition_count, replication_factor, code, message) in cases {
        let found = bench.refusal(topic("t", partition_count, replication_factor));
        assert_eq!(found, (code, message.to_owned()), "{partition_count} {replication_factor}");
    }
    assert_eq!(bench.state.image().topic_count(), 0);
}

#[test]
fn a_request_for_too_many_partitions_is_refused_as_a_whole() {
    let mut bench = Bench::new();
    bench.create(&[topic("a", 1, 1)], CreateMode::Create);
    for topics in [
        vec![topic("big", 10_001, 1)],
        vec![topic("a", 6_000, 1), topic("b", 6_000, 1), topic("c", 1, 1)],
        vec![topic("x", i32::MAX, 1), topic("y", i32::MAX, 1), topic("z", i32::MAX, 1)],
    ] {
        let refusal = bench.decide(&Command::CreateTopics { topics, mode: CreateMode::Create }).unwrap_err();
        let expected =
            (ErrorCode::PolicyViolation, "Excessively large number of partitions per request.".to_owned());
        assert_eq!(seen(&refusal), expected);
    }
    let rows = bench.create(&[topic("most", 10_000, 1)], CreateMode::Create);
    assert_eq!(rows[0].1, Ok(10_000));
}

#[test]
fn the_partitions_of_the_cluster_are_bounded() {
    let mut bench = Bench::new();
    for number in 0..100 {
        assert_eq!(
            bench.create(&[topic(&format!("t{number}"), 10_000, 1)], CreateMode::Create)[0].1,
            Ok(10_000)
        );
    }
    assert_eq!(bench.refusal(topic("more", 1, 1)).0, ErrorCode::PolicyViolation);
    bench.delete(&[(Some("t5"), TopicId::ZERO)]);
    assert_eq!(bench.create(&[topic("more", 1, 1)], CreateMode::Create)[0].1, Ok(1));
}

#[test]
fn a_name_twice_in_one_request_is_refused_once_and_harms_no_other() {
    let mut bench = Bench::new();
    let rows = bench.create(&[topic("d", 1, 1), topic("e", 1, 1), topic("d", 2, 1)], CreateMode::Create);
    let duplicate = refused(ErrorCode::InvalidRequest, "Duplicate topic name.");
    assert_eq!(rows, [("d".to_owned(), duplicate), ("e".to_owned(), Ok(1))]);
}

#[test]
fn names_are_refused_in_kafkas_order() {
    let mut bench = Bench::new();
    bench.create(&[topic("a", 1, 1), topic("x.y", 1, 1)], CreateMode::Create);
    let exists = (ErrorCode::TopicAlreadyExists, "Topic 'a' already exists.".to_owned());
    assert_eq!(
        bench.refusal(NewTopic { partition_count: 0, ..configured("a", &[("nope", Some("x"))]) }),
        exists
    );
    let collides =
        (ErrorCode::InvalidTopicException, "Topic 'x_y' collides with existing topic: x.y".to_owned());
    assert_eq!(bench.refusal(topic("x_y", 0, 0)), collides);
    let metadata = "Creation of internal topic __cluster_metadata is prohibited.".to_owned();
    assert_eq!(bench.refusal(topic("__cluster_metadata", 1, 1)), (ErrorCode::InvalidRequest, metadata));
    assert_eq!(bench.refusal(topic("bad/name", 0, 0)).0, ErrorCode::InvalidTopicException);
    bench.delete(&[(Some("x.y"), TopicId::ZERO)]);
    assert_eq!(bench.create(&[topic("x_y", 1, 1)], CreateMode::Create)[0].1, Ok(1));
}

#[test]
fn names_of_one_request_do_not_collide_either() {
    let mut bench = Bench::new();
    let rows = bench.create(&[topic("q.y", 1, 1), topic("q_y", 1, 1)], CreateMode::Create);
    assert_eq!(rows[0].1, Ok(1));
    let collides = refused(ErrorCode::InvalidTopicException, "Topic 'q_y' collides with existing topic: q.y");
    assert_eq!(rows[1].1, collides);
}

#[test]
fn assignments_are_checked_as_kafka_does() {
    let mut bench = Bench::new();
    assert_eq!(bench.create(&[assigned("t", &[(1, &[7]), (0, &[7])])], CreateMode::Create)[0].1, Ok(2));
    let gap = "partitions should be a consecutive 0-based integer sequence";
    let empty = "The manual partition assignment includes an empty replica list.";
    let cases: [(Assigned<'_>, &str); 9] = [
        (&[(0, &[7]), (2, &[7])], gap),
        (&[(1, &[7])], gap),
        (&[(-1, &[7]), (0, &[7])], gap),
        (&[(0, &[7]), (0, &[7])], "Found multiple manual partition assignments for partition 0"),
        (&[(0, &[])], empty),
        (&[(0, &[7]), (1, &[])], empty),
        (
            &[(0, &[5])],
            "The manual partition assignment includes broker 5, but no such broker is registered.",
        ),
        (
            &[(0, &[7, 8])],
            "The manual partition assignment includes broker 8, but no such broker is registered.",
        ),
        (&[(0, &[7, 7])], "The manual partition assignment includes the broker 7 more than once."),
    ];
    for (assignments, message) in cases {
        let found = bench.refusal(assigned("u", assignments));
        assert_eq!(found, (ErrorCode::InvalidReplicaAssignment, message.to_owned()));
    }
    let beside = "A manual partition assignment was specified, but replication factor was not set to -1.";
    let found = bench.refusal(NewTopic { replication_factor: 1, ..assigned("u", &[(0, &[7])]) });
    assert_eq!(found, (ErrorCode::InvalidRequest, beside.to_owned()));
    let beside = "A manual partition assignment was specified, but numPartitions was not set to -1.";
    let found = bench.refusal(NewTopic { partition_count: 1, ..assigned("u", &[(0, &[7])]) });
    assert_eq!(found, (ErrorCode::InvalidRequest, beside.to_owned()));
}

#[test]
fn settings_are_checked_and_a_later_value_of_a_key_wins() {
    let mut bench = Bench::new();
    let null = "Null value not supported for topic configs: retention.ms".to_owned();
    assert_eq!(bench.refusal(configured("t", &[("retention.ms", None)])), (ErrorCode::InvalidConfig, null));
    let unknown = configured("t", &[("nope", Some("x"))]);
    for new in [
        unknown.clone(),
        NewTopic { partition_count: 0, ..unknown },
        configured("t", &[("retention.ms", Some("x"))]),
        configured("t", &[("retention.ms", Some("-2"))]),
    ] {
        let expected = TopicConfig::resolve(
            &bench.config,
            &[(new.configs[0].0.clone(), new.configs[0].1.clone().unwrap())],
        );
        let expected = (ErrorCode::InvalidConfig, expected.unwrap_err().to_string());
        assert_eq!(bench.refusal(new), expected);
    }
    let long = "x".repeat(32_768);
    assert_eq!(bench.refusal(configured("t", &[("retention.ms", Some(&long))])).0, ErrorCode::InvalidConfig);
    bench.create(
        &[configured("t", &[("retention.ms", Some("5")), ("retention.ms", Some("6"))])],
        CreateMode::Create,
    );
    assert_eq!(bench.config("t", "retention.ms"), Some("6"));
}

#[test]
fn validating_says_the_same_and_makes_nothing() {
    let mut bench = Bench::new();
    let topics = [topic("v", 3, 1), topic("v.1", 1, 1), topic("v_1", 1, 1), topic("w", 0, 1)];
    let offset = bench.state.image().metadata_offset();
    let validated = bench.create(&topics, CreateMode::ValidateOnly);
    assert_eq!(bench.state.image().topic_count(), 0);
    assert_eq!(bench.state.image().metadata_offset(), offset);
    assert_eq!(bench.create(&topics, CreateMode::Create), validated);
}

#[test]
fn auto_creation_answers_with_the_topic_that_exists() {
    let mut bench = Bench::new();
    bench.create(&[topic("t", 2, 1)], CreateMode::IfAbsent);
    let id = bench.id("t");
    assert_eq!(bench.create(&[topic("t", 9, 1)], CreateMode::IfAbsent)[0].1, Ok(2));
    assert_eq!(bench.id("t"), id);
    assert_eq!(bench.state.image().metadata_offset(), MetadataOffset(2));
    bench.create(&[topic(topic_name::CONSUMER_OFFSETS, 50, 1)], CreateMode::IfAbsent);
    assert!(bench.state.image().topic(topic_name::CONSUMER_OFFSETS).unwrap().internal);
}

#[test]
fn ids_are_neither_reserved_nor_in_use_nor_look_like_an_option() {
    let mut bench = Bench::new();
    // After the version bits are set: begins with '-', then a good one, the same again, then another good one.
    let mut given = [[0xf8; 16], [0; 16], [0; 16], [1; 16]].into_iter();
    bench.random = Box::new(move || given.next().unwrap());
    bench.create(&[topic("a", 1, 1), topic("b", 1, 1)], CreateMode::Create);
    assert_eq!(bench.id("a").0, [0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bench.id("b").0[15], 1);
}

#[test]
fn topics_are_deleted_by_name_or_id_as_kafka_does() {
    let mut bench = Bench::new();
    bench.create(&["a", "b", "c", "d", "e"].map(|name| topic(name, 1, 1)), CreateMode::Create);
    let (zero, unknown) = (TopicId::ZERO, TopicId([0x11; 16]));
    let (a, b, c, d) = (bench.id("a"), bench.id("b"), bench.id("c"), bench.id("d"));
    let rows = bench.delete(&[
        (Some("a"), zero),
        (None, b),
        (None, zero),
        (None, unknown),
        (Some("nope"), zero),
        (Some(""), zero),
        (Some("c"), c),
        (None, d),
        (Some("d"), zero),
        (Some("e"), zero),
        (Some("e"), zero),
        (None, c),
        (None, c),
    ]);
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| (row.name, row.id, row.result.map_err(|refusal| seen(&refusal))))
        .collect();
    let row = |name: Option<&str>, id, result| (name.map(str::to_owned), id, result);
    let no_topic =
        || refused(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.");
    let invalid = |message| refused(ErrorCode::InvalidRequest, message);
    let expected = [
        row(Some("a"), a, Ok(())),
        row(Some("b"), b, Ok(())),
        row(None, zero, invalid("Neither topic name nor id were specified.")),
        row(None, unknown, refused(ErrorCode::UnknownTopicId, "This server does not host this topic ID.")),
        row(Some("nope"), zero, no_topic()),
        row(Some(""), zero, no_topic()),
        row(Some("c"), c, invalid("You may not specify both topic name and topic id.")),
        row(Some("d"), d, invalid("The provided topic name maps to an ID that was already supplied.")),
        row(Some("e"), zero, invalid("Duplicate topic name.")),
        row(None, c, invalid("Duplicate topic id.")),
    ];
    assert_eq!(rows, expected);
    assert_eq!(bench.state.image().topics().map(|topic| &*topic.name).collect::<Vec<_>>(), ["c", "d", "e"]);
}

#[test]
fn settings_are_changed_one_by_one_or_not_at_all() {
    use ConfigOperation::{Append, Delete, Set};
    let mut bench = Bench::new();
    bench.create(&[configured("t", &[("retention.ms", Some("5000"))]), topic("u", 1, 1)], CreateMode::Create);
    let mut alter = |change: ConfigChange| bench.alter(&[("t", vec![change])]).remove(0);
    assert_eq!(alter(change("retention.ms", Set, Some("6000"))), Ok(()));
    assert_eq!(alter(change("nope", Delete, None)), Ok(()));
    assert_eq!(alter(change("cleanup.policy", Append, Some("delete,"))), Ok(()));
    let not_a_list = "Can't APPEND to key retention.ms because its type is not LIST.";
    assert_eq!(
        alter(change("retention.ms", Append, Some("1"))),
        refused(ErrorCode::InvalidConfig, not_a_list)
    );
    let null = refused(ErrorCode::InvalidRequest, "Null value not supported for : retention.ms");
    assert_eq!(alter(change("retention.ms", Set, None)), null);
    let unknown = alter(change("nope", Set, Some("1"))).unwrap_err();
    assert_eq!(unknown.0, ErrorCode::InvalidConfig);
    assert_eq!(bench.config("t", "retention.ms"), Some("6000"));
    assert_eq!(bench.config("t", "cleanup.policy"), Some("delete"));

    let offset = bench.state.image().metadata_offset();
    let twice = vec![change("retention.ms", Set, Some("1")), change("retention.ms", Delete, None)];
    let partial = vec![change("retention.ms", Set, Some("1")), change("nope", Set, Some("1"))];
    let good = vec![change("retention.ms", Set, Some("6000"))];
    let rows = bench.alter(&[("t", twice), ("u", partial), ("nonex", good.clone()), ("", good.clone())]);
    let expected = [
        refused(ErrorCode::InvalidRequest, "Error due to duplicate config keys"),
        Err(unknown),
        refused(ErrorCode::UnknownTopicOrPartition, "The topic 'nonex' does not exist."),
        refused(ErrorCode::InvalidRequest, "Default topic resources are not allowed."),
    ];
    assert_eq!(rows, expected);
    let rows = bench.alter(&[("u", good.clone()), ("u", good.clone())]);
    assert_eq!(rows, [refused(ErrorCode::InvalidRequest, "Each resource must appear at most once.")]);
    assert_eq!(bench.alter(&[("t", good)]), [Ok(())], "what is so already needs no record");
    assert_eq!(bench.state.image().metadata_offset(), offset);
    bench.alter(&[("t", vec![change("retention.ms", Delete, None)])]);
    assert_eq!(bench.config("t", "retention.ms"), None);
}

#[test]
fn a_topic_keeps_the_durability_that_it_was_made_with() {
    use ConfigOperation::{Delete, Set};
    let mut bench = Bench::new();
    let written = configured("w", &[("ringlog.durability", Some("written"))]);
    bench.create(&[topic("s", 1, 1), written], CreateMode::Create);
    let mut alter = |name: &str, key: &str, value: Option<&str>| {
        let operation = if value.is_some() { Set } else { Delete };
        bench.alter(&[(name, vec![change(key, operation, value)])]).remove(0).map_err(|(error, _)| error)
    };
    let fixed = Err(ErrorCode::InvalidConfig);
    assert_eq!(alter("s", "ringlog.durability", Some("written")), fixed);
    assert_eq!(alter("s", "flush.ms", Some("1000")), fixed, "it would mean written");
    assert_eq!(alter("s", "flush.messages", Some("1")), Ok(()), "it means synced");
    assert_eq!(alter("s", "ringlog.durability", Some("synced")), Ok(()));
    assert_eq!(alter("s", "flush.ms", Some("1000")), Ok(()), "synced is said now");
    assert_eq!(alter("w", "flush.ms", Some("1000")), Ok(()));
    assert_eq!(alter("w", "ringlog.durability", Some("synced")), fixed);
    assert_eq!(alter("w", "ringlog.durability", None), Ok(()), "flush.ms means written too");
    assert_eq!(alter("w", "flush.ms", None), fixed);
}

#[test]
fn producer_ids_are_given_in_blocks_until_none_is_left() {
    let mut bench = Bench::new();
    let block = |first| Reply::AllocateProducerIds(ProducerIdBlock { first: ProducerId(first), count: 1000 });
    assert_eq!(bench.run(Command::AllocateProducerIds), block(0));
    assert_eq!(bench.run(Command::AllocateProducerIds), block(1000));
    bench
        .state
        .apply(&Record::ProducerIdsAllocated { next_producer_id: ProducerId(i64::MAX - 999) })
        .unwrap();
    let refusal = bench.decide(&Command::AllocateProducerIds).unwrap_err();
    assert_eq!(refusal.error_code(), ErrorCode::UnknownServerError);
}

#[test]
fn each_start_is_counted() {
    let mut bench = Bench::new();
    assert_eq!(bench.run(Command::RegisterStart), Reply::RegisterStart(StartCount(2)));
    assert_eq!(bench.state.image().start_count(), StartCount(2));
}

#[test]
fn records_that_cannot_follow_are_refused_and_change_nothing() {
    let mut bench = Bench::new();
    bench.create(&[topic("a", 1, 1)], CreateMode::Create);
    let made = TopicImage::clone(bench.state.image().topic("a").unwrap());
    let other = TopicImage { id: TopicId([9; 16]), name: "b".into(), ..made.clone() };
    let broken = [
        TopicImage { id: TopicId([9; 16]), ..made.clone() },
        TopicImage { name: "b".into(), ..made },
        TopicImage { partition_count: 0, ..other.clone() },
        TopicImage { partition_count: i32::MAX, ..other.clone() },
        TopicImage { name: "../x".into(), ..other.clone() },
        TopicImage { created_at_start: StartCount(2), ..other },
    ];
    let broken = broken.map(|topic| Record::TopicCreated { topic });
    let unknown = TopicId([9; 16]);
    let others = [
        Record::BrokerStarted { start_count: StartCount(1) },
        Record::ProducerIdsAllocated { next_producer_id: ProducerId(0) },
        Record::TopicDeleted { topic_id: unknown },
        Record::TopicConfigsChanged { topic_id: unknown, changes: Vec::new() },
    ];
    let before = bench.state.clone();
    for record in broken.iter().chain(&others) {
        assert!(bench.state.apply(record).is_err(), "{record:?}");
        assert_eq!(bench.state, before);
    }
}

#[test]
fn a_message_is_cut_where_old_versions_could_not_carry_it() {
    let refusal = Refusal::TopicExists { name: "ü".repeat(40_000) };
    assert!((4090..=4096).contains(&refusal.message().len()));
}

#[test]
fn what_all_topics_take_is_bounded() {
    let mut bench = Bench::new();
    bench.create(&[topic("small", 1, 1)], CreateMode::Create);
    // No setting takes so long a value; what is stored may still be one of another version of the broker.
    let stored = |number: u32, value_bytes: u64| {
        let mut id = TopicId([1; 16]);
        id.0[..4].copy_from_slice(&number.to_le_bytes());
        let configs = vec![("k".to_owned(), "9".repeat(usize::try_from(value_bytes).unwrap()))];
        let name = format!("x{number:04}").into();
        let created_at_start = StartCount(1);
        let topic = TopicImage { id, name, internal: false, partition_count: 1, created_at_start, configs };
        Record::TopicCreated { topic }
    };
    for number in 0..4_179 {
        bench.state.apply(&stored(number, 32_000)).unwrap();
    }
    let left = METADATA_BYTES_MAX - bench.state.topic_bytes;
    bench.state.apply(&stored(9_999, left - (80 + 5 + 24 + 1) - 30)).unwrap();
    assert_eq!(bench.state.topic_bytes, METADATA_BYTES_MAX - 30);

    let full = ErrorCode::PolicyViolation;
    assert_eq!(bench.refusal(topic("more", 1, 1)).0, full);
    let set = change("retention.ms", ConfigOperation::Set, Some("1"));
    assert_eq!(bench.alter(&[("small", vec![set.clone()])])[0].as_ref().unwrap_err().0, full);
    bench.delete(&[(Some("x0000"), TopicId::ZERO)]);
    assert_eq!(bench.alter(&[("small", vec![set])]), [Ok(())]);
    assert_eq!(bench.create(&[topic("more", 1, 1)], CreateMode::Create)[0].1, Ok(1));
}
