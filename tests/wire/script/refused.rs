//! Requests that cannot be read, and versions and APIs that are not served.

use super::Script;
use ringlog::protocol::kafka::ApiKey;

pub fn talk(script: &mut Script<'_>) {
    script.case("an API that does not exist", |script| {
        for api_key in [-1_i16, 200, i16::MAX] {
            raw(script, api_key, 0, &[0; 8]);
        }
    });
    script.case("versions that are not served", |script| {
        for &api in ApiKey::ALL {
            let Some(served) = api.served() else { continue };
            if api == ApiKey::ApiVersions {
                continue;
            }
            for version in [served.first - 1, served.last + 1, -1, i16::MAX] {
                // Versions of Kafka's that are not declared stable answer like any other.
                raw(script, api.code(), version, &[0; 16]);
            }
        }
    });
    script.case("old versions of Produce", |script| {
        for version in 0..3 {
            // acks 1, time-out 1,000 ms, no topic; then the same with acks 0.
            raw(script, 0, version, &[0, 1, 0, 0, 3, 0xe8, 0, 0, 0, 0]);
            raw(script, 0, version, &[0, 0, 0, 0, 3, 0xe8, 0, 0, 0, 0]);
        }
    });
    script.case("a body that ends too soon", |script| {
        for &api in ApiKey::ALL {
            let Some(served) = api.served() else { continue };
            if matches!(api, ApiKey::ApiVersions) {
                continue;
            }
            for version in [served.first, served.last] {
                let flexible = api.is_flexible(version);
                let frame = head(api.code(), version, flexible);
                let what = format!("{} {version} without a body", api.name());
                // A version whose body can be empty is answered.
                script.call_raw(&what, api, version, &frame);
            }
        }
    });
    script.case("frames that are no requests", |script| {
        script.call_raw("an empty frame", ApiKey::Metadata, 0, &[]);
        script.call_raw("three bytes", ApiKey::Metadata, 0, &[0, 3, 0]);
        let mut frame = head(3, 1, false);
        frame.extend([0xff, 0xff, 0xff, 0xfe]);
        script.call_raw("an array of -2 elements", ApiKey::Metadata, 1, &frame);
        let mut frame = head(3, 1, false);
        frame.extend([0x7f, 0xff, 0xff, 0xff, 0, 0]);
        script.call_raw("an array longer than the frame", ApiKey::Metadata, 1, &frame);
    });
    script.case("bytes behind a body", |script| {
        let mut frame = head(3, 1, false);
        frame.extend([0, 0, 0, 0, 1, 2, 3]);
        script.call_raw("Metadata 1 with three more bytes", ApiKey::Metadata, 1, &frame);
    });
}

fn raw(script: &mut Script<'_>, api_key: i16, version: i16, body: &[u8]) {
    let flexible = ApiKey::from_code(api_key).is_some_and(|api| api.is_flexible(version));
    let mut frame = head(api_key, version, flexible);
    frame.extend(body);
    let name = ApiKey::from_code(api_key).map_or(format!("API {api_key}"), |api| api.name().to_owned());
    let api = ApiKey::from_code(api_key).unwrap_or(ApiKey::Metadata);
    script.call_raw(&format!("{name} in version {version}"), api, version, &frame);
}

fn head(api_key: i16, version: i16, flexible: bool) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(api_key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 9, 0, 1, b'x']);
    if flexible {
        frame.push(0);
    }
    frame
}
