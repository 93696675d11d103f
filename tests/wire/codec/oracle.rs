//! What `kafka-protocol` 0.18 makes of a message, ours makes of it.

use crate::catalog::versions;
use crate::debug_text;
use crate::generate::{self, Choices, Form};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_version_that_both_know_means_the_same_and_encodes_to_the_same_bytes(
        source in proptest::collection::vec(any::<u8>(), 0..1500)
    ) {
        for (entry, version) in versions() {
            let (first, last) = entry.their_versions;
            if !(first..=last).contains(&version) {
                continue;
            }
            let flexible = entry.api.is_flexible(version);
            let form = Form { version, flexible, unknown_tags: false };
            let bytes = generate::message(&entry.schema, form, &mut Choices { bytes: &source });
            let context = format!("{} {version}", entry.schema.name);
            let ours = (entry.ours)(&bytes, version);
            let ours = ours.map_err(|error| TestCaseError::fail(format!("{context}: {error}")))?;
            let theirs = (entry.theirs)(&bytes, version);
            prop_assert_eq!(&ours.bytes, &bytes, "ours: {}", context);
            prop_assert_eq!(&theirs.bytes, &bytes, "the oracle: {}", context);
            prop_assert_eq!((ours.remaining, theirs.remaining), (0, 0));
            let (ours, theirs) = (debug_text::parse(&ours.text), debug_text::parse(&theirs.text));
            debug_text::assert_same(&entry.schema, version, &ours, &theirs);
        }
    }
}

#[test]
fn the_oracle_knows_all_versions_but_one() {
    let beyond: Vec<_> = versions()
        .filter(|(entry, version)| {
            let (first, last) = entry.their_versions;
            !(first..=last).contains(version)
        })
        .map(|(entry, version)| (entry.schema.name, version))
        .collect();
    assert_eq!(beyond, [("ListOffsetsRequest", 11), ("ListOffsetsResponse", 11)]);
}

#[test]
fn headers_are_the_oracles() {
    use kafka_protocol::messages::{self as theirs, RequestHeader, ResponseHeader};
    use kafka_protocol::protocol::{Encodable, StrBytes};
    use ringlog::protocol::kafka::{ApiKey, Writer, header};

    for &api in ApiKey::ALL {
        let their_api = theirs::ApiKey::try_from(api.code()).unwrap();
        let versions = api.versions();
        for version in versions.first..=versions.last {
            let ours = (api.request_header_version(version), api.response_header_version(version));
            let theirs =
                (their_api.request_header_version(version), their_api.response_header_version(version));
            assert_eq!(ours, theirs, "{api} {version}");
            for client_id in [None, Some(""), Some("a client")] {
                let mut expected = Vec::new();
                RequestHeader::default()
                    .with_request_api_key(api.code())
                    .with_request_api_version(version)
                    .with_correlation_id(-7)
                    .with_client_id(client_id.map(StrBytes::from_static_str))
                    .encode(&mut expected, theirs.0)
                    .unwrap();
                let mut writer = Writer::new();
                let header = header::RequestHeader {
                    api_key: api,
                    api_version: version,
                    correlation_id: -7,
                    client_id,
                };
                header.encode(&mut writer).unwrap();
                assert_eq!(writer.encoded(), expected, "{api} {version}");
            }
            let mut expected = Vec::new();
            ResponseHeader::default().with_correlation_id(-7).encode(&mut expected, theirs.1).unwrap();
            let mut writer = Writer::new();
            header::ResponseHeader { correlation_id: -7 }.encode(&mut writer, api, version).unwrap();
            assert_eq!(writer.encoded(), expected, "{api} {version}");
        }
    }
}
