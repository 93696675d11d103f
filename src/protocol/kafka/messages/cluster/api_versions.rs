//! ApiVersions (key 18): which APIs, in which versions, a broker serves. Source: KIP-35, KIP-511 (3), KIP-584 (features).

use crate::protocol::kafka::table::messages;

messages! {
    /// A version that the broker does not know is answered in version 0, with error 35 and its own versions.
    request ApiVersionsRequest<'a> of ApiVersions {
        client_software_name: &'a str, 3+, ignorable;
        client_software_version: &'a str, 3+, ignorable;
    }

    /// The header before it is never flexible.
    response ApiVersionsResponse<'a> of ApiVersions {
        error_code: i16, 0+;
        api_keys: Vec<ApiVersion>, 0+;
        throttle_time_ms: i32, 1+, ignorable;
        /// Below version 4, a feature whose minimum is 0 must be left out (KAFKA-17011).
        supported_features: Vec<SupportedFeatureKey<'a>>, 3+, tag 0, ignorable;
        /// -1: not known.
        finalized_features_epoch: i64 = -1, 3+, tag 1, ignorable;
        finalized_features: Vec<FinalizedFeatureKey<'a>>, 3+, tag 2, ignorable;
        zk_migration_ready: bool, 3+, tag 3, ignorable;
    }
    /// Both ends inclusive.
    part ApiVersion {
        api_key: i16, 0+;
        min_version: i16, 0+;
        max_version: i16, 0+;
    }
    /// What the broker could do.
    part SupportedFeatureKey<'a> {
        name: &'a str, 3+;
        min_version: i16, 3+;
        max_version: i16, 3+;
    }
    /// What the cluster has agreed on.
    part FinalizedFeatureKey<'a> {
        name: &'a str, 3+;
        max_version_level: i16, 3+;
        min_version_level: i16, 3+;
    }
}
