//! What can go wrong at the machine's door. Variants carry the numbers; the text names cause and remedy.
//!
//! An operator's fault (limits, locks, room) and the machine's (I/O) are told apart by the variant, never by
//! the text. A failed operation on a ring is a plain [`std::io::Error`] inside its completion.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::runtime::thread::Cpu;

/// Result of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that this room refuses or fails at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a file or directory failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Disk { action: DiskAction, path: PathBuf, source: io::Error },
    /// A path that is absolute or steps upwards was given where one below the data directory is needed.
    #[error("{} is not a path below the data directory", path.display())]
    PathEscapes { path: PathBuf },
    /// Another process (or another arena of this one) holds the arena's file.
    #[error("arena {} is in use by another process; end that, or set arena.dir to another directory", path.display())]
    ArenaLocked { path: PathBuf },
    /// The arena's file belongs to another user, who could read or change the data in it.
    #[error("arena {} belongs to user {owner}, not to {expected}; remove it", path.display())]
    ArenaForeign { path: PathBuf, owner: u32, expected: u32 },
    /// The file system of the arena has too little room for it.
    #[error(
        "arena {} needs {needed_bytes} bytes more, its file system has {free_bytes}; enlarge that file system \
         (mount -o remount,size=…, docker --shm-size=…), choose a smaller arena, or put it elsewhere (arena.dir)",
        path.display()
    )]
    ArenaNoRoom { path: PathBuf, needed_bytes: u64, free_bytes: u64 },
    /// Pages of the arena could not be made present: its file system or the machine's memory is full.
    #[error("cannot make {len} bytes of the arena present at {position}: {source}")]
    ArenaFull { position: usize, len: usize, source: io::Error },
    /// A size that is zero, not a whole number of blocks, or not representable.
    #[error("{what} cannot be {bytes} bytes")]
    BadSize { what: &'static str, bytes: u64 },
    /// Memory could not be mapped.
    #[error("cannot map {bytes} bytes of memory: {source}")]
    Map { bytes: usize, source: io::Error },
    /// A count outside its bounds.
    #[error("{what} cannot be {count} in number")]
    BadCount { what: &'static str, count: u64 },
    /// A partition's folder is that of another topic.
    #[error("{} names another topic", path.display())]
    AnotherTopic { path: PathBuf },
    /// The kernel refuses to set up a ring.
    #[error("the kernel refuses io_uring: {source}{}", ring_remedy(source))]
    RingRefused { source: io::Error },
    /// The kernel's io_uring has no such operation.
    #[error("the kernel's io_uring lacks the operation {operation}; Linux 6.1 or newer is needed")]
    RingLacks { operation: &'static str },
    /// The ring broke: the shard cannot go on.
    #[error("io_uring failed: {source}")]
    Ring { source: io::Error },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", listen_remedy(source))]
    Listen { address: SocketAddr, source: io::Error },
    /// Processors cannot be asked for (none) or pinned to.
    #[error("cannot use processor {}: {source}", cpu.map_or("set".to_owned(), |cpu| cpu.to_string()))]
    Affinity { cpu: Option<Cpu>, source: io::Error },
    /// The limit of locked memory is too small for the rings.
    #[error(
        "{needed_bytes} bytes of locked memory are needed, {limit_bytes} are allowed; raise the limit (ulimit -l, \
         LimitMEMLOCK=)"
    )]
    LockedMemory { needed_bytes: u64, limit_bytes: u64 },
    /// The limit of open files is too small.
    #[error("{needed} open files are needed, {limit} are allowed; raise the limit (ulimit -n, LimitNOFILE=)")]
    OpenFiles { needed: u64, limit: u64 },
    /// Limits cannot be read or raised.
    #[error("cannot change a resource limit: {source}")]
    Limits { source: io::Error },
    /// Another process uses the data directory.
    #[error(
        "data directory {} is in use{}; end that, or choose another directory (--data)",
        path.display(), holder_of(*holder)
    )]
    DirectoryLocked { path: PathBuf, holder: Option<u32> },
    /// Signals cannot be blocked.
    #[error("cannot take over signals: {source}")]
    Signal { source: io::Error },
    /// A thread cannot be started.
    #[error("cannot start the thread {name}: {source}")]
    Thread { name: String, source: io::Error },
}

