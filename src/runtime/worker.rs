//! Worker threads for what blocks: opening, renaming and allocating files (lanes `Files`), deletes and checkpoints,
//! which may take seconds (lane `Slow`). A shard hands in closures and finds their results in its mailbox.
//!
//! One thread per lane, first come first served, so two jobs of a lane never overtake each other. There are several lanes for
//! files, since most of what they do is to wait for flushes, and a file system makes one of many. Queues are
//! bounded; a full one gives the job back. A job that panics ends the process: its result would be waited for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::model::number::{index, wide};
use crate::runtime::Result;
use crate::runtime::mailbox::{self, Receiver, Sender};
use crate::runtime::thread::{self, Cpu};
use crate::runtime::waker::Waker;

/// Which thread runs a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Milliseconds: open, create, rename, allocate. One of [`FILES_LANES`], by the number's remainder.
    Files(u64),
    /// Perhaps seconds: deletes, checkpoints, whole-file reads.
    Slow,
}

/// Lanes for files.
pub const FILES_LANES: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. Dropping this finishes what lanes `Files` have queued and joins their threads; what lane `Slow` has queued is dropped,
/// and its job under way not waited for: the process may end in the middle of it. No more jobs are taken then.
#[derive(Debug)]
pub struct Workers {
    lanes: Lanes,
    files: Vec<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
struct Lanes {
    files: [Arc<Queue>; FILES_LANES],
    slow: Arc<Queue>,
}

struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
    jobs_max: usize,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Workers {
    /// Starts all lanes, each with room for `jobs_max` waiting jobs, on the given processors (none given: any).
    pub fn start(jobs_max: usize, cpus: &[Cpu]) -> Result<Self> {
        let files = std::array::from_fn(|_| Queue::new(jobs_max));
        let lanes = Lanes { files, slow: Queue::new(jobs_max) };
        let mut workers = Self { lanes: lanes.clone(), files: Vec::new() };
        let start = |name: &str, queue: Arc<Queue>| {
            let cpus = cpus.to_vec();
            thread::spawn(name, move || {
                // A worker on a shard's processor is slower, not wrong.
                let _ = thread::restrict(&cpus);
                queue.run();
            })
        };
        for (number, lane) in lanes.files.into_iter().enumerate() {
            workers.files.push(start(&format!("ringlog-files-{number}"), lane)?);
        }
        start("ringlog-slow", lanes.slow)?;
        Ok(workers)
    }

    /// A way to run jobs with a result of type `T`; results wake `waker`. One per shard and kind of result.
    #[must_use]
    pub fn client<T: Send + 'static>(&self, waker: Waker) -> WorkClient<T> {
        let jobs_max =
            self.lanes.files.iter().map(|lane| lane.jobs_max).sum::<usize>() + self.lanes.slow.jobs_max;
        let (sender, receiver) = mailbox::mailbox(jobs_max, waker);
        WorkClient { lanes: self.lanes.clone(), sender, receiver, running: 0, jobs_max }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.lanes.files.iter().for_each(|lane| lane.close());
        self.lanes.slow.close_early();
        for thread in self.files.drain(..) {
            // A panic has ended the process already.
            let _ = thread.join();
        }
    }
}

/// Hands in jobs and takes out their results. Bound: results not yet taken count as running.
#[derive(Debug)]
pub struct WorkClient<T> {
    lanes: Lanes,
    sender: Sender<T>,
    receiver: Receiver<T>,
    running: usize,
    jobs_max: usize,
}

impl<T: Send + 'static> WorkClient<T> {
    /// Queues a job. Err: the lane is full or closed; the job comes back unrun.
    pub fn run<F>(&mut self, lane: Lane, job: F) -> std::result::Result<(), F>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        self.run_on(lane, job, |job| job())
    }

    /// Queues `work` on `input`. Err: the lane is full or closed; the input comes back as it was.
    pub fn run_on<I, F>(&mut self, lane: Lane, input: I, work: F) -> std::result::Result<(), I>
    where
        I: Send + 'static,
        F: FnOnce(I) -> T + Send + 'static,
    {
        if self.running >= self.jobs_max {
            return Err(input);
        }
        let queue = match lane {
            Lane::Files(number) => {
                self.lanes.files.get(index(number % wide(FILES_LANES))).unwrap_or(&self.lanes.slow)
            }
            Lane::Slow => &self.lanes.slow,
        };
        let sender = self.sender.clone();
        queue.push(input, |input| {
            Box::new(move || {
                let result = work(input);
                // There is room, since this job is counted as running; nobody may be there any more.
                let _ = sender.send(result);
            })
        })?;
        self.running += 1;
        Ok(())
    }

    /// Appends the results that have come, in the order in which the jobs of a lane were handed in.
    pub fn take_results(&mut self, into: &mut Vec<T>) {
        let before = into.len();
        self.receiver.take_all(into);
        self.running -= into.len() - before;
    }

    /// Jobs whose results were not taken yet.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }
}

