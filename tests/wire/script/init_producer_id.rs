//! InitProducerId (KIP-98, KIP-360).

use super::Script;
use ringlog::protocol::kafka::ApiKey;
use ringlog::protocol::kafka::messages::init_producer_id::InitProducerIdRequest;

pub fn talk(script: &mut Script<'_>) {
    script.versions(ApiKey::InitProducerId, "a new id", |script, version| {
        script.call(version, &request(None, -1, -1));
    });
    script.versions_from(3, 5, "going on with an id and epoch", |script, version| {
        let far = 900_000_007;
        for (id, epoch) in [(far, 3), (far, -1), (-1, 3), (-2, -2), (far, 0), (far, i16::MAX)] {
            script.call(version, &request(None, id, epoch));
        }
    });
    script.versions(ApiKey::InitProducerId, "a transactional id without a name", |script, version| {
        script.call(version, &request(Some(""), -1, -1));
    });
    script.versions(ApiKey::InitProducerId, "a transactional id", |script, version| {
        script.call(version, &request(Some("t"), -1, -1));
    });
    script.versions(ApiKey::InitProducerId, "a time-out below 0 without transactions", |script, version| {
        let request = InitProducerIdRequest { transaction_timeout_ms: -5, ..request(None, -1, -1) };
        script.call(version, &request);
    });
}

fn request(
    transactional_id: Option<&str>,
    producer_id: i64,
    producer_epoch: i16,
) -> InitProducerIdRequest<'_> {
    InitProducerIdRequest { transactional_id, transaction_timeout_ms: 60_000, producer_id, producer_epoch }
}
