//! librdkafka, the client under most languages, through the crate rdkafka.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::data::{self, Record};
use crate::report::Report;

const PATIENCE: Duration = Duration::from_secs(30);
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const MODES: [(&str, &[(&str, &str)]); 4] = [
    ("acks-0", &[("acks", "0")]),
    ("acks-1", &[("acks", "1")]),
    ("acks-all", &[("acks", "all")]),
    ("idempotent", &[("enable.idempotence", "true")]),
];

type Options<'a> = &'a [(&'a str, &'a str)];

pub fn run(bootstrap: &str, report: &mut Report) {
    let broker = Broker { bootstrap };
    for codec in CODECS {
        for (mode, options) in MODES {
            report.check(&format!("librdkafka-{codec}-{mode}"), || broker.round_trip(codec, options));
        }
    }
    report.check("librdkafka-idempotent-pipelined", || broker.pipelined());
    report.check("librdkafka-partitions", || broker.partitions());
    report.check("librdkafka-seek-offset", || broker.seek_offset());
    report.check("librdkafka-seek-time", || broker.seek_time());
    report.check("librdkafka-offset-out-of-range", || broker.offset_out_of_range());
    report.check("librdkafka-long-poll", || broker.long_poll());
    report.check("librdkafka-record-large", || broker.large_record());
    report.check("librdkafka-record-too-large", || broker.too_large_record());
    report.check("librdkafka-unknown-partition", || broker.unknown_partition());
    report.check("librdkafka-unknown-topic", || broker.unknown_topic());
    report.check("librdkafka-topic-exists", || broker.topic_exists());
    report.check("librdkafka-topic-invalid", || broker.topic_invalid());
    report.check("librdkafka-delete-recreate", || broker.delete_recreate());
}

struct Broker<'a> {
    bootstrap: &'a str,
}

