//! The shipped binary as a process of its own, on the disk of this machine: killed, stopped, starved and attacked.
//!
//! Tests wait for conditions and have a deadline only so that what hangs fails. `RINGLOG_SOAK=N` repeats what is random N
//! times as often. What a machine does not allow (mounts, other users) is skipped, and says so; so is what needs a program that
//! is not installed, but with `RINGLOG_SKIPS=none` that fails.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod deleted;
#[cfg(test)]
mod disk;
#[cfg(test)]
#[path = "../wire/codec/generate.rs"]
mod generate;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod json;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod listeners;
#[cfg(test)]
mod load;
#[cfg(test)]
mod logging;
#[cfg(test)]
mod process;
#[cfg(test)]
mod rebuild;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod stop;

/// How many times as often random tests repeat.
#[cfg(test)]
fn soak() -> u32 {
    std::env::var("RINGLOG_SOAK").map_or(1, |times| times.parse().expect("RINGLOG_SOAK is a number"))
}
