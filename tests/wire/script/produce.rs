//! Produce.

use super::Script;
use super::batches::{batch, packed, stamped, with};
use ringlog::model::TopicId;
use ringlog::protocol::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringlog::protocol::kafka::{ApiKey, Records, Rows};
use ringlog::protocol::records::Codec;

pub fn talk(script: &mut Script<'_>) {
    let api = ApiKey::Produce;
    script.versions(api, "acknowledged", |script, version| {
        let mut to = Target::new(script, version, "orders", &[]);
        for acks in [-1, 1] {
            to.call_with(
                script,
                acks,
                None,
                &[(0, Some(&batch(&[1_000, 2_000]))), (1, Some(&batch(&[3_000])))],
            );
        }
        to.tell(script, 0, &batch(&[1_000]));
        to.call(script, &batch(&[4_000]));
    });
    script.versions(api, "stamped by the broker", |script, version| {
        let mut to = Target::new(script, version, "stamped", &[("message.timestamp.type", "LogAppendTime")]);
        to.call(script, &batch(&[1_000, 2_000]));
    });
    script.versions(api, "unknown topic or partition", |script, version| {
        let mut to = Target::new(script, version, "orders", &[]);
        to.call_with(script, 1, None, &[(2, Some(&batch(&[1_000]))), (0, Some(&batch(&[1_000])))]);
        to.call_with(script, 1, None, &[(-1, Some(&batch(&[1_000])))]);
        to.name = "none".to_owned();
        to.id = TopicId([9; 16]);
        to.call(script, &batch(&[1_000]));
        to.tell(script, 0, &batch(&[1_000]));
        to.name = "bad/name".to_owned();
        to.id = TopicId::ZERO;
        to.call(script, &batch(&[1_000]));
    });
    script.versions(api, "acks that do not exist", |script, version| {
        let mut to = Target::new(script, version, "orders", &[]);
        for acks in [7, 2, -2] {
            to.call_with(script, acks, None, &[(0, Some(&batch(&[1_000]))), (9, Some(&[]))]);
        }
    });
    script.versions(api, "no topic, no partition, no records", |script, version| {
        let mut to = Target::new(script, version, "orders", &[]);
        script.call(version, &ProduceRequest { acks: 1, timeout_ms: 1_000, ..ProduceRequest::default() });
        to.call_with(script, 1, None, &[]);
        // To records that are null Kafka gives no answer at all.
        to.call_with(script, 1, None, &[(0, Some(&[]))]);
        to.tell(script, 0, &[]);
    });
    batches(script);
    script.versions(api, "idempotence", idempotence);
    script.versions(api, "a transactional id", |script, version| {
        let mut to = Target::new(script, version, "orders", &[]);
        to.call_with(script, -1, Some("t"), &[(0, Some(&batch(&[1_000])))]);
        to.call_with(script, 1, Some("t"), &[(0, Some(&batch(&[1_000])))]);
    });
}

fn batches(script: &mut Script<'_>) {
    let api = ApiKey::Produce;
    script.versions(api, "several batches, a partition twice, a topic twice", several);
    script.versions(api, "a partition twice, refused once", again);
    script.versions(api, "damaged batches", damaged);
    script.versions(api, "batches a client must not send", forbidden);
    script.versions(api, "sizes", |script, version| {
        let mut to = Target::new(script, version, "small", &[("max.message.bytes", "200")]);
        to.call(script, &packed(Codec::None, &[1_000], &[7; 300]));
        to.call_with(
            script,
            1,
            None,
            &[(0, Some(&packed(Codec::None, &[1_000], &[7; 300]))), (1, Some(&batch(&[1_000])))],
        );
        to.tell(script, 0, &packed(Codec::None, &[1_000], &[7; 300]));
    });
    script.versions(api, "times", |script, version| {
        let soon = script.now_ms() + 2 * 3_600_000;
        let settings = [("message.timestamp.before.max.ms", "3600000")];
        let mut to = Target::new(script, version, "strict", &settings);
        to.call(script, &batch(&[1_000]));
        let now = script.now_ms();
        to.call(script, &batch(&[now]));
        let mut to = Target::new(script, version, "open", &[]);
        to.call(script, &batch(&[soon]));
        to.call(script, &batch(&[1_000, soon]));
        to.call(script, &batch(&[-1]));
        to.call(script, &batch(&[-5]));
    });
    script.versions(api, "a record too old behind one that is not", |script, version| {
        let settings = [("message.timestamp.before.max.ms", "3600000")];
        let mut to = Target::new(script, version, "strict", &settings);
        let now = script.now_ms();
        to.call(script, &batch(&[now, 1_000]));
    });
    script.versions(api, "codecs", |script, version| {
        let mut to = Target::new(script, version, "packed", &[]);
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            to.call(script, &packed(codec, &[1_000, 2_000], b"value"));
        }
    });
}

