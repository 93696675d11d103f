//! A file system that refuses direct I/O (ramfs): the page cache stands between, of which a start warns; all else holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::disk::full_disk::run;
use crate::ledger::Ledger;
use crate::load::{Producer, run_until};
use crate::process::{Broker, Scratch, cannot};

/// Memory as a file system, unmounted in the end. It has no bound: what is in it is counted.
struct Ramfs {
    mounted: PathBuf,
}

impl Ramfs {
    fn new(name: &str) -> Option<Self> {
        let mounted = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mount-{name}"));
        // Left by a test that was killed.
        if mounted.exists() {
            run(Command::new("umount").args(["-q", "-l"]).arg(&mounted));
        }
        fs::create_dir_all(&mounted).unwrap();
        let is_mounted = run(Command::new("mount").args(["-t", "ramfs", "ramfs"]).arg(&mounted));
        is_mounted.then_some(Self { mounted })
    }
}

impl Drop for Ramfs {
    fn drop(&mut self) {
        run(Command::new("umount").args(["-l"]).arg(&self.mounted));
        let _ = fs::remove_dir(&self.mounted);
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { bytes_in(&path) } else { path.metadata().unwrap().len() }).sum()
}

#[test]
fn without_direct_io_a_start_warns_and_nothing_is_lost_by_a_kill_or_a_stop() {
    const BYTES_MAX: u64 = 90 << 20;
    let Some(disk) = Ramfs::new("page-cache") else {
        return cannot("no ramfs can be mounted here: run as root");
    };
    let settings = ["commit.log.file.bytes=1048576", "commit.log.bytes.max=4194304", "arena.bytes=8388608"];
    let scratch = Scratch::with_data("page-cache", &disk.mounted.join("data"));
    let start = || {
        let broker = scratch.start(&settings);
        assert!(broker.said().contains("the file system has no direct I/O"), "{}", broker.said());
        broker
    };
    let broker = start();
    broker.create_topic("synced", 2, &[("ringlog.durability", "synced"), ("segment.bytes", "1048576")]);
    broker.create_topic("written", 2, &[("ringlog.durability", "written"), ("segment.bytes", "1048576")]);
    let mut ledger = Ledger::new(&[("synced", 2), ("written", 2)], vec![0]);
    let mut producers: Vec<Producer> =
        (0..2).map(|number| Producer::new(number, number == 0, &ledger, 9)).collect();

    run_until(broker, &mut producers, &mut ledger, 150, Broker::kill);
    let broker = start();
    let mut check = |broker: &Broker, producers: &[Producer]| {
        ledger.read_to_end(&mut broker.connect(), &[0; 4]);
        for producer in producers {
            ledger.check_acknowledged(&producer.acknowledged);
        }
        assert!(bytes_in(&disk.mounted) < BYTES_MAX, "{} bytes in memory", bytes_in(&disk.mounted));
    };
    check(&broker, &producers);
    for producer in &mut producers {
        producer.produce(&mut broker.connect(), 50);
    }
    check(&broker, &producers);
    broker.signal("TERM");
    let ended = broker.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    check(&start(), &producers);
}