impl Queue {
    fn new(jobs_max: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), filled: Condvar::new(), jobs_max })
    }

    fn push<I>(&self, input: I, wrap: impl FnOnce(I) -> Job) -> std::result::Result<(), I> {
        let mut state = self.lock();
        if state.closed || state.jobs.len() >= self.jobs_max {
            return Err(input);
        }
        state.jobs.push_back(wrap(input));
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Without what is queued.
    fn close_early(&self) {
        self.lock().jobs.clear();
        self.close();
    }

    fn run(&self) {
        let _guard = EndsProcessOnPanic;
        while let Some(job) = self.next() {
            job();
        }
    }

    /// Waits for a job. None: closed, and all are done.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // Jobs run outside the lock; nothing under it can leave the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Queue").field("waiting", &self.lock().jobs.len()).finish_non_exhaustive()
    }
}

struct EndsProcessOnPanic;

impl Drop for EndsProcessOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::runtime::waker::Parker;

    fn results(client: &mut WorkClient<u32>, parker: &Parker, count: usize) -> Vec<u32> {
        let mut seen = Vec::new();
        while seen.len() < count {
            parker.park(Some(Duration::from_secs(10)));
            client.take_results(&mut seen);
        }
        seen
    }

    #[test]
    fn jobs_of_a_lane_run_in_order_and_the_lanes_do_not_wait_for_each_other() {
        let parker = Parker::new();
        let workers = Workers::start(100, &[]).unwrap();
        let mut client = workers.client::<u32>(parker.waker());
        let (release, held) = mpsc::channel::<()>();
        assert!(client.run(Lane::Slow, move || held.recv().map_or(99, |()| 100)).is_ok());
        for number in 0..50 {
            assert!(client.run(Lane::Files(9), move || number).is_ok());
        }
        assert_eq!(results(&mut client, &parker, 50), (0..50).collect::<Vec<_>>());
        assert_eq!(client.running(), 1);
        release.send(()).unwrap();
        assert_eq!(results(&mut client, &parker, 1), [100]);
    }

    #[test]
    fn a_full_lane_gives_the_job_back_and_closing_finishes_what_is_queued_to_be_fast() {
        let parker = Parker::new();
        let workers = Workers::start(2, &[]).unwrap();
        let mut client = workers.client::<u32>(parker.waker());
        let (release, held) = mpsc::channel::<()>();
        let (begun, begin) = mpsc::channel();
        let first = move || {
            begun.send(()).unwrap();
            held.recv().map_or(99, |()| 0)
        };
        assert!(client.run(Lane::Files(9), first).is_ok());
        begin.recv().unwrap();
        assert!(client.run(Lane::Files(9), || 1).is_ok());
        assert!(client.run(Lane::Files(9), || 2).is_ok());
        let refused = client.run(Lane::Files(9), || 3).err().unwrap();
        assert_eq!(refused(), 3);
        assert_eq!(client.run_on(Lane::Files(9), vec![4, 5], |input| input[0]), Err(vec![4, 5]));
        release.send(()).unwrap();
        drop(workers);
        let mut seen = Vec::new();
        client.take_results(&mut seen);
        assert_eq!(seen, [0, 1, 2]);
        assert!(client.run(Lane::Files(9), || 4).is_err(), "closed");
    }

    #[test]
    fn closing_waits_for_nothing_slow() {
        let workers = Workers::start(4, &[]).unwrap();
        let mut client = workers.client::<u32>(Parker::new().waker());
        let (begun, begin) = mpsc::channel::<()>();
        let (release, held) = mpsc::channel::<()>();
        let first = move || {
            begun.send(()).unwrap();
            held.recv().map_or(99, |()| 0)
        };
        assert!(client.run(Lane::Slow, first).is_ok());
        begin.recv().unwrap();
        let (second, ran) = mpsc::channel::<()>();
        let second = move || second.send(()).map_or(98, |()| 1);
        assert!(client.run(Lane::Slow, second).is_ok());
        drop(workers);
        assert!(ran.recv().is_err(), "the second is dropped");
        assert!(client.run(Lane::Slow, || 4).is_err(), "closed");
        release.send(()).unwrap();
    }

    #[test]
    fn results_that_nobody_takes_bound_the_jobs() {
        let workers = Workers::start(1, &[]).unwrap();
        let mut client = workers.client::<u32>(Parker::new().waker());
        let mut taken = 0;
        for _ in 0..100 {
            taken += usize::from(client.run(Lane::Files(9), || 0).is_ok());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(taken, 1 + FILES_LANES, "as many as all lanes have room for");
    }
}
