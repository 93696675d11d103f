//! What is found damaged, foreign or newer at a start.

use super::*;
use crate::controller::identity::IdentityFault;
use crate::controller::log::Fault;

const LOG_0: &str = "metadata/00000000000000000000.log";

/// A disk with a snapshot behind records, and more records behind that.
fn disk_with_snapshots() -> (DiskFake, State) {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    for (round, name) in ["a", "b", "c"].into_iter().enumerate() {
        controller.handle(&[create(&[name])]);
        if round < 2 {
            controller.store.compact(&controller.state).unwrap();
        }
    }
    (disk, controller.state.clone())
}

fn refused(disk: &DiskFake) -> Error {
    match try_open(disk) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

#[test]
fn files_are_where_the_map_says() {
    let (disk, _) = disk_with_snapshots();
    let names = disk.names();
    assert_eq!(
        names.iter().map(|name| name.trim_start_matches("metadata/0000000000000000000")).collect::<Vec<_>>(),
        ["meta.properties", "1.snapshot", "2.log", "3.snapshot", "4.log"]
    );
}

#[test]
fn a_damaged_snapshot_is_made_up_for_by_the_one_before_it_and_replaced() {
    for damaged in ["metadata/00000000000000000003.snapshot", "metadata/00000000000000000001.snapshot"] {
        let (disk, state) = disk_with_snapshots();
        disk.edit(damaged, |bytes| *bytes.last_mut().unwrap() ^= 1);
        assert_eq!(stored(&disk), state);
        let mut controller = open(&disk);
        assert!(!disk.names().iter().any(|name| name == damaged), "{:?}", disk.names());
        controller.handle(&[create(&["d"])]);
        assert_eq!(stored(&disk.after_the_end(Kept::Nothing)), controller.state);
    }
}

#[test]
fn without_a_snapshot_that_can_be_read_nothing_is_guessed() {
    let (disk, _) = disk_with_snapshots();
    for number in [1, 3] {
        disk.edit(&format!("metadata/{number:020}.snapshot"), |bytes| bytes.truncate(100));
    }
    let found = refused(&disk).to_string();
    assert_eq!(
        found,
        "metadata/00000000000000000002.log: the log goes on with record 2, but record 0 is the next; restore the folder from a copy"
    );
}

#[test]
fn without_any_log_the_directory_is_refused() {
    let (disk, _) = disk_with_snapshots();
    disk.remove(Path::new("metadata/00000000000000000002.log")).unwrap();
    disk.remove(Path::new("metadata/00000000000000000004.log")).unwrap();
    assert!(matches!(refused(&disk), Error::NoLog));
}

#[test]
fn a_missing_log_in_the_middle_is_noticed() {
    let (disk, _) = disk_with_snapshots();
    disk.edit("metadata/00000000000000000003.snapshot", Vec::clear);
    disk.remove(Path::new("metadata/00000000000000000002.log")).unwrap();
    let expected = "metadata/00000000000000000004.log: the log goes on with record 3, but record 2 is the next; \
                    restore the folder from a copy";
    assert_eq!(refused(&disk).to_string(), expected);
}

#[test]
fn the_last_batch_may_be_cut_at_any_byte_and_no_other() {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    controller.handle(&[create(&["a"])]);
    let before = (controller.state.clone(), length_of(&disk));
    controller.handle(&[create(&["b", "c"])]);
    let after = (controller.state.clone(), length_of(&disk));
    for length in before.1..after.1 {
        let cut = disk.after_the_end(Kept::All);
        cut.edit(LOG_0, |bytes| bytes.truncate(length));
        assert_eq!(stored(&cut), before.0, "length {length}");
        let torn = disk.after_the_end(Kept::All);
        torn.edit(LOG_0, |bytes| bytes[length] ^= 0xff);
        let mut controller = open(&torn);
        assert_eq!(controller.image().topic_count(), 1, "byte {length}");
        controller.handle(&[create(&["d"])]);
        assert_eq!(stored(&torn.after_the_end(Kept::Nothing)), controller.state);
    }
    for position in 64..before.1 {
        let damaged = disk.after_the_end(Kept::All);
        damaged.edit(LOG_0, |bytes| bytes[position] ^= 0xff);
        let error = refused(&damaged);
        let in_the_middle = matches!(&error, Error::Damaged { source: Fault::DamagedMiddle { .. }, .. });
        assert!(in_the_middle, "byte {position}: {error}");
    }
}

fn length_of(disk: &DiskFake) -> usize {
    disk.read_file(Path::new(LOG_0), 1 << 20).unwrap().len()
}

#[test]
fn damage_is_reported_with_its_place() {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    controller.handle(&[create(&["a"])]);
    disk.edit(LOG_0, |bytes| bytes[70] ^= 1);
    let expected = "metadata/00000000000000000000.log is damaged: the bytes at 64 are damaged, but good ones follow at 104; \
                    restore the folder from a copy";
    assert_eq!(refused(&disk).to_string(), expected);
    disk.edit(LOG_0, |bytes| bytes[3] ^= 1);
    let expected =
        "metadata/00000000000000000000.log is damaged: its header is damaged; restore the folder from a copy";
    assert_eq!(refused(&disk).to_string(), expected);
}

#[test]
fn a_newer_format_is_refused_as_such() {
    let disk = DiskFake::default();
    drop(open(&disk));
    let identity = |from: &'static str, to: &'static str| {
        let disk = disk.after_the_end(Kept::All);
        disk.edit(identity::PATH, |bytes| {
            *bytes = String::from_utf8(bytes.clone()).unwrap().replace(from, to).into_bytes();
        });
        disk
    };
    let newer = refused(&identity("format.version=1", "format.version=2"));
    assert_eq!(
        newer.to_string(),
        "meta.properties: a data directory of a newer format: version 2, this Ringlog knows 1; start the newer Ringlog, \
         or choose another directory (--data)"
    );
    let kafka = refused(&identity("ringlog.format.version=1", "version=1"));
    assert!(matches!(kafka, Error::Identity { source: IdentityFault::Kafka, .. }));

    // A log whose header says version 2, soundly.
    let newer_log = disk.after_the_end(Kept::All);
    newer_log.edit(LOG_0, |bytes| {
        bytes[8] = 2;
        let crc = crate::model::crc::crc32c_append(crate::model::crc::crc32c(&bytes[..12]), &bytes[16..64]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    let expected = "data directory of a newer format: metadata/00000000000000000000.log has format version 2, this Ringlog knows 1; \
                    start the newer Ringlog, or choose another directory (--data)";
    assert_eq!(refused(&newer_log).to_string(), expected);
}

#[test]
fn another_nodes_directory_is_refused() {
    let disk = DiskFake::default();
    drop(open(&disk));
    let opened = Controller::open(disk, Arc::new(fixtures::config(8)), Box::new(random_from(1)));
    let expected = "node.id is 8, but this data directory belongs to node.id 7; set node.id=7, or choose another data directory";
    assert_eq!(opened.err().map(|error| error.to_string()), Some(expected.to_owned()));
}

#[test]
fn records_without_an_identity_are_not_overwritten() {
    let disk = DiskFake::default();
    drop(open(&disk));
    disk.remove(Path::new(identity::PATH)).unwrap();
    assert!(matches!(refused(&disk), Error::IdentityMissing { .. }));
}

#[test]
fn files_of_another_cluster_are_refused() {
    let (disk, other) = (DiskFake::default(), DiskFake::default());
    drop(open(&disk));
    drop(Controller::open(other.clone(), Arc::new(fixtures::config(7)), Box::new(random_from(99))).unwrap());
    let foreign = other.read_file(Path::new(LOG_0), 1 << 20).unwrap();
    disk.edit(LOG_0, |bytes| *bytes = foreign);
    assert!(matches!(refused(&disk), Error::OtherCluster { .. }));
}

#[test]
fn a_log_under_another_ones_name_is_refused() {
    let (disk, _) = disk_with_snapshots();
    disk.rename(
        Path::new("metadata/00000000000000000004.log"),
        Path::new("metadata/00000000000000000009.log"),
    )
    .unwrap();
    assert!(matches!(refused(&disk), Error::Damaged { source: Fault::Header, .. }));
}

/// Folders of topics that are not known are removed then.
#[test]
fn all_topics_are_known_only_where_nothing_was_made_damaged_or_cut() {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    assert!(!controller.knows_all_topics(), "the data may be older");
    controller.handle(&[create(&["a"])]);
    let torn = disk.after_the_end(Kept::All);
    torn.edit(LOG_0, |bytes| bytes.truncate(bytes.len() - 1));
    assert!(!open(&torn).knows_all_topics(), "cut");
    assert!(open(&disk).knows_all_topics());
    let (disk, _) = disk_with_snapshots();
    assert!(open(&disk.after_the_end(Kept::All)).knows_all_topics());
    disk.edit("metadata/00000000000000000003.snapshot", |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert!(!open(&disk).knows_all_topics(), "damaged");
}
