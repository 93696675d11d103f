//! What start-up asks the machine before it touches data: is io_uring there and complete, are the limits large
//! enough, is the data directory free, which boot is this.
//!
//! Every refusal is an [`Error`] with the number found and the number needed; limits are raised as far as the
//! operator allows without asking.

#![expect(unsafe_code, reason = "resource limits")]

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use io_uring::{Probe, opcode};

use crate::runtime::memory::page_bytes;
use crate::runtime::ring::{Ring, RingOptions};
use crate::runtime::{DiskAction, Error, Result};

/// Sets up a ring as the shards will have it, and asks for every operation that they use.
pub fn check_ring(options: RingOptions) -> Result<()> {
    let ring = Ring::new(options)?;
    let mut probe = Probe::new();
    ring.probe(&mut probe)?;
    check_operations(|code| probe.is_supported(code))
}

fn check_operations(is_supported: impl Fn(u8) -> bool) -> Result<()> {
    match NEEDED.iter().find(|(_, code)| !is_supported(*code)) {
        Some((operation, _)) => Err(Error::RingLacks { operation }),
        None => Ok(()),
    }
}

const NEEDED: [(&str, u8); 9] = [
    ("accept", opcode::AcceptMulti::CODE),
    ("recv", opcode::Recv::CODE),
    ("send", opcode::Send::CODE),
    ("sendmsg", opcode::SendMsg::CODE),
    ("read", opcode::Read::CODE),
    ("write", opcode::Write::CODE),
    ("writev", opcode::Writev::CODE),
    ("fsync", opcode::Fsync::CODE),
    ("async_cancel", opcode::AsyncCancel::CODE),
];

/// Memory that the kernel counts as locked for one ring of this size, when the user is not privileged. Unit: bytes.
/// Kernels from 5.12 to 6.12 count less.
#[must_use]
pub fn locked_bytes(options: &RingOptions) -> u64 {
    let pages = |bytes: u64| bytes.next_multiple_of(page_bytes() as u64);
    let entries = u64::from(options.entries.next_power_of_two());
    let submissions = entries * 64;
    let queues = RING_HEADER_BYTES + entries * 4 * 16 + entries * 4;
    let provided = u64::from(options.provided_buffers) * 16;
    pages(submissions) + pages(queues) + pages(provided)
}

/// What stands before the two queues in their common mapping, rounded up.
const RING_HEADER_BYTES: u64 = 512;

/// Makes sure that `needed_bytes` may be locked: raises the limit up to its hard bound. Returns the limit then in
/// force (`u64::MAX`: none). The limit is counted per user, over all of the user's processes.
pub fn allow_locked_memory(needed_bytes: u64) -> Result<u64> {
    let limit_bytes = raise(libc::RLIMIT_MEMLOCK, needed_bytes)?;
    if limit_bytes < needed_bytes && !may_lock_without_limit() {
        return Err(Error::LockedMemory { needed_bytes, limit_bytes });
    }
    Ok(limit_bytes)
}

/// Raises the limit of open files to its hard bound, which must allow `needed`. Returns the limit then in force.
pub fn allow_open_files(needed: u64) -> Result<u64> {
    let limit = raise(libc::RLIMIT_NOFILE, u64::MAX)?;
    if limit < needed { Err(Error::OpenFiles { needed, limit }) } else { Ok(limit) }
}

/// The lock of a data directory, held until dropped (or until the process dies, however it does).
#[derive(Debug)]
pub struct DirectoryLock {
    /// Never read: closing it gives the lock up.
    _file: File,
}

impl DirectoryLock {
    /// Locks the directory by its file `.lock`, in which the process leaves its number. Refused while another process
    /// holds it.
    pub fn acquire(directory: &Path) -> Result<Self> {
        let path = directory.join(".lock");
        let failed = |action| {
            let path = &path;
            move |source| Error::disk(action, path, source)
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed(DiskAction::Open))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = read_number(&mut file);
                return Err(Error::DirectoryLocked { path: directory.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(DiskAction::Lock)(source)),
        }
        // Over what stands there, which on a full disk is all the room that there is.
        let number = format!("{}\n", std::process::id());
        let written = file.rewind().and_then(|()| file.write_all(number.as_bytes()));
        written.map_err(failed(DiskAction::Write))?;
        file.set_len(number.len() as u64).map_err(failed(DiskAction::Resize))?;
        Ok(Self { _file: file })
    }
}

/// Identity of the machine's current run: another one after each reboot, when the arena is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootId(pub u128);

/// Reads the kernel's identity of this boot.
pub fn boot_id() -> Result<BootId> {
    let path = PathBuf::from("/proc/sys/kernel/random/boot_id");
    let text =
        std::fs::read_to_string(&path).map_err(|source| Error::disk(DiskAction::Read, &path, source))?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    match u128::from_str_radix(&digits, 16) {
        Ok(id) if digits.len() == 32 => Ok(BootId(id)),
        _ => Err(Error::disk(DiskAction::Read, &path, io::Error::from(io::ErrorKind::InvalidData))),
    }
}

