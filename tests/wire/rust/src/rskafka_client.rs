//! rskafka: a client with wire code of its own, acks=all only, offsets in the caller's hand.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, TimeZone, Utc};
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};

use crate::data::{self, Record};
use crate::report::Report;

const PATIENCE_MS: i32 = 10_000;
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(bootstrap: &str, report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut check = |name: &str, check: &dyn Fn(Client) -> CheckFuture| {
        report.check(&format!("rskafka-{name}"), || {
            runtime.block_on(async {
                let client = ClientBuilder::new(vec![bootstrap.to_owned()]).build();
                let client = tokio::time::timeout(PATIENCE, client).await??;
                tokio::time::timeout(PATIENCE, check(client)).await?
            })
        });
    };
    for (name, codec) in [
        ("none", Compression::NoCompression),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ] {
        check(name, &move |client| Box::pin(round_trip(client, codec)));
    }
    check("offsets", &|client| Box::pin(offsets(client)));
    check("record-too-large", &|client| Box::pin(too_large_record(client)));
    check("unknown-topic", &|client| Box::pin(unknown_topic(client)));
    check("topic-exists", &|client| Box::pin(topic_exists(client)));
    check("delete-recreate", &|client| Box::pin(delete_recreate(client)));
}

type CheckFuture = std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

async fn round_trip(client: Client, codec: Compression) -> anyhow::Result<()> {
    let topic = new_topic(&client, "rskafka").await?;
    let partition = open(&client, &topic).await?;
    let sent = data::records(300);
    for part in sent.chunks(100) {
        partition.produce(part.iter().map(outgoing).collect(), codec).await?;
    }
    data::same(&sent, &read(&partition, 0, 300).await?, 0)?;
    data::same(&sent[142..], &read(&partition, 142, 158).await?, 142)
}

async fn offsets(client: Client) -> anyhow::Result<()> {
    let topic = new_topic(&client, "rskafka-offsets").await?;
    let partition = open(&client, &topic).await?;
    let sent = data::records(100);
    let given = partition.produce(sent.iter().map(outgoing).collect(), Compression::NoCompression).await?;
    ensure!(given == (0..100).collect::<Vec<_>>(), "given {given:?}");
    for (at, expected) in [
        (OffsetAt::Earliest, 0),
        (OffsetAt::Latest, 100),
        (OffsetAt::Timestamp(time(sent[42].timestamp)), 42),
        (OffsetAt::Timestamp(time(sent[0].timestamp - 5)), 0),
        (OffsetAt::Timestamp(time(sent[99].timestamp + 1)), -1),
    ] {
        let found = partition.get_offset(at).await?;
        ensure!(found == expected, "{found} instead of {expected} for {at:?}");
    }
    let result = partition.fetch_records(101, 1..1_000_000, 100).await;
    expect_code(result, ProtocolError::OffsetOutOfRange)
}

async fn too_large_record(client: Client) -> anyhow::Result<()> {
    let topic = new_topic(&client, "rskafka-large").await?;
    let partition = open(&client, &topic).await?;
    let record = outgoing(&data::noise(2_000_000));
    let result = partition.produce(vec![record], Compression::NoCompression).await;
    expect_code(result, ProtocolError::MessageTooLarge)?;
    ensure!(partition.get_offset(OffsetAt::Latest).await? == 0, "the refused record is there");
    Ok(())
}

async fn unknown_topic(client: Client) -> anyhow::Result<()> {
    // Not by asking for it: this client allows its creation then.
    let result = client.controller_client()?.delete_topic(data::topic_name("missing"), PATIENCE_MS).await;
    expect_code(result, ProtocolError::UnknownTopicOrPartition)
}

async fn topic_exists(client: Client) -> anyhow::Result<()> {
    let topic = new_topic(&client, "rskafka-exists").await?;
    let result = client.controller_client()?.create_topic(topic.as_str(), 1, 1, PATIENCE_MS).await;
    expect_code(result, ProtocolError::TopicAlreadyExists)
}

async fn delete_recreate(client: Client) -> anyhow::Result<()> {
    let topic = new_topic(&client, "rskafka-recreate").await?;
    let sent = data::records(10);
    let before = open(&client, &topic).await?;
    before.produce(sent.iter().map(outgoing).collect(), Compression::NoCompression).await?;
    client.controller_client()?.delete_topic(topic.as_str(), PATIENCE_MS).await?;
    ensure!(listed(&client, &topic, false).await?, "deleted, and still listed");
    client.controller_client()?.create_topic(topic.as_str(), 1, 1, PATIENCE_MS).await?;
    ensure!(listed(&client, &topic, true).await?, "created, and not listed");
    let after = open(&client, &topic).await?;
    let given = after.produce(vec![outgoing(&sent[1])], Compression::NoCompression).await?;
    ensure!(given == [0], "given {given:?}");
    data::same(&sent[1..2], &read(&after, 0, 1).await?, 0)
}

async fn new_topic(client: &Client, what: &str) -> anyhow::Result<String> {
    let name = data::topic_name(what);
    client.controller_client()?.create_topic(name.as_str(), 1, 1, PATIENCE_MS).await?;
    Ok(name)
}

async fn open(client: &Client, topic: &str) -> anyhow::Result<PartitionClient> {
    Ok(client.partition_client(topic, 0, UnknownTopicHandling::Retry).await?)
}

/// Whether the topic is listed, or not, as `wanted`: at once or, where a broker learns of it later, within seconds.
async fn listed(client: &Client, topic: &str, wanted: bool) -> anyhow::Result<bool> {
    for _ in 0..50 {
        if client.list_topics().await?.iter().any(|listed| listed.name == topic) == wanted {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(false)
}

/// `count` records from `offset` on, over as many fetches as it takes; small ones, so that batches are entered midway.
async fn read(partition: &PartitionClient, offset: i64, count: usize) -> anyhow::Result<Vec<(i64, Record)>> {
    let mut found = Vec::new();
    let mut next = offset;
    for _ in 0..1000 {
        let (records, high_watermark) = partition.fetch_records(next, 1..20_000, 1000).await?;
        found
            .extend(records.into_iter().filter(|r| r.offset >= next).map(|r| (r.offset, incoming(r.record))));
        next = found.last().map_or(offset, |(offset, _)| offset + 1);
        if found.len() >= count {
            ensure!(high_watermark == next, "high watermark {high_watermark}, read up to {next}");
            return Ok(found);
        }
    }
    bail!("{} of {count} records", found.len())
}

fn outgoing(record: &Record) -> rskafka::record::Record {
    rskafka::record::Record {
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.iter().cloned().collect::<BTreeMap<_, _>>(),
        timestamp: time(record.timestamp),
    }
}

fn incoming(record: rskafka::record::Record) -> Record {
    Record {
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().collect(),
        timestamp: record.timestamp.timestamp_millis(),
    }
}

fn time(ms: i64) -> DateTime<Utc> {
    Utc.timestamp_millis_opt(ms).single().expect("a time in range")
}

fn expect_code<T>(result: Result<T, Error>, expected: ProtocolError) -> anyhow::Result<()> {
    match result {
        Err(Error::ServerError { protocol_error, .. }) if protocol_error == expected => Ok(()),
        Err(error) => Err(error).with_context(|| format!("{expected:?} was due")),
        Ok(_) => bail!("no error, {expected:?} was due"),
    }
}
