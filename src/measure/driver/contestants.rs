//! How each contestant is started: ringlog and the floor out of this very program, Apache Kafka out of its jars.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::measure::driver::process::{Ready, Server, Start};
use crate::measure::driver::{Error, Result};
use crate::model::Durability;
use crate::runtime::thread::Cpu;

/// Where everything is that measurements need.
#[derive(Clone, Debug)]
pub struct Places {
    /// `ringlog` itself.
    pub program: PathBuf,
    /// A folder of ours on the disk that is measured; logs stay in it.
    pub work: PathBuf,
    /// A folder of ours on a tmpfs.
    pub memory: PathBuf,
    /// With `libs/` and `config/`; `None`: Apache Kafka is left out.
    pub kafka_home: Option<PathBuf>,
    pub broker_cpu: Cpu,
    pub loader_cpu: Cpu,
}

// Below the range of ephemeral ports: one who tries to connect there before somebody listens could be given the same port, and
// be connected to himself.
const RINGLOG_ADDRESS: &str = "127.0.0.1:29092";
const FLOOR_ADDRESS: &str = "127.0.0.1:29192";
const KAFKA_ADDRESS: &str = "127.0.0.1:29292";
const KAFKA_CONTROLLER: &str = "127.0.0.1:29293";

/// How a floor is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloorStart {
    pub durability: Durability,
    pub spins: bool,
    pub is_tail: bool,
}

impl Places {
    /// Makes the folders.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn prepare(&self) -> Result<()> {
        for path in [&self.work, &self.memory] {
            fs::create_dir_all(path).map_err(|source| Error::Folder { path: path.clone(), source })?;
        }
        Ok(())
    }

    /// Removes what is not worth keeping.
    pub fn clean_up(&self) {
        super::process::remove(&[self.memory.clone(), self.work.join(FLOOR_FILE), self.ringlog_data()]);
    }

    /// Where the broker's data lies.
    #[must_use]
    pub fn ringlog_data(&self) -> PathBuf {
        self.work.join("ringlog-data")
    }

    /// Where what ringlog says is added.
    #[must_use]
    pub fn ringlog_log(&self) -> PathBuf {
        self.work.join("ringlog.log")
    }

    /// Starts ringlog, over the data that is there; they are removed with it.
    ///
    /// # Errors
    /// It does not serve.
    pub fn start_ringlog(&self, settings: &[(&str, &str)]) -> Result<Server> {
        // A spinning shard needs its CPU alone: the control thread must have another.
        if settings.contains(&("shard.idle", "spin")) {
            let cpu = self.broker_cpu.to_string();
            let settings = [settings, &[("shard.cores", cpu.as_str())]].concat();
            return self.start_ringlog_on(vec![self.broker_cpu, self.loader_cpu], &settings);
        }
        self.start_ringlog_on(vec![self.broker_cpu], settings)
    }

    /// Starts ringlog on all processors, while no loader runs.
    ///
    /// # Errors
    /// It does not serve.
    pub fn start_ringlog_alone(&self) -> Result<Server> {
        self.start_ringlog_on(vec![self.broker_cpu, self.loader_cpu], &[])
    }

    fn start_ringlog_on(&self, cpus: Vec<Cpu>, settings: &[(&str, &str)]) -> Result<Server> {
        let data = self.ringlog_data();
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--data").arg(&data);
        let memory = self.memory.display().to_string();
        let listeners = format!("PLAINTEXT://{RINGLOG_ADDRESS}");
        let ours = [("listeners", listeners.as_str()), ("arena.dir", memory.as_str())];
        for (key, value) in ours.iter().chain(settings) {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        Server::start(Start {
            name: "ringlog",
            command,
            address: RINGLOG_ADDRESS,
            ready: Ready::Answers,
            cpus,
            log: &self.ringlog_log(),
            made: vec![data],
        })
    }

    /// Starts a floor.
    ///
    /// # Errors
    /// It does not serve.
    pub fn start_floor(&self, floor: FloorStart) -> Result<Server> {
        let mut command = Command::new(&self.program);
        command.args(["bench", "floor", "--listen", FLOOR_ADDRESS]);
        command.args(["--durability", floor.durability.name()]);
        command.args(["--idle", if floor.spins { "spin" } else { "park" }]);
        command.args(floor.is_tail.then_some("--tail"));
        command.arg("--file").arg(self.work.join(FLOOR_FILE)).arg("--memory-dir").arg(&self.memory);
        Server::start(Start {
            name: "floor",
            command,
            address: FLOOR_ADDRESS,
            ready: Ready::Says("floor listening"),
            cpus: vec![self.broker_cpu],
            log: &self.work.join("floor.log"),
            made: Vec::new(),
        })
    }

    /// Starts one node of Apache Kafka, with empty storage.
    ///
    /// # Errors
    /// Its storage cannot be formatted; it does not serve.
    pub fn start_kafka(&self, home: &Path) -> Result<Server> {
        let folder = self.work.join("kafka");
        let data = folder.join("data");
        super::process::remove(std::slice::from_ref(&data));
        fs::create_dir_all(&data).map_err(|source| Error::Folder { path: data.clone(), source })?;
        let properties = folder.join("server.properties");
        fs::write(&properties, kafka_properties(&data))
            .map_err(|source| Error::Folder { path: properties.clone(), source })?;
        let log = folder.join("kafka.log");
        let format = java(home, &["-Xmx256m"])
            .args(["kafka.tools.StorageTool", "format", "--cluster-id", "ringlogBenchRivalNode0", "--config"])
            .arg(&properties)
            .output();
        let is_formatted = format.is_ok_and(|output| output.status.success());
        if !is_formatted {
            return Err(Error::NotServing { name: "the storage tool of Apache Kafka", log });
        }
        // Heap and collector as Kafka's own start script has them.
        let mut command = java(home, &["-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
        command.arg("kafka.Kafka").arg(&properties);
        Server::start(Start {
            name: "kafka",
            command,
            address: KAFKA_ADDRESS,
            ready: Ready::Answers,
            cpus: vec![self.broker_cpu],
            log: &log,
            made: vec![data],
        })
    }
}

/// Addresses of the contestants.
impl Places {
    #[must_use]
    pub const fn ringlog_address(&self) -> &'static str {
        RINGLOG_ADDRESS
    }

    #[must_use]
    pub const fn floor_address(&self) -> &'static str {
        FLOOR_ADDRESS
    }

    #[must_use]
    pub const fn kafka_address(&self) -> &'static str {
        KAFKA_ADDRESS
    }
}

/// The file that floors write to; it is filled once.
const FLOOR_FILE: &str = "floor.bin";

fn java(home: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("java");
    let logging = home.join("config/broker-log4j2.properties");
    command.args(options).arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
    command.arg("-cp").arg(home.join("libs").join("*"));
    command
}

/// The session's length lets the node be frozen while others are measured. The rest are its defaults, and what one node
/// needs to be a cluster.
fn kafka_properties(data: &Path) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=0\n\
         controller.quorum.voters=0@{KAFKA_CONTROLLER}\n\
         listeners=PLAINTEXT://{KAFKA_ADDRESS},CONTROLLER://{KAFKA_CONTROLLER}\n\
         advertised.listeners=PLAINTEXT://{KAFKA_ADDRESS}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         broker.session.timeout.ms=3600000\n",
        data.display()
    )
}