/// The number of the process that holds a lock, if it has been written yet.
fn read_number(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

type Resource = libc::__rlimit_resource_t;

/// Raises a soft limit to `wanted` or to the hard one, whichever is less. Returns the soft limit then in force.
fn raise(resource: Resource, wanted: u64) -> Result<u64> {
    let failed = || Error::Limits { source: io::Error::last_os_error() };
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable memory of the type asked for.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return Err(failed());
    }
    let raised = wanted.min(limit.rlim_max);
    if limit.rlim_cur < raised {
        limit.rlim_cur = raised;
        // SAFETY: `limit` is initialised.
        if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
            return Err(failed());
        }
    }
    Ok(limit.rlim_cur)
}

/// The process has the capability `CAP_IPC_LOCK`, to which the limit does not apply.
fn may_lock_without_limit() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> CAP_IPC_LOCK & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn this_machine_has_what_is_needed() {
        check_ring(RingOptions::default()).unwrap();
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        assert!(allow_open_files(64).unwrap() >= 64);
    }

    /// Kernels that lack something are not at hand: one that knows no operation, and those that lack one.
    #[test]
    fn a_ring_that_lacks_an_operation_is_refused_with_its_name() {
        let lacking = |refused: Result<()>| match refused {
            Err(error @ Error::RingLacks { operation }) => {
                let text = error.to_string();
                assert!(text.contains(operation) && text.contains("Linux 6.1 or newer"), "{text}");
                operation
            }
            other => panic!("{other:?}"),
        };
        let nothing = Probe::new();
        assert_eq!(lacking(check_operations(|code| nothing.is_supported(code))), "accept");
        for (name, absent) in NEEDED {
            assert_eq!(lacking(check_operations(|code| code != absent)), name);
        }
    }

    #[test]
    fn open_files_beyond_the_hard_limit_are_refused_with_both_numbers() {
        let limit = allow_open_files(1).unwrap();
        if limit < u64::MAX {
            let error = allow_open_files(limit + 1).unwrap_err();
            assert!(
                matches!(error, Error::OpenFiles { needed, limit: found } if needed == limit + 1 && found == limit)
            );
            assert!(error.to_string().contains(&limit.to_string()), "{error}");
        }
    }

    #[test]
    fn a_locked_directory_is_refused_with_its_holder_until_it_is_free() {
        let directory = std::env::temp_dir().join(format!("ringlog-lock-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let lock = DirectoryLock::acquire(&directory).unwrap();
        let error = DirectoryLock::acquire(&directory).unwrap_err();
        let holder = std::process::id();
        assert!(
            matches!(&error, Error::DirectoryLocked { holder: Some(found), .. } if *found == holder),
            "{error}"
        );
        drop(lock);
        // A process that another test is just starting holds a copy of the descriptor until it begins.
        let free = || DirectoryLock::acquire(&directory).is_ok();
        assert!((0..1000).any(|_| free() || {
            std::thread::sleep(std::time::Duration::from_millis(5));
            false
        }));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    /// Set for a process that may change its limits and user.
    const CHILD: &str = "RINGLOG_TEST_PREFLIGHT";

    /// Runs one of the helpers below in a process of its own, whose limits and user it may change.
    fn in_a_process_of_its_own(helper: &str) {
        let name = format!("runtime::preflight::tests::{helper}");
        let output = Command::new(std::env::current_exe().unwrap())
            .args([&name, "--exact", "--ignored", "--nocapture"])
            .env(CHILD, "yes")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    /// Gives up every privilege and allows `bytes` of locked memory. No other process runs as this user.
    fn become_unprivileged(bytes: u64) {
        assert!(std::env::var_os(CHILD).is_some(), "run by another test, in a process of its own");
        let limit = libc::rlimit { rlim_cur: bytes.min(1 << 16), rlim_max: bytes };
        // SAFETY: `limit` is initialised; the rest takes no memory. The user id only matters when we are root.
        unsafe {
            assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit), 0);
            if libc::geteuid() == 0 {
                assert_eq!(libc::setresuid(61_234, 61_234, 61_234), 0);
            }
        }
    }

    #[test]
    fn a_ring_fits_into_the_locked_memory_that_is_asked_for() {
        in_a_process_of_its_own("helper_ring_within_its_locked_bytes");
    }

    #[test]
    #[ignore = "run in a process of its own"]
    fn helper_ring_within_its_locked_bytes() {
        let options = RingOptions::default();
        let needed = locked_bytes(&options);
        assert!(needed * 16 < 8 << 20, "sixteen shards run under the usual limit: {needed} bytes each");
        become_unprivileged(needed);
        assert_eq!(allow_locked_memory(needed).unwrap(), needed);
        check_ring(options).unwrap();
    }

    #[test]
    fn too_little_locked_memory_is_refused_with_both_numbers() {
        in_a_process_of_its_own("helper_too_little_locked_memory");
    }

    #[test]
    #[ignore = "run in a process of its own"]
    fn helper_too_little_locked_memory() {
        become_unprivileged(100_000);
        let error = allow_locked_memory(200_000).unwrap_err();
        assert!(
            matches!(error, Error::LockedMemory { needed_bytes: 200_000, limit_bytes: 100_000 }),
            "{error}"
        );
    }
}
