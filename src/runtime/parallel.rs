//! Work spread over threads that live as long as it does, for a start and a recovery. Whoever calls does its part, and waits.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::runtime::thread::{process_cpus, restrict};

static ONLY: Mutex<()> = Mutex::new(());

thread_local! {
    static HAS_HELPERS: Cell<bool> = const { Cell::new(false) };
    static ONLY_HELD: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// An item that is worked on beside others; ended by a panic too, so that nobody waits for it.
struct OneOfMany;

impl OneOfMany {
    fn begin() -> Self {
        HAS_HELPERS.set(true);
        Self
    }
}

impl Drop for OneOfMany {
    fn drop(&mut self) {
        HAS_HELPERS.set(false);
        ONLY_HELD.take();
    }
}

/// To be called by `work` before it takes what there is not enough of for all threads: waits until no other item has that, and
/// has it until the item is done.
pub fn be_the_only_one() {
    if HAS_HELPERS.get() {
        ONLY_HELD.with_borrow_mut(|held| {
            held.get_or_insert_with(|| ONLY.lock().unwrap_or_else(PoisonError::into_inner));
        });
    }
}

/// What `work` makes of each item, in their order. On at most `threads` threads, on all processors of the process; with one, all
/// is done here, one item after another. Threads that the system does not give are done without.
pub fn map<T: Send, R: Send>(threads: usize, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let helpers = threads.min(items.len()).saturating_sub(1);
    if helpers == 0 {
        return items.into_iter().map(work).collect();
    }
    let queue = Mutex::new(items.into_iter().enumerate());
    let carry_out = || {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let mut done = Vec::new();
        while let Some((place, item)) = next() {
            let _one = OneOfMany::begin();
            done.push((place, work(item)));
        }
        done
    };
    let help = || {
        // A shard that recovers is bound to its processor; its helpers need not be. Where they may not, they share it.
        let _ = process_cpus().and_then(|cpus| restrict(&cpus));
        carry_out()
    };
    let mut done = thread::scope(|scope| {
        let spawn =
            |_| thread::Builder::new().name("ringlog-recovery".to_owned()).spawn_scoped(scope, help).ok();
        let helpers: Vec<_> = (0..helpers).filter_map(spawn).collect();
        let mut done = carry_out();
        for helper in helpers {
            done.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|&(place, _)| place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for threads in [0, 1, 2, 7, 100] {
            let squares = map(threads, (0..50_u64).collect(), |number| number * number);
            assert_eq!(squares, (0..50).map(|number| number * number).collect::<Vec<_>>());
        }
        assert!(map(4, Vec::<u8>::new(), |byte| byte).is_empty());
    }

    #[test]
    fn items_are_worked_on_at_the_same_time() {
        // Each waits for the others.
        let barrier = Barrier::new(4);
        let waited = map(4, vec![(); 4], |()| barrier.wait().is_leader());
        assert_eq!(waited.iter().filter(|is_leader| **is_leader).count(), 1);
    }

    #[test]
    fn one_item_at_a_time_is_the_only_one() {
        let (count, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        map(4, vec![(); 100], |()| {
            be_the_only_one();
            be_the_only_one();
            most.fetch_max(count.fetch_add(1, Relaxed) + 1, Relaxed);
            thread::yield_now();
            count.fetch_sub(1, Relaxed);
        });
        assert_eq!(most.into_inner(), 1);
        // Outside there is nobody to wait for.
        be_the_only_one();
        assert!(ONLY_HELD.take().is_none());
    }

    #[test]
    #[should_panic(expected = "the third")]
    fn a_panic_of_a_helper_is_one_of_the_caller() {
        let barrier = Barrier::new(2);
        map(2, vec![1, 2], |item| {
            barrier.wait();
            assert_ne!(item, 1, "the third");
            assert_ne!(item, 2, "the third");
        });
    }
}
