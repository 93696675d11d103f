//! Claims of the disk, on the machine's own file system.

use super::*;

/// A fresh directory, removed on drop.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringlog-disk-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn disk(name: &str) -> (Place, RealDisk) {
    let place = Place::new(name);
    let disk = RealDisk::open(&place.0).unwrap();
    (place, disk)
}

#[test]
fn the_trial_leaves_nothing_behind_and_agrees_with_the_handles() {
    let (_place, disk) = disk("trial");
    assert_eq!(disk.list(Path::new("")).unwrap(), []);
    let file = disk.open(Path::new("a"), Access::Create, Caching::Direct).unwrap();
    assert_eq!(file.is_direct(), disk.is_direct());
}

#[test]
fn paths_that_leave_the_root_are_refused() {
    let (_place, disk) = disk("escape");
    for path in ["/etc/passwd", "../x", "a/../../x", "./x", ""] {
        let path = Path::new(path);
        let opened = disk.open(path, Access::Create, Caching::Buffered);
        assert!(matches!(opened, Err(Error::PathEscapes { .. })), "{}", path.display());
        assert!(matches!(disk.remove(path), Err(Error::PathEscapes { .. })));
        assert!(matches!(disk.remove_directory(path), Err(Error::PathEscapes { .. })));
        assert!(matches!(disk.rename(path, Path::new("y")), Err(Error::PathEscapes { .. })));
    }
}

#[test]
fn direct_blocks_are_read_back_and_the_end_of_the_file_is_short() {
    let (_place, disk) = disk("direct");
    let file = disk.open(Path::new("log"), Access::CreateNew, Caching::Direct).unwrap();
    let mut buffer = AlignedBuffer::with_capacity(16384);
    buffer.set_len(12288);
    for (index, byte) in buffer.as_mut_slice().iter_mut().enumerate() {
        *byte = u8::try_from(index % 251).unwrap();
    }
    file.write_at(4096, buffer.as_slice()).unwrap();
    file.sync().unwrap();
    file.set_length(4096 + 10000).unwrap();
    let expected = buffer.as_slice()[..10000].to_vec();
    buffer.set_len(16384);
    buffer.as_mut_slice().fill(0);
    assert_eq!(file.read_at(4096, buffer.as_mut_slice()).unwrap(), 10000);
    assert_eq!(&buffer.as_slice()[..10000], expected);
    assert_eq!(file.read_at(1 << 20, buffer.as_mut_slice()).unwrap(), 0);
}

#[test]
#[should_panic(expected = "must be aligned")]
fn direct_positions_must_be_aligned() {
    let (_place, disk) = disk("unaligned");
    assert!(disk.is_direct(), "must be aligned (no direct I/O here: the claim holds of itself)");
    let file = disk.open(Path::new("log"), Access::Create, Caching::Direct).unwrap();
    let _ = file.write_at(512, AlignedBuffer::with_capacity(4096).as_slice());
}

#[test]
fn allocated_space_reads_as_zeroes_and_has_its_length() {
    let (_place, disk) = disk("allocate");
    let file = disk.open(Path::new("log"), Access::Create, Caching::Buffered).unwrap();
    file.write_at(0, b"head").unwrap();
    file.allocate(4, 100_000).unwrap();
    assert_eq!(file.length().unwrap(), 100_004);
    let mut bytes = vec![1; 100_004];
    assert_eq!(file.read_at(0, &mut bytes).unwrap(), 100_004);
    assert!(bytes.starts_with(b"head") && bytes[4..].iter().all(|byte| *byte == 0));
    assert!(matches!(file.allocate(0, u64::MAX), Err(Error::Disk { action: DiskAction::Allocate, .. })));
}

#[test]
fn access_means_what_it_says() {
    let (_place, disk) = disk("access");
    let path = Path::new("file");
    for access in [Access::Read, Access::Write] {
        assert!(disk.open(path, access, Caching::Direct).unwrap_err().is_not_found());
    }
    disk.open(path, Access::CreateNew, Caching::Buffered).unwrap().write_at(0, b"kept").unwrap();
    assert!(disk.open(path, Access::CreateNew, Caching::Buffered).is_err());
    let file = disk.open(path, Access::Create, Caching::Buffered).unwrap();
    assert_eq!(file.length().unwrap(), 4, "opening never truncates");
    let reader = disk.open(path, Access::Read, Caching::Buffered).unwrap();
    assert!(matches!(reader.write_at(0, b"x"), Err(Error::Disk { action: DiskAction::Write, .. })));
}

#[test]
fn directories_are_made_listed_in_order_renamed_and_removed() {
    let (place, disk) = disk("tree");
    disk.create_directories(Path::new("t-0/sub")).unwrap();
    for name in ["t-0/b", "t-0/a", "t-0/c"] {
        disk.open(Path::new(name), Access::Create, Caching::Buffered).unwrap();
    }
    disk.rename(Path::new("t-0/c"), Path::new("t-0/a")).unwrap();
    disk.remove(Path::new("t-0/b")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.0.join("t-0/link")).unwrap();
    disk.sync_directory(Path::new("t-0")).unwrap();
    let entries = disk.list(Path::new("t-0")).unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
    assert_eq!(seen, [("a", EntryKind::File), ("link", EntryKind::Other), ("sub", EntryKind::Directory)]);
    disk.remove_directory(Path::new("t-0")).unwrap();
    assert!(disk.list(Path::new("t-0")).unwrap_err().is_not_found());
    assert!(disk.free_bytes().unwrap() > 0);
}

#[test]
fn a_replaced_file_is_whole_and_nothing_stays_beside_it() {
    let (_place, disk) = disk("replace");
    let path = Path::new("checkpoint");
    disk.replace_file(path, b"a longer first version").unwrap();
    disk.replace_file(path, b"second").unwrap();
    assert_eq!(disk.read_file(path, 100).unwrap(), b"second");
    assert_eq!(disk.list(Path::new("")).unwrap().len(), 1);
    let error = disk.read_file(path, 5).unwrap_err();
    assert!(matches!(error, Error::Disk { source, .. } if source.kind() == io::ErrorKind::FileTooLarge));
}

#[test]
fn a_data_directory_that_cannot_be_made_names_its_path() {
    let place = Place::new("blocked");
    let path = place.0.join("file");
    fs::write(&path, b"").unwrap();
    let error = RealDisk::open(&path.join("data")).unwrap_err();
    assert!(error.to_string().contains("blocked"), "{error}");
}