impl Broker<'_> {
    fn round_trip(&self, codec: &str, options: Options) -> anyhow::Result<()> {
        let topic = self.new_topic("codec", 1)?;
        let sent = data::records(300);
        let options = [options, &[("compression.type", codec), ("linger.ms", "20")]].concat();
        let delivered = self.produce(&topic, 0, &sent, &options)?;
        if !options.contains(&("acks", "0")) {
            ensure!(delivered == (0..300).collect::<Vec<_>>(), "delivered at {delivered:?}");
        }
        data::same(&sent, &self.consume(&topic, 0, Offset::Beginning, 300)?, 0)
    }

    /// Many small batches, five in flight.
    fn pipelined(&self) -> anyhow::Result<()> {
        let topic = self.new_topic("pipelined", 1)?;
        let sent = data::records(5000);
        let options = [("enable.idempotence", "true"), ("batch.num.messages", "20"), ("linger.ms", "0")];
        self.produce(&topic, 0, &sent, &options)?;
        data::same(&sent, &self.consume(&topic, 0, Offset::Beginning, 5000)?, 0)
    }

    fn partitions(&self) -> anyhow::Result<()> {
        let topic = self.new_topic("partitions", 6)?;
        let sent = data::records(600);
        let (producer, share) = (self.producer(&[("acks", "all")])?, |partition: usize| {
            sent.iter().skip(partition).step_by(6).cloned().collect::<Vec<_>>()
        });
        know(&producer, &topic)?;
        for (n, record) in sent.iter().enumerate() {
            send(&producer, &topic, i32::try_from(n % 6)?, record)?;
        }
        producer.flush(PATIENCE)?;
        for partition in 0..6 {
            let found = self.consume(&topic, i32::try_from(partition)?, Offset::Beginning, 100)?;
            data::same(&share(partition), &found, 0).with_context(|| format!("partition {partition}"))?;
        }
        Ok(())
    }

    fn seek_offset(&self) -> anyhow::Result<()> {
        let topic = self.new_topic("seek", 1)?;
        let sent = data::records(100);
        self.produce(&topic, 0, &sent, &[])?;
        data::same(&sent[42..], &self.consume(&topic, 0, Offset::Offset(42), 58)?, 42)?;
        data::same(&sent[97..], &self.consume(&topic, 0, Offset::OffsetTail(3), 3)?, 97)?;
        ensure!(self.consume(&topic, 0, Offset::End, 0)?.is_empty(), "something behind the end");
        let marks = self.consumer(&[])?.fetch_watermarks(&topic, 0, PATIENCE)?;
        ensure!(marks == (0, 100), "watermarks {marks:?}");
        Ok(())
    }

    fn seek_time(&self) -> anyhow::Result<()> {
        let topic = self.new_topic("time", 1)?;
        let sent = data::records(100);
        // Batches of ten, so that the time lies inside of one.
        self.produce(&topic, 0, &sent, &[("batch.num.messages", "10")])?;
        let consumer = self.consumer(&[])?;
        for (time, expected) in [
            (sent[0].timestamp - 1, Offset::Offset(0)),
            (sent[42].timestamp, Offset::Offset(42)),
            (sent[99].timestamp, Offset::Offset(99)),
            (sent[99].timestamp + 1, Offset::End),
        ] {
            let mut wanted = TopicPartitionList::new();
            wanted.add_partition_offset(&topic, 0, Offset::Offset(time))?;
            let found = consumer.offsets_for_times(wanted, PATIENCE)?;
            let found = found.elements().first().map(|element| element.offset());
            ensure!(found == Some(expected), "{found:?} instead of {expected:?}");
        }
        data::same(&sent[42..], &self.consume(&topic, 0, Offset::Offset(42), 58)?, 42)
    }

    fn offset_out_of_range(&self) -> anyhow::Result<()> {
        let topic = self.new_topic("range", 1)?;
        self.produce(&topic, 0, &data::records(10), &[])?;
        let consumer = self.consumer(&[("auto.offset.reset", "error")])?;
        assign(&consumer, &topic, 0, Offset::Offset(1000))?;
        match consumer.poll(PATIENCE).context("no answer")? {
            Err(KafkaError::MessageConsumption(Code::AutoOffsetReset)) => Ok(()),
            other => Err(unexpected(other.map(|message| message.offset()))),
        }
    }

    /// A fetch that waits is answered by the append, not by its deadline.
    fn long_poll(&self) -> anyhow::Result<()> {
        let topic = self.new_topic("poll", 1)?;
        let consumer = self.consumer(&[("fetch.wait.max.ms", "20000"), ("enable.partition.eof", "false")])?;
        assign(&consumer, &topic, 0, Offset::Beginning)?;
        ensure!(consumer.poll(Duration::from_secs(2)).is_none(), "a record before one was sent");
        let record = &data::records(2)[1..];
        self.produce(&topic, 0, record, &[])?;
        let start = Instant::now();
        let message = consumer.poll(PATIENCE).context("no answer")??;
        ensure!(
            message.offset() == 0 && start.elapsed() < Duration::from_secs(5),
            "after {:?}",
            start.elapsed()
        );
        Ok(())
    }

    fn large_record(&self) -> anyhow::Result<()> {
        let topic = self.new_topic("large", 1)?;
        let sent = [data::noise(900_000), data::noise(10), data::noise(950_000)];
        self.produce(&topic, 0, &sent, &[])?;
        // More than one fetch may hold: the first batch must come all the same.
        let options = [("fetch.message.max.bytes", "1000"), ("enable.partition.eof", "true")];
        let consumer = self.consumer(&options)?;
        assign(&consumer, &topic, 0, Offset::Beginning)?;
        data::same(&sent, &read(&consumer, 3)?, 0)
    }

    fn too_large_record(&self) -> anyhow::Result<()> {
        let topic = self.new_topic("large", 1)?;
        let options = [("message.max.bytes", "4000000")];
        let refused = self.produce(&topic, 0, &[data::noise(2_000_000)], &options);
        expect_code(refused, Code::MessageSizeTooLarge)?;
        self.produce(&topic, 0, &data::records(3), &options)?;
        ensure!(
            self.consumer(&[])?.fetch_watermarks(&topic, 0, PATIENCE)? == (0, 3),
            "the refused record is there"
        );
        Ok(())
    }

    fn unknown_partition(&self) -> anyhow::Result<()> {
        let topic = self.new_topic("partition", 2)?;
        self.produce(&topic, 1, &data::records(1), &[])?;
        let options = [("message.timeout.ms", "5000")];
        expect_code(self.produce(&topic, 99, &data::records(1), &options), Code::UnknownPartition)?;
        let consumer = self.consumer(&[])?;
        assign(&consumer, &topic, 99, Offset::Beginning)?;
        match consumer.poll(PATIENCE).context("no answer")? {
            Err(KafkaError::MessageConsumption(Code::UnknownPartition)) => Ok(()),
            other => Err(unexpected(other.map(|message| message.offset()))),
        }
    }

    fn unknown_topic(&self) -> anyhow::Result<()> {
        let topic = data::topic_name("missing");
        // Without the option the client takes a missing topic for one that is about to appear, for 30 s.
        let options = [("allow.auto.create.topics", "false"), ("topic.metadata.propagation.max.ms", "500")];
        let consumer = self.consumer(&options)?;
        assign(&consumer, &topic, 0, Offset::Beginning)?;
        match consumer.poll(PATIENCE).context("no answer")? {
            Err(KafkaError::MessageConsumption(Code::UnknownTopicOrPartition | Code::UnknownTopic)) => Ok(()),
            other => Err(unexpected(other.map(|message| message.offset()))),
        }
    }

    fn topic_exists(&self) -> anyhow::Result<()> {
        let topic = self.new_topic("exists", 1)?;
        expect_code(self.create(&topic, 1), Code::TopicAlreadyExists)
    }

    fn topic_invalid(&self) -> anyhow::Result<()> {
        expect_code(self.create("with blank", 1), Code::InvalidTopic)?;
        expect_code(self.create(&data::topic_name("none"), 0), Code::InvalidPartitions)
    }

    fn delete_recreate(&self) -> anyhow::Result<()> {
        let topic = self.new_topic("recreate", 1)?;
        self.produce(&topic, 0, &data::records(10), &[])?;
        self.delete(&topic)?;
        expect_code(self.delete(&topic), Code::UnknownTopicOrPartition)?;
        self.create(&topic, 1)?;
        let sent = data::records(5);
        let delivered = self.produce(&topic, 0, &sent, &[])?;
        ensure!(delivered == [0, 1, 2, 3, 4], "delivered at {delivered:?}");
        data::same(&sent, &self.consume(&topic, 0, Offset::Beginning, 5)?, 0)
    }
}

