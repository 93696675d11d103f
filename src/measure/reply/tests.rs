use super::*;
use crate::measure::batch::{BatchShape, make};
use crate::protocol::kafka::messages::fetch::{FetchableTopicResponse, PartitionData};
use crate::protocol::kafka::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use crate::protocol::kafka::{Records, Writer};

#[test]
fn frames_are_cut_however_the_bytes_arrive() {
    let mut stream = Vec::new();
    for len in [0_u8, 1, 100, 7] {
        stream.extend_from_slice(&u32::from(len).to_be_bytes());
        stream.extend(vec![len; len.into()]);
    }
    for step in 1..=stream.len() {
        let mut cutter = FrameCutter::default();
        let mut seen = Vec::new();
        for part in stream.chunks(step) {
            cutter
                .feed(part, |frame| {
                    seen.push(frame.to_vec());
                    Ok::<(), ReplyError>(())
                })
                .unwrap();
        }
        assert_eq!(seen, [vec![], vec![1], vec![100; 100], vec![7; 7]]);
    }
    let refused = FrameCutter::default().feed(&[0xff; 4], |_| Ok::<(), ReplyError>(()));
    assert!(matches!(refused, Err(ReplyError::Wire(protocol::Error::FrameSize { .. }))));
}

#[test]
fn an_acknowledgement_is_told_from_a_refusal_and_from_another_requests() {
    for version in ApiKey::Produce.versions().first..=ApiKey::Produce.versions().last {
        let reply = |error_code| {
            let partition = PartitionProduceResponse { error_code, ..PartitionProduceResponse::default() };
            let topic = TopicProduceResponse {
                partition_responses: [partition].into(),
                ..TopicProduceResponse::default()
            };
            let body = ProduceResponse { responses: [topic].into(), ..ProduceResponse::default() };
            let mut writer = Writer::new();
            frame::encode_response(&mut writer, version, 8, &body).unwrap();
            writer.encoded()[frame::PREFIX_BYTES..].to_vec()
        };
        assert_eq!(check_produce(&reply(0), version, 8), Ok(()));
        assert_eq!(check_produce(&reply(56), version, 8), Err(ReplyError::Refused { code: 56 }));
        let order = ReplyError::Order { expected: 7, found: 8 };
        assert_eq!(check_produce(&reply(0), version, 7), Err(order));
    }
}

#[test]
fn kip_74_a_batch_that_is_cut_off_is_not_counted() {
    let batch = make(BatchShape { record_bytes: 100, batch_bytes_max: 1000 }, 0, 1).unwrap();
    let mut records = batch.bytes.clone();
    records.extend_from_slice(&batch.bytes);
    let reply = |records: &[u8]| {
        let partition = PartitionData {
            partition_index: 3,
            records: Some(Records::Inline(records)),
            ..PartitionData::default()
        };
        let topic =
            FetchableTopicResponse { partitions: vec![partition], ..FetchableTopicResponse::default() };
        let mut writer = Writer::new();
        let body = FetchResponse { responses: [topic].into(), ..FetchResponse::default() };
        frame::encode_response(&mut writer, 12, 1, &body).unwrap();
        writer.encoded()[frame::PREFIX_BYTES..].to_vec()
    };
    let read = |records: &[u8], opaque| {
        let mut found = Vec::new();
        read_fetch(&reply(records), 12, 1, opaque, |fetched| found.push(fetched)).map(|()| found[0])
    };
    let one = Fetched {
        partition: 3,
        bytes: batch.bytes.len() as u64,
        batch_count: 1,
        record_count: batch.record_count.into(),
        next_offset: Some(batch.record_count.into()),
    };
    assert_eq!(read(&batch.bytes, false), Ok(one));
    for cut in [batch.bytes.len() + 5, batch.bytes.len() + 200, records.len() - 1] {
        assert_eq!(read(&records[..cut], false), Ok(one));
    }
    assert_eq!(read(&records, false).unwrap().batch_count, 2);
    assert_eq!(read(&records, true).unwrap().bytes, records.len() as u64);
    let empty = Fetched { bytes: 0, batch_count: 0, record_count: 0, next_offset: None, ..one };
    assert_eq!(read(&[], false), Ok(empty));
    assert!(matches!(read(&[1; 100], false), Err(ReplyError::Batch(BatchError::Magic { .. }))));
}
