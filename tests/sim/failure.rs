//! Running seeds on all processors, and saying which one failed.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Once, OnceLock};
use std::thread;

use ringlog::storage::seeded_bug::SeededBug;

use crate::world;

/// A seed whose story ended badly.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub text: String,
}

/// Why an action went no further.
#[derive(Debug)]
pub enum Stop {
    /// The machine has died, as planned.
    Died,
    /// A promise was broken.
    Wrong(String),
}

pub type Checked<T> = Result<T, Stop>;

/// Fails with the formatted text unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::failure::Stop::Wrong(format!($($text)+)));
        }
    };
}
pub(crate) use ensure;

/// Prints what happens, if `RINGLOG_SIM_TRACE` is set: for one seed at a time.
macro_rules! trace {
    ($($text:tt)+) => {
        if $crate::failure::traced() {
            eprintln!($($text)+);
        }
    };
}
pub(crate) use trace;

pub fn traced() -> bool {
    static TRACED: OnceLock<bool> = OnceLock::new();
    *TRACED.get_or_init(|| {
        let wanted = std::env::var_os("RINGLOG_SIM_TRACE").is_some();
        if wanted {
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_writer(std::io::stderr)
                .without_time()
                .with_ansi(false)
                .init();
        }
        wanted
    })
}

/// A number that the environment wishes.
pub fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// The first seed and how many, as the environment wishes or `count` of them.
pub fn seeds_wanted(count: u64) -> (u64, u64) {
    match (number_from("RINGLOG_SIM_SEED"), number_from("RINGLOG_SIM_COUNT")) {
        (Some(seed), count) => (seed, count.unwrap_or(1)),
        (None, wanted) => (1, wanted.unwrap_or(count)),
    }
}

/// Seeds among `count` from `first` on that fail, at most `failures_max` and perhaps a few more, the lowest first.
pub fn failures(first: u64, count: u64, failures_max: usize, bug: Option<SeededBug>) -> Vec<Failure> {
    keep_panics_quiet();
    let next = AtomicU64::new(first);
    let end = AtomicU64::new(first + count);
    let found = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Err(text) = run(seed, bug) {
                        // At once, for whoever watches a long run with --nocapture.
                        println!("seed {seed}: {text}");
                        let mut found = found.lock().unwrap();
                        found.push(Failure { seed, text });
                        if found.len() >= failures_max {
                            end.fetch_min(seed, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|failure| failure.seed);
    found
}

/// What a person needs to see the failure again.
pub fn report(failure: &Failure) -> String {
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let commit = commit.unwrap_or_default();
    let Failure { seed, text } = failure;
    format!(
        "seed {seed} at commit {commit}: {text}\n\
         again: RINGLOG_SIM_SEED={seed} cargo test --test sim_storage acknowledged"
    )
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static SIMULATING: RefCell<bool> = const { RefCell::new(false) };
}

/// A panic of the simulated code is a result, not a page of text.
fn keep_panics_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if SIMULATING.with_borrow(|simulating| *simulating) {
                LAST_PANIC.with_borrow_mut(|last| *last = Some(panic.to_string()));
            } else {
                usual(panic);
            }
        }));
    });
}

fn run(seed: u64, bug: Option<SeededBug>) -> Result<(), String> {
    SIMULATING.with_borrow_mut(|simulating| *simulating = true);
    let outcome = catch_unwind(AssertUnwindSafe(|| world::tell(seed, bug)));
    SIMULATING.with_borrow_mut(|simulating| *simulating = false);
    outcome.unwrap_or_else(|_| {
        Err(LAST_PANIC.with_borrow_mut(Option::take).unwrap_or_else(|| "a panic".to_owned()))
    })
}
