//! Stopping by signal: a thread waits for SIGTERM and SIGINT, and does what its reaction says.
//!
//! Signals are blocked in every thread and waited for by one, so no system call is interrupted and nothing runs in
//! a signal handler. SIGPIPE and SIGXFSZ are ignored: a broken connection and a file that may not grow are error values.

#![expect(unsafe_code, reason = "signal masks")]

use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::runtime::{Error, Result, thread};

/// What the thread that waits for signals is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopEvent {
    /// A signal, by its number: SIGTERM of the service manager or `kill`, or SIGINT of Ctrl-C.
    Signal(i32),
    /// The time that was given after the last one is over.
    TimeIsUp,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// The process ends at once with this code: nothing is run or flushed any more.
    Exit(i32),
    /// The next signal is waited for, but no longer than this.
    Wait(Duration),
}

/// The code of a process that a signal has ended, as shells give it.
#[must_use]
pub const fn exit_code_of(signal: i32) -> i32 {
    128 + signal
}

/// Proof that the signals are blocked. Made by the first thread before it starts any other.
#[derive(Debug)]
pub struct Signals(());

/// Blocks the signals for the calling thread and all that it starts from now on, and ignores SIGPIPE and SIGXFSZ.
pub fn block() -> Result<Signals> {
    let set = stop_signals();
    // SAFETY: `set` is initialised; the old mask is not asked for.
    let code = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if code != 0 {
        return Err(Error::Signal { source: io::Error::from_raw_os_error(code) });
    }
    for ignored in [libc::SIGPIPE, libc::SIGXFSZ] {
        // SAFETY: ignoring is no handler, so no code of ours runs in a signal's context.
        if unsafe { libc::signal(ignored, libc::SIG_IGN) } == libc::SIG_ERR {
            return Err(Error::Signal { source: io::Error::last_os_error() });
        }
    }
    Ok(Signals(()))
}

/// The thread that waits for signals; dropping this ends and joins it.
#[derive(Debug)]
pub struct SignalWatch {
    thread: Option<JoinHandle<()>>,
    closed: Arc<AtomicBool>,
}

impl Signals {
    /// Calls `react` at each signal, and when the time that it gave is over, from a thread of its own.
    pub fn watch<F>(self, mut react: F) -> Result<SignalWatch>
    where
        F: FnMut(StopEvent) -> Reaction + Send + 'static,
    {
        let closed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&closed);
        let thread = thread::spawn("ringlog-signals", move || {
            let mut deadline = None;
            loop {
                let event = wait_for_signal(deadline);
                if seen.load(Ordering::Acquire) {
                    return;
                }
                match react(event) {
                    // SAFETY: ends the process; nothing is run or flushed, which is what is wanted.
                    Reaction::Exit(code) => unsafe { libc::_exit(code) },
                    Reaction::Wait(time) => deadline = Some(Instant::now() + time),
                }
            }
        })?;
        Ok(SignalWatch { thread: Some(thread), closed })
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // SAFETY: the thread is not joined yet, so its id is valid; the signal is blocked and only waited for.
            unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGTERM) };
            let _ = thread.join();
        }
    }
}

/// Waits for one of the signals, which the caller's thread has blocked, until the deadline if there is one.
fn wait_for_signal(deadline: Option<Instant>) -> StopEvent {
    /// Where there is no deadline.
    const LONG: Duration = Duration::from_secs(3600);
    let set = stop_signals();
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return StopEvent::TimeIsUp;
        }
        let left = left.unwrap_or(LONG);
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(left.subsec_nanos()),
        };
        // SAFETY: `set` and `time` are initialised; no more is asked than the number.
        let signal = unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const time) };
        if signal > 0 {
            return StopEvent::Signal(signal);
        }
    }
}

fn stop_signals() -> libc::sigset_t {
    // SAFETY: a plain C struct of integers; `sigemptyset` makes it a valid empty set, and both numbers exist.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        set
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// This very test binary as a process of its own, in which signals can do no harm to other tests. The signals are
    /// blocked before it begins, since the harness has threads of its own before the test runs.
    fn child(behaviour: &str) -> (Child, impl Iterator<Item = String>) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["runtime::signal::tests::child_watches", "--exact", "--ignored", "--nocapture"])
            .env("RINGLOG_TEST_SIGNAL", behaviour)
            .stdout(Stdio::piped());
        // SAFETY: between fork and exec only signal masks are set, which is allowed there.
        unsafe { command.pre_exec(|| block().map(|_| ()).map_err(|_| io::ErrorKind::Other.into())) };
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        (child, lines.filter(|line| line.starts_with("child:")))
    }

    fn send(child: &Child, signal: libc::c_int) {
        // SAFETY: a signal to our own child, which is not waited for yet.
        unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) };
    }

    #[test]
    #[ignore = "run by the other tests in a process of its own"]
    fn child_watches() {
        let say = |text: &str| {
            println!("\nchild:{text}");
            std::io::stdout().flush().unwrap();
        };
        let (stop, stopped) = std::sync::mpsc::channel();
        let behaviour = std::env::var("RINGLOG_TEST_SIGNAL").unwrap();
        let gives = Duration::from_millis(if behaviour == "late" { 50 } else { 20_000 });
        let mut is_stopping = false;
        let react = move |event| match event {
            StopEvent::Signal(signal) if is_stopping => Reaction::Exit(exit_code_of(signal)),
            StopEvent::Signal(signal) => {
                is_stopping = true;
                stop.send(signal).unwrap();
                Reaction::Wait(gives)
            }
            StopEvent::TimeIsUp => Reaction::Exit(7),
        };
        let watch = block().unwrap().watch(react).unwrap();
        say("ready");
        if behaviour == "none" {
            drop(watch);
            return say("joined");
        }
        say(&format!("{}", stopped.recv().unwrap()));
        std::thread::sleep(Duration::from_secs(20));
    }

    #[test]
    fn the_first_signal_asks_and_the_second_ends_at_once() {
        let (mut child, mut lines) = child("two");
        assert_eq!(lines.next().unwrap(), "child:ready");
        send(&child, libc::SIGPIPE);
        send(&child, libc::SIGTERM);
        assert_eq!(lines.next().unwrap(), "child:15");
        send(&child, libc::SIGINT);
        assert_eq!(child.wait().unwrap().code(), Some(128 + libc::SIGINT));
    }

    #[test]
    fn what_takes_longer_than_it_may_is_ended() {
        let (mut child, mut lines) = child("late");
        assert_eq!(lines.next().unwrap(), "child:ready");
        send(&child, libc::SIGINT);
        assert_eq!(lines.next().unwrap(), "child:2");
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn a_watch_that_is_dropped_ends_its_thread() {
        let (mut child, mut lines) = child("none");
        assert_eq!(
            (lines.next().unwrap(), lines.next().unwrap()),
            ("child:ready".into(), "child:joined".into())
        );
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