/// The client's own objects, a fresh one for each use.
impl Broker<'_> {
    fn config(&self, options: Options) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap).set("broker.address.family", "v4");
        for (key, value) in options {
            config.set(*key, *value);
        }
        config
    }

    fn producer(&self, options: Options) -> anyhow::Result<ThreadedProducer<Deliveries>> {
        Ok(self.config(options).create_with_context(Deliveries::default())?)
    }

    /// With a group id, which `assign` demands, but nothing is ever committed. The end of a partition is known from an
    /// empty reply, hence the short wait.
    fn consumer(&self, options: Options) -> anyhow::Result<BaseConsumer> {
        let defaults = [
            ("group.id", "wire"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("fetch.wait.max.ms", "50"),
        ];
        Ok(self.config(&[&defaults, options].concat()).create()?)
    }

    fn new_topic(&self, what: &str, partitions: i32) -> anyhow::Result<String> {
        let name = data::topic_name(what);
        self.create(&name, partitions)?;
        Ok(name)
    }

    fn create(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let results = block_on(self.admin()?.create_topics([&topic], &options))?;
        one_result(results)
    }

    fn delete(&self, name: &str) -> anyhow::Result<()> {
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let results = block_on(self.admin()?.delete_topics(&[name], &options))?;
        one_result(results)
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        Ok(self.config(&[]).create()?)
    }

    /// Offsets at which the records were delivered, in the order of delivery.
    fn produce(
        &self,
        topic: &str,
        partition: i32,
        records: &[Record],
        options: Options,
    ) -> anyhow::Result<Vec<i64>> {
        let producer = self.producer(options)?;
        know(&producer, topic)?;
        for record in records {
            send(&producer, topic, partition, record)?;
        }
        producer.flush(PATIENCE)?;
        let delivered = std::mem::take(&mut *producer.context().0.lock().expect("no panic holds it"));
        ensure!(delivered.len() == records.len(), "{} of {} delivered", delivered.len(), records.len());
        Ok(delivered.into_iter().collect::<Result<_, _>>()?)
    }

    fn consume(
        &self,
        topic: &str,
        partition: i32,
        from: Offset,
        count: usize,
    ) -> anyhow::Result<Vec<(i64, Record)>> {
        let consumer = self.consumer(&[])?;
        assign(&consumer, topic, partition, from)?;
        read(&consumer, count)
    }
}

