//! Bytes written by hand from the message definitions: what no oracle here knows, and what clients meet first.

use ringlog::model::TopicId;
use ringlog::protocol::kafka::frame::{self, PREFIX_BYTES};
use ringlog::protocol::kafka::header::RequestHeader;
use ringlog::protocol::kafka::messages::{api_versions, fetch, list_offsets, metadata, produce};
use ringlog::protocol::kafka::{Message, Reader, Records, Request, Response, Writer};
use std::fmt::Debug;

/// A frame's parts, one after another.
fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = i32::try_from(body.len()).expect("small").to_be_bytes();
    [&length[..], &body].concat()
}

fn assert_request<'a, M>(bytes: &'a [u8], version: i16, client_id: Option<&str>, expected: &M)
where
    M: Request<'a> + Debug + PartialEq,
{
    let mut writer = Writer::new();
    frame::encode_request(&mut writer, version, 7, client_id, expected).expect("it encodes");
    assert_eq!(writer.encoded(), bytes);

    let prefix = bytes.first_chunk::<PREFIX_BYTES>().expect("a length");
    assert_eq!(frame::frame_bytes(*prefix, 1 << 20), Ok(bytes.len() - PREFIX_BYTES));
    let mut reader = Reader::new(&bytes[PREFIX_BYTES..]);
    let header = RequestHeader::decode(&mut reader).expect("it has a header");
    assert_eq!((header.api_key, header.api_version), (M::API_KEY, version));
    assert_eq!((header.correlation_id, header.client_id), (7, client_id));
    assert_eq!(M::decode(&mut reader, version).as_ref(), Ok(expected));
    assert_eq!(reader.expect_end(), Ok(()));
}

fn assert_response<'a, M>(bytes: &'a [u8], version: i16, expected: &M)
where
    M: Response<'a> + Debug + PartialEq,
{
    let mut writer = Writer::new();
    frame::encode_response(&mut writer, version, 7, expected).expect("it encodes");
    assert_eq!(writer.encoded(), bytes);

    let mut reader = Reader::new(&bytes[PREFIX_BYTES..]);
    let header = ringlog::protocol::kafka::header::ResponseHeader::decode(&mut reader, M::API_KEY, version);
    assert_eq!(header.map(|header| header.correlation_id), Ok(7));
    assert_eq!(M::decode(&mut reader, version).as_ref(), Ok(expected));
    assert_eq!(reader.expect_end(), Ok(()));
}

#[test]
fn kip_1023_list_offsets_11_request() {
    let bytes = frame(&[
        &[0, 2, 0, 11, 0, 0, 0, 7, 0, 2, b'm', b'e', 0], // header 2
        &[0xff, 0xff, 0xff, 0xff],                       // replica_id: a consumer
        &[1],                                            // isolation_level: read committed
        &[2, 4, b'a', b'b', b'c'],                       // one topic, "abc"
        &[2, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff],        // one partition, 5, leader epoch not checked
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfa, 0], // earliest not uploaded; end of partition
        &[0],                                            // end of topic
        &[0, 0, 0x75, 0x30],                             // timeout_ms 30,000
        &[0],                                            // end of request
    ]);
    let partition = list_offsets::ListOffsetsPartition {
        partition_index: 5,
        current_leader_epoch: -1,
        timestamp: list_offsets::EARLIEST_PENDING_UPLOAD_TIMESTAMP,
    };
    let request = list_offsets::ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 1,
        topics: vec![list_offsets::ListOffsetsTopic { name: "abc", partitions: vec![partition] }],
        timeout_ms: 30_000,
    };
    assert_request(&bytes, 11, Some("me"), &request);
}

#[test]
fn kip_1023_list_offsets_11_response() {
    let bytes = frame(&[
        &[0, 0, 0, 7, 0],          // header 1
        &[0, 0, 0, 0],             // throttle_time_ms
        &[2, 4, b'a', b'b', b'c'], // one topic, "abc"
        &[2, 0, 0, 0, 5, 0, 0],    // one partition, 5, no error
        &[0xff; 8],                // timestamp: none
        &[0, 0, 0, 0, 0, 0, 1, 0], // offset 256
        &[0, 0, 0, 9, 0, 0, 0],    // leader_epoch 9; ends of partition, topic, response
    ]);
    let partition = list_offsets::ListOffsetsPartitionResponse {
        partition_index: 5,
        error_code: 0,
        timestamp: -1,
        offset: 256,
        leader_epoch: 9,
    };
    let topic = list_offsets::ListOffsetsTopicResponse { name: "abc", partitions: vec![partition] };
    let response = list_offsets::ListOffsetsResponse { throttle_time_ms: 0, topics: vec![topic] };
    assert_response(&bytes, 11, &response);
}