impl Error {
    pub(crate) fn disk(action: DiskAction, path: &Path, source: io::Error) -> Self {
        Self::Disk { action, path: path.to_owned(), source }
    }

    /// The file or directory does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == Some(io::ErrorKind::NotFound)
    }

    /// What one file or directory holds cannot be read or written, as far as can be told: others may be sound.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        let Self::Disk { source, .. } = self else { return false };
        matches!(source.raw_os_error(), Some(libc::EIO | libc::EUCLEAN | libc::EBADMSG))
    }

    /// The file or directory exists already.
    #[must_use]
    pub fn is_already_there(&self) -> bool {
        self.kind() == Some(io::ErrorKind::AlreadyExists)
    }

    /// The machine does not have the address, or not its family.
    #[must_use]
    pub fn is_address_missing(&self) -> bool {
        let Self::Listen { source, .. } = self else { return false };
        matches!(source.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
    }

    /// Somebody listens there.
    #[must_use]
    pub fn is_address_in_use(&self) -> bool {
        let Self::Listen { source, .. } = self else { return false };
        source.raw_os_error() == Some(libc::EADDRINUSE)
    }

    /// The disk, the user's quota or the file system's size limit is exhausted; room may come back.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::ArenaNoRoom { .. } | Self::ArenaFull { .. })
            || self
                .kind()
                .is_some_and(|kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// The process or the machine has no more open files, or no memory, to give just now.
    #[must_use]
    pub fn is_out_of_handles(&self) -> bool {
        let Self::Disk { source, .. } = self else { return false };
        matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
    }

    fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Disk { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

/// What was tried on a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskAction {
    Open,
    Read,
    Write,
    Sync,
    Measure,
    Resize,
    Allocate,
    Map,
    Lock,
    List,
    Rename,
    Remove,
    CreateDirectory,
}

impl std::fmt::Display for DiskAction {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write to",
            Self::Sync => "flush",
            Self::Measure => "measure",
            Self::Resize => "resize",
            Self::Allocate => "allocate space for",
            Self::Map => "map",
            Self::Lock => "lock",
            Self::List => "list",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::CreateDirectory => "create directory",
        })
    }
}

fn ring_remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "; allow it (sysctl kernel.io_uring_disabled=0, or a container's seccomp profile)"
        }
        Some(libc::ENOSYS) => "; the kernel lacks it, or a container's seccomp profile hides it",
        Some(libc::EINVAL) => "; Linux 6.1 or newer is needed",
        Some(libc::ENOMEM) => "; raise the limit of locked memory (ulimit -l)",
        Some(libc::EMFILE | libc::ENFILE) => "; raise the limit of open files (ulimit -n)",
        _ => "",
    }
}

fn listen_remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "; end what listens there, or choose another port (listeners)",
        io::ErrorKind::AddrNotAvailable => "; name an address of this machine (listeners)",
        io::ErrorKind::PermissionDenied => {
            "; choose a port from 1024 on (listeners), or grant CAP_NET_BIND_SERVICE"
        }
        _ => "",
    }
}

fn holder_of(holder: Option<u32>) -> String {
    holder.map_or(" by another process".to_owned(), |holder| format!(" by process {holder}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_ring_names_the_remedy_for_its_cause() {
        for (code, remedy) in [
            (libc::EPERM, "kernel.io_uring_disabled"),
            (libc::ENOSYS, "seccomp"),
            (libc::EINVAL, "Linux 6.1"),
            (libc::ENOMEM, "ulimit -l"),
        ] {
            let text = Error::RingRefused { source: io::Error::from_raw_os_error(code) }.to_string();
            assert!(text.contains(remedy) && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn full_and_missing_are_told_apart() {
        let failed =
            |code| Error::disk(DiskAction::Write, Path::new("x"), io::Error::from_raw_os_error(code));
        assert!(failed(libc::ENOSPC).is_storage_full() && failed(libc::EDQUOT).is_storage_full());
        assert!(!failed(libc::EIO).is_storage_full() && !failed(libc::EIO).is_not_found());
        assert!(failed(libc::ENOENT).is_not_found());
        assert!(failed(libc::EIO).is_damage() && failed(libc::EUCLEAN).is_damage());
        assert!(!failed(libc::ENOSPC).is_damage() && !failed(libc::EACCES).is_damage());
    }
}
