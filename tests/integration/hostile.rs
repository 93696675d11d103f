//! Peers that err or attack, many at a time: the broker lives, its memory stays in bounds, and a good client is served.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use ringlog::protocol::kafka::messages as all;
use ringlog::protocol::kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use ringlog::protocol::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ringlog::protocol::kafka::messages::metadata::MetadataRequest;
use ringlog::protocol::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringlog::protocol::kafka::schema::Schema;
use ringlog::protocol::kafka::{ApiKey, Message, Records, Request, Writer, frame};
use ringlog::protocol::records::{BatchBuilder, Codec, NewRecord};

use crate::generate::{self, Choices, Form};
use crate::ledger::Ledger;
use crate::load::{Producer, Random, run_until, seed};
use crate::process::{Broker, PATIENCE, Scratch};

const MEMORY_BYTES: u64 = 128 << 20;
/// What a process takes beside what it accounts for.
const SLACK_BYTES: u64 = 64 << 20;
const CONNECTIONS: usize = 1_000;
const IDLE: &str = "connections.max.idle.ms=8000";

/// What a connection does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    Nothing,
    NegativeLength,
    TooLong,
    Truncated,
    Noise,
    /// A whole request, a byte at a time. It is answered.
    Slow,
    /// Asks for much data and reads none of it.
    FetchesAndNeverReads,
    /// Asks for many small replies and reads none of them.
    AsksAndNeverReads,
    /// Announces a large request and sends none of it.
    ClaimsMemory,
    /// Sends a part of a request that is not large, and stops.
    HoldsMemory,
}

const ATTACKS: [Attack; 10] = [
    Attack::Nothing,
    Attack::NegativeLength,
    Attack::TooLong,
    Attack::Truncated,
    Attack::Noise,
    Attack::Slow,
    Attack::FetchesAndNeverReads,
    Attack::AsksAndNeverReads,
    Attack::ClaimsMemory,
    Attack::HoldsMemory,
];

#[test]
fn a_thousand_hostile_connections_exhaust_nothing() {
    // One descriptor for each connection, beside those of other tests.
    let raised = Command::new("prlimit")
        .args(["--nofile=4096", "--pid", &std::process::id().to_string()])
        .output()
        .is_ok_and(|output| output.status.success());
    let connections = if raised { CONNECTIONS } else { CONNECTIONS / 2 };
    if !raised {
        // Not through the test's own output, which is not shown where it passes.
        let told = "skipped: half of the hostile connections, since prlimit raises no limit\n";
        std::io::stderr().write_all(told.as_bytes()).unwrap();
    }
    let scratch = Scratch::new("hostile");
    let broker = scratch.start(&[IDLE]);
    broker.create_topic("bulk", 1, &[]);
    fill(&broker);
    broker.create_topic("good", 2, &[]);
    let mut ledger = Ledger::new(&[("good", 2)], vec![0]);
    let mut producers: Vec<Producer> =
        (0..2).map(|number| Producer::new(number, number == 0, &ledger, 7)).collect();
    let address = broker.address.clone();
    let ended = thread::scope(|scope| {
        let attack = scope.spawn(|| attack(&address, connections));
        run_until(broker, &mut producers, &mut ledger, 300, |broker| {
            attack.join().unwrap();
            check_memory(&broker);
            broker.signal("TERM");
            broker.wait()
        })
    });
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert!(!ended.said.contains("panicked"), "{}", ended.said);
    let broker = scratch.start(&[]);
    ledger.read_to_end(&mut broker.connect(), &[0; 2]);
    for producer in &producers {
        ledger.check_acknowledged(&producer.acknowledged);
    }
}

