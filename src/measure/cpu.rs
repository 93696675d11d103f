//! Time that processors were busy, idle or stolen, out of the texts of `/proc`. Pure: the texts are parameters.

use std::time::Duration;

/// The kernel counts in hundredths of a second on every machine that this runs on (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// One processor's counters since the machine's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// User, system, interrupts; not stolen time.
    pub busy: Duration,
    /// Nothing to run, waiting for a disk or not.
    pub idle: Duration,
    /// The hypervisor ran someone else.
    pub steal: Duration,
}

/// The line of processor `cpu` in the text of `/proc/stat`.
#[must_use]
pub fn of_processor(stat: &str, cpu: u16) -> Option<CpuTime> {
    let label = format!("cpu{cpu}");
    let line = stat.lines().find(|line| line.split_whitespace().next() == Some(&label))?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let &[user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks.as_slice() else { return None };
    Some(CpuTime {
        busy: duration(user + nice + system + irq + softirq),
        idle: duration(idle + iowait),
        steal: duration(steal),
    })
}

/// Processor time of all threads of a process, in user and kernel mode, out of `/proc/PID/stat`.
#[must_use]
pub fn of_process(stat: &str) -> Option<Duration> {
    // The second field is the program's name in parentheses, which may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(duration(user + system))
}

/// The number in a line `label:  123 kB` of `/proc/PID/status`. Unit: bytes.
#[must_use]
pub fn bytes_of_status(status: &str, label: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The number in a line `label: 123` of `/proc/PID/io`.
#[must_use]
pub fn number_of_io(io: &str, label: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(':'))?.trim().parse().ok()
}

impl CpuTime {
    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            busy: self.busy.saturating_sub(earlier.busy),
            idle: self.idle.saturating_sub(earlier.idle),
            steal: self.steal.saturating_sub(earlier.steal),
        }
    }
}

fn duration(ticks: u64) -> Duration {
    TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 1 2 3 4 5 6 7 8 0 0\ncpu10 10 0 0 0 0 0 0 0 0 0\nintr 1\n";

    #[test]
    fn the_line_of_a_processor_is_taken_apart() {
        let milliseconds = Duration::from_millis;
        let expected = CpuTime { busy: milliseconds(190), idle: milliseconds(90), steal: milliseconds(80) };
        assert_eq!(of_processor(STAT, 1), Some(expected));
        assert_eq!(of_processor(STAT, 10).unwrap().busy, milliseconds(100));
        assert_eq!(of_processor(STAT, 2), None);
        assert_eq!(of_processor("cpu1 1 2 3", 1), None);
        let later = CpuTime { idle: milliseconds(100), ..expected };
        assert_eq!(later.since(expected), CpuTime { idle: milliseconds(10), ..CpuTime::default() });
    }

    #[test]
    fn a_programs_name_may_look_like_fields() {
        let stat = "12 (a) 1 (b)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 1";
        assert_eq!(of_process(stat), Some(Duration::from_secs(3)));
        assert_eq!(of_process("12 (a) S 1"), None);
    }

    #[test]
    fn status_and_io_are_read_by_label() {
        assert_eq!(bytes_of_status("VmRSSx: 1 kB\nVmRSS:\t  512 kB\n", "VmRSS"), Some(512 * 1024));
        assert_eq!(number_of_io("read_bytes: 7\nwrite_bytes: 8\n", "write_bytes"), Some(8));
        assert_eq!(number_of_io("read_bytes: 7\n", "write_bytes"), None);
    }
}
