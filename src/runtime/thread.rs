//! Threads and processors: which ones we may use, pinning, names.

#![expect(unsafe_code, reason = "processor sets")]

use std::io;
use std::thread::JoinHandle;

use crate::runtime::{Error, Result};

/// Number of a processor, as the kernel counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu(pub u16);

impl std::fmt::Display for Cpu {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The processors that the calling thread may run on, ascending.
pub fn allowed_cpus() -> Result<Vec<Cpu>> {
    cpus_of(0)
}

/// The processors that the process was given, ascending: those of its first thread, which is never pinned.
pub fn process_cpus() -> Result<Vec<Cpu>> {
    // SAFETY: has no arguments, cannot fail, touches no memory.
    cpus_of(unsafe { libc::getpid() })
}

/// How many threads run at the same time: the processors that the process was given, and no more than a container's quota is worth.
#[must_use]
pub fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn cpus_of(thread: libc::pid_t) -> Result<Vec<Cpu>> {
    let mut set = empty_set();
    // SAFETY: `set` is writable memory of the stated size.
    if unsafe { libc::sched_getaffinity(thread, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0 {
        return Err(Error::Affinity { cpu: None, source: io::Error::last_os_error() });
    }
    let numbers = 0..u16::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: the number is below the size of the set.
    Ok(numbers.filter(|number| unsafe { libc::CPU_ISSET(usize::from(*number), &set) }).map(Cpu).collect())
}

/// Binds the calling thread to one processor.
pub fn pin(cpu: Cpu) -> Result<()> {
    restrict(&[cpu])
}

/// Keeps the calling thread on the given processors; an empty list changes nothing.
pub fn restrict(cpus: &[Cpu]) -> Result<()> {
    let Some(first) = cpus.first() else { return Ok(()) };
    let set = cpu_set(cpus);
    // SAFETY: `set` is readable memory of the stated size; 0 is the calling thread.
    if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } != 0 {
        return Err(Error::Affinity { cpu: Some(*first), source: io::Error::last_os_error() });
    }
    Ok(())
}

/// Starts a named thread (15 bytes of the name are shown by the system); `run` pins itself if it wants to.
pub fn spawn<T, F>(name: &str, run: F) -> Result<JoinHandle<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map_err(|source| Error::Thread { name: name.to_owned(), source })
}

/// A set for the kernel; numbers that do not fit into one are left out.
pub(in crate::runtime) fn cpu_set(cpus: &[Cpu]) -> libc::cpu_set_t {
    let mut set = empty_set();
    for cpu in cpus.iter().filter(|cpu| i32::from(cpu.0) < libc::CPU_SETSIZE) {
        // SAFETY: the number is below the size of the set.
        unsafe { libc::CPU_SET(usize::from(cpu.0), &mut set) };
    }
    set
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: an array of integers, for which all zeroes is the empty set.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_run_on_its_processor_only() {
        let last = *allowed_cpus().unwrap().last().unwrap();
        let seen = spawn("pinned", move || {
            pin(last).unwrap();
            (allowed_cpus().unwrap(), std::thread::current().name().unwrap().to_owned())
        });
        assert_eq!(seen.unwrap().join().unwrap(), (vec![last], "pinned".to_owned()));
    }

    #[test]
    fn a_processor_that_does_not_exist_is_refused() {
        let outcome = spawn("lost", || pin(Cpu(1023))).unwrap().join().unwrap();
        assert!(matches!(outcome, Err(Error::Affinity { cpu: Some(Cpu(1023)), .. })));
    }
}
