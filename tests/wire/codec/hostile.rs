//! Bytes from peers that err or attack: never a panic, never more memory than the bound.

use crate::catalog::{Entry, versions};
use crate::generate::{self, Choices, Form};
use proptest::prelude::*;
use ringlog::protocol::Error;
use ringlog::protocol::kafka::{Reader, header::RequestHeader};

fn sample(entry: &Entry, version: i16, source: &[u8]) -> Vec<u8> {
    let form = Form { version, flexible: entry.api.is_flexible(version), unknown_tags: true };
    generate::message(&entry.schema, form, &mut Choices { bytes: source })
}

/// No wire byte may cost more than this in memory: a topic with an empty name and no partitions takes 3 bytes in a Produce
/// request of version 12, and 72 in memory, where its first partition has its place; in a response even more.
const AMPLIFICATION_MAX: usize = 48;

/// Decodes under the bound that a frame of this size has; the outcome does not matter.
fn decode_bounded(entry: &Entry, version: i16, bytes: &[u8]) -> Result<(), Error> {
    let (result, allocated) = (entry.allocated)(bytes, version, usize::MAX);
    let bound = bytes.len() * AMPLIFICATION_MAX;
    assert!(allocated <= bound, "{} {version}: {allocated} for {}", entry.schema.name, bytes.len());
    result
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_truncation_is_refused(source in proptest::collection::vec(any::<u8>(), 0..400)) {
        for (entry, version) in versions() {
            let bytes = sample(entry, version, &source);
            prop_assert_eq!(decode_bounded(entry, version, &bytes), Ok(()));
            for length in 0..bytes.len() {
                let result = decode_bounded(entry, version, &bytes[..length]);
                prop_assert!(result.is_err(), "{} {version} cut at {length}", entry.schema.name);
            }
        }
    }

    #[test]
    fn mutations_never_panic(
        source in proptest::collection::vec(any::<u8>(), 0..400),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..60),
    ) {
        for (entry, version) in versions() {
            let bytes = sample(entry, version, &source);
            let mut mutated = bytes.clone();
            for (place, byte) in &mutations {
                if mutated.is_empty() {
                    break;
                }
                let place = place.index(mutated.len());
                let before = std::mem::replace(&mut mutated[place], *byte);
                let _ = decode_bounded(entry, version, &mutated);
                // Every other change stays, so that damage also adds up.
                if byte % 2 == 0 {
                    mutated[place] = before;
                }
            }
        }
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        for (entry, version) in versions() {
            let _ = decode_bounded(entry, version, &noise);
        }
        let _ = RequestHeader::decode(&mut Reader::new(&noise));
    }
}

#[test]
fn a_claim_of_two_thousand_million_elements_is_refused_before_anything_is_allocated() {
    let mut refused = 0;
    for (entry, version) in versions() {
        let bytes = sample(entry, version, &[3; 300]);
        let claim: &[u8] = if entry.api.is_flexible(version) {
            &[0xff, 0xff, 0xff, 0xff, 0x0f]
        } else {
            &[0x7f, 0xff, 0xff, 0xff]
        };
        // At every position: one of them is that of the count.
        for position in 0..bytes.len() {
            let mut claiming = bytes.clone();
            claiming.splice(position..(position + claim.len()).min(bytes.len()), claim.iter().copied());
            let result = decode_bounded(entry, version, &claiming);
            refused += usize::from(matches!(result, Err(Error::CountTooLarge { .. })));
        }
    }
    assert!(refused > 200, "only {refused} of the claims met a count");
}

#[test]
fn what_a_frame_may_allocate_is_the_callers_to_say() {
    for (entry, version) in versions() {
        let bytes = sample(entry, version, &[3; 300]);
        let (result, needed) = (entry.allocated)(&bytes, version, usize::MAX);
        assert_eq!(result, Ok(()));
        assert_eq!((entry.allocated)(&bytes, version, needed), (Ok(()), needed));
        if needed > 0 {
            let (result, allocated) = (entry.allocated)(&bytes, version, needed - 1);
            assert!(
                matches!(result, Err(Error::AllocationTooLarge { .. })),
                "{} {version}",
                entry.schema.name
            );
            assert!(allocated < needed);
        }
    }
}