#[test]
fn kip_511_an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let bytes = frame(&[
        &[0, 0, 0, 7],                    // header 0
        &[0, 35],                         // UNSUPPORTED_VERSION
        &[0, 0, 0, 1, 0, 18, 0, 0, 0, 4], // one API: ApiVersions 0 to 4
    ]);
    let own = api_versions::ApiVersion { api_key: 18, min_version: 0, max_version: 4 };
    let response = api_versions::ApiVersionsResponse {
        error_code: 35,
        api_keys: vec![own],
        ..api_versions::ApiVersionsResponse::default()
    };
    assert_response(&bytes, 0, &response);
}

#[test]
fn kip_511_a_flexible_api_versions_response_has_an_inflexible_header() {
    let bytes = frame(&[
        &[0, 0, 0, 7],                      // header 0, without a tagged section
        &[0, 0],                            // no error
        &[2, 0, 0, 0, 0, 0, 13, 0],         // one API: Produce 0 to 13
        &[0, 0, 0, 0],                      // throttle_time_ms
        &[2],                               // two tagged fields
        &[1, 8, 0, 0, 0, 0, 0, 0, 0, 3],    // finalized_features_epoch 3
        &[2, 8, 2, 2, b'f', 0, 2, 0, 1, 0], // finalized_features: "f", 2 to 1
    ]);
    let feature = api_versions::FinalizedFeatureKey { name: "f", max_version_level: 2, min_version_level: 1 };
    let response = api_versions::ApiVersionsResponse {
        api_keys: vec![api_versions::ApiVersion { api_key: 0, min_version: 0, max_version: 13 }],
        finalized_features_epoch: 3,
        finalized_features: vec![feature],
        ..api_versions::ApiVersionsResponse::default()
    };
    assert_response(&bytes, 4, &response);
}

#[test]
fn metadata_0_to_12_differ_in_how_all_topics_are_asked_for() {
    let old = frame(&[&[0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xff]]);
    let all = metadata::MetadataRequest { topics: None, ..metadata::MetadataRequest::default() };
    assert_request(&old, 1, None, &all);

    let new = frame(&[
        &[0, 3, 0, 12, 0, 0, 0, 7, 0xff, 0xff, 0], // header 2, no client id
        &[0, 1, 0, 0],                             // all topics, auto-creation, no operations, end
    ]);
    assert_request(&new, 12, None, &all);

    let none = frame(&[&[0, 3, 0, 12, 0, 0, 0, 7, 0xff, 0xff, 0], &[1, 1, 0, 0]]);
    assert_request(&none, 12, None, &metadata::MetadataRequest::default());
}

#[test]
fn kip_516_produce_names_topics_until_version_12_and_identifies_them_from_13() {
    let partition_data = || {
        let records = Some(Records::Inline(&[0xaa, 0xbb]));
        vec![produce::PartitionProduceData { index: 1, records }]
    };
    let request = |topic: produce::TopicProduceData<'static>| produce::ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 256,
        topic_data: [topic].into(),
    };

    let by_name = frame(&[
        &[0, 0, 0, 3, 0, 0, 0, 7, 0, 0],       // header 1, empty client id
        &[0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0], // no transaction, all in-sync replicas, 256 ms
        &[0, 0, 0, 1, 0, 2, b'a', b'b'],       // one topic, "ab"
        &[0, 0, 0, 1, 0, 0, 0, 1],             // one partition, 1
        &[0, 0, 0, 2, 0xaa, 0xbb],             // records
    ]);
    let topic = produce::TopicProduceData {
        name: "ab",
        partition_data: partition_data().into(),
        ..produce::TopicProduceData::default()
    };
    assert_request(&by_name, 3, Some(""), &request(topic));

    let by_id = frame(&[
        &[0, 0, 0, 13, 0, 0, 0, 7, 0, 0, 0], // header 2, empty client id
        &[0, 0xff, 0xff, 0, 0, 1, 0],        // no transaction, all in-sync replicas, 256 ms
        &[2],                                // one topic
        &[9; 16],                            // topic_id
        &[2, 0, 0, 0, 1],                    // one partition, 1
        &[3, 0xaa, 0xbb, 0, 0, 0],           // records; ends of partition, topic, request
    ]);
    let topic = produce::TopicProduceData {
        topic_id: TopicId([9; 16]),
        partition_data: partition_data().into(),
        ..produce::TopicProduceData::default()
    };
    assert_request(&by_id, 13, Some(""), &request(topic));

    // The records are where they were received.
    let mut reader = Reader::new(&by_id[PREFIX_BYTES..]);
    RequestHeader::decode(&mut reader).unwrap();
    let request = produce::ProduceRequest::decode(&mut reader, 13).unwrap();
    let records = request.topic_data[0].partition_data[0].records.and_then(Records::inline).unwrap();
    let end = by_id.len() - 3;
    assert_eq!(frame::position_in(&by_id, records), Some(end - 2..end));
}

