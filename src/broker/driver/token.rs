//! What the ring's completions belong to, in 64 bits.
//!
//! ```text
//! bits 60-63  kind
//! bits  0-59  of a connection: generation (low 28 bits) << 32 | index; of a listener: its number; of storage: the operation
//! ```

use crate::broker::shards::ConnectionId;
use crate::storage::operation::OperationId;

/// What a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Accept(usize),
    Receive(ConnectionId),
    ReceiveLarge(ConnectionId),
    Send(ConnectionId),
    Storage(OperationId),
    Unknown,
}

const KIND_SHIFT: u32 = 60;
const GENERATION_MASK: u32 = (1 << 28) - 1;
const BODY_MASK: u64 = (1 << KIND_SHIFT) - 1;

impl Token {
    pub(super) fn encode(self) -> u64 {
        let (kind, body) = match self {
            Self::Accept(listener) => (1, listener as u64),
            Self::Receive(id) => (2, connection(id)),
            Self::ReceiveLarge(id) => (3, connection(id)),
            Self::Send(id) => (4, connection(id)),
            Self::Storage(id) => (5, id.0 & BODY_MASK),
            Self::Unknown => (0, 0),
        };
        kind << KIND_SHIFT | body
    }

    pub(super) fn decode(token: u64) -> Self {
        let body = token & BODY_MASK;
        match token >> KIND_SHIFT {
            1 => usize::try_from(body).map_or(Self::Unknown, Self::Accept),
            2 => Self::Receive(parse(body)),
            3 => Self::ReceiveLarge(parse(body)),
            4 => Self::Send(parse(body)),
            5 => Self::Storage(OperationId(body)),
            _ => Self::Unknown,
        }
    }
}

/// Whether a token's connection is this one, as far as the token's bits tell.
pub(super) const fn is_same(token: ConnectionId, id: ConnectionId) -> bool {
    token.index == id.index && token.generation == id.generation & GENERATION_MASK
}

fn connection(id: ConnectionId) -> u64 {
    u64::from(id.generation & GENERATION_MASK) << 32 | u64::from(id.index)
}

fn parse(body: u64) -> ConnectionId {
    let low = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
    // Completions are of the ring's own shard; only the place and the generation tell connections apart there.
    ConnectionId { shard: 0, index: low(body), generation: low(body >> 32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back() {
        let id = ConnectionId { shard: 0, index: 77, generation: 12345 };
        for token in [
            Token::Accept(3),
            Token::Receive(id),
            Token::ReceiveLarge(id),
            Token::Send(id),
            Token::Storage(OperationId(1 << 40)),
        ] {
            assert_eq!(Token::decode(token.encode()), token);
        }
        let wrapped = ConnectionId { shard: 3, index: 77, generation: u32::MAX };
        let Token::Send(seen) = Token::decode(Token::Send(wrapped).encode()) else { panic!() };
        assert!(is_same(seen, wrapped));
    }
}
