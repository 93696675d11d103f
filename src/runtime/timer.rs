//! Deadlines: a hashed wheel in seven levels of 64 slots, a millisecond to the finest. Pure: time is handed in.
//!
//! One per shard, for every waiter it has; insertion and cancellation take constant time, and a waiter costs the
//! kernel nothing. A timer never expires early; it is late by what is left of its millisecond, and by its caller.
//! Source: Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987, scheme 7.
//!
//! Invariant: a timer that waits at level L has its digit L (base 64) above that of the tick reached, and all
//! higher digits equal to it. So every timer of a level is due before every timer of the next one.

use crate::runtime::clock::Monotonic;

const SLOTS: usize = 64;
const SLOT_BITS: u32 = 6;
const LEVELS: usize = 7;
/// 139 years after the wheel's origin; later deadlines are brought forward to it.
const TICK_MAX: u64 = (1 << (SLOT_BITS as u64 * LEVELS as u64)) - 1;
const NANOSECONDS_PER_TICK: u64 = 1_000_000;
/// Names no timer.
const NONE: u32 = u32::MAX;

/// Names a timer for [`TimerWheel::cancel`]. Of one that expired or was cancelled it names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

/// Timers with a payload of type `T`. Bound: `timers_max`.
#[derive(Debug)]
pub struct TimerWheel<T> {
    origin: Monotonic,
    /// Last tick up to which timers were expired. Unit: milliseconds since the origin.
    reached: u64,
    levels: [Level; LEVELS],
    /// Timers whose tick is reached already.
    due: List,
    timers: Vec<Timer<T>>,
    free: u32,
    count: usize,
    timers_max: usize,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    /// One bit per slot that is not empty.
    occupied: u64,
    slots: [List; SLOTS],
}

/// A doubly linked list through `TimerWheel::timers`.
#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

#[derive(Debug)]
struct Timer<T> {
    generation: u32,
    previous: u32,
    /// Next in its list, or in the free list.
    next: u32,
    tick: u64,
    place: Place,
    /// None: free.
    payload: Option<T>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Due,
    Slot { level: usize, slot: usize },
}

impl<T> TimerWheel<T> {
    /// An empty wheel that begins to turn at `origin`.
    #[must_use]
    pub fn new(origin: Monotonic, timers_max: usize) -> Self {
        let level = Level { occupied: 0, slots: [List::EMPTY; SLOTS] };
        Self {
            origin,
            reached: 0,
            levels: [level; LEVELS],
            due: List::EMPTY,
            timers: Vec::new(),
            free: NONE,
            count: 0,
            timers_max: timers_max.min(NONE as usize),
        }
    }

    /// Timers that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// No timer waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a timer that expires at the first call of [`expire`](Self::expire) not before `deadline`.
    /// Err: there are `timers_max` already; the payload comes back.
    pub fn insert(&mut self, deadline: Monotonic, payload: T) -> Result<TimerId, T> {
        if self.count >= self.timers_max {
            return Err(payload);
        }
        let after_origin = deadline.nanoseconds().saturating_sub(self.origin.nanoseconds());
        let tick = after_origin.div_ceil(NANOSECONDS_PER_TICK).min(TICK_MAX);
        let index = self.allocate(tick, payload);
        self.count += 1;
        self.link(index);
        Ok(TimerId { index, generation: self.timer(index).generation })
    }

