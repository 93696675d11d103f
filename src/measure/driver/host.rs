//! The machine's own counters, read at both ends of the measured time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::measure::cpu::{self, CpuTime};
use crate::measure::driver::{Error, Result};
use crate::measure::figures::Outcome;
use crate::runtime::clock::{Clock, Monotonic, SystemClock};
use crate::runtime::thread::Cpu;

/// Whose counters are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Where the broker, and nothing else, is to run.
    pub broker_cpu: Option<Cpu>,
    pub loader_cpu: Option<Cpu>,
    pub broker_pid: Option<u32>,
}

/// One reading.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    at: Monotonic,
    broker_cpu: Option<CpuTime>,
    loader_cpu: Option<CpuTime>,
    process_cpu: Option<Duration>,
    disk_bytes: Option<u64>,
}

impl Counters {
    /// Reads them now. What a process has sent to disks is left out where reading it is forbidden.
    ///
    /// # Errors
    /// A processor or process that is not there.
    pub fn read(watched: Watched) -> Result<Self> {
        let path = Path::new("/proc/stat");
        let stat = read(path)?;
        let processor = |wanted: Option<Cpu>| {
            let form = || Error::ProcForm { path: path.to_owned() };
            wanted.map(|wanted| cpu::of_processor(&stat, wanted.0).ok_or_else(form)).transpose()
        };
        let disk_bytes = watched.broker_pid.and_then(|pid| {
            let io = fs::read_to_string(of(pid, "io")).ok()?;
            cpu::number_of_io(&io, "write_bytes")
        });
        Ok(Self {
            broker_cpu: processor(watched.broker_cpu)?,
            loader_cpu: processor(watched.loader_cpu)?,
            process_cpu: watched.broker_pid.map(process_cpu).transpose()?,
            disk_bytes,
            at: SystemClock.now(),
        })
    }

    /// When it was read.
    #[must_use]
    pub const fn at(&self) -> Monotonic {
        self.at
    }

    /// Fills in what was counted since `earlier`.
    pub fn fill(&self, earlier: &Self, outcome: &mut Outcome) {
        let processor = |now: Option<CpuTime>, then: Option<CpuTime>| Some(now?.since(then?));
        outcome.elapsed = self.at.since(earlier.at);
        outcome.broker_cpu = processor(self.broker_cpu, earlier.broker_cpu);
        outcome.loader_cpu = processor(self.loader_cpu, earlier.loader_cpu);
        let process = self.process_cpu.zip(earlier.process_cpu);
        outcome.process_cpu = process.map(|(now, then)| now.saturating_sub(then));
        let disk = self.disk_bytes.zip(earlier.disk_bytes);
        outcome.disk_bytes = disk.map(|(now, then)| now.saturating_sub(then));
    }
}

/// Processor time of all threads of a process.
///
/// # Errors
/// No such process.
pub fn process_cpu(pid: u32) -> Result<Duration> {
    let path = of(pid, "stat");
    cpu::of_process(&read(&path)?).ok_or(Error::ProcForm { path })
}

/// Memory of a process that is in RAM, what it shares included. Unit: bytes.
///
/// # Errors
/// No such process.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let path = of(pid, "status");
    cpu::bytes_of_status(&read(&path)?, "VmRSS").ok_or(Error::ProcForm { path })
}

fn of(pid: u32, file: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(file)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| Error::Proc { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_on_this_machine_has_counters() {
        let pid = std::process::id();
        let cpu = crate::runtime::thread::process_cpus().unwrap()[0];
        let watched = Watched { broker_cpu: Some(cpu), loader_cpu: None, broker_pid: Some(pid) };
        let before = Counters::read(watched).unwrap();
        while process_cpu(pid).unwrap() < before.process_cpu.unwrap() + Duration::from_millis(30) {}
        let mut outcome = Outcome::default();
        Counters::read(watched).unwrap().fill(&before, &mut outcome);
        assert!(outcome.process_cpu.unwrap() >= Duration::from_millis(30), "{outcome:?}");
        assert!(
            outcome.elapsed > Duration::ZERO && outcome.broker_cpu.is_some() && outcome.loader_cpu.is_none()
        );
        assert!(resident_bytes(pid).unwrap() > 1 << 20);
        let gone = Watched { broker_cpu: Some(Cpu(9_999)), ..Watched::default() };
        assert!(matches!(Counters::read(gone), Err(Error::ProcForm { .. })));
    }
}