fn several(script: &mut Script<'_>, version: i16) {
    let mut to = Target::new(script, version, "orders", &[]);
    let two = [batch(&[1_000]), batch(&[2_000, 3_000])].concat();
    to.call(script, &two);
    to.call_with(script, 1, None, &[(0, Some(&batch(&[1_000]))), (0, Some(&batch(&[2_000, 2_000])))]);
    let (first, second) = (batch(&[1_000]), batch(&[2_000]));
    to.call_twice(script, &[(0, &first)], &[(0, &second)]);
    to.call_twice(script, &[(1, &first), (0, &first)], &[(0, &second), (9, &second)]);
    to.call(script, &batch(&[9_000]));
}

/// What counts of a partition that is named again, where one of the two is refused: before the log is asked, by the log, or
/// since it does not exist. What was appended is seen by the offset of the one behind it.
fn again(script: &mut Script<'_>, version: i16) {
    let mut to = Target::new(script, version, "orders", &[]);
    let (good, two) = (batch(&[1_000]), [batch(&[1_000]), batch(&[2_000, 3_000])].concat());
    let mut bad_crc = batch(&[4_000, 5_000]);
    bad_crc[17] ^= 1;
    let uncounted = with(batch(&[1_000, 2_000]), 57, &3_i32.to_be_bytes());
    let old = with(good.clone(), 16, &[1]);
    for bad in [&two, &bad_crc, &uncounted, &old] {
        for parts in [[(0, Some(&bad[..])), (0, Some(&good))], [(0, Some(&good)), (0, Some(bad))]] {
            to.call_with(script, 1, None, &parts);
        }
        to.call(script, &good);
    }
    to.call_with(script, 1, None, &[(0, Some(&two)), (0, Some(&old))]);
    to.call_with(script, 1, None, &[(0, Some(&old)), (0, Some(&two))]);
    to.call_with(script, 1, None, &[(0, Some(&bad_crc)), (0, Some(&two)), (0, Some(&uncounted))]);
    to.call_with(
        script,
        1,
        None,
        &[(1, Some(&good)), (0, Some(&good)), (1, Some(&good)), (0, Some(&bad_crc))],
    );
    to.call_with(script, 1, None, &[(9, Some(&good)), (9, Some(&two)), (0, Some(&good)), (9, Some(&good))]);
    to.call_with(script, 7, None, &[(0, Some(&good)), (0, Some(&two)), (1, Some(&good)), (1, Some(&good))]);
    to.call_twice(script, &[(0, &good), (1, &two)], &[(1, &good), (0, &two)]);
    to.call(script, &good);
    to.call_with(script, 1, None, &[(1, Some(&good))]);
    to.name = "none".to_owned();
    to.id = TopicId([9; 16]);
    to.call_twice(script, &[(0, &good), (1, &two)], &[(1, &good), (0, &two)]);
    to.call_with(script, 1, None, &[(0, Some(&two)), (0, Some(&good))]);
}

fn damaged(script: &mut Script<'_>, version: i16) {
    let mut to = Target::new(script, version, "orders", &[]);
    let good = batch(&[1_000, 2_000]);
    let mut bad_crc = good.clone();
    bad_crc[17] ^= 1;
    to.call(script, &bad_crc);
    for magic in [0, 1, 3, 0xff] {
        to.call(script, &with(good.clone(), 16, &[magic]));
    }
    for length in [-1_i32, 0, 20, 1_000] {
        to.call(script, &with(good.clone(), 8, &length.to_be_bytes()));
    }
    to.call(script, &good[..good.len() - 1]);
    to.call(script, &good[..40]);
    to.call(script, &good[..10]);
    to.call(script, &[good.clone(), vec![0; 5]].concat());
    to.call(script, &[good.clone(), vec![0; 70]].concat());
    to.call_with(script, 1, None, &[(0, Some(&bad_crc)), (1, Some(&good))]);
    to.tell(script, 0, &bad_crc);
    to.call(script, &good);
}

fn forbidden(script: &mut Script<'_>, version: i16) {
    let mut to = Target::new(script, version, "orders", &[]);
    let good = batch(&[1_000, 2_000]);
    for (delta, count) in [(0_i32, 2_i32), (2, 2), (1, 1), (1, 0), (-1, 0), (1, -1), (1, 3)] {
        let counted = with(good.clone(), 23, &delta.to_be_bytes());
        to.call(script, &with(counted, 57, &count.to_be_bytes()));
    }
    for attributes in [5_i16, 7, 0x10, 0x20, 0x30, 0x08, 0x40, 0x80] {
        to.call(script, &with(good.clone(), 21, &attributes.to_be_bytes()));
    }
    // Its base offset and leader epoch are the broker's to say.
    let numbered = with(good.clone(), 0, &77_i64.to_be_bytes());
    to.call(script, &with(numbered, 12, &5_i32.to_be_bytes()));
}

