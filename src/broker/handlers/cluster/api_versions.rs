//! ApiVersions (key 18): what this broker speaks (KIP-35, KIP-511).

use crate::broker::handlers::Fate;
use crate::broker::shards::{RequestId, Shard};
use crate::model::error_code::ErrorCode;
use crate::protocol::kafka::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use crate::protocol::kafka::{ApiKey, Message, Reader};
use crate::runtime::memory::ArenaMemory;

/// An unknown version is answered in version 0, with the versions that would do.
pub fn handle<M: ArenaMemory>(shard: &mut Shard<M>, mut id: RequestId, body: &[u8]) -> Fate {
    let known = ApiKey::ApiVersions.served().is_some_and(|served| served.contains(id.api_version));
    let mut response = ApiVersionsResponse { api_keys: served_apis(), ..ApiVersionsResponse::default() };
    if !known {
        id.api_version = 0;
        response.error_code = ErrorCode::UnsupportedVersion.code();
        response.api_keys.retain(|api| api.api_key == ApiKey::ApiVersions.code());
    } else {
        let Ok(request) = ApiVersionsRequest::decode(&mut Reader::new(body), id.api_version) else {
            return Fate::Close;
        };
        if id.api_version >= 3
            && !(is_name(request.client_software_name) && is_name(request.client_software_version))
        {
            response.error_code = ErrorCode::InvalidRequest.code();
            response.api_keys.clear();
        }
    }
    shard.reply(&id, &response, Vec::new());
    Fate::Done
}

fn served_apis() -> Vec<ApiVersion> {
    ApiKey::ALL
        .iter()
        .filter_map(|api| {
            let versions = api.advertised()?;
            Some(ApiVersion { api_key: api.code(), min_version: versions.first, max_version: versions.last })
        })
        .collect()
}

/// KIP-511: letters, digits, dots and dashes, beginning and ending with a letter or digit.
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let ends = [text.bytes().next(), text.bytes().last()];
    text.bytes().all(inner) && ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}
