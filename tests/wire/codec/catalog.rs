//! All messages, ours beside the oracle's, behind one face.

use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};
use ringlog::protocol::Error;
use ringlog::protocol::kafka::schema::Schema;
use ringlog::protocol::kafka::{ApiKey, Message, Reader, Writer, messages as ours};

/// One message type.
pub struct Entry {
    pub api: ApiKey,
    pub schema: Schema,
    pub ours: fn(&[u8], i16) -> Result<Decoded, Error>,
    /// The same by the oracle; panics on bytes it refuses.
    pub theirs: fn(&[u8], i16) -> Decoded,
    /// The versions that the oracle knows.
    pub their_versions: (i16, i16),
    /// Decodes with a bound on what may be allocated, and says how much of it was.
    pub allocated: fn(&[u8], i16, usize) -> Allocated,
}

/// How decoding ended, and the bytes that were allocated for it.
pub type Allocated = (Result<(), Error>, usize);

/// What bytes decode to.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    /// The message as `Debug` prints it.
    pub text: String,
    /// Encoded again.
    pub bytes: Vec<u8>,
    /// Bytes behind the message.
    pub remaining: usize,
}

macro_rules! catalog {
    ($($module:ident: $request:ident $response:ident;)*) => {
        /// Every message type, requests and responses.
        pub const CATALOG: &[Entry] = &[$(
            catalog!(@entry ours::$module::$request, theirs::$request),
            catalog!(@entry ours::$module::$response, theirs::$response),
        )*];
    };
    (@entry $ours:ty, $theirs:ty) => {
        Entry {
            api: <$ours as Message<'_>>::API_KEY,
            schema: <$ours as Message<'_>>::SCHEMA,
            ours: |bytes, version| {
                let mut reader = Reader::new(bytes);
                let message = <$ours>::decode(&mut reader, version)?;
                let mut writer = Writer::new();
                message.encode(&mut writer, version)?;
                let again = <$ours>::decode(&mut Reader::new(writer.encoded()), version)?;
                assert_eq!(again, message, "what is encoded decodes to the same");
                let (text, bytes) = (format!("{message:?}"), writer.encoded().to_vec());
                Ok(Decoded { text, bytes, remaining: reader.remaining() })
            },
            theirs: |bytes, version| {
                let mut rest = bytes;
                let message = <$theirs>::decode(&mut rest, version).expect("the oracle decodes it");
                let mut bytes = Vec::new();
                message.encode(&mut bytes, version).expect("the oracle encodes it");
                Decoded { text: format!("{message:?}"), bytes, remaining: rest.len() }
            },
            their_versions: (<$theirs>::VERSIONS.min, <$theirs>::VERSIONS.max),
            allocated: |bytes, version, allocation_bytes_max| {
                let mut reader = Reader::with_allocation_max(bytes, allocation_bytes_max);
                let result = <$ours>::decode(&mut reader, version).map(|_| ());
                (result, allocation_bytes_max - reader.allocation_left())
            },
        }
    };
}

catalog! {
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

/// Every version of every message.
pub fn versions() -> impl Iterator<Item = (&'static Entry, i16)> {
    CATALOG.iter().flat_map(|entry| {
        let versions = entry.api.versions();
        (versions.first..=versions.last).map(move |version| (entry, version))
    })
}

#[test]
fn the_catalog_has_a_request_and_a_response_for_every_api() {
    for &api in ApiKey::ALL {
        let names: Vec<_> =
            CATALOG.iter().filter(|entry| entry.api == api).map(|entry| entry.schema.name).collect();
        assert_eq!(names, [format!("{api}Request"), format!("{api}Response")]);
    }
}
