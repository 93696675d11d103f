//! A server that is measured: started on a processor of its own, waited for until it answers, ended with all it made.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Connection, Settings};
use crate::measure::driver::{Error, Result};
use crate::runtime::thread::{self as machine, Cpu};

/// How it is found out that a server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It answers a Kafka client.
    Answers,
    /// It takes connections.
    Accepts,
    /// It prints this. A port says less: what listened there before may take connections for a moment after its death.
    Says(&'static str),
}

/// What is started, and how.
#[derive(Debug)]
pub struct Start<'a> {
    pub name: &'static str,
    pub command: Command,
    pub address: &'a str,
    pub ready: Ready,
    /// That it may run on; none: those that we may.
    pub cpus: Vec<Cpu>,
    /// What it prints is appended here.
    pub log: &'a Path,
    /// Removed when it has ended.
    pub made: Vec<PathBuf>,
}

/// A running server. Dropping it kills it and removes what it made.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    child: Child,
    /// From just before exec to the first answer.
    pub ready_after: Duration,
    made: Vec<PathBuf>,
}

/// Longest time until the first answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries; a refused connection costs less.
const PAUSE: Duration = Duration::from_micros(200);
/// Longest time until a server that was asked to end has ended.
const END_PATIENCE: Duration = Duration::from_secs(20);

fn has_said(log: &Path, from: u64, text: &str) -> bool {
    let said = std::fs::read(log).unwrap_or_default();
    let new = usize::try_from(from).ok().and_then(|from| said.get(from..)).unwrap_or_default();
    String::from_utf8_lossy(new).contains(text)
}

impl Server {
    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// It cannot be started, ends, or does not serve in two minutes.
    pub fn start(start: Start<'_>) -> Result<Self> {
        let Start { name, mut command, address, ready, cpus, log, made } = start;
        let failed = |source| Error::Start { name, source };
        let output = File::options().create(true).append(true).open(log).map_err(failed)?;
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(failed)?).stderr(output);
        let settings = Settings { connect_timeout: Duration::from_secs(1), ..Settings::new(address)? };
        let said_before = std::fs::metadata(log).map_or(0, |found| found.len());
        let began = Instant::now();
        let child = spawn_on(cpus, command, name)?;
        let mut server = Self { name, child, ready_after: Duration::ZERO, made };
        while began.elapsed() < PATIENCE {
            let serves = match ready {
                Ready::Accepts => TcpStream::connect(address).is_ok(),
                Ready::Says(text) => has_said(log, said_before, text),
                Ready::Answers => Connection::open(address, &settings).is_ok(),
            };
            if serves {
                server.ready_after = began.elapsed();
                return Ok(server);
            }
            if server.child.try_wait().map_err(failed)?.is_some() {
                break;
            }
            thread::sleep(PAUSE);
        }
        Err(Error::NotServing { name, log: log.to_owned() })
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Freezes it: it takes no processor time until [`resume`](Self::resume).
    ///
    /// # Errors
    /// It has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// # Errors
    /// It has ended.
    pub fn resume(&self) -> Result<()> {
        self.signal("-CONT")
    }

    /// Asks it to end, and waits for that. What it made stays, for the next start.
    ///
    /// # Errors
    /// It does not end.
    pub fn end(mut self) -> Result<Vec<PathBuf>> {
        self.signal("-TERM")?;
        let began = Instant::now();
        while began.elapsed() < END_PATIENCE {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return Ok(std::mem::take(&mut self.made));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(Error::NotEnding { name: self.name })
    }

    /// Kills it (SIGKILL) and waits for its end. What it made stays, for the next start.
    #[must_use]
    pub fn kill(mut self) -> Vec<PathBuf> {
        self.kill_and_wait();
        std::mem::take(&mut self.made)
    }

    fn kill_and_wait(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        let sent = status.is_ok_and(|status| status.success());
        if sent { Ok(()) } else { Err(Error::NotEnding { name: self.name }) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill_and_wait();
        remove(&self.made);
    }
}

/// Removes files and folders; what is not there is no error, and what cannot be removed is left.
pub fn remove(paths: &[PathBuf]) {
    for path in paths {
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

/// A process inherits the processors of the thread that starts it.
fn spawn_on(cpus: Vec<Cpu>, mut command: Command, name: &'static str) -> Result<Child> {
    let starter = machine::spawn("bench-starter", move || {
        machine::restrict(&cpus)?;
        command.spawn().map_err(|source| Error::Start { name, source })
    })?;
    match starter.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, address: &str, made: Vec<PathBuf>) -> Result<Server> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let log = std::env::temp_dir().join(format!("ringlog-process-{}.log", std::process::id()));
        let cpus = machine::process_cpus().unwrap().into_iter().take(1).collect();
        Server::start(Start { name: "sh", command, address, ready: Ready::Accepts, cpus, log: &log, made })
    }

    #[test]
    fn a_server_is_frozen_ended_and_leaves_what_it_made_to_the_next_start() {
        // Ours to accept: what is tested is the life of the process.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let made = std::env::temp_dir().join(format!("ringlog-process-{}", std::process::id()));
        fs::create_dir_all(&made).unwrap();
        let server = start("exec sleep 100", &address, vec![made.clone()]).unwrap();
        let pid = server.pid();
        let state = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next().unwrap())
        };
        server.pause().unwrap();
        // The signal is delivered in its own time.
        let stopped = (0..5_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            state() == Some('T')
        });
        assert!(stopped, "{:?}", state());
        server.resume().unwrap();
        assert_eq!(server.end().unwrap(), std::slice::from_ref(&made));
        assert_eq!((state(), made.exists()), (None, true));
        drop(start("exec sleep 100", &address, vec![made.clone()]).unwrap());
        assert!(!made.exists());
    }

    #[test]
    fn a_server_that_ends_at_once_is_an_error_that_names_its_log() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = start("exit 3", &address, Vec::new()).unwrap_err();
        assert!(matches!(&error, Error::NotServing { name: "sh", .. }), "{error}");
    }
}
