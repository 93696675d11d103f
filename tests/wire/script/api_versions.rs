//! ApiVersions (KIP-35, KIP-511).

use super::Script;
use ringlog::protocol::kafka::ApiKey;
use ringlog::protocol::kafka::messages::api_versions::ApiVersionsRequest;

pub fn talk(script: &mut Script<'_>) {
    script.versions(ApiKey::ApiVersions, "what the broker serves", |script, version| {
        let request =
            ApiVersionsRequest { client_software_name: "ringlog-test", client_software_version: "1.0" };
        script.call(version, &request);
    });
    for (what, name, software_version) in [
        ("an empty name", "", "1.0"),
        ("an empty version", "a", ""),
        ("a name with a space", "a b", "1.0"),
        ("a name that begins with a dash", "-a", "1.0"),
        ("a name that ends with a dot", "a.", "1.0"),
        ("a version that ends with a dash", "a", "1-"),
        ("one character each", "a", "1"),
    ] {
        script.versions_from(3, 4, what, |script, version| {
            let request =
                ApiVersionsRequest { client_software_name: name, client_software_version: software_version };
            script.call(version, &request);
        });
    }
    script.case("versions that nobody knows are answered in version 0", |script| {
        for version in [5_i16, 99, i16::MAX] {
            let mut frame = vec![0, 18];
            frame.extend(version.to_be_bytes());
            frame.extend([0, 0, 0, 9, 0, 1, b'x', 0, 2, b'a', 2, b'b', 0]);
            script.call_raw(&format!("ApiVersions in version {version}"), ApiKey::ApiVersions, 0, &frame);
        }
    });
}
