//! The metrics page: its names for ever, and figures in their places.

use std::sync::Arc;

use ringlog::admin::page::{About, Figures, NamedTopics, TOPICS_MAX, render};
use ringlog::broker::driver::{DeviceFigures, MemoryFigures, ShardFigures, ShardState, TurnFigures};
use ringlog::broker::owner::partitions::TopicFigures;
use ringlog::broker::shards::figures::RequestFigures;
use ringlog::model::ProcessFigures;
use ringlog::model::image::TopicImage;
use ringlog::model::{StartCount, TopicId};
use ringlog::protocol::kafka::ApiKey;
use ringlog::storage::shard::figures::LogFigures;

fn shard(number: u16) -> ShardFigures {
    ShardFigures {
        number,
        state: ShardState::Serving,
        requests: RequestFigures::default(),
        topics: Vec::new(),
        partitions: Vec::new(),
        log: LogFigures::default(),
        device: DeviceFigures::default(),
        turns: TurnFigures::default(),
        memory: MemoryFigures::default(),
        mesh_waiting: 0,
    }
}

fn page_of(shards: Vec<ShardFigures>, shard_count: usize) -> String {
    let mut topics = NamedTopics::default();
    topics.follow(&shards);
    let silent_count = shard_count - shards.len();
    page_with(shards, shard_count, silent_count, topics)
}

fn page_with(
    shards: Vec<ShardFigures>,
    shard_count: usize,
    silent_count: usize,
    topics: NamedTopics,
) -> String {
    let listeners = vec!["127.0.0.1:9092".to_owned()];
    let about =
        About { version: "1.2.3", node_id: 7, listeners, memory_bytes_max: 1 << 30, started_ms: 1_500 };
    let process = ProcessFigures { cpu_seconds: 0.25, ..ProcessFigures::default() };
    let figures = Figures { about, shards, shard_count, silent_count, topics, process };
    render(Arc::new(figures)).expect("a string takes everything")
}

fn topic(name: &str) -> Arc<TopicImage> {
    Arc::new(TopicImage {
        id: TopicId([1; 16]),
        name: name.into(),
        internal: false,
        partition_count: 1,
        created_at_start: StartCount::default(),
        configs: Vec::new(),
    })
}

#[test]
fn names_helps_and_kinds_are_those_that_are_documented() {
    let page = page_of(vec![shard(0)], 1);
    let found: String =
        page.lines().filter(|line| line.starts_with("# ")).map(|line| format!("{line}\n")).collect();
    crate::hold("metrics/names.txt", &found);
}

#[test]
fn what_a_shard_has_told_stands_under_its_number() {
    let mut told = shard(3);
    told.requests.note_opened(0);
    told.requests.note_request(ApiKey::Fetch, 100);
    told.requests.note_reply(ApiKey::Fetch, 10, 5_000, &[(1, 2), (-1_000, 1)]);
    told.requests.end_turn(16);
    told.log.arena_bytes = 4_096;
    told.log.arena_free_bytes = 1_096;
    told.turns.turns = 9;
    told.requests.note_broken();
    let page = page_of(vec![told], 2);
    for line in [
        "ringlog_build{version=\"1.2.3\",node_id=\"7\"} 1",
        "ringlog_shards 2",
        "ringlog_shards_silent 1",
        "ringlog_started_seconds 1.5",
        "ringlog_requests_total{shard=\"3\",api=\"Fetch\"} 1",
        "ringlog_request_bytes_total{shard=\"3\",api=\"Fetch\"} 100",
        "ringlog_reply_bytes_total{shard=\"3\",api=\"Fetch\"} 5000",
        "ringlog_request_seconds_sum{shard=\"3\",api=\"Fetch\"} 0.000006",
        "ringlog_request_seconds_bucket{le=\"0.000004\",shard=\"3\",api=\"Fetch\"} 0",
        "ringlog_request_seconds_bucket{le=\"0.000006\",shard=\"3\",api=\"Fetch\"} 1",
        "ringlog_request_seconds_bucket{le=\"+Inf\",shard=\"3\",api=\"Fetch\"} 1",
        "ringlog_errors_total{shard=\"3\",api=\"Fetch\",error=\"OFFSET_OUT_OF_RANGE\"} 2",
        "ringlog_errors_total{shard=\"3\",api=\"Fetch\",error=\"-1000\"} 1",
        "ringlog_connections{shard=\"3\",listener=\"127.0.0.1:9092\"} 1",
        "ringlog_connections_broken_total{shard=\"3\"} 1",
        "ringlog_turns_total{shard=\"3\"} 9",
        "ringlog_stalls_total{shard=\"3\",stage=\"messages\"} 0",
        "ringlog_memory_bytes{shard=\"3\",pool=\"arena\"} 3000",
        "process_cpu_seconds_total 0.25",
    ] {
        assert!(page.lines().any(|found| found == line), "no {line} in\n{page}");
    }
}

fn value_of<'p>(page: &'p str, name: &str) -> Option<&'p str> {
    let start = format!("ringlog_topic_batches_in_total{{topic=\"{name}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&start))
}

#[test]
fn a_topic_is_the_sum_of_its_shards_and_only_so_many_have_series() {
    let figures = TopicFigures { batches_in: 1, ..TopicFigures::default() };
    let named = |number: usize| (topic(&format!("t{number:04}")), figures);
    let (mut first, mut second) = (shard(0), shard(1));
    first.topics = (0..TOPICS_MAX + 2).map(named).collect();
    second.topics = vec![named(0)];
    let page = page_of(vec![first, second], 2);
    assert_eq!(value_of(&page, "t0000"), Some("2"));
    assert_eq!((value_of(&page, "t0999"), value_of(&page, "t1000")), (Some("1"), None));
    assert_eq!(page.matches("ringlog_topic_batches_in_total{").count(), TOPICS_MAX);
    assert!(page.contains("\nringlog_topics_without_series 2\n"), "{page}");
}

/// What counts must not go down: a topic does not lose its series to one whose name comes before its own.
#[test]
fn a_topic_that_has_series_keeps_them_until_it_is_gone() {
    let figures = TopicFigures { batches_in: 1, ..TopicFigures::default() };
    let with = |names: &[&str]| {
        let mut one = shard(0);
        let many = (2..=TOPICS_MAX).map(|number| format!("m{number:04}"));
        let all = many.chain(names.iter().map(|&name| name.to_owned()));
        one.topics = all.map(|name| (topic(&name), figures)).collect();
        [one]
    };
    let mut named = NamedTopics::default();
    let mut seen = |shards: [ShardFigures; 1], name: &str| {
        named.follow(&shards);
        let page = page_with(shards.to_vec(), 1, 0, named.clone());
        value_of(&page, name).is_some()
    };
    assert!(seen(with(&["z"]), "z"));
    assert!(seen(with(&["a", "z"]), "z"));
    assert!(!seen(with(&["a", "z"]), "a"), "there is no room for it");
    assert!(seen(with(&["a"]), "a"));
}