#[test]
fn kip_1166_fetch_18_sends_the_high_watermark_in_a_tagged_field() {
    let bytes = frame(&[
        &[0, 1, 0, 18, 0, 0, 0, 7, 0xff, 0xff, 0], // header 2, no client id
        &[0, 0, 1, 0xf4, 0, 0, 0, 1],              // max_wait_ms 500, min_bytes 1
        &[0x03, 0x20, 0, 0, 0],                    // max_bytes 50 MiB, read uncommitted
        &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],     // no session
        &[2],                                      // one topic
        &[9; 16],                                  // topic_id
        &[2, 0, 0, 0, 1],                          // one partition, 1
        &[0xff, 0xff, 0xff, 0xff],                 // current_leader_epoch not checked
        &[0, 0, 0, 0, 0, 0, 0, 42],                // fetch_offset
        &[0xff, 0xff, 0xff, 0xff],                 // last_fetched_epoch: none
        &[0xff; 8],                                // log_start_offset: a consumer has none
        &[0, 0x10, 0, 0],                          // partition_max_bytes 1 MiB
        &[1, 1, 8, 0, 0, 0, 0, 0, 0, 0, 40],       // tag 1: high_watermark 40
        &[0, 1, 1, 0],                             // end of topic, nothing forgotten, no rack, end
    ]);
    let partition = fetch::FetchPartition {
        partition: 1,
        fetch_offset: 42,
        partition_max_bytes: 1 << 20,
        high_watermark: 40,
        ..fetch::FetchPartition::default()
    };
    let topic = fetch::FetchTopic {
        topic_id: TopicId([9; 16]),
        partitions: vec![partition],
        ..fetch::FetchTopic::default()
    };
    let request = fetch::FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 50 << 20,
        topics: vec![topic],
        ..fetch::FetchRequest::default()
    };
    assert_request(&bytes, 18, None, &request);
}

#[test]
fn a_null_where_the_version_has_none_is_refused_on_both_sides() {
    use ringlog::protocol::Error;
    let expected = Error::NullNotAllowed { field: "name", version: 9 };
    let topic = metadata::MetadataRequestTopic { name: None, ..metadata::MetadataRequestTopic::default() };
    let request =
        metadata::MetadataRequest { topics: Some(vec![topic]), ..metadata::MetadataRequest::default() };
    let mut writer = Writer::new();
    assert_eq!(request.encode(&mut writer, 9), Err(expected));

    let bytes = [2, 0, 0, 1, 0, 0, 0];
    assert_eq!(metadata::MetadataRequest::decode(&mut Reader::new(&bytes), 9), Err(expected));

    let mut no_host = [0; 40];
    (no_host[7], no_host[12], no_host[13]) = (1, 0xff, 0xff);
    let result = metadata::MetadataResponse::decode(&mut Reader::new(&no_host), 3);
    assert_eq!(result, Err(Error::UnexpectedNull));
}

#[test]
fn text_that_is_not_utf_8_and_negative_lengths_are_refused() {
    use ringlog::protocol::Error;
    let bad_text = [3, b'a', 0xff, 1, 0];
    let result = api_versions::ApiVersionsRequest::decode(&mut Reader::new(&bad_text), 3);
    assert_eq!(result, Err(Error::NotUtf8 { bytes: 2, valid_bytes: 1 }));

    let negative = [0xff, 0xff, 0xff, 0xfe];
    let result = metadata::MetadataRequest::decode(&mut Reader::new(&negative), 1);
    assert_eq!(result, Err(Error::NegativeLength { length: -2 }));
}

#[test]
fn a_string_of_32_768_bytes_is_refused_on_both_sides_in_flexible_versions_too() {
    use ringlog::protocol::Error;
    let longest = "x".repeat(0x7fff);
    let request = |name| api_versions::ApiVersionsRequest {
        client_software_name: name,
        ..api_versions::ApiVersionsRequest::default()
    };
    let mut writer = Writer::new();
    assert_eq!(request(&longest).encode(&mut writer, 3), Ok(()));
    let decoded = api_versions::ApiVersionsRequest::decode(&mut Reader::new(writer.encoded()), 3);
    assert_eq!(decoded, Ok(request(&longest)));

    let too_long = Err(Error::StringTooLong { bytes: 0x8000 });
    let longer = format!("{longest}x");
    assert_eq!(request(&longer).encode(&mut Writer::new(), 3), too_long);
    let bytes = [&[0x81, 0x80, 0x02][..], longer.as_bytes(), &[1, 0]].concat();
    let decoded = api_versions::ApiVersionsRequest::decode(&mut Reader::new(&bytes), 3);
    assert_eq!(decoded.map(|_| ()), too_long);
}
