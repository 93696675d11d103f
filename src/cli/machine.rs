//! What the defaults of settings must know of this machine: memory and CPUs.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use super::Error;
use crate::config::Machine;

/// This machine, or the part of it that this process may use.
pub(super) fn this_machine() -> Result<Machine, Error> {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory_total(&meminfo).ok_or(Error::MemoryUnknown)?;
    let memory_bytes = cgroup_limits().fold(total, u64::min);
    let cpu_count = thread::available_parallelism().map_or(1, usize::from);
    Ok(Machine { memory_bytes, cpu_count })
}

/// RAM, from the text of `/proc/meminfo`. Unit: bytes.
fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The memory limits of this process's control group (version 2) and of the groups around it.
fn cgroup_limits() -> impl Iterator<Item = u64> {
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    cgroup_folders(&membership).into_iter().filter_map(|folder| {
        let limit = fs::read_to_string(folder.join("memory.max")).ok()?;
        // "max" is no limit.
        limit.trim().parse().ok()
    })
}

/// Folders of the groups that the text of `/proc/self/cgroup` names, the innermost first.
fn cgroup_folders(membership: &str) -> Vec<PathBuf> {
    const ROOT: &str = "/sys/fs/cgroup";
    let group = membership.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    // Seen from inside a namespace, a group outside of it is written with "..": only the root can be read then.
    let group = if group.split('/').any(|part| part == "..") { "" } else { group };
    Path::new(ROOT)
        .join(group)
        .ancestors()
        .take_while(|path| path.starts_with(ROOT))
        .map(Path::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(memory_total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16384 * 1024));
        assert_eq!(memory_total("MemFree: 1 kB\n"), None);
        assert_eq!(memory_total("MemTotal: 99999999999999999999 kB\n"), None);
    }

    #[test]
    fn limits_are_looked_for_in_the_group_and_around_it() {
        let folders = |text: &str| -> Vec<String> {
            cgroup_folders(text).iter().map(|folder| folder.display().to_string()).collect()
        };
        assert_eq!(
            folders("1:cpu:/x\n0::/a/b\n"),
            ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"]
        );
        assert_eq!(folders("0::/\n"), ["/sys/fs/cgroup/"].map(str::to_owned));
        assert_eq!(folders("0::/../other\n").len(), 1);
        assert_eq!(folders("").len(), 1);
    }

    #[test]
    fn this_machine_has_memory_and_a_cpu() {
        let machine = this_machine().unwrap();
        assert!(machine.memory_bytes > 0);
        assert!(machine.cpu_count > 0);
    }
}
