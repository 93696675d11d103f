//! Claims of the arena, on the real tmpfs.

use super::*;

/// A path on tmpfs that no other test uses; removed on drop.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/dev/shm/ringlog-test-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Opens an arena that this test has closed before. A process that another test is just starting holds a copy of the
/// descriptor, and with it the lock, until it begins.
fn reopen(place: &Place, bytes: usize) -> (Arena, ArenaFound) {
    for _ in 0..1000 {
        match Arena::open(&place.0, bytes) {
            Err(Error::ArenaLocked { .. }) => std::thread::sleep(std::time::Duration::from_millis(5)),
            opened => return opened.unwrap(),
        }
    }
    panic!("still locked");
}

#[test]
fn what_was_written_is_there_when_the_file_is_opened_again() {
    let place = Place::new("again");
    let (mut arena, found) = Arena::open(&place.0, 1 << 20).unwrap();
    assert_eq!(found, ArenaFound { previous_bytes: 0, in_memory: true });
    assert!(arena.read(0, 1 << 20).iter().all(|byte| *byte == 0));
    arena.touch(5000, 8192).unwrap();
    arena.write(5000, b"bytes");
    arena.publish(64, 5005);
    drop(arena);
    let (arena, found) = reopen(&place, 1 << 20);
    assert_eq!(found.previous_bytes, 1 << 20);
    assert_eq!((arena.read(5000, 5), arena.load(64)), (&b"bytes"[..], 5005));
}

#[test]
fn bytes_survive_a_process_that_is_killed() {
    let place = Place::new("killed");
    // The child is this very test binary, asked to run the helper test below and to die in it.
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["runtime::memory::arena::tests::child_writes_and_is_killed", "--exact", "--ignored"])
        .env("RINGLOG_TEST_ARENA", &place.0)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
    let (arena, _) = Arena::open(&place.0, 1 << 20).unwrap();
    assert_eq!(arena.load(0), 3 * 100_000);
    assert!(arena.read(4096, 300_000).iter().all(|byte| *byte == 9));
}

#[test]
#[ignore = "run by bytes_survive_a_process_that_is_killed in a process of its own"]
fn child_writes_and_is_killed() {
    let path = std::env::var_os("RINGLOG_TEST_ARENA").unwrap();
    let (mut arena, _) = Arena::open(Path::new(&path), 1 << 20).unwrap();
    for round in 0..3 {
        arena.write(4096 + round * 100_000, &[9; 100_000]);
        arena.publish(0, (round as u64 + 1) * 100_000);
    }
    // SAFETY: asks the kernel to end this process, which exists for that.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let place = Place::new("locked");
    let (arena, _) = Arena::open(&place.0, 4096).unwrap();
    assert!(matches!(Arena::open(&place.0, 4096), Err(Error::ArenaLocked { .. })));
    drop(arena);
    reopen(&place, 4096);
}

#[test]
fn a_longer_file_keeps_its_contents_until_it_is_reset() {
    let place = Place::new("longer");
    let (mut arena, _) = Arena::open(&place.0, 1 << 20).unwrap();
    arena.write((1 << 20) - 4, b"last");
    drop(arena);
    let (mut arena, found) = reopen(&place, 65536);
    assert_eq!((arena.len(), found.previous_bytes), (1 << 20, 1 << 20));
    assert_eq!(arena.read((1 << 20) - 4, 4), b"last");
    arena.reset(65536).unwrap();
    assert_eq!(arena.len(), 65536);
    assert!(arena.read(0, 65536).iter().all(|byte| *byte == 0));
    arena.reset(1 << 20).unwrap();
    assert_eq!(arena.read((1 << 20) - 4, 4), [0; 4], "nothing comes back");
}

#[test]
fn a_file_system_without_room_is_refused_with_the_numbers() {
    let place = Place::new("room");
    let bytes = 1 << 50;
    match Arena::open(&place.0, bytes) {
        Err(Error::ArenaNoRoom { needed_bytes, free_bytes, .. }) => {
            assert_eq!(needed_bytes, 1 << 50);
            assert!(free_bytes > 0 && free_bytes < needed_bytes);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn touching_reports_a_full_file_system_instead_of_dying() {
    let place = Place::new("full");
    let (mut arena, _) = Arena::open(&place.0, 1 << 20).unwrap();
    // Pages past the end of the file cannot be made present, as pages that tmpfs refuses cannot.
    arena.file.set_len(4096).unwrap();
    arena.touch(0, 4096).unwrap();
    let error = arena.touch(0, 1 << 20).unwrap_err();
    assert!(matches!(error, Error::ArenaFull { position: 0, len: 0x10_0000, .. }) && error.is_storage_full());
}

#[test]
fn touching_keeps_contents_and_zero_erases_only_its_range() {
    let place = Place::new("touch");
    let (mut arena, _) = Arena::open(&place.0, 16384).unwrap();
    arena.write(0, &[1; 16384]);
    arena.touch(1, 16383).unwrap();
    arena.zero(100, 5000);
    assert!(arena.read(0, 100).iter().all(|byte| *byte == 1));
    assert!(arena.read(100, 5000).iter().all(|byte| *byte == 0));
    assert!(arena.read(5100, 11284).iter().all(|byte| *byte == 1));
}

#[test]
fn bad_sizes_and_files_of_another_kind_are_refused() {
    let place = Place::new("sizes");
    assert!(matches!(Arena::open(&place.0, 0), Err(Error::BadSize { .. })));
    assert!(matches!(Arena::open(&place.0, 4097), Err(Error::BadSize { bytes: 4097, .. })));
    let link = Place::new("link");
    std::os::unix::fs::symlink("/dev/null", &link.0).unwrap();
    assert!(matches!(Arena::open(&link.0, 4096), Err(Error::Disk { action: DiskAction::Open, .. })));
}

#[test]
#[should_panic(expected = "leaves the mapping")]
fn a_range_stays_inside_the_arena() {
    let place = Place::new("range");
    let (arena, _) = Arena::open(&place.0, 8192).unwrap();
    arena.read(8000, 193);
}

#[test]
#[should_panic(expected = "aligned")]
fn a_published_value_must_be_aligned() {
    let place = Place::new("aligned");
    let (mut arena, _) = Arena::open(&place.0, 8192).unwrap();
    arena.publish(12, 1);
}
