//! Which versions of which API a broker serves, and the one to speak.

use std::collections::BTreeMap;

use crate::protocol::kafka::ApiKey;
use crate::protocol::kafka::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use crate::protocol::kafka::schema::Versions;

/// A broker's answer to ApiVersions, without the APIs that this crate has no tables for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerVersions {
    served: BTreeMap<ApiKey, Versions>,
}

impl BrokerVersions {
    pub(super) fn of(response: &ApiVersionsResponse<'_>) -> Self {
        let row = |api: &ApiVersion| {
            Some((ApiKey::from_code(api.api_key)?, Versions::new(api.min_version, api.max_version)))
        };
        Self { served: response.api_keys.iter().filter_map(row).collect() }
    }

    /// What the broker serves of `api_key`.
    #[must_use]
    pub fn served(&self, api_key: ApiKey) -> Option<Versions> {
        self.served.get(&api_key).copied()
    }

    /// The highest version up to `last` that the broker serves and this crate knows.
    #[must_use]
    pub fn agreed(&self, api_key: ApiKey, last: i16) -> Option<i16> {
        let (ours, theirs) = (api_key.versions(), self.served(api_key)?);
        let highest = ours.last.min(theirs.last).min(last);
        (highest >= ours.first && highest >= theirs.first).then_some(highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_that_both_know_is_spoken() {
        let row = |api_key, min_version, max_version| ApiVersion { api_key, min_version, max_version };
        let api_keys = vec![row(1, 0, 40), row(3, 0, 5), row(0, 0, 2), row(19, 8, 9), row(999, 0, 1)];
        let versions =
            BrokerVersions::of(&ApiVersionsResponse { api_keys, ..ApiVersionsResponse::default() });
        assert_eq!(versions.agreed(ApiKey::Fetch, i16::MAX), Some(18));
        assert_eq!(versions.agreed(ApiKey::Fetch, 12), Some(12));
        assert_eq!(versions.agreed(ApiKey::Metadata, i16::MAX), Some(5));
        assert_eq!(versions.agreed(ApiKey::Produce, i16::MAX), None);
        assert_eq!(versions.agreed(ApiKey::CreateTopics, i16::MAX), None);
        assert_eq!(versions.agreed(ApiKey::ListOffsets, i16::MAX), None);
    }
}