/// With the idle time of the defaults, minutes: only want of memory makes the broker close them.
#[test]
fn those_who_let_memory_lie_give_way_to_a_good_client() {
    const HOLDERS: [Attack; 4] =
        [Attack::FetchesAndNeverReads, Attack::AsksAndNeverReads, Attack::ClaimsMemory, Attack::HoldsMemory];
    let scratch = Scratch::new("holders");
    let broker = scratch.start(&[]);
    broker.create_topic("bulk", 1, &[]);
    fill(&broker);
    broker.create_topic("good", 2, &[]);
    let versions = encoded(0, &ApiVersionsRequest::default());
    let mut random = Random::new(seed());
    let mut open = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(&broker.address).unwrap();
        begin(HOLDERS[number % HOLDERS.len()], &mut stream, &versions, &mut random);
        open.push(stream);
    }
    let mut ledger = Ledger::new(&[("good", 2)], vec![0]);
    let mut producer = Producer::new(0, true, &ledger, 11);
    for _ in 0..5 {
        producer.produce(&mut broker.connect(), 40);
        ledger.read_to_end(&mut broker.connect(), &[0; 2]);
    }
    ledger.check_acknowledged(&producer.acknowledged);
    check_memory(&broker);
    drop(open);
}

/// Thirty bytes of request are half a megabyte of reply here. With a connection each, no bound of a connection keeps them.
#[test]
fn large_replies_that_nobody_reads_stay_in_the_bound_of_memory() {
    const CONNECTIONS: usize = 300;
    /// What requests and replies have of the memory.
    const ACCOUNT_BYTES: u64 = 32 << 20;
    const SLACK_BYTES: u64 = 16 << 20;
    let scratch = Scratch::new("large-replies");
    let broker = scratch.start(&[
        &format!("queued.max.request.bytes={ACCOUNT_BYTES}"),
        "socket.request.max.bytes=16777216",
        "arena.bytes=33554432",
        "read.cache.bytes=16777216",
    ]);
    for number in 0..20 {
        broker.create_topic(&format!("topic-{number}"), 1_000, &[]);
    }
    let before = broker.peak_memory_bytes();
    let request = encoded(12, &MetadataRequest { topics: None, ..MetadataRequest::default() });
    let ask = |_| {
        let mut stream = TcpStream::connect(&broker.address).unwrap();
        stream.write_all(&request).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let streams: Vec<TcpStream> = (0..CONNECTIONS).map(ask).collect();
    thread::sleep(Duration::from_secs(2));
    let check = || {
        let grown = broker.peak_memory_bytes() - before;
        assert!(grown <= ACCOUNT_BYTES + SLACK_BYTES, "{} MiB more: {}", grown >> 20, broker.said());
    };
    check();
    // A good client among them is served, when those before it have been let through or closed.
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(b"beside"), ..NewRecord::default() }).unwrap();
    broker.connect().call(12, &produce_request("topic-0", &builder.finish().unwrap())).unwrap();
    // All who have not been closed for letting it lie get their reply, and whole.
    let mut answered = 0;
    for mut stream in streams {
        let mut prefix = [0; 4];
        if stream.read_exact(&mut prefix).is_ok() {
            let mut reply = vec![0; usize::try_from(u32::from_be_bytes(prefix)).unwrap()];
            assert!(reply.len() > 500_000, "{} bytes", reply.len());
            answered += usize::from(stream.read_exact(&mut reply).is_ok());
        }
    }
    assert!(answered >= CONNECTIONS / 2, "{answered} were answered");
    check();
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(b"value"), ..NewRecord::default() }).unwrap();
    broker.connect().call(12, &produce_request("topic-0", &builder.finish().unwrap())).unwrap();
}

/// A part without records is six bytes on the wire, and a hundred times as much where it is worked on.
#[test]
fn frames_of_nothing_but_parts_stay_in_the_bound_of_memory() {
    let scratch = Scratch::new("parts");
    let broker = scratch.start(&[]);
    broker.create_topic("a", 1, &[]);
    for parts in [13_000, 150_000, 1_000_000] {
        let parts = (0..parts).map(|index| PartitionProduceData { index, records: None });
        let topic =
            TopicProduceData { name: "a", partition_data: parts.collect(), ..TopicProduceData::default() };
        let request = ProduceRequest { acks: 1, topic_data: [topic].into(), ..ProduceRequest::default() };
        let request = encoded(12, &request);
        send(&broker.address, &[&request, &request]);
    }
    check_memory(&broker);
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(b"value"), ..NewRecord::default() }).unwrap();
    broker.connect().call(12, &produce_request("a", &builder.finish().unwrap())).unwrap();
}

