//! IncrementalAlterConfigs (key 44). Source: KIP-339.

use crate::protocol::kafka::table::messages;

messages! {
    request IncrementalAlterConfigsRequest<'a> of IncrementalAlterConfigs {
        resources: Vec<AlterConfigsResource<'a>>, 0+;
        validate_only: bool, 0+;
    }
    /// One resource; types as in DescribeConfigs.
    part AlterConfigsResource<'a> {
        resource_type: i8, 0+;
        resource_name: &'a str, 0+;
        configs: Vec<AlterableConfig<'a>>, 0+;
    }
    /// `config_operation`: 0 set, 1 delete, 2 append, 3 subtract.
    part AlterableConfig<'a> {
        name: &'a str, 0+;
        config_operation: i8, 0+;
        value: Option<&'a str>, 0+, null 0+;
    }

    response IncrementalAlterConfigsResponse<'a> of IncrementalAlterConfigs {
        throttle_time_ms: i32, 0+;
        responses: Vec<AlterConfigsResourceResponse<'a>>, 0+;
    }
    /// What became of one resource.
    part AlterConfigsResourceResponse<'a> {
        error_code: i16, 0+;
        error_message: Option<&'a str>, 0+, null 0+;
        resource_type: i8, 0+;
        resource_name: &'a str, 0+;
    }
}
