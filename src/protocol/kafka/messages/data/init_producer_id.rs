//! InitProducerId (key 22): a producer id and epoch, for idempotence and transactions. Source: KIP-98, KIP-360 (3, 4),
//! KIP-890 (5). Version 6 (KIP-939, two-phase commit) is unstable in Kafka 4.2 and not here.

use crate::protocol::kafka::table::messages;

messages! {
    request InitProducerIdRequest<'a> of InitProducerId {
        /// Null: idempotent, without transactions.
        transactional_id: Option<&'a str>, 0+, null 0+;
        transaction_timeout_ms: i32, 0+;
        /// The id and epoch to go on from; -1 and -1 for new ones.
        producer_id: i64 = -1, 3+;
        producer_epoch: i16 = -1, 3+;
    }

    response InitProducerIdResponse of InitProducerId {
        throttle_time_ms: i32, 0+, ignorable;
        error_code: i16, 0+;
        producer_id: i64 = -1, 0+;
        producer_epoch: i16, 0+;
    }
}
