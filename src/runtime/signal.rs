//! Stopping by signal: the first SIGTERM or SIGINT is a request, the second one ends the process at once.
//!
//! Signals are blocked in every thread and waited for by one, so no system call is interrupted and nothing runs in
//! a signal handler. SIGPIPE and SIGXFSZ are ignored: a broken connection and a file that may not grow are error values.

#![expect(unsafe_code, reason = "signal masks")]

use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::runtime::{Error, Result, thread};

/// Which signal asked for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM: the service manager, or `kill`.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
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
    /// Calls `on_stop` at the first signal, from a thread of its own. The second one ends the process with exit code
    /// 128 + its number, without a last word to anybody.
    pub fn watch<F>(self, on_stop: F) -> Result<SignalWatch>
    where
        F: FnOnce(StopSignal) + Send + 'static,
    {
        let closed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&closed);
        let thread = thread::spawn("ringlog-signals", move || {
            let first = wait_for_signal();
            if seen.load(Ordering::Acquire) {
                return;
            }
            on_stop(if first == libc::SIGINT { StopSignal::Interrupt } else { StopSignal::Terminate });
            let second = wait_for_signal();
            if !seen.load(Ordering::Acquire) {
                // SAFETY: ends the process; nothing is run or flushed, which is what is wanted.
                unsafe { libc::_exit(128 + second) };
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

/// Waits for one of the signals, which the caller's thread has blocked, and returns its number.
fn wait_for_signal() -> libc::c_int {
    let set = stop_signals();
    loop {
        let mut signal = 0;
        // SAFETY: `set` is initialised and `signal` is writable.
        if unsafe { libc::sigwait(&raw const set, &raw mut signal) } == 0 {
            return signal;
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
        let watch = block().unwrap().watch(move |signal| stop.send(signal).unwrap()).unwrap();
        say("ready");
        if std::env::var("RINGLOG_TEST_SIGNAL").unwrap() == "none" {
            drop(watch);
            return say("joined");
        }
        say(&format!("{:?}", stopped.recv().unwrap()));
        std::thread::sleep(std::time::Duration::from_secs(20));
    }

    #[test]
    fn the_first_signal_asks_and_the_second_ends_at_once() {
        let (mut child, mut lines) = child("two");
        assert_eq!(lines.next().unwrap(), "child:ready");
        send(&child, libc::SIGPIPE);
        send(&child, libc::SIGTERM);
        assert_eq!(lines.next().unwrap(), "child:Terminate");
        send(&child, libc::SIGINT);
        assert_eq!(child.wait().unwrap().code(), Some(128 + libc::SIGINT));
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
