//! The broker that the tests of this binary share.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

/// A broker; the last test that holds it ends it.
#[derive(Debug)]
pub struct Broker {
    /// `HOST:PORT`.
    pub address: String,
    /// `None` of one that was there before.
    own: Option<Own>,
}

/// A process, and the folders that it was given: the data on disk, the arena on tmpfs.
#[derive(Debug)]
struct Own {
    child: Child,
    data: PathBuf,
    arena: PathBuf,
}

/// The broker: started, unless one is named or running.
pub fn shared() -> Arc<Broker> {
    static RUNNING: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
    // A test that failed while it held the lock left nothing half-done.
    let mut running = RUNNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    running.upgrade().unwrap_or_else(|| {
        let named = std::env::var("RINGLOG_BOOTSTRAP").ok();
        let own = || Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("client-{}", std::process::id()));
        let broker =
            Arc::new(named.map_or_else(|| Broker::start(own()), |address| Broker { address, own: None }));
        *running = Arc::downgrade(&broker);
        broker
    })
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(Own { child, data, arena }) = &mut self.own {
            child.kill().unwrap();
            child.wait().unwrap();
            fs::remove_dir_all(data).unwrap();
            fs::remove_dir_all(arena).unwrap();
        }
    }
}

impl Broker {
    /// A broker of its own on this folder, which goes with it unless it is [stopped](Self::stop).
    pub fn start(data: PathBuf) -> Self {
        // The arena outlives the process, and would stay for good.
        let name = data.file_name().unwrap().to_string_lossy().into_owned();
        let arena = Path::new("/dev/shm").join(format!("ringlog-{name}"));
        fs::create_dir_all(&arena).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringlog"))
            .args(["serve", "--set", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--set", &format!("arena.dir={}", arena.display()), "--data"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut words = lines.map_while(Result::ok).map(|line| line.trim().to_owned());
        let address =
            words.find_map(|line| line.strip_prefix("listening").map(|address| address.trim().to_owned()));
        Self { address: address.unwrap(), own: Some(Own { child, data, arena }) }
    }

    /// Ends it as an operator does; its data stays.
    pub fn stop(mut self) {
        let Own { mut child, arena, .. } = self.own.take().unwrap();
        let told = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(told.success() && child.wait().unwrap().success());
        fs::remove_dir_all(arena).unwrap();
    }
}
