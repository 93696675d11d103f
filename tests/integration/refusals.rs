//! Starts that are refused: exit code 1 and one line with cause and remedy. And one that is not: with few privileges.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::Command;

use ringlog::model::crc::{crc32c, crc32c_append};

use crate::ledger::Ledger;
use crate::load::Producer;
use crate::process::{Ended, Scratch, binary, cannot, skip};

/// One line on stderr, which says all of `words`, and exit code 1.
fn assert_refused(scratch: &Scratch, command: Command, words: &[&str]) {
    let Err(Ended { status, said }) = scratch.start_command(command) else {
        panic!("started, instead of saying {words:?}")
    };
    assert_eq!(status.code(), Some(1), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 1 && said.starts_with("error: "), "not one line: {said}");
    for word in words {
        assert!(said.contains(word), "does not say {word:?}: {said}");
    }
}

/// `command`, run by way of `wrapper` and its arguments.
fn wrapped(scratch: &Scratch, binary: &Path, wrapper: &[&str], settings: &[&str]) -> Command {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(binary);
    scratch.add_arguments(&mut command, settings);
    command
}

fn works(command: &[&str]) -> bool {
    Command::new(command[0]).args(&command[1..]).output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_data_directory_in_use_is_refused_with_its_holder() {
    let scratch = Scratch::new("locked");
    let broker = scratch.start(&[]);
    let holder = format!("process {}", broker.id());
    assert_refused(&scratch, scratch.command(&[]), &["data directory", "in use", &holder, "--data"]);
}

#[test]
fn a_port_in_use_is_refused() {
    let scratch = Scratch::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listeners = format!("listeners=PLAINTEXT://{address}");
    assert_refused(
        &scratch,
        scratch.command(&[&listeners]),
        &["listen", &address.to_string(), "in use", "listeners"],
    );
}

#[test]
fn an_arena_in_use_is_refused() {
    let scratch = Scratch::new("arena");
    scratch.start(&[]).kill();
    let name = fs::read_dir(&scratch.arena).unwrap().next().unwrap().unwrap().path();
    let file = File::open(&name).unwrap();
    file.lock().unwrap();
    assert_refused(
        &scratch,
        scratch.command(&[]),
        &["arena", &name.display().to_string(), "in use", "arena.dir"],
    );
    drop(file);
    drop(scratch.start(&[]));
}

#[test]
fn wrong_settings_are_refused_with_the_key() {
    let scratch = Scratch::new("settings");
    let file = scratch.data.join("server.properties");
    fs::write(&file, "node.id=1\nlog.retention.hour=1\n").unwrap();
    let mut with_file = scratch.command(&[]);
    with_file.arg("--config").arg(&file);
    assert_refused(&scratch, with_file, &["line 2", "log.retention.hour", "log.retention.hours"]);
    assert_refused(&scratch, scratch.command(&["num.partition=3"]), &["num.partition", "num.partitions"]);
    assert_refused(&scratch, scratch.command(&["num.partitions=0"]), &["num.partitions", "\"0\"", "1"]);
    assert_refused(
        &scratch,
        scratch.command(&["commit.log.bytes.max=4194304"]),
        &["commit.log.bytes.max", "commit.log.file.bytes"],
    );
}

/// The version stands in the directory's identity, in the metadata log and in the checkpoint.
#[test]
fn a_data_directory_of_a_newer_format_is_refused_and_left_alone() {
    let scratch = Scratch::new("newer");
    scratch.start(&[]).kill();
    let identity = scratch.data.join("meta.properties");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, text.replace("format.version=1", "format.version=2")).unwrap();
    assert_refused(&scratch, scratch.command(&[]), &["meta.properties", "newer", "--data"]);
    fs::write(&identity, text).unwrap();
    let log = scratch.data.join("metadata/00000000000000000000.log");
    let base = scratch.data.join("checkpoints/base");
    let base = if base.exists() { base } else { first_file(&scratch.data.join("checkpoints")) };
    for (path, version_at) in [(log, 8), (base, 12)] {
        let bytes = fs::read(&path).unwrap();
        let mut newer = bytes.clone();
        newer[version_at] = 99;
        if newer.starts_with(b"RINGMLOG") {
            // Its checksum covers the version, and lies where it lies in every version.
            let crc = crc32c_append(crc32c(&newer[..12]), &newer[16..64]);
            newer[12..16].copy_from_slice(&crc.to_le_bytes());
        }
        fs::write(&path, &newer).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_refused(&scratch, scratch.command(&[]), &[name, "newer", "99", "--data"]);
        assert_eq!(fs::read(&path).unwrap(), newer);
        fs::write(&path, &bytes).unwrap();
    }
    drop(scratch.start(&[]));
}

