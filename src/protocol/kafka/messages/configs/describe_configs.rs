//! DescribeConfigs (key 32). Source: KIP-133, KIP-226 (1: sources, synonyms), KIP-569 (3: types, documentation).

use crate::protocol::kafka::table::messages;

messages! {
    request DescribeConfigsRequest<'a> of DescribeConfigs {
        resources: Vec<DescribeConfigsResource<'a>>, 0+;
        include_synonyms: bool, 1+;
        include_documentation: bool, 3+;
    }
    /// `resource_type`: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
    part DescribeConfigsResource<'a> {
        resource_type: i8, 0+;
        resource_name: &'a str, 0+;
        /// Null asks for all.
        configuration_keys: Option<Vec<&'a str>>, 0+, null 0+;
    }

    response DescribeConfigsResponse<'a> of DescribeConfigs {
        throttle_time_ms: i32, 0+;
        results: Vec<DescribeConfigsResult<'a>>, 0+;
    }
    /// The settings of one resource.
    part DescribeConfigsResult<'a> {
        error_code: i16, 0+;
        error_message: Option<&'a str>, 0+, null 0+;
        resource_type: i8, 0+;
        resource_name: &'a str, 0+;
        configs: Vec<DescribeConfigsResourceResult<'a>>, 0+;
    }
    /// One setting. `config_source`: 1 topic, 2 dynamic broker, 3 dynamic default broker, 4 static broker, 5 default,
    /// 6 dynamic broker logger, 7 client metrics, 8 group.
    part DescribeConfigsResourceResult<'a> {
        name: &'a str, 0+;
        value: Option<&'a str>, 0+, null 0+;
        read_only: bool, 0+;
        config_source: i8 = -1, 1+, ignorable;
        is_sensitive: bool, 0+;
        synonyms: Vec<DescribeConfigsSynonym<'a>>, 1+, ignorable;
        /// 0 unknown, 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
        config_type: i8, 3+, ignorable;
        documentation: Option<&'a str>, 3+, null 0+, ignorable;
    }
    /// Another place that the value could come from, the first one being where it does.
    part DescribeConfigsSynonym<'a> {
        name: &'a str, 1+;
        value: Option<&'a str>, 1+, null 0+;
        source: i8, 1+;
    }
}