/// A large request is received by one operation of the kernel's, which ends with its last byte.
#[test]
fn a_steady_upload_may_take_longer_than_a_connection_may_be_idle() {
    let scratch = Scratch::new("steady-idle");
    let broker = scratch.start(&["connections.max.idle.ms=3000"]);
    upload_in(&broker, Duration::from_secs(7));
}

#[test]
fn a_steady_upload_may_take_longer_than_memory_may_lie_while_it_is_wanting() {
    let scratch = Scratch::new("steady-wanting");
    let broker = scratch.start(&[]);
    let address = broker.address.clone();
    // The upload begins while there is memory; then others want all of it, and send nothing.
    let claims = thread::spawn(move || {
        thread::sleep(Duration::from_secs(1));
        let claim = |_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(&(4_i32 << 20).to_be_bytes()).unwrap();
            stream
        };
        (0..40).map(claim).collect::<Vec<_>>()
    });
    upload_in(&broker, Duration::from_secs(9));
    let mut closed = 0;
    for mut stream in claims.join().unwrap() {
        stream.set_nonblocking(true).unwrap();
        closed += usize::from(
            !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock),
        );
    }
    assert!(closed > 0, "memory was not wanting");
}

/// A produce request of a few MiB, sent in as many small steps as that takes, and answered.
fn upload_in(broker: &Broker, time: Duration) {
    const STEPS: u32 = 40;
    broker.create_topic("slow", 1, &[("max.message.bytes", "8388608")]);
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(&vec![1; 3 << 20]), ..NewRecord::default() }).unwrap();
    let request = encoded(12, &produce_request("slow", &builder.finish().unwrap()));
    let mut stream = TcpStream::connect(&broker.address).unwrap();
    for part in request.chunks(request.len().div_ceil(STEPS as usize)) {
        stream.write_all(part).unwrap();
        thread::sleep(time / STEPS);
    }
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reply = [0; 8];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply[4..], 1_i32.to_be_bytes(), "the reply to request 1");
}

fn check_memory(broker: &Broker) {
    let peak = broker.peak_memory_bytes();
    assert!(peak <= MEMORY_BYTES + SLACK_BYTES, "{} MiB were resident: {}", peak >> 20, broker.said());
}

/// 24 MiB to be asked for.
fn fill(broker: &Broker) {
    let mut connection = broker.connect();
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(&vec![1; 900_000]), ..NewRecord::default() }).unwrap();
    let batch = builder.finish().unwrap();
    for _ in 0..27 {
        connection.call(12, &produce_request("bulk", &batch)).unwrap();
    }
}

fn produce_request<'a>(topic: &'a str, batch: &'a [u8]) -> ProduceRequest<'a> {
    let part = PartitionProduceData { index: 0, records: Some(Records::Inline(batch)) };
    let topic =
        TopicProduceData { name: topic, partition_data: [part].into(), ..TopicProduceData::default() };
    ProduceRequest { acks: 1, timeout_ms: 1_000, topic_data: [topic].into(), ..ProduceRequest::default() }
}

fn fetch_request(topic: &str) -> FetchRequest<'_> {
    let part = FetchPartition { partition: 0, partition_max_bytes: 4 << 20, ..FetchPartition::default() };
    let topic = FetchTopic { topic, partitions: vec![part], ..FetchTopic::default() };
    FetchRequest { max_bytes: 4 << 20, min_bytes: 1, topics: vec![topic], ..FetchRequest::default() }
}

fn encoded<'m, M: Request<'m>>(version: i16, request: &M) -> Vec<u8> {
    let mut writer = Writer::new();
    frame::encode_request(&mut writer, version, 1, Some("hostile"), request).unwrap();
    writer.encoded().to_vec()
}