#[derive(Default)]
struct Deliveries(Mutex<Vec<Result<i64, KafkaError>>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let result = result.as_ref().map(Message::offset).map_err(|(error, _)| error.clone());
        self.0.lock().expect("no panic holds it").push(result);
    }
}

/// What librdkafka is given before it knows a topic's partitions it keeps apart, and may mix with what comes while it learns them.
fn know(producer: &ThreadedProducer<Deliveries>, topic: &str) -> anyhow::Result<()> {
    producer.client().fetch_metadata(Some(topic), PATIENCE)?;
    Ok(())
}

fn send(
    producer: &ThreadedProducer<Deliveries>,
    topic: &str,
    partition: i32,
    record: &Record,
) -> anyhow::Result<()> {
    let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value.as_slice()) })
    });
    let mut message = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).timestamp(record.timestamp);
    if !record.headers.is_empty() {
        message = message.headers(headers);
    }
    message.key = record.key.as_deref();
    message.payload = record.value.as_deref();
    Ok(producer.send(message).map_err(|(error, _)| error)?)
}

fn assign(consumer: &BaseConsumer, topic: &str, partition: i32, from: Offset) -> anyhow::Result<()> {
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, partition, from)?;
    Ok(consumer.assign(&partitions)?)
}

/// `count` records or more, up to the end of the partition.
fn read(consumer: &BaseConsumer, count: usize) -> anyhow::Result<Vec<(i64, Record)>> {
    let deadline = Instant::now() + PATIENCE;
    let mut found = Vec::new();
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => found.push((message.offset(), received(&message))),
            Some(Err(KafkaError::PartitionEOF(_))) if found.len() >= count => return Ok(found),
            Some(Err(KafkaError::PartitionEOF(_))) | None => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
    bail!("{} of {count} records after {PATIENCE:?}", found.len())
}

fn received(message: &BorrowedMessage<'_>) -> Record {
    let header =
        |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.unwrap_or_default().to_vec());
    Record {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map(|headers| headers.iter().map(header).collect()).unwrap_or_default(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
    }
}

fn one_result(results: Vec<Result<String, (String, Code)>>) -> anyhow::Result<()> {
    let result = results.into_iter().next().context("no result")?;
    Ok(result.map(|_| ()).map_err(|(_, code)| KafkaError::AdminOp(code))?)
}

fn expect_code<T>(result: anyhow::Result<T>, expected: Code) -> anyhow::Result<()> {
    let Err(error) = result else { bail!("no error, {expected:?} was due") };
    let found = match error.downcast_ref::<KafkaError>() {
        Some(KafkaError::AdminOp(code)) => Some(*code),
        error => error.and_then(KafkaError::rdkafka_error_code),
    };
    ensure!(found == Some(expected), "{error:#} instead of {expected:?}");
    Ok(())
}

fn unexpected(result: Result<i64, KafkaError>) -> anyhow::Error {
    anyhow!("unexpected: {result:?}")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}
