//! Appends that are not yet durable, and how far the durable prefix reaches.
//!
//! Pure. Two sources make an append durable: a frame in the commit log, or a synced write of its segment. They complete
//! in any order; the durable prefix is contiguous: an append counts only when all before it do.

use std::collections::VecDeque;

use crate::model::Offset;

#[derive(Clone, Copy, Debug)]
struct Append {
    /// Log position behind it.
    end: u64,
    end_offset: Offset,
}

/// The queue of one partition. Bounded by the arena: each append in it still has its bytes there.
#[derive(Debug, Default)]
pub struct Pending {
    appends: VecDeque<Append>,
    /// Everything before this log position that went through the commit log is durable there.
    commit_end: u64,
    /// Everything before this log position is durable in its segment.
    segment_end: u64,
    /// Ranges that only a segment write can make durable, as (start, end) log positions, merged when adjacent.
    direct: VecDeque<(u64, u64)>,
}

impl Pending {
    /// An empty queue whose log ends, durable, at `end`.
    #[must_use]
    pub fn starting_at(end: u64) -> Self {
        Self { appends: VecDeque::new(), commit_end: end, segment_end: end, direct: VecDeque::new() }
    }

    /// Adds the append that stands at log positions `start..end`. Appends of less than `merge_bytes` together are not told apart.
    pub fn push(
        &mut self,
        start: u64,
        end: u64,
        end_offset: Offset,
        through_commit_log: bool,
        merge_bytes: u64,
    ) {
        if let Some(last) = self.appends.back_mut()
            && merge_bytes > 0
            && last.end / merge_bytes == end / merge_bytes
        {
            *last = Append { end, end_offset };
        } else {
            self.appends.push_back(Append { end, end_offset });
        }
        if !through_commit_log {
            match self.direct.back_mut() {
                Some(last) if last.1 == start => last.1 = end,
                _ => self.direct.push_back((start, end)),
            }
        }
    }

    /// The commit log has made durable what it carries before log position `end`.
    pub fn handle_commit(&mut self, end: u64) {
        self.commit_end = self.commit_end.max(end);
    }

    /// The segments are durable before log position `end`.
    pub fn handle_segment(&mut self, end: u64) {
        self.segment_end = self.segment_end.max(end);
    }

    /// Removes what is durable; returns end (log position and offset) of the last append removed.
    pub fn poll_durable(&mut self) -> Option<(u64, Offset)> {
        while self.direct.front().is_some_and(|&(_, end)| end <= self.segment_end) {
            self.direct.pop_front();
        }
        let blocked_from = self.direct.front().map_or(u64::MAX, |&(start, _)| start.max(self.segment_end));
        let durable_end = self.segment_end.max(self.commit_end.min(blocked_from));
        let mut reached = None;
        while let Some(first) = self.appends.front()
            && first.end <= durable_end
        {
            reached = Some((first.end, first.end_offset));
            self.appends.pop_front();
        }
        reached
    }

    /// Forgets appends behind log position `end`, where the log now ends with `end_offset` (truncation). Everything before
    /// `flushed_offset` has been removed as durable.
    pub fn truncate(&mut self, end: u64, end_offset: Offset, flushed_offset: Offset) {
        let mut cut = false;
        while self.appends.back().is_some_and(|last| last.end > end) {
            self.appends.pop_back();
            cut = true;
        }
        // What was merged with a later append is still to become durable.
        if cut && self.appends.back().map_or(flushed_offset, |last| last.end_offset) < end_offset {
            self.appends.push_back(Append { end, end_offset });
        }
        while let Some(last) = self.direct.back_mut() {
            if last.0 >= end {
                self.direct.pop_back();
            } else {
                last.1 = last.1.min(end);
                break;
            }
        }
        self.commit_end = self.commit_end.min(end);
        self.segment_end = self.segment_end.min(end);
    }

    /// Whether every append is durable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_append_holds_back_what_the_commit_log_has_behind_it() {
        let mut pending = Pending::starting_at(0);
        pending.push(0, 10, Offset(1), true, 0);
        pending.push(10, 1000, Offset(2), false, 0);
        pending.push(1000, 1010, Offset(3), true, 0);
        pending.handle_commit(1010);
        assert_eq!(pending.poll_durable(), Some((10, Offset(1))));
        assert_eq!(pending.poll_durable(), None);
        pending.handle_segment(1000);
        assert_eq!(pending.poll_durable(), Some((1010, Offset(3))));
        assert!(pending.is_empty());
    }

    #[test]
    fn a_segment_write_makes_durable_what_the_commit_log_has_not_yet() {
        let mut pending = Pending::starting_at(4096);
        pending.push(4096, 4100, Offset(1), true, 0);
        pending.push(4100, 4200, Offset(2), false, 0);
        pending.handle_segment(4200);
        assert_eq!(pending.poll_durable(), Some((4200, Offset(2))));
    }

    #[test]
    fn truncation_forgets_and_what_comes_behind_is_judged_anew() {
        let mut pending = Pending::starting_at(0);
        pending.push(0, 100, Offset(1), true, 0);
        pending.push(100, 200, Offset(2), true, 0);
        pending.handle_commit(200);
        pending.truncate(100, Offset(1), Offset(0));
        pending.push(100, 150, Offset(2), true, 0);
        assert_eq!(pending.poll_durable(), Some((100, Offset(1))));
        assert_eq!(pending.poll_durable(), None, "the new append has not been committed");
        pending.handle_commit(150);
        assert_eq!(pending.poll_durable(), Some((150, Offset(2))));
    }

    #[test]
    fn truncation_keeps_what_was_merged_with_an_append_behind_it() {
        let mut pending = Pending::starting_at(0);
        pending.push(0, 100, Offset(1), false, 4096);
        pending.push(100, 200, Offset(2), false, 4096);
        pending.truncate(100, Offset(1), Offset(0));
        pending.handle_segment(100);
        assert_eq!(pending.poll_durable(), Some((100, Offset(1))));
        assert!(pending.is_empty());
    }

    #[test]
    fn merged_appends_become_durable_together() {
        let mut pending = Pending::starting_at(0);
        for n in 1..=100u64 {
            pending.push((n - 1) * 100, n * 100, Offset(n.cast_signed()), false, 4096);
        }
        assert!(pending.appends.len() <= 3);
        pending.handle_segment(4096);
        assert_eq!(pending.poll_durable(), Some((4000, Offset(40))));
    }
}