    /// Takes a timer out and returns its payload. None: it has expired or was cancelled.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let timer = self.timers.get(id.index as usize)?;
        if timer.generation != id.generation || timer.payload.is_none() {
            return None;
        }
        self.unlink(id.index);
        self.release(id.index)
    }

    /// Hands the payloads of all timers that are due at `now` to `expired`, in the order of their deadlines (of the
    /// same millisecond: in a fixed, unspecified order).
    pub fn expire(&mut self, now: Monotonic, mut expired: impl FnMut(T)) {
        let passed = now.nanoseconds().saturating_sub(self.origin.nanoseconds());
        let target = (passed / NANOSECONDS_PER_TICK).min(TICK_MAX);
        self.expire_list(Place::Due, &mut expired);
        while let Some((place, tick)) = self.first_slot()
            && tick <= target
        {
            self.reached = tick;
            match place {
                Place::Slot { level: 0, .. } => self.expire_list(place, &mut expired),
                _ => self.cascade(place, &mut expired),
            }
        }
        self.reached = self.reached.max(target);
    }

    /// When to call [`expire`](Self::expire) next: not after the earliest deadline, and before it only for the few
    /// moments at which distant timers move to a finer level. None: no timer waits.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let tick = if self.due.is_empty() { self.first_slot()?.1 } else { self.reached };
        let after_origin = tick.saturating_mul(NANOSECONDS_PER_TICK);
        Some(Monotonic::from_nanoseconds(self.origin.nanoseconds().saturating_add(after_origin)))
    }

    /// The first slot that is not empty, and the tick at which it begins.
    fn first_slot(&self) -> Option<(Place, u64)> {
        let (level, found) = self.levels.iter().enumerate().find(|(_, level)| level.occupied != 0)?;
        let slot = found.occupied.trailing_zeros() as usize;
        let shift = SLOT_BITS * u32::try_from(level).unwrap_or(0);
        let higher = self.reached >> shift >> SLOT_BITS << SLOT_BITS << shift;
        Some((Place::Slot { level, slot }, higher | (slot as u64) << shift))
    }

    fn expire_list(&mut self, place: Place, expired: &mut impl FnMut(T)) {
        loop {
            let index = self.list(place).first;
            if index == NONE {
                break;
            }
            self.unlink(index);
            if let Some(payload) = self.release(index) {
                expired(payload);
            }
        }
    }

    /// Moves the timers of a slot whose beginning is reached to finer levels; expires those that are due.
    fn cascade(&mut self, place: Place, expired: &mut impl FnMut(T)) {
        loop {
            let index = self.list(place).first;
            if index == NONE {
                break;
            }
            self.unlink(index);
            self.link(index);
        }
        self.expire_list(Place::Due, expired);
    }

    fn place_of(&self, tick: u64) -> Place {
        let differing = tick ^ self.reached;
        if tick <= self.reached {
            return Place::Due;
        }
        let level = (differing.ilog2() / SLOT_BITS) as usize;
        let digit = tick >> (SLOT_BITS * (differing.ilog2() / SLOT_BITS)) & (SLOTS as u64 - 1);
        Place::Slot { level, slot: usize::try_from(digit).unwrap_or(0) }
    }

    fn link(&mut self, index: u32) {
        let place = self.place_of(self.timer(index).tick);
        let last = self.list(place).last;
        let timer = self.timer_mut(index);
        (timer.place, timer.previous, timer.next) = (place, last, NONE);
        if last == NONE {
            self.list_mut(place).first = index;
        } else {
            self.timer_mut(last).next = index;
        }
        self.list_mut(place).last = index;
        self.note_occupied(place);
    }

    fn unlink(&mut self, index: u32) {
        let timer = self.timer(index);
        let (place, previous, next) = (timer.place, timer.previous, timer.next);
        if previous == NONE {
            self.list_mut(place).first = next;
        } else {
            self.timer_mut(previous).next = next;
        }
        if next == NONE {
            self.list_mut(place).last = previous;
        } else {
            self.timer_mut(next).previous = previous;
        }
        self.note_occupied(place);
    }

    fn note_occupied(&mut self, place: Place) {
        let empty = self.list(place).is_empty();
        if let Place::Slot { level, slot } = place
            && let Some(level) = self.levels.get_mut(level)
        {
            let bit = 1 << slot;
            level.occupied = if empty { level.occupied & !bit } else { level.occupied | bit };
        }
    }

    fn allocate(&mut self, tick: u64, payload: T) -> u32 {
        let index = self.free;
        if let Some(timer) = self.timers.get_mut(index as usize) {
            self.free = timer.next;
            (timer.tick, timer.payload) = (tick, Some(payload));
            return index;
        }
        let index = u32::try_from(self.timers.len()).unwrap_or(NONE);
        assert!(index != NONE, "timers_max bounds the table");
        let payload = Some(payload);
        self.timers.push(Timer {
            generation: 0,
            previous: NONE,
            next: NONE,
            tick,
            place: Place::Due,
            payload,
        });
        index
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let free = std::mem::replace(&mut self.free, index);
        self.count -= 1;
        let timer = self.timer_mut(index);
        timer.generation = timer.generation.wrapping_add(1);
        timer.next = free;
        timer.payload.take()
    }

    #[expect(clippy::indexing_slicing, reason = "links and ids that were checked lie inside the table")]
    fn timer(&self, index: u32) -> &Timer<T> {
        &self.timers[index as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "links and ids that were checked lie inside the table")]
    fn timer_mut(&mut self, index: u32) -> &mut Timer<T> {
        &mut self.timers[index as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "six bits of a tick below TICK_MAX; levels likewise")]
    fn list(&self, place: Place) -> &List {
        match place {
            Place::Due => &self.due,
            Place::Slot { level, slot } => &self.levels[level].slots[slot],
        }
    }

    #[expect(clippy::indexing_slicing, reason = "six bits of a tick below TICK_MAX; levels likewise")]
    fn list_mut(&mut self, place: Place) -> &mut List {
        match place {
            Place::Due => &mut self.due,
            Place::Slot { level, slot } => &mut self.levels[level].slots[slot],
        }
    }
}

impl List {
    const EMPTY: Self = Self { first: NONE, last: NONE };

    fn is_empty(self) -> bool {
        self.first == NONE
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: u64) -> Monotonic {
        Monotonic::from_nanoseconds(5_000_000_123).plus(Duration::from_millis(milliseconds))
    }