fn first_file(folder: &Path) -> std::path::PathBuf {
    fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn too_few_open_files_are_refused_with_the_number_needed() {
    let scratch = Scratch::new("nofile");
    if !works(&["prlimit", "--version"]) {
        return skip("prlimit is not installed (package util-linux)");
    }
    let few = wrapped(&scratch, &binary(), &["prlimit", "--nofile=256:256"], &[]);
    assert_refused(&scratch, few, &["open files", "1024", "256", "ulimit -n"]);
}

/// The defaults run with 8 MiB of locked memory, 1,024 open files and no privileges; with less they say so.
#[test]
fn an_unprivileged_user_with_small_limits_is_served() {
    let user = "61237";
    let drop_all = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--bounding-set=-all"];
    if !works(&[&drop_all[..], &["true"]].concat()) {
        return cannot("setpriv cannot change the user here: run as root");
    }
    // The build may lie where that user has no way to.
    let place = std::env::temp_dir().join(format!("ringlog-unprivileged-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let copy = place.join("ringlog");
    fs::copy(binary(), &copy).unwrap();
    let scratch = Scratch::with_data("unprivileged", &place.join("data"));
    let id = user.parse().unwrap();
    for path in [&place, &scratch.data, &scratch.arena] {
        chown(path, Some(id), Some(id)).unwrap();
    }
    let limited = |memlock: &str| {
        let limits = ["prlimit", memlock, "--nofile=1024:1024"];
        wrapped(&scratch, &copy, &[&limits[..], &drop_all[..]].concat(), &[])
    };
    assert_refused(&scratch, limited("--memlock=4096:4096"), &["locked memory", "4096", "ulimit -l"]);
    let broker = scratch
        .start_command(limited("--memlock=8388608:8388608"))
        .unwrap_or_else(|ended| panic!("{}", ended.said));
    broker.create_topic("a", 1, &[]);
    let mut ledger = Ledger::new(&[("a", 1)], vec![0]);
    let mut producer = Producer::new(0, true, &ledger, 1);
    producer.produce(&mut broker.connect(), 20);
    ledger.read_to_end(&mut broker.connect(), &[0]);
    ledger.check_acknowledged(&producer.acknowledged);
    assert_eq!(fs::metadata(scratch.data.join("meta.properties")).unwrap().uid(), id);
    drop(broker);
    drop(scratch);
    fs::remove_dir_all(&place).unwrap();
}

/// What a container's default seccomp profile does: io_uring_setup ends with EPERM.
#[test]
fn a_kernel_that_refuses_io_uring_is_named_with_the_remedy() {
    const FILTER: &str = r#"
import ctypes, os, struct, sys
# Load the system call's number; 425 (io_uring_setup) returns EPERM, all others are allowed.
program = b"".join(struct.pack("HBBI", *step) for step in
    [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)])
code = ctypes.create_string_buffer(program)
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
whole = Filter(4, ctypes.addressof(code))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(whole)) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"#;
    let scratch = Scratch::new("seccomp");
    if !works(&["python3", "-c", "import ctypes"]) {
        return skip("python3 is not installed: it sets the filter");
    }
    let refused = wrapped(&scratch, &binary(), &["python3", "-c", FILTER], &[]);
    assert_refused(&scratch, refused, &["io_uring", "kernel.io_uring_disabled", "seccomp"]);
}
