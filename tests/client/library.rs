//! The Rust client against a real broker.

use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringlog::client::admin::{ConfigSource, NewTopic, Resource};
use ringlog::client::*;
use ringlog::model::{ErrorCode, Offset, PartitionIndex};
use ringlog::protocol::records::{Codec, Header, NewRecord};

use crate::broker::{Broker, shared};

fn client(broker: &Broker) -> Client {
    Client::connect(Settings::new(&broker.address).unwrap()).unwrap()
}

/// A topic of this test alone.
fn topic(broker: &Broker, name: &str, partitions: i32) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("client-{name}-{now}");
    let new = NewTopic {
        name: &name,
        partition_count: Some(partitions),
        replication_factor: None,
        configs: &[],
        validate_only: false,
    };
    client(broker).create_topic(&new).unwrap();
    name
}

type Seen = (i32, i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn own(bytes: Option<&[u8]>) -> Option<Vec<u8>> {
    bytes.map(<[u8]>::to_vec)
}

/// Everything from `start` to the end of these partitions, in the order in which it came.
fn consume(broker: &Broker, topic: &str, partitions: i32, start: Start) -> Vec<Seen> {
    let mut consumer = Consumer::new(client(broker), ConsumerSettings::default());
    for partition in 0..partitions {
        consumer.assign(topic, PartitionIndex(partition), start).unwrap();
    }
    let mut seen = Vec::new();
    loop {
        let polled = consumer
            .poll(Duration::from_millis(500), |from| {
                let record = from.record;
                let headers = record.headers.iter().map(|header| (header.key.to_vec(), own(header.value)));
                let (offset, time) = (record.offset.0, record.timestamp);
                seen.push((
                    from.partition.0,
                    offset,
                    time,
                    own(record.key),
                    own(record.value),
                    headers.collect(),
                ));
                ControlFlow::Continue(())
            })
            .unwrap();
        if polled.at_end {
            return seen;
        }
    }
}

#[test]
fn what_is_produced_with_every_codec_is_consumed_as_it_was() {
    let broker = shared();
    for codec in Codec::ALL {
        let topic = topic(&broker, codec.name(), 1);
        let mut producer = Producer::new(
            client(&broker),
            ProducerSettings { codec, batch_bytes: 20_000, ..ProducerSettings::default() },
        )
        .unwrap();
        let large = vec![b'x'; 10_000];
        let header = |key: &'static str, value| Header { key: key.as_bytes(), value };
        let headers = [header("trace", Some(&b"\x00\xff"[..])), header("none", None)];
        let records: Vec<NewRecord<'_>> = (0..200_i64)
            .zip((0..3_usize).cycle())
            .map(|(n, kind)| NewRecord {
                timestamp: 1_700_000_000_000 + n,
                key: [None, Some(&b"key"[..]), Some(&[])][kind],
                value: [Some(&large[..]), None, Some(&[])][kind],
                headers: &headers[..kind],
            })
            .collect();
        for (number, record) in (0..).zip(&records) {
            let sent = producer.send(&topic, Some(PartitionIndex(0)), record).unwrap();
            assert_eq!(sent.record, number);
        }
        producer.flush().unwrap();
        let mut next = 0;
        while let Some(delivery) = producer.next_delivery() {
            let expected = Offset(delivery.first_record.cast_signed());
            assert_eq!(delivery.outcome.unwrap(), Some(expected), "{codec}");
            assert_eq!(delivery.first_record, next);
            next += u64::from(delivery.record_count.unsigned_abs());
        }
        assert_eq!(next, 200);
        let expected: Vec<Seen> = (0..)
            .zip(&records)
            .map(|(n, r)| {
                let headers = r.headers.iter().map(|h| (h.key.to_vec(), own(h.value))).collect();
                (0, n, r.timestamp, own(r.key), own(r.value), headers)
            })
            .collect();
        assert_eq!(consume(&broker, &topic, 1, Start::At(Place::Beginning)), expected, "{codec}");
        assert_eq!(consume(&broker, &topic, 1, Start::Offset(Offset(150))), expected[150..], "{codec}");
        let time = Start::At(Place::Time(1_700_000_000_077));
        assert_eq!(consume(&broker, &topic, 1, time), expected[77..], "{codec}");
        assert_eq!(consume(&broker, &topic, 1, Start::At(Place::End)), [], "{codec}");
        client(&broker).delete_topic(&topic).unwrap();
    }
}

#[test]
fn records_of_a_key_meet_and_all_partitions_are_read() {
    let broker = shared();
    let topic = topic(&broker, "keys", 4);
    // Without acknowledgement last: what a broker refuses that is not ready yet, nobody sends again.
    for acks in [Acks::All, Acks::Leader, Acks::None] {
        let settings = ProducerSettings { acks, idempotent: false, ..ProducerSettings::default() };
        let mut producer = Producer::new(client(&broker), settings).unwrap();
        for n in 0..1000_u32 {
            let key = (n % 50).to_be_bytes();
            let value = n.to_be_bytes();
            let record = NewRecord { key: Some(&key), value: Some(&value), timestamp: 1, headers: &[] };
            producer.send(&topic, None, &record).unwrap();
        }
        producer.flush().unwrap();
    }
    let began = Instant::now();
    let seen = loop {
        // Nobody says when what was sent without acknowledgement has arrived.
        let seen = consume(&broker, &topic, 4, Start::At(Place::Beginning));
        if seen.len() >= 3000 || began.elapsed() > Duration::from_secs(10) {
            break seen;
        }
    };
    assert_eq!(seen.len(), 3000);
    let mut homes = std::collections::BTreeMap::new();
    for (partition, _, _, key, ..) in &seen {
        assert_eq!(homes.entry(key.clone()).or_insert(*partition), partition);
    }
    let used: std::collections::BTreeSet<_> = homes.values().collect();
    assert_eq!((homes.len(), used.len()), (50, 4));
}

#[test]
fn what_the_broker_refuses_keeps_its_code() {
    let broker = shared();
    let topic = topic(&broker, "refused", 1);
    let mut client = client(&broker);
    let again = NewTopic {
        name: &topic,
        partition_count: None,
        replication_factor: None,
        configs: &[],
        validate_only: false,
    };
    assert_eq!(client.create_topic(&again).unwrap_err().code(), Some(ErrorCode::TopicAlreadyExists));
    let illegal = NewTopic { name: "a/b", ..again };
    assert_eq!(client.create_topic(&illegal).unwrap_err().code(), Some(ErrorCode::InvalidTopicException));
    let nonsense = [("retention.ms".to_owned(), "soon".to_owned())];
    let wrong = NewTopic { name: "client-wrong", configs: &nonsense, ..again };
    assert_eq!(client.create_topic(&wrong).unwrap_err().code(), Some(ErrorCode::InvalidConfig));
    let absent = client.delete_topic("client-absent").unwrap_err();
    assert_eq!(absent.code(), Some(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(
        client.topic("client-absent", false).unwrap_err().code(),
        Some(ErrorCode::UnknownTopicOrPartition)
    );
    assert!(matches!(
        client.offsets(&topic, &[(PartitionIndex(9), Place::End)]),
        Err(Error::NoSuchPartition { partition: 9, count: 1, .. })
    ));

    let mut consumer = Consumer::new(client, ConsumerSettings::default());
    consumer.assign(&topic, PartitionIndex(0), Start::Offset(Offset(1000))).unwrap();
    let beyond = consumer.poll(Duration::ZERO, |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(beyond.code(), Some(ErrorCode::OffsetOutOfRange));
}

/// One refused batch in a row of several on their way: the others arrive, once and in order.
#[test]
fn a_batch_that_is_too_large_for_the_topic_does_not_harm_the_others() {
    let broker = shared();
    let topic = topic(&broker, "large", 1);
    let settings = ProducerSettings { batch_bytes: 1000, ..ProducerSettings::default() };
    let mut producer = Producer::new(client(&broker), settings).unwrap();
    let large = vec![0; 2 << 20];
    for n in 0..50_u32 {
        let small = [n.to_be_bytes(); 100].concat();
        let value = if n == 20 { &large } else { &small };
        let record = NewRecord { value: Some(value), ..NewRecord::default() };
        producer.send(&topic, None, &record).unwrap();
    }
    producer.flush().unwrap();
    let mut refused = Vec::new();
    while let Some(delivery) = producer.next_delivery() {
        if let Err(error) = delivery.outcome {
            refused.push((delivery.first_record, error.code()));
        }
    }
    assert_eq!(refused, [(20, Some(ErrorCode::MessageTooLarge))]);
    let values = consume(&broker, &topic, 1, Start::At(Place::Beginning))
        .into_iter()
        .map(|(.., value, _)| value.unwrap()[3]);
    assert_eq!(values.collect::<Vec<_>>(), (0..20).chain(21..50).collect::<Vec<_>>());
}

#[test]
fn a_topic_and_its_cluster_are_described() {
    let broker = shared();
    let topic = topic(&broker, "described", 3);
    let mut client = client(&broker);
    let found = client.topic(&topic, false).unwrap();
    let indexes: Vec<i32> = found.partitions.iter().map(|partition| partition.index.0).collect();
    assert_eq!(indexes, [0, 1, 2]);
    let id = found.id;
    client.refresh_all().unwrap();
    assert_eq!(client.metadata().topic(&topic).map(|topic| topic.id), Some(id));
    let configs = client.configs(Resource::Topic(&topic)).unwrap();
    let policy = configs.iter().find(|entry| entry.name == "cleanup.policy").unwrap();
    assert_eq!((policy.value.as_deref(), policy.source), (Some("delete"), ConfigSource::Default));
    let cluster = client.cluster().unwrap();
    let brokers: Vec<_> =
        client.metadata().brokers().map(|broker| (broker.id, broker.address.clone())).collect();
    assert_eq!(cluster.brokers, brokers);
}

#[test]
fn a_consumer_stops_where_it_is_told_and_goes_on_behind() {
    let broker = shared();
    let topic = topic(&broker, "stop", 1);
    let mut producer = Producer::new(client(&broker), ProducerSettings::default()).unwrap();
    for n in 0..10_u8 {
        producer.send(&topic, None, &NewRecord { value: Some(&[n]), ..NewRecord::default() }).unwrap();
    }
    producer.flush().unwrap();
    let mut consumer = Consumer::new(client(&broker), ConsumerSettings::default());
    consumer.assign(&topic, PartitionIndex(0), Start::At(Place::Beginning)).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 10 {
        consumer
            .poll(Duration::from_millis(500), |from| {
                seen.push(from.record.value.unwrap()[0]);
                if seen.len() % 3 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        assert_eq!(
            consumer.position(&topic, PartitionIndex(0)),
            Some(Offset(i64::try_from(seen.len()).unwrap()))
        );
    }
    assert_eq!(seen, (0..10).collect::<Vec<u8>>());
    assert_eq!(consumer.high_watermark(&topic, PartitionIndex(0)), Some(Offset(10)));
}