fn idempotence(script: &mut Script<'_>, version: i16) {
    let id = script.producer_id();
    let mut to = Target::new(script, version, "orders", &[]);
    // First: any sequence is taken without state.
    to.call(script, &stamped(2, id, 0, 0));
    to.call(script, &stamped(2, id, 0, 0));
    to.call(script, &stamped(1, id, 0, 3));
    to.call(script, &stamped(1, id, 0, 1));
    for sequence in 2..8 {
        to.call(script, &stamped(1, id, 0, sequence));
    }
    to.call(script, &stamped(1, id, 0, 3));
    to.call(script, &stamped(1, id, 0, 2));
    to.call(script, &stamped(2, id, 0, 6));
    // A new epoch begins at 0; the old one is fenced.
    to.call(script, &stamped(1, id, 1, 5));
    to.call(script, &stamped(1, id, 1, 0));
    to.call(script, &stamped(1, id, 0, 8));
    to.call(script, &stamped(1, id, 1, 0));
    to.call_with(script, -1, None, &[(1, Some(&stamped(1, id, 1, 40)))]);
    to.call_with(script, -1, None, &[(1, Some(&stamped(1, id, 1, 41)))]);
    // Numbers below 0.
    to.call(script, &stamped(1, id, 1, -1));
    to.call(script, &stamped(1, id, -1, 0));
    to.call(script, &stamped(1, id, -1, -1));
    to.call(script, &stamped(1, -5, 0, 0));
    // The space of sequences wraps.
    let other = script.producer_id();
    to.call(script, &stamped(2, other, 0, i32::MAX - 1));
    to.call(script, &stamped(2, other, 0, 0));
    to.call(script, &stamped(2, other, 0, i32::MAX - 1));
}

/// Appends a batch to a partition, which must succeed; not written down.
pub fn append(script: &mut Script<'_>, name: &str, partition: i32, records: &[u8]) {
    let topic = TopicProduceData {
        name,
        partition_data: [PartitionProduceData { index: partition, records: Some(Records::Inline(records)) }]
            .into(),
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 5_000,
        topic_data: [topic].into(),
        ..ProduceRequest::default()
    };
    let answer = script.ask(9, &request);
    let part = &answer.field("responses").list()[0].field("partition_responses").list()[0];
    assert_eq!(part.field("error_code").line(), "0", "{}", answer.line());
}

/// A topic of two partitions that requests of one version go to.
pub struct Target {
    version: i16,
    pub name: String,
    id: TopicId,
}

impl Target {
    pub fn new(script: &mut Script<'_>, version: i16, name: &str, configs: &[(&str, &str)]) -> Self {
        let fresh = script.topic(name, 2, configs);
        let id = script.topic_id(&fresh);
        Self { version, name: fresh, id }
    }

    fn topic(&self) -> TopicProduceData<'_> {
        TopicProduceData { name: &self.name, topic_id: self.id, partition_data: Rows::default() }
    }

    pub fn call(&mut self, script: &mut Script<'_>, records: &[u8]) {
        self.call_with(script, -1, None, &[(0, Some(records))]);
    }

    fn call_with(
        &mut self,
        script: &mut Script<'_>,
        acks: i16,
        transactional_id: Option<&str>,
        parts: &[(i32, Option<&[u8]>)],
    ) {
        let request = self.request(acks, transactional_id, parts);
        script.call(self.version, &request);
    }

    /// The topic is named twice, with these parts and with those.
    fn call_twice(&mut self, script: &mut Script<'_>, first: &[(i32, &[u8])], second: &[(i32, &[u8])]) {
        let topics = [first, second].map(|parts| TopicProduceData {
            partition_data: parts
                .iter()
                .map(|&(index, records)| PartitionProduceData {
                    index,
                    records: Some(Records::Inline(records)),
                })
                .collect(),
            ..self.topic()
        });
        let request = ProduceRequest {
            acks: 1,
            timeout_ms: 5_000,
            topic_data: Vec::from(topics).into(),
            ..ProduceRequest::default()
        };
        script.call(self.version, &request);
    }

    fn tell(&mut self, script: &mut Script<'_>, acks: i16, records: &[u8]) {
        let request = self.request(acks, None, &[(0, Some(records))]);
        script.tell(self.version, &request);
    }

    fn request<'a>(
        &'a self,
        acks: i16,
        transactional_id: Option<&'a str>,
        parts: &[(i32, Option<&'a [u8]>)],
    ) -> ProduceRequest<'a> {
        let part = |&(index, records): &(i32, Option<&'a [u8]>)| PartitionProduceData {
            index,
            records: records.map(Records::Inline),
        };
        let topic = TopicProduceData { partition_data: parts.iter().map(part).collect(), ..self.topic() };
        ProduceRequest { transactional_id, acks, timeout_ms: 5_000, topic_data: [topic].into() }
    }
}
