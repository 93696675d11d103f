//! `ringlog bench floor`: what a broker is measured against.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::arguments::{DurabilityName, IdleName, bytes};
use crate::cli::{Error, print};
use crate::measure::driver::floor::{self, FloorOptions};
use crate::runtime::thread::Cpu;

#[derive(Debug, Args)]
pub(super) struct Floor {
    /// Where it listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9192")]
    listen: SocketAddr,
    /// A copy into memory, or a durable write
    #[arg(long, value_enum, default_value = "synced")]
    durability: DurabilityName,
    /// Where bytes go on the disk; made and filled first, if it is shorter than --file-bytes
    #[arg(long, value_name = "FILE", default_value = "ringlog-floor.bin")]
    file: PathBuf,
    /// Length of that file
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "1G")]
    file_bytes: u64,
    /// The tmpfs for bytes that are copied into memory
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    memory_dir: PathBuf,
    /// How much of it
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "256M")]
    memory_bytes: u64,
    /// What it does while it waits
    #[arg(long, value_enum, default_value = "park")]
    idle: IdleName,
    /// CPU to run on
    #[arg(long, value_name = "N")]
    cpu: Option<u16>,
    /// For end-to-end: fetches wait for what is produced. Otherwise they get bytes at once
    #[arg(long)]
    tail: bool,
}

impl Floor {
    pub(super) fn run(self) -> Result<(), Error> {
        let options = FloorOptions {
            listen: self.listen,
            durability: self.durability.into(),
            file: self.file,
            file_bytes: self.file_bytes,
            memory_directory: self.memory_dir,
            memory_bytes: usize::try_from(self.memory_bytes).unwrap_or(usize::MAX),
            idle: self.idle.into(),
            cpu: self.cpu.map(Cpu),
            is_tail: self.tail,
        };
        let announce = |address: SocketAddr| {
            // On the terminal or in a pipe that is gone: the floor serves either way.
            let _ = print(&format!("floor listening {address}\n"));
        };
        Ok(floor::serve(&options, announce)?)
    }
}
