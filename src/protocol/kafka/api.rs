//! The table of APIs: keys, versions, flexibility. What the broker advertises and what the codec knows come from here.
//!
//! Source: Kafka 4.2's ApiVersions response and message definitions.

use super::schema::Versions;
use std::fmt;

macro_rules! apis {
    ($(
        $(#[$meta:meta])*
        $name:ident = $key:literal, $first:literal - $last:literal, flexible $flexible:literal +
        $(, $served:ident $(from $advertised:literal)?)?;
    )*) => {
        /// An API that this crate has message tables for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $($(#[$meta])* $name = $key,)*
        }

        impl ApiKey {
            /// Every API of the table, in ascending order of key.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The API with this key, if the table has it.
            #[must_use]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            const fn row(self) -> Row {
                match self {
                    $(Self::$name => {
                        let row = Row::new(Versions::new($first, $last), $flexible);
                        $(let row = row.$served()$(.from($advertised))?;)?
                        row
                    })*
                }
            }
        }
    };
}

/// `name = key, versions that the codec knows, first flexible version`; `served`: the broker answers it, `from`: and
/// advertises it from a lower version, for the sake of clients that look for that.
#[derive(Clone, Copy, Debug)]
struct Row {
    versions: Versions,
    flexible_from: i16,
    advertised: Option<Versions>,
}

apis! {
    /// Advertised from 0, served from 3: librdkafka takes a higher minimum for a broker that it cannot use.
    Produce = 0, 3-13, flexible 9+, served from 0;
    Fetch = 1, 4-18, flexible 12+, served;
    ListOffsets = 2, 1-11, flexible 6+, served;
    Metadata = 3, 0-13, flexible 9+, served;
    /// librdkafka produces lz4 only when it is advertised.
    FindCoordinator = 10, 0-6, flexible 3+, served;
    ApiVersions = 18, 0-4, flexible 3+, served;
    CreateTopics = 19, 2-7, flexible 5+, served;
    DeleteTopics = 20, 1-6, flexible 4+, served;
    DeleteRecords = 21, 0-2, flexible 2+;
    InitProducerId = 22, 0-5, flexible 2+, served;
    OffsetForLeaderEpoch = 23, 2-4, flexible 4+;
    DescribeConfigs = 32, 1-4, flexible 4+, served;
    DescribeLogDirs = 35, 1-4, flexible 2+;
    CreatePartitions = 37, 0-3, flexible 2+;
    IncrementalAlterConfigs = 44, 0-1, flexible 1+, served;
    DescribeCluster = 60, 0-2, flexible 0+, served;
}

impl ApiKey {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The versions that the codec knows.
    #[must_use]
    pub const fn versions(self) -> Versions {
        self.row().versions
    }

    /// The versions that the broker answers; `None` if it does not serve the API.
    #[must_use]
    pub const fn served(self) -> Option<Versions> {
        match self.row().advertised {
            Some(_) => Some(self.versions()),
            None => None,
        }
    }

    /// The versions that the broker's ApiVersions response names; `None` if it does not serve the API.
    #[must_use]
    pub const fn advertised(self) -> Option<Versions> {
        self.row().advertised
    }

    /// First version with compact lengths and tagged sections (KIP-482).
    #[must_use]
    pub const fn flexible_from(self) -> i16 {
        self.row().flexible_from
    }

    /// Whether `version`, known or not, has compact lengths and tagged sections.
    #[must_use]
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from()
    }

    /// The version of the header before a request: 2 with a tagged section, 1 without.
    #[must_use]
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the header before a response: 1 with a tagged section, 0 without. Always 0 for ApiVersions: the
    /// client that reads it does not know yet which versions the broker speaks (KIP-511).
    #[must_use]
    pub const fn response_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) && !matches!(self, Self::ApiVersions) { 1 } else { 0 }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Row {
    const fn new(versions: Versions, flexible_from: i16) -> Self {
        Self { versions, flexible_from, advertised: None }
    }

    const fn served(mut self) -> Self {
        self.advertised = Some(self.versions);
        self
    }

    const fn from(mut self, version: i16) -> Self {
        self.advertised = Some(Versions::new(version, self.versions.last));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_and_lead_back_to_themselves() {
        assert!(ApiKey::ALL.is_sorted());
        for &api in ApiKey::ALL {
            assert_eq!(ApiKey::from_code(api.code()), Some(api));
        }
        assert_eq!(ApiKey::from_code(4), None);
        assert_eq!(ApiKey::from_code(-1), None);
    }

    #[test]
    fn kafka_18659_produce_is_advertised_from_0_and_served_from_3() {
        assert_eq!(ApiKey::Produce.advertised(), Some(Versions::new(0, 13)));
        assert_eq!(ApiKey::Produce.served(), Some(Versions::new(3, 13)));
        assert_eq!(ApiKey::Fetch.advertised(), Some(Versions::new(4, 18)));
        assert_eq!(ApiKey::DeleteRecords.advertised(), None);
    }

    #[test]
    fn kip_511_the_header_of_an_api_versions_response_is_never_flexible() {
        assert_eq!(ApiKey::ApiVersions.request_header_version(4), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
        assert_eq!(ApiKey::Fetch.response_header_version(11), 0);
        assert_eq!(ApiKey::Fetch.response_header_version(12), 1);
        assert_eq!(ApiKey::DescribeCluster.request_header_version(0), 2);
    }
}
