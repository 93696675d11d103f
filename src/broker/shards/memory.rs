//! What clients make one shard hold beside the arena and the read cache: requests that wait, encoded replies, and frames of
//! which a part has come. Their sum has a bound, what `memory.bytes` leaves; large frames take from the same.
//!
//! Pure. Two thresholds below the bound: over the first, a connection that holds replies is read from no more until its
//! client has taken them; over the second, nobody is. Requests and replies have a share of their own: over it, frames that
//! are there wait where they lie. So parts of frames never take more than half, requests and replies a quarter, and large
//! frames what is left.

use crate::config::BrokerConfig;
use crate::model::number::index;

/// Over one part in so many of the bound, who holds replies is read from no more.
const TIGHT_SHARE: usize = 4;
/// Over one part in so many of the bound, nobody is read from.
const FULL_SHARE: usize = 2;
/// Requests and replies take at most one part in so many, but for one reply.
const REPLIES_SHARE: usize = 4;
/// Requests that wait for something to happen take at most one part in so many for long.
const LONG_SHARE: usize = 8;
/// Of what is left for large frames, one part in so many is only for those of moderate size,
const MODERATE_SHARE: usize = 4;
/// which take no more than one part in so many of the bound: those who ask for much keep nobody else waiting.
const MODERATE_FRAME_SHARE: usize = 64;
/// Buffers that lie idle take at most one part in so many.
const IDLE_SHARE: usize = 64;
/// One request takes at most one part in so many of the bound for what it is made of beside its bytes. Decoding and answering
/// it take a few times as much, but only one request of a shard does so at a time.
const REQUEST_SHARE: usize = 8;
/// So much it may take even if that is more. Unit: bytes.
const REQUEST_BYTES_MIN: usize = 1 << 20;
/// One reply that grows with the request takes at most one part in so many. It is there three times while it is encoded.
const REPLY_SHARE: usize = 8;

/// One shard's account. Unit: bytes.
#[derive(Debug)]
pub struct Memory {
    bytes_max: usize,
    /// Of waiting requests and of replies until they are sent.
    replies: usize,
    /// Capacities of buffers with parts of frames.
    partial_frames: usize,
}

impl Memory {
    /// An empty account with the bound that the settings leave.
    #[must_use]
    pub fn new(config: &BrokerConfig) -> Self {
        Self { bytes_max: bytes_max(config), replies: 0, partial_frames: 0 }
    }

    /// A connection's requests and replies held `before`, and hold `now`.
    pub const fn change_replies(&mut self, before: usize, now: usize) {
        self.replies = (self.replies + now).saturating_sub(before);
    }

    /// A connection's buffer had a capacity of `before`, and has one of `now`.
    pub const fn change_partial_frames(&mut self, before: usize, now: usize) {
        self.partial_frames = (self.partial_frames + now).saturating_sub(before);
    }

    /// All that is counted here.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.replies + self.partial_frames
    }

    /// What a frame of so many bytes may take at most, whatever the others hold.
    #[must_use]
    pub const fn left_bytes_at_most(&self, frame_bytes: usize) -> usize {
        Self { bytes_max: self.bytes_max, replies: 0, partial_frames: 0 }.left_bytes(frame_bytes)
    }

    /// What large frames may take beside it together with one more of so many bytes: never what others may still
    /// come to.
    #[must_use]
    pub const fn left_bytes(&self, frame_bytes: usize) -> usize {
        let others_bytes =
            self.bytes_max / FULL_SHARE + self.bytes_max / REPLIES_SHARE + self.idle_frames_bytes_max();
        let held_bytes = self.held_bytes();
        let left_bytes =
            self.bytes_max.saturating_sub(if held_bytes > others_bytes { held_bytes } else { others_bytes });
        if frame_bytes <= self.bytes_max / MODERATE_FRAME_SHARE {
            left_bytes
        } else {
            left_bytes - left_bytes / MODERATE_SHARE
        }
    }

    /// What buffers for large frames may take that lie idle.
    #[must_use]
    pub const fn idle_frames_bytes_max(&self) -> usize {
        self.bytes_max / IDLE_SHARE
    }

    /// What one request may take beside its bytes.
    #[must_use]
    pub fn request_bytes_max(&self) -> usize {
        (self.bytes_max / REQUEST_SHARE).max(REQUEST_BYTES_MIN)
    }

    /// What one reply may take.
    #[must_use]
    pub const fn reply_bytes_max(&self) -> usize {
        self.bytes_max / REPLY_SHARE
    }

    /// What requests and replies may still hold.
    #[must_use]
    pub const fn room_bytes(&self) -> usize {
        (self.bytes_max / REPLIES_SHARE).saturating_sub(self.replies)
    }

    /// Whether requests must wait, since those before them and their replies take all that they may.
    #[must_use]
    pub const fn lacks_room(&self) -> bool {
        self.replies > self.bytes_max / REPLIES_SHARE
    }

    /// Whether a request may wait for long.
    #[must_use]
    pub const fn may_wait_long(&self) -> bool {
        self.replies <= self.bytes_max / LONG_SHARE
    }

    /// Whether a request may hold so much more until it is answered.
    #[must_use]
    pub const fn has_room_for(&self, bytes: usize) -> bool {
        self.held_bytes().saturating_add(bytes) <= self.bytes_max / FULL_SHARE
    }

    /// Whether connections that hold replies must wait.
    #[must_use]
    pub const fn is_tight(&self) -> bool {
        self.held_bytes() > self.bytes_max / TIGHT_SHARE
    }

    /// Whether all must wait.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.held_bytes() > self.bytes_max / FULL_SHARE
    }
}

/// Room for requests and replies: what `memory.bytes` leaves beside the arena, the read cache and producer state.
fn bytes_max(config: &BrokerConfig) -> usize {
    config.request_bytes_left().min(config.queued_max_request_bytes.map_or(usize::MAX, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thresholds_come_one_after_the_other() {
        let mut memory = Memory { bytes_max: 100, replies: 0, partial_frames: 0 };
        memory.change_partial_frames(0, 20);
        memory.change_replies(0, 5);
        assert!(!memory.is_tight());
        memory.change_replies(5, 29);
        assert!(memory.is_tight() && !memory.is_full());
        assert_eq!(memory.left_bytes(1), 24, "others may come to the rest, and some lies idle");
        assert_eq!(memory.left_bytes(2), 18);
        assert!(memory.lacks_room() && memory.room_bytes() == 0);
        memory.change_partial_frames(20, 80);
        assert!(memory.is_full());
        assert_eq!(memory.left_bytes(1), 0);
        memory.change_replies(29, 0);
        memory.change_partial_frames(80, 0);
        assert_eq!(memory.held_bytes(), 0);
    }
}
