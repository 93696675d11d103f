//! Brokers behind a socket.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::script::Broker;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happens every few minutes happens much more often in the brokers that are compared.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A running broker, over one connection at a time.
pub struct SocketBroker {
    address: String,
    stream: TcpStream,
}

impl SocketBroker {
    pub fn connect(address: &str) -> Self {
        Self { address: address.to_owned(), stream: dial(address) }
    }
}

fn dial(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the broker listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    stream.set_nodelay(true).expect("an option can be set");
    stream
}

impl Broker for SocketBroker {
    fn send(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).expect("a small frame");
        // A broker that has closed is found out by the answer that does not come.
        let _ = self.stream.write_all(&[&length.to_be_bytes(), frame].concat());
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        if let Err(error) = self.stream.read_exact(&mut length) {
            let closed = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(closed, "{} neither answers nor closes", self.address);
            return None;
        }
        let mut reply = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("a length")];
        self.stream.read_exact(&mut reply).expect("a whole answer");
        Some(reply)
    }

    fn reconnect(&mut self) {
        self.stream = dial(&self.address);
    }

    fn port(&self) -> u16 {
        self.stream.peer_addr().map_or(0, |address| address.port())
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time.min(PAUSE_MAX));
    }

    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        i64::try_from(since.as_millis()).expect("before the end of time")
    }
}

/// A Ringlog that runs as long as this lives.
pub struct Ringlog {
    process: Child,
    port: u16,
    data: PathBuf,
    /// On tmpfs; it would outlive the process.
    arena: PathBuf,
}

impl Ringlog {
    pub fn start(makes_topics: bool) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let data = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("differential-{port}"));
        let arena = PathBuf::from(format!("/dev/shm/ringlog-differential-{port}"));
        std::fs::create_dir_all(&arena).expect("a folder");
        let closed =
            ["--set", "auto.create.topics.enable=false", "--set", "log.retention.check.interval.ms=100"];
        let closed: &[&str] = if makes_topics { &[] } else { &closed };
        let mut process = Command::new(env!("CARGO_BIN_EXE_ringlog"))
            .args(["serve", "--data"])
            .arg(&data)
            .args(["--set", &format!("listeners=PLAINTEXT://127.0.0.1:{port}")])
            .args(["--set", "num.partitions=4", "--set", "arena.bytes=16777216"])
            .args(["--set", &format!("arena.dir={}", arena.display())])
            .args(closed)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("ringlog starts");
        let lines = BufReader::new(process.stdout.take().expect("its output"));
        for _ in lines.lines().map_while(Result::ok).take(1) {}
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, port, data, arena }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Ringlog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.data);
        let _ = std::fs::remove_dir_all(&self.arena);
    }
}
