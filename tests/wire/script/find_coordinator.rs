//! FindCoordinator.

use super::Script;
use ringlog::protocol::kafka::ApiKey;
use ringlog::protocol::kafka::messages::find_coordinator::FindCoordinatorRequest;

pub fn talk(script: &mut Script<'_>) {
    for (what, key_type, from) in [
        ("a group", 0_i8, 0_i16),
        ("a transaction", 1, 1),
        ("a share group", 2, 1),
        ("an unknown type", 9, 1),
    ] {
        for key in ["g", ""] {
            let what = if key.is_empty() { format!("{what} without a name") } else { what.to_owned() };
            let last = ApiKey::FindCoordinator.versions().last;
            script.versions_from(from, last, &what, |script, version| {
                let request = if version >= 4 {
                    FindCoordinatorRequest { key_type, coordinator_keys: vec![key], ..Default::default() }
                } else {
                    FindCoordinatorRequest { key, key_type, ..Default::default() }
                };
                script.call(version, &request);
            });
        }
    }
    script.versions_from(4, 6, "no key and several keys", |script, version| {
        script.call(version, &FindCoordinatorRequest::default());
        let request = FindCoordinatorRequest { coordinator_keys: vec!["a", "b", "a"], ..Default::default() };
        script.call(version, &request);
    });
}
