//! What a process takes of its machine.

/// The process at one moment. What the kernel does not tell is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFigures {
    /// In user and kernel mode. Unit: s.
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub threads: u64,
    pub open_files: u64,
    pub open_files_max: u64,
    /// Worker threads of rings that live now: an operation that the kernel cannot do at once goes to one.
    pub ring_workers: u64,
    /// Processor time of those that live now. Unit: s.
    pub ring_worker_cpu_seconds: f64,
}
