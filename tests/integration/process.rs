//! A broker that runs as a process, and the folders that it works in.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ringlog::client::{Client, Connection, Settings, admin::NewTopic};

/// What takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test: the one built with the tests, unless `RINGLOG_BINARY` names another.
pub fn binary() -> PathBuf {
    std::env::var_os("RINGLOG_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_ringlog").into(), PathBuf::from)
}

/// A data directory on disk and an arena directory on tmpfs, both removed in the end.
pub struct Scratch {
    pub data: PathBuf,
    pub arena: PathBuf,
    log: PathBuf,
}

impl Scratch {
    pub fn new(name: &str) -> Self {
        Self::with_data(name, &Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("integration-{name}")))
    }

    /// With the data in a directory of the caller's choice.
    pub fn with_data(name: &str, data: &Path) -> Self {
        let arena = PathBuf::from(format!("/dev/shm/ringlog-integration-{name}-{}", std::process::id()));
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("integration-{name}.log"));
        let _ = fs::remove_dir_all(data);
        fs::create_dir_all(data).unwrap();
        fs::create_dir_all(&arena).unwrap();
        let _ = fs::remove_file(&log);
        Self { data: data.to_owned(), arena, log }
    }

    /// Names of the arenas that are here.
    pub fn arenas(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.arena).unwrap().map(|entry| entry.unwrap());
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".arena")).collect()
    }

    /// The command that starts a broker here, on a port that the kernel chooses.
    pub fn command(&self, settings: &[&str]) -> Command {
        let mut command = Command::new(binary());
        self.add_arguments(&mut command, settings);
        command
    }

    /// The arguments of a broker, for a command that runs it by way of another.
    pub fn add_arguments(&self, command: &mut Command, settings: &[&str]) {
        command.arg("serve").arg("--data").arg(&self.data);
        command.arg("--set").arg(format!("arena.dir={}", self.arena.display()));
        let defaults = [
            "listeners=PLAINTEXT://127.0.0.1:0",
            "admin.listener=off",
            "memory.bytes=134217728",
            "shard.cores=2",
        ];
        for setting in defaults.iter().chain(settings) {
            command.arg("--set").arg(setting);
        }
    }

    pub fn start(&self, settings: &[&str]) -> Broker {
        self.start_command(self.command(settings))
            .unwrap_or_else(|ended| panic!("the broker does not start: {}", ended.said))
    }

    /// Runs the command until it serves, or ends.
    pub fn start_command(&self, mut command: Command) -> Result<Broker, Ended> {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let log_start = log.seek(SeekFrom::End(0)).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        // Reads on to the end, so that the broker never waits for its reader.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let log = self.log.clone();
        let mut broker =
            Broker { child, address: String::new(), addresses: Vec::new(), lines, log, log_start };
        loop {
            match broker.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    if let Some(addresses) = line.trim().strip_prefix("listening") {
                        broker.addresses = addresses.split(',').map(|one| one.trim().to_owned()).collect();
                        broker.address.clone_from(&broker.addresses[0]);
                        return Ok(broker);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(broker.wait()),
                Err(RecvTimeoutError::Timeout) => panic!("neither serves nor ends: {}", broker.said()),
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.arena);
        // Evidence stays.
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.data);
            let _ = fs::remove_file(&self.log);
        }
    }
}

/// Skips the running test, since something is not installed. Where nothing may be skipped for that (`RINGLOG_SKIPS=none`, which
/// `scripts/test` sets in continuous integration), it fails.
pub fn skip(reason: &str) {
    let may_skip = std::env::var_os("RINGLOG_SKIPS").is_none_or(|skips| skips != "none");
    assert!(may_skip, "a prerequisite is missing, and nothing may be skipped here: {reason}");
    cannot(reason);
}

/// Says on the terminal, past the test harness, that the running test is skipped, since nothing that could be installed would let
/// this machine or container do what it needs.
pub fn cannot(reason: &str) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(io::stderr(), "skipped {name}: {reason}");
}

/// A broker that serves. Killed when dropped.
pub struct Broker {
    child: Child,
    /// `HOST:PORT` of the first listener.
    pub address: String,
    /// Of each listener, in the order of the settings.
    pub addresses: Vec<String>,
    /// What it says on stdout behind them.
    lines: mpsc::Receiver<String>,
    log: PathBuf,
    log_start: u64,
}

/// How a process ended.
pub struct Ended {
    pub status: ExitStatus,
    /// What it wrote to stderr.
    pub said: String,
}

impl Broker {
    pub fn settings(&self) -> Settings {
        Settings::new(&self.address).unwrap()
    }

    /// What follows this label in its first lines; `None` if it has no such line.
    pub fn line(&self, label: &str) -> Option<String> {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if let Some(rest) = line.trim().strip_prefix(label) {
                return Some(rest.trim().to_owned());
            }
            if line.trim().starts_with("try") {
                break;
            }
        }
        None
    }

    pub fn connect(&self) -> Connection {
        self.connect_to(&self.address)
    }

    /// By way of one of its listeners.
    pub fn connect_to(&self, address: &str) -> Connection {
        Connection::open(address, &self.settings()).unwrap()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.settings()).unwrap()
    }

    pub fn create_topic(&self, name: &str, partition_count: i32, configs: &[(&str, &str)]) {
        let configs: Vec<(String, String)> =
            configs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let new = NewTopic {
            name,
            partition_count: Some(partition_count),
            replication_factor: None,
            configs: &configs,
            validate_only: false,
        };
        self.client().create_topic(&new).unwrap();
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that was resident at a time. Unit: bytes.
    pub fn peak_memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Two signals, as close together as one shell can send two that both count.
    pub fn signal_twice(&self, name: &str) {
        let script =
            format!("kill -{name} {0}; sleep 0.002; kill -{name} {0} 2>/dev/null || true", self.child.id());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Ended { status, said: self.said() };
            }
            assert!(Instant::now() < deadline, "does not end: {}", self.said());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it has logged so far.
    pub fn said(&self) -> String {
        let mut text = String::new();
        let mut log = File::open(&self.log).unwrap();
        log.seek(SeekFrom::Start(self.log_start)).unwrap();
        log.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
