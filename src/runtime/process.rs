//! What the kernel says of this process: processor time, memory, open files, and the ring's worker threads.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::model::ProcessFigures;
use crate::model::number::wide;
use crate::runtime::memory::page_bytes;

/// Asks the kernel. Takes some 100 µs and blocks; not on a shard.
#[must_use]
pub fn read() -> ProcessFigures {
    let mut this = ProcessFigures { open_files_max: limit_of_open_files(), ..ProcessFigures::default() };
    if let Some(stat) = Stat::read(Path::new("/proc/self/stat")) {
        this.cpu_seconds = stat.cpu_seconds();
        this.resident_bytes = stat.field(RESIDENT_PAGES).saturating_mul(wide(page_bytes()));
        this.virtual_bytes = stat.field(VIRTUAL_BYTES);
        this.threads = stat.field(THREADS);
    }
    this.open_files = fs::read_dir("/proc/self/fd").map_or(0, |found| wide(found.count()));
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        if let Some(stat) = Stat::read(&task.path().join("stat"))
            && stat.name.starts_with("iou-wrk")
        {
            this.ring_workers += 1;
            this.ring_worker_cpu_seconds += stat.cpu_seconds();
        }
    }
    this
}

/// USER_HZ is 100, which is part of the kernel's interface.
const TICK_MS: u64 = 10;

/// Places of fields behind the name, by proc(5) numbers less three.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const THREADS: usize = 17;
const VIRTUAL_BYTES: usize = 20;
const RESIDENT_PAGES: usize = 21;

/// One line of /proc/…/stat.
struct Stat {
    name: String,
    fields: Vec<u64>,
}

impl Stat {
    fn read(path: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    /// The name may hold anything, parentheses too.
    fn parse(line: &str) -> Option<Self> {
        let (head, rest) = line.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields = rest.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        Some(Self { name: name.to_owned(), fields })
    }

    fn field(&self, place: usize) -> u64 {
        self.fields.get(place).copied().unwrap_or(0)
    }

    fn cpu_seconds(&self) -> f64 {
        let ticks = self.field(USER_TICKS).saturating_add(self.field(SYSTEM_TICKS));
        Duration::from_millis(ticks.saturating_mul(TICK_MS)).as_secs_f64()
    }
}

fn limit_of_open_files() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_thread_may_hold_anything() {
        let fields: Vec<String> = (0..22).map(|number| number.to_string()).collect();
        let stat = Stat::parse(&format!("12 (a) (b c) S {}\n", fields[1..].join(" "))).unwrap();
        assert_eq!(stat.name, "a) (b c");
        assert_eq!((stat.field(USER_TICKS), stat.field(RESIDENT_PAGES), stat.field(99)), (11, 21, 0));
        assert!(Stat::parse("").is_none());
    }

    #[test]
    fn this_process_has_memory_threads_and_files() {
        let began = read();
        let mut spent = 1_u64;
        while read().cpu_seconds <= began.cpu_seconds {
            spent = spent.wrapping_mul(3);
        }
        assert!(spent > 0 && began.resident_bytes > 1 << 20 && began.virtual_bytes >= began.resident_bytes);
        assert!(began.threads >= 1 && began.open_files >= 3 && began.open_files_max >= began.open_files);
    }
}
