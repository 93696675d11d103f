//! DescribeConfigs (key 32). Source: KIP-133, KIP-226 (1: sources, synonyms), KIP-569 (3: types, documentation).

use crate::protocol::Result;
use crate::protocol::kafka::field::{Field as _, encode_count};
use crate::protocol::kafka::table::{self, messages};
use crate::protocol::kafka::{Message, Writer};

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

/// What [`encode_each`] hands out to take one result.
pub type TakeResult<'t> = &'t mut dyn FnMut(&DescribeConfigsResult<'_>) -> Result<()>;

/// Appends the body of a [`DescribeConfigsResponse`] of `count` results, which are made one after the other, so that no more
/// than one of them is there beside the bytes. `each` is told which is wanted and how many bytes the ones before took, and
/// gives it to what it gets.
///
/// # Errors
/// As those of the whole message.
pub fn encode_each(
    writer: &mut Writer,
    version: i16,
    count: usize,
    mut each: impl FnMut(usize, usize, TakeResult<'_>) -> Result<()>,
) -> Result<()> {
    let context = table::context(DescribeConfigsResponse::API_KEY, version)?;
    let throttle_time_ms: i32 = 0;
    throttle_time_ms.encode(writer, context)?;
    encode_count(writer, context, count)?;
    let start = writer.encoded().len();
    for place in 0..count {
        let taken = writer.encoded().len().saturating_sub(start);
        each(place, taken, &mut |result| result.encode(writer, context))?;
    }
    if context.flexible {
        writer.put_varint(0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_come_one_by_one_are_the_message() {
        let configs =
            vec![DescribeConfigsResourceResult { name: "a", ..DescribeConfigsResourceResult::default() }];
        let results: Vec<_> = (0..3)
            .map(|resource_type| DescribeConfigsResult {
                resource_type,
                resource_name: "name",
                configs: configs.clone(),
                ..DescribeConfigsResult::default()
            })
            .collect();
        let versions = DescribeConfigsResponse::API_KEY.versions();
        for version in versions.first..=versions.last {
            let (mut whole, mut each) = (Writer::new(), Writer::new());
            let mut taken = Vec::new();
            encode_each(&mut each, version, results.len(), |place, bytes, take| {
                taken.push(bytes);
                take(&results[place])
            })
            .unwrap();
            let message =
                DescribeConfigsResponse { results: results.clone(), ..DescribeConfigsResponse::default() };
            Message::encode(&message, &mut whole, version).unwrap();
            assert_eq!(each.encoded(), whole.encoded(), "version {version}");
            assert!(taken[0] == 0 && taken[1] > 0 && taken[2] == 2 * taken[1], "{taken:?}");
        }
    }
}
