//! FindCoordinator (key 10): which broker coordinates a group or transaction. Source: KIP-98 (1: transactions),
//! KIP-699 (4: several keys), KIP-890 (5), KIP-932 (6: share groups).

use crate::protocol::kafka::table::messages;

messages! {
    /// `key_type`: 0 group, 1 transaction, 2 share.
    request FindCoordinatorRequest<'a> of FindCoordinator {
        key: &'a str, 0-3;
        key_type: i8, 1+;
        coordinator_keys: Vec<&'a str>, 4+;
    }

    /// One answer in the fields themselves until version 3, a list from 4.
    response FindCoordinatorResponse<'a> of FindCoordinator {
        throttle_time_ms: i32, 1+, ignorable;
        error_code: i16, 0-3;
        error_message: Option<&'a str>, 1-3, null 1+, ignorable;
        node_id: i32, 0-3;
        host: &'a str, 0-3;
        port: i32, 0-3;
        coordinators: Vec<Coordinator<'a>>, 4+;
    }
    /// The coordinator of one key.
    part Coordinator<'a> {
        key: &'a str, 4+;
        node_id: i32, 4+;
        host: &'a str, 4+;
        port: i32, 4+;
        error_code: i16, 4+;
        error_message: Option<&'a str>, 4+, null 4+, ignorable;
    }
}
