//! What is decoded encodes to what was there, in every version of every table.

use crate::catalog::versions;
use crate::generate::{self, Choices, Form};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_version_of_every_table_returns_the_bytes_it_was_made_from(
        source in proptest::collection::vec(any::<u8>(), 0..1500)
    ) {
        for (entry, version) in versions() {
            let flexible = entry.api.is_flexible(version);
            let form = Form { version, flexible, unknown_tags: false };
            let bytes = generate::message(&entry.schema, form, &mut Choices { bytes: &source });
            let decoded = (entry.ours)(&bytes, version);
            let decoded = decoded.map_err(|error| TestCaseError::fail(format!("{error}")))?;
            prop_assert_eq!(decoded.bytes, bytes, "{} {}", entry.schema.name, version);
            prop_assert_eq!(decoded.remaining, 0);
        }
    }

    #[test]
    fn kip_482_unknown_tagged_fields_are_skipped_wherever_they_stand(
        source in proptest::collection::vec(any::<u8>(), 0..1500)
    ) {
        for (entry, version) in versions().filter(|(entry, version)| entry.api.is_flexible(*version)) {
            let form = Form { version, flexible: true, unknown_tags: true };
            let bytes = generate::message(&entry.schema, form, &mut Choices { bytes: &source });
            let decoded = (entry.ours)(&bytes, version);
            let decoded = decoded.map_err(|error| TestCaseError::fail(format!("{error}")))?;
            prop_assert_eq!(decoded.remaining, 0, "{} {}", entry.schema.name, version);
            let again = (entry.ours)(&decoded.bytes, version);
            let again = again.map_err(|error| TestCaseError::fail(format!("{error}")))?;
            prop_assert_eq!(again.text, decoded.text);
        }
    }
}

#[test]
fn versions_outside_the_table_are_refused() {
    use ringlog::protocol::Error;
    for (entry, _) in versions() {
        let known = entry.api.versions();
        for version in [known.first - 1, known.last + 1, i16::MIN, i16::MAX] {
            let expected = Error::UnknownVersion { api_key: entry.api.code(), version };
            assert_eq!((entry.ours)(&[0; 64], version), Err(expected), "{}", entry.schema.name);
        }
    }
}