fn attack(address: &str, connections: usize) {
    let versions = encoded(0, &ApiVersionsRequest::default());
    let mut random = Random::new(seed());
    // The slow ones come last: on a busy machine they would be idle for too long before they send anything.
    let attacks = (0..connections).map(|number| ATTACKS[number % ATTACKS.len()]);
    let (slow, fast): (Vec<Attack>, Vec<Attack>) = attacks.partition(|attack| *attack == Attack::Slow);
    let mut open: Vec<(Attack, TcpStream)> = Vec::new();
    for attacks in [fast, slow] {
        let begun = open.len();
        open.extend(attacks.into_iter().map(|attack| (attack, TcpStream::connect(address).unwrap())));
        for (attack, stream) in &mut open[begun..] {
            begin(*attack, stream, &versions, &mut random);
        }
    }
    for byte in &versions {
        for (_, stream) in open.iter_mut().filter(|(attack, _)| *attack == Attack::Slow) {
            stream.write_all(&[*byte]).unwrap();
        }
    }
    for (attack, stream) in &mut open {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reply = [0; 8];
        if *attack == Attack::Slow {
            stream.read_exact(&mut reply).unwrap();
            assert_eq!(reply[4..], 1_i32.to_be_bytes(), "the reply to request 1");
        }
    }
    // All are closed in the end: for what they sent, or because they do nothing more. Nothing need be read from those that
    // are owed something: the end shows all the same.
    for (attack, mut stream) in open {
        let mut rest = [0; 64 << 10];
        loop {
            match stream.read(&mut rest) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("a connection that does {attack:?} is not closed: {error}"),
            }
        }
    }
}

fn begin(attack: Attack, stream: &mut TcpStream, versions: &[u8], random: &mut Random) {
    let noise: Vec<u8> = (0..64).map(|_| random.below(256).to_le_bytes()[0]).collect();
    let flood = |request: &[u8], times: usize| request.repeat(times);
    stream.set_nonblocking(true).unwrap();
    let bytes = match attack {
        Attack::Nothing | Attack::Slow => Vec::new(),
        Attack::NegativeLength => vec![0xff; 8],
        Attack::TooLong => (200_i32 << 20).to_be_bytes().to_vec(),
        Attack::Truncated => versions[..versions.len() - 3].to_vec(),
        Attack::Noise => noise,
        Attack::FetchesAndNeverReads => flood(&encoded(12, &fetch_request("bulk")), 50),
        Attack::AsksAndNeverReads => flood(versions, 50_000),
        Attack::ClaimsMemory => (4_i32 << 20).to_be_bytes().to_vec(),
        Attack::HoldsMemory => [&31_000_i32.to_be_bytes()[..], &[0; 30_000]].concat(),
    };
    let mut rest = &bytes[..];
    // What the broker does not take, because it waits for us to read, stays here.
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(_) => break,
        }
    }
}

/// Requests of every API and version that the broker serves, whole and damaged, each on a connection of its own.
#[test]
fn mutated_requests_of_every_version_are_survived() {
    let scratch = Scratch::new("mutated");
    let broker = scratch.start(&[]);
    broker.create_topic("a", 1, &[]);
    let mut connection = broker.connect();
    let reply = connection.call(0, &ApiVersionsRequest::default()).unwrap();
    let served: ApiVersionsResponse<'_> = reply.body().unwrap();
    let mut random = Random::new(seed());
    let mut sent = 0;
    for row in &served.api_keys {
        let (api, schema) = schema_of(row.api_key);
        for version in row.min_version.max(api.versions().first)..=row.max_version {
            for request in samples(api, &schema, version, &mut random) {
                sent += 1;
                send(&broker.address, &[&request]);
                let mutations: Vec<Vec<u8>> = (0..8).map(|_| mutate(&request, &mut random)).collect();
                for mutated in &mutations {
                    send(&broker.address, &[mutated]);
                }
            }
        }
    }
    assert!(sent > 300, "{sent} requests");
    check_memory(&broker);
    let mut ledger = Ledger::new(&[("good", 1)], vec![0]);
    broker.create_topic("good", 1, &[]);
    let mut producer = Producer::new(0, true, &ledger, 9);
    producer.produce(&mut broker.connect(), 20);
    ledger.read_to_end(&mut broker.connect(), &[0]);
    ledger.check_acknowledged(&producer.acknowledged);
    broker.signal("TERM");
    let ended = broker.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert!(!ended.said.contains("panicked"), "{}", ended.said);
}

