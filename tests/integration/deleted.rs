//! Folders of topics that were deleted just before the end of a life, or while the log began anew: they go.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::ledger::Ledger;
use crate::load::Producer;
use crate::process::{PATIENCE, Scratch};

/// Folders that are neither the broker's own nor of the topic `kept`.
fn others(data: &Path) -> Vec<String> {
    let names = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("-0") && name != "kept-0").collect()
}

/// What a death between the deletion of a topic and that of its folder leaves.
fn leave_behind(data: &Path) {
    let folder = data.join("gone-0");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("00000000000000000000.log"), [7; 4096]).unwrap();
    fs::write(folder.join("partition.metadata"), "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ").unwrap();
}

#[test]
fn the_folder_of_a_topic_that_was_deleted_before_a_death_is_removed() {
    let scratch = Scratch::new("deleted");
    let broker = scratch.start(&[]);
    broker.create_topic("kept", 1, &[]);
    let mut ledger = Ledger::new(&[("kept", 1)], vec![0]);
    let mut producer = Producer::new(0, true, &ledger, 1);
    producer.produce(&mut broker.connect(), 20);
    broker.kill();
    leave_behind(&scratch.data);
    let broker = scratch.start(&[]);
    let deadline = Instant::now() + PATIENCE;
    while !others(&scratch.data).is_empty() {
        assert!(Instant::now() < deadline, "still there: {:?}", others(&scratch.data));
        thread::sleep(Duration::from_millis(5));
    }
    ledger.read_to_end(&mut broker.connect(), &[0]);
    ledger.check_acknowledged(&producer.acknowledged);
    // Where the metadata may have lost a topic, its folder is put aside.
    broker.kill();
    leave_behind(&scratch.data);
    let mut logs: Vec<_> =
        fs::read_dir(scratch.data.join("metadata")).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    let newest = logs.into_iter().max().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    bytes.extend([0x55; 7]);
    fs::write(&newest, bytes).unwrap();
    let broker = scratch.start(&[]);
    assert!(
        matches!(&others(&scratch.data)[..], [stray] if stray.starts_with(".stray-") && stray.ends_with("-gone-0"))
    );
    assert!(broker.said().contains("may have lost"), "{}", broker.said());
    ledger.read_to_end(&mut broker.connect(), &[0]);
    ledger.check_acknowledged(&producer.acknowledged);
}
