//! Kafka messages: no input makes a decoder panic or allocate beyond its bound, and what decodes, encodes and decodes to
//! the same again. The first two bytes choose message and version, so that every decoder is reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringlog::protocol::kafka::header::RequestHeader;
use ringlog::protocol::kafka::{Message, Reader, Writer, messages};

/// What a wire byte may cost in memory (`DECODE_ALLOCATION_BYTES_MAX` says so): for each level of arrays once, because an
/// array reserves room before its elements, with arrays of their own, are read from the same bytes.
const AMPLIFICATION_MAX: usize = 19 * 3;

/// The version that `choice` stands for, among those that the table has.
fn version_of<'a, M: Message<'a>>(choice: u8) -> i16 {
    let known = M::API_KEY.versions();
    known.first + i16::from(choice) % (known.last - known.first + 1)
}

macro_rules! check {
    ($message:ty, $choice:expr, $bytes:expr) => {{
        let version = version_of::<$message>($choice);
        let mut reader = Reader::with_allocation_max($bytes, usize::MAX);
        let decoded = <$message>::decode(&mut reader, version);
        assert!(usize::MAX - reader.allocation_left() <= $bytes.len() * AMPLIFICATION_MAX);
        let Ok(message) = decoded else { return };
        let mut writer = Writer::new();
        message.encode(&mut writer, version).expect("what was decoded can be encoded");
        let mut reader = Reader::new(writer.encoded());
        let again = <$message>::decode(&mut reader, version).expect("what was encoded can be decoded");
        assert_eq!(again, message);
        assert_eq!(reader.expect_end(), Ok(()));
    }};
}

macro_rules! check_chosen {
    ($which:expr, $choice:expr, $bytes:expr, $($module:ident: $request:ident $response:ident;)*) => {
        let mut which = $which;
        $(
            match which {
                0 => check!(messages::$module::$request, $choice, $bytes),
                1 => check!(messages::$module::$response, $choice, $bytes),
                _ => {}
            }
            which = which.wrapping_sub(2);
        )*
        let _ = which;
    };
}

fuzz_target!(|input: &[u8]| {
    let _ = RequestHeader::decode(&mut Reader::new(input));
    let &[which, choice, ref bytes @ ..] = input else { return };
    check_chosen! { which % 32, choice, bytes,
        api_versions: ApiVersionsRequest ApiVersionsResponse;
        create_partitions: CreatePartitionsRequest CreatePartitionsResponse;
        create_topics: CreateTopicsRequest CreateTopicsResponse;
        delete_records: DeleteRecordsRequest DeleteRecordsResponse;
        delete_topics: DeleteTopicsRequest DeleteTopicsResponse;
        describe_cluster: DescribeClusterRequest DescribeClusterResponse;
        describe_configs: DescribeConfigsRequest DescribeConfigsResponse;
        describe_log_dirs: DescribeLogDirsRequest DescribeLogDirsResponse;
        fetch: FetchRequest FetchResponse;
        find_coordinator: FindCoordinatorRequest FindCoordinatorResponse;
        incremental_alter_configs: IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse;
        init_producer_id: InitProducerIdRequest InitProducerIdResponse;
        list_offsets: ListOffsetsRequest ListOffsetsResponse;
        metadata: MetadataRequest MetadataResponse;
        offset_for_leader_epoch: OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse;
        produce: ProduceRequest ProduceResponse;
    }
});
