//! What the connections' side of a shard counts, for whoever watches it. Plain numbers of one thread: they leave it as copies.

use std::collections::BTreeMap;

use crate::model::Histogram;
use crate::protocol::kafka::ApiKey;

/// Requests of one API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiFigures {
    /// How many were taken.
    pub requests: u64,
    /// Of their frames, without the lengths.
    pub bytes_in: u64,
    /// Of their replies.
    pub bytes_out: u64,
    /// From the beginning of the turn in which a request had come whole to the end of that in which its reply was made.
    pub latency: Histogram,
    /// How often a reply, or a part of one, said each error code.
    pub errors: BTreeMap<i16, u64>,
}

/// Connections by one listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerFigures {
    pub open: u64,
    /// Since the start.
    pub opened: u64,
}

/// Every API's and every listener's.
#[derive(Clone, Debug, Default)]
pub struct RequestFigures {
    /// By the numbers of the APIs; those that were never asked have none.
    apis: Vec<Option<Box<ApiFigures>>>,
    /// By the numbers of the listeners.
    listeners: Vec<ListenerFigures>,
    /// Connections that were closed for what their clients sent.
    broken: u64,
    /// Requests whose replies were made in this turn, and when they had come. Unit: µs, lowest bits.
    ended: Vec<(ApiKey, u32)>,
}

impl RequestFigures {
    /// A request has been taken, from a frame of so many bytes.
    pub fn note_request(&mut self, api: ApiKey, bytes: usize) {
        let figures = self.api(api);
        figures.requests += 1;
        figures.bytes_in += bytes as u64;
    }

    /// The reply to a request that came at `begun_us` is made, or none is due.
    pub fn note_reply(&mut self, api: ApiKey, begun_us: u32, bytes: usize, errors: &[(i16, u64)]) {
        self.ended.push((api, begun_us));
        let figures = self.api(api);
        figures.bytes_out += bytes as u64;
        for &(code, count) in errors {
            *figures.errors.entry(code).or_default() += count;
        }
    }

    /// Whether some reply was made in this turn.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// The turn is over. Unit: µs, lowest bits.
    pub fn end_turn(&mut self, now_us: u32) {
        let mut ended = std::mem::take(&mut self.ended);
        for (api, begun_us) in ended.drain(..) {
            self.api(api).latency.record(u64::from(now_us.wrapping_sub(begun_us)));
        }
        self.ended = ended;
    }

    /// A client broke the protocol, or asked for no answer where there was an error to tell.
    pub const fn note_broken(&mut self) {
        self.broken += 1;
    }

    /// How often one did.
    #[must_use]
    pub const fn broken(&self) -> u64 {
        self.broken
    }

    pub fn note_opened(&mut self, listener: usize) {
        if self.listeners.len() <= listener {
            self.listeners.resize(listener + 1, ListenerFigures::default());
        }
        if let Some(figures) = self.listeners.get_mut(listener) {
            figures.open += 1;
            figures.opened += 1;
        }
    }

    pub fn note_closed(&mut self, listener: usize) {
        if let Some(figures) = self.listeners.get_mut(listener) {
            figures.open = figures.open.saturating_sub(1);
        }
    }

    /// The APIs that were asked.
    pub fn apis(&self) -> impl Iterator<Item = (ApiKey, &ApiFigures)> {
        ApiKey::ALL.iter().filter_map(|&api| Some((api, self.apis.get(place_of(api))?.as_deref()?)))
    }

    /// By the numbers of the listeners; the last ones may be missing.
    #[must_use]
    pub fn listeners(&self) -> &[ListenerFigures] {
        &self.listeners
    }

    fn api(&mut self, api: ApiKey) -> &mut ApiFigures {
        let place = place_of(api);
        if self.apis.len() <= place {
            self.apis.resize(place + 1, None);
        }
        match self.apis.get_mut(place) {
            Some(figures) => figures.get_or_insert_default(),
            None => unreachable!("there is a place for it now"),
        }
    }
}

fn place_of(api: ApiKey) -> usize {
    usize::from(api.code().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_when_they_come_and_timed_when_their_turn_ends() {
        let mut figures = RequestFigures::default();
        figures.note_request(ApiKey::Fetch, 100);
        figures.note_request(ApiKey::Produce, 40);
        figures.note_reply(ApiKey::Produce, u32::MAX - 1, 70, &[(3, 2)]);
        assert!(figures.has_ended());
        figures.end_turn(4);
        assert!(!figures.has_ended());
        let found: Vec<_> = figures.apis().collect();
        let [(ApiKey::Produce, produce), (ApiKey::Fetch, fetch)] = found[..] else { panic!("{found:?}") };
        assert_eq!((produce.requests, produce.bytes_in, produce.bytes_out), (1, 40, 70));
        assert_eq!((produce.latency.count(), produce.latency.sum_us()), (1, 6));
        assert_eq!(produce.errors, BTreeMap::from([(3, 2)]));
        assert_eq!((fetch.requests, fetch.latency.count()), (1, 0));
    }

    #[test]
    fn connections_are_counted_by_listener() {
        let mut figures = RequestFigures::default();
        [1, 1, 0].into_iter().for_each(|listener| figures.note_opened(listener));
        figures.note_closed(1);
        let counts: Vec<_> =
            figures.listeners().iter().map(|figures| (figures.open, figures.opened)).collect();
        assert_eq!(counts, [(1, 1), (1, 2)]);
    }
}