macro_rules! requests {
    ($($module:ident $request:ident),*) => {
        [$((
            <all::$module::$request as Message<'_>>::API_KEY,
            <all::$module::$request as Message<'_>>::SCHEMA,
        )),*]
    };
}

fn schema_of(api_key: i16) -> (ApiKey, Schema) {
    let known = requests!(
        api_versions ApiVersionsRequest, describe_cluster DescribeClusterRequest,
        find_coordinator FindCoordinatorRequest, metadata MetadataRequest, describe_configs DescribeConfigsRequest,
        fetch FetchRequest, init_producer_id InitProducerIdRequest, list_offsets ListOffsetsRequest,
        produce ProduceRequest, create_topics CreateTopicsRequest, delete_topics DeleteTopicsRequest,
        incremental_alter_configs IncrementalAlterConfigsRequest
    );
    let found = known.into_iter().find(|(api, _)| ApiKey::from_code(api_key) == Some(*api));
    found.unwrap_or_else(|| panic!("API {api_key} is served, but not attacked here"))
}

/// Random requests, and for data some that name a topic which is there.
fn samples(api: ApiKey, schema: &Schema, version: i16, random: &mut Random) -> Vec<Vec<u8>> {
    let flexible = api.is_flexible(version);
    let mut samples: Vec<Vec<u8>> = (0..6)
        .map(|_| {
            let source: Vec<u8> = (0..400).map(|_| random.below(256).to_le_bytes()[0]).collect();
            let form = Form { version, flexible, unknown_tags: true };
            let body = generate::message(schema, form, &mut Choices { bytes: &source });
            let mut bytes = Vec::new();
            let header =
                [(api as i16).to_be_bytes(), version.to_be_bytes(), [0, 0], [0, 1], [0xff, 0xff]].concat();
            let tags: &[u8] = if flexible { &[0] } else { &[] };
            let length = i32::try_from(header.len() + tags.len() + body.len()).unwrap();
            bytes.extend(length.to_be_bytes());
            bytes.extend(header);
            bytes.extend(tags);
            bytes.extend(body);
            bytes
        })
        .collect();
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(b"value"), ..NewRecord::default() }).unwrap();
    let batch = builder.finish().unwrap();
    match api {
        ApiKey::Produce => samples.extend(vec![encoded(version, &produce_request("a", &batch)); 6]),
        ApiKey::Fetch => samples.extend(vec![encoded(version, &fetch_request("a")); 6]),
        _ => {}
    }
    samples
}

/// A few bytes changed; the length too, at times.
fn mutate(request: &[u8], random: &mut Random) -> Vec<u8> {
    let mut mutated = request.to_vec();
    let from = if random.below(8) == 0 { 0 } else { 4 };
    for _ in 0..=random.below(4) {
        let place = from + random.place(mutated.len() - from);
        mutated[place] = match random.below(4) {
            0 => 0,
            1 => 0xff,
            2 => mutated[place] ^ 1 << random.below(8),
            _ => random.below(256).to_le_bytes()[0],
        };
    }
    if random.below(8) == 0 {
        mutated.truncate(random.place(mutated.len()));
    }
    mutated
}

/// Sends it all and then the end of the stream, upon which the broker closes the connection, whatever it was.
fn send(address: &str, requests: &[&[u8]]) {
    let mut stream = TcpStream::connect(address).unwrap();
    for request in requests {
        // The broker may have closed already.
        let _ = stream.write_all(request);
    }
    let _ = stream.shutdown(Shutdown::Write);
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{requests:02x?}");
    }
}