    fn expired(wheel: &mut TimerWheel<u32>, milliseconds: u64) -> Vec<u32> {
        let mut seen = Vec::new();
        wheel.expire(at(milliseconds), |payload| seen.push(payload));
        seen
    }

    #[test]
    fn a_timer_is_never_early_and_the_next_deadline_is_never_late() {
        let mut wheel = TimerWheel::new(at(0), 10);
        wheel.insert(at(7).plus(Duration::from_nanos(1)), 1).unwrap();
        assert_eq!(wheel.next_deadline(), Some(at(8)));
        assert!(expired(&mut wheel, 7).is_empty());
        assert_eq!(expired(&mut wheel, 8), [1]);
        assert_eq!(wheel.next_deadline(), None);
        wheel.insert(at(3), 2).unwrap();
        assert_eq!(wheel.next_deadline(), Some(at(8)), "a past deadline is due at once");
        assert_eq!(expired(&mut wheel, 8), [2]);
    }

    #[test]
    fn a_distant_timer_costs_few_moves() {
        let mut wheel = TimerWheel::new(at(0), 10);
        wheel.insert(at(600_001), 1).unwrap();
        let mut calls = 0;
        while let Some(next) = wheel.next_deadline() {
            wheel.expire(next, |_| {});
            calls += 1;
        }
        assert!(calls <= LEVELS, "{calls}");
    }

    #[test]
    fn cancelled_timers_give_their_payload_back_once_and_ids_do_not_live_on() {
        let mut wheel = TimerWheel::new(at(0), 2);
        let first = wheel.insert(at(5), 1).unwrap();
        wheel.insert(at(5), 2).unwrap();
        assert_eq!(wheel.insert(at(5), 3), Err(3), "full");
        assert_eq!((wheel.cancel(first), wheel.cancel(first), wheel.len()), (Some(1), None, 1));
        let third = wheel.insert(at(6), 4).unwrap();
        assert_eq!(wheel.cancel(first), None, "the place is used again under another generation");
        assert_eq!(expired(&mut wheel, 10), [2, 4]);
        assert_eq!(wheel.cancel(third), None);
        assert!(wheel.is_empty());
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        let mut wheel = TimerWheel::new(at(0), 10);
        wheel.insert(Monotonic::from_nanoseconds(u64::MAX), 1).unwrap();
        wheel.insert(Monotonic::from_nanoseconds(0), 2).unwrap();
        assert_eq!(expired(&mut wheel, 1 << 41), [2]);
        let mut seen = Vec::new();
        wheel.expire(Monotonic::from_nanoseconds(u64::MAX), |payload| seen.push(payload));
        assert_eq!(seen, [1]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert { after: u64 },
        Cancel { which: usize },
        Pass { milliseconds: u64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let after = prop_oneof![0..100_u64, 0..10_000_u64, 0..100_000_000_u64];
        let step = prop_oneof![
            4 => after.clone().prop_map(|after| Step::Insert { after }),
            1 => (0..1000_usize).prop_map(|which| Step::Cancel { which }),
            2 => after.prop_map(|milliseconds| Step::Pass { milliseconds }),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        /// Checked against a sorted map.
        #[test]
        fn the_wheel_agrees_with_a_sorted_map(steps in steps()) {
            let mut wheel = TimerWheel::new(at(0), 1000);
            let mut twin = BTreeMap::<u32, u64>::new();
            let (mut ids, mut now) = (Vec::new(), 0);
            for step in steps {
                match step {
                    Step::Insert { after } => {
                        let name = u32::try_from(ids.len()).unwrap();
                        ids.push(wheel.insert(at(now + after), name).unwrap());
                        twin.insert(name, now + after);
                    }
                    Step::Cancel { which } if !ids.is_empty() => {
                        let name = which % ids.len();
                        let cancelled = wheel.cancel(ids[name]);
                        let name = u32::try_from(name).unwrap();
                        prop_assert_eq!(cancelled, twin.remove(&name).map(|_| name));
                    }
                    Step::Cancel { .. } => {}
                    Step::Pass { milliseconds } => {
                        now += milliseconds;
                        let seen = expired(&mut wheel, now);
                        let ticks: Vec<_> = seen.iter().map(|name| twin.remove(name)).collect();
                        prop_assert!(ticks.iter().all(|tick| tick.is_some_and(|tick| tick <= now)));
                        prop_assert!(ticks.is_sorted(), "in the order of deadlines");
                        prop_assert!(twin.values().all(|tick| *tick > now), "nobody is forgotten");
                    }
                }
                prop_assert_eq!(wheel.len(), twin.len());
                let earliest = twin.values().min().map(|tick| at(*tick));
                prop_assert!(wheel.next_deadline() <= earliest);
                prop_assert_eq!(wheel.next_deadline().is_none(), earliest.is_none());
            }
        }
    }
}
