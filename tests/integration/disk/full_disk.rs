//! A disk without room: appends are refused, everything else goes on, and so do appends when there is room again.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ringlog::model::ErrorCode;
use ringlog::protocol::kafka::Records;
use ringlog::protocol::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ringlog::protocol::records::{BatchBuilder, Codec, NewRecord};

use crate::ledger::Ledger;
use crate::load::Producer;
use crate::process::{Broker, PATIENCE, Scratch, cannot};

/// A small file system of its own, unmounted in the end.
pub struct SmallDisk {
    pub mounted: PathBuf,
    image: PathBuf,
}

impl SmallDisk {
    /// With ext4 in a file, direct I/O and all.
    pub fn ext4(name: &str) -> Option<Self> {
        let disk = Self::places(name);
        File::create(&disk.image).unwrap().set_len(96 << 20).unwrap();
        let made =
            run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-O", "^has_journal"]).arg(&disk.image));
        let mounted =
            made && run(Command::new("mount").args(["-o", "loop"]).arg(&disk.image).arg(&disk.mounted));
        mounted.then_some(disk)
    }

    /// In memory. It has direct I/O on newer kernels (6.6 and later take O_DIRECT there), and none on older ones.
    pub fn tmpfs(name: &str) -> Option<Self> {
        let disk = Self::places(name);
        let mounted =
            run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"]).arg(&disk.mounted));
        mounted.then_some(disk)
    }

    fn places(name: &str) -> Self {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let mounted = base.join(format!("mount-{name}"));
        // Left by a test that was killed.
        if mounted.exists() {
            run(Command::new("umount").args(["-q", "-l"]).arg(&mounted));
        }
        fs::create_dir_all(&mounted).unwrap();
        Self { mounted, image: base.join(format!("image-{name}")) }
    }

    /// Takes all room but `left_bytes`.
    pub fn fill(&self, left_bytes: u64) -> PathBuf {
        self.fill_with("filler", left_bytes)
    }

    /// The same with a file of this name.
    pub fn fill_with(&self, name: &str, left_bytes: u64) -> PathBuf {
        let path = self.mounted.join(name);
        let mut filler = File::create(&path).unwrap();
        let block = vec![1; 64 << 10];
        while filler.write_all(&block).is_ok() {}
        let length = filler.metadata().unwrap().len();
        filler.set_len(length.saturating_sub(left_bytes)).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").args(["-l"]).arg(&self.mounted));
        let _ = fs::remove_dir(&self.mounted);
        let _ = fs::remove_file(&self.image);
    }
}

pub fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_refuses_appends_until_it_has_room() {
    match SmallDisk::ext4("ext4") {
        Some(disk) => fill_and_free(&disk, "full-ext4"),
        None => cannot("no ext4 can be mounted here: run as root, with loop devices"),
    }
}

#[test]
fn a_full_disk_on_tmpfs_refuses_appends_until_it_has_room() {
    match SmallDisk::tmpfs("tmpfs") {
        Some(disk) => fill_and_free(&disk, "full-tmpfs"),
        None => cannot("no tmpfs can be mounted here: run as root"),
    }
}

fn fill_and_free(disk: &SmallDisk, name: &str) {
    let settings = [
        "commit.log.file.bytes=1048576",
        "commit.log.bytes.max=4194304",
        "arena.bytes=8388608",
        "log.segment.bytes=4194304",
    ];
    let scratch = Scratch::with_data(name, &disk.mounted.join("data"));
    let broker = scratch.start(&settings);
    broker.create_topic("synced", 2, &[("ringlog.durability", "synced")]);
    broker.create_topic("written", 2, &[("ringlog.durability", "written")]);
    let mut ledger = Ledger::new(&[("synced", 2), ("written", 2)], Vec::new());
    let mut producer = Producer::new(0, false, &ledger, 6);
    let mut connection = broker.connect();
    producer.produce(&mut connection, 100);
    let filler = disk.fill(2 << 20);
    // What was in the log when the disk proved full waits for room, and its fate is not known when its time is up; what
    // comes then is refused at once.
    let codes = producer.produce_until_refused(&broker, &mut connection);
    // One producer has no more than 5 requests of 2 parts on their way.
    assert!(
        codes.iter().filter(|&&code| code == ErrorCode::RequestTimedOut.code()).count() <= 10,
        "{codes:?}"
    );

    // What is there is served, to the reader on hand and to a new one.
    ledger.read_to_end(&mut broker.connect(), &[0; 4]);
    ledger.check_acknowledged(&producer.acknowledged);
    assert_eq!(broker.client().topic("synced", false).unwrap().name, "synced");

    fs::remove_file(filler).unwrap();
    producer.produce_until_accepted(&broker, &mut connection, 50);
    ledger.read_to_end(&mut broker.connect(), &[0; 4]);
    ledger.check_acknowledged(&producer.acknowledged);
    broker.kill();
    let broker = scratch.start(&settings);
    ledger.read_to_end(&mut broker.connect(), &[0; 4]);
    ledger.check_acknowledged(&producer.acknowledged);
}

/// The arena is full of what the disk has no room for. A request without an answer waits for as long as that lasts, whoever sent
/// it is not read from, and so the end of its connection is not received.
#[test]
fn a_connection_that_ended_while_its_request_waits_for_room_is_closed() {
    const PARTITIONS: i32 = 64;
    let Some(disk) = SmallDisk::tmpfs("abandoned") else {
        return cannot("no tmpfs can be mounted here: run as root");
    };
    let scratch = Scratch::with_data("abandoned", &disk.mounted.join("data"));
    let broker = scratch.start(&["arena.bytes=8388608", "commit.log.file.bytes=1048576"]);
    broker.create_topic("full", PARTITIONS, &[("ringlog.durability", "written")]);
    broker.create_topic("fresh", 1, &[("ringlog.durability", "written")]);
    disk.fill(0);
    let mut connection = broker.connect();
    // Below what is written to the disk at once: it stays in memory.
    let records = batch(200_000);
    for partition in 0..PARTITIONS {
        let request = produce("full", partition, &records, 1, 100);
        let answer = connection.call(9, &request).unwrap();
        drop(answer);
    }
    let sockets_before = sockets(&broker);
    let mut abandoned: Vec<_> = (0..5).map(|_| broker.connect()).collect();
    for connection in &mut abandoned {
        // More than is received with other requests, and less.
        for bytes in [200_000, 2_000] {
            connection.send_without_reply(9, &produce("fresh", 0, &batch(bytes), 0, 100)).unwrap();
        }
    }
    assert_eq!(sockets(&broker), sockets_before + 5);
    drop(abandoned);
    let deadline = Instant::now() + PATIENCE;
    while sockets(&broker) > sockets_before {
        assert!(Instant::now() < deadline, "{} sockets left", sockets(&broker) - sockets_before);
        thread::sleep(Duration::from_millis(20));
    }
}

fn batch(bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord { value: Some(&vec![7; bytes]), ..NewRecord::default() }).unwrap();
    builder.finish().unwrap()
}

fn produce<'a>(name: &'a str, index: i32, batch: &'a [u8], acks: i16, timeout_ms: i32) -> ProduceRequest<'a> {
    let data = PartitionProduceData { index, records: Some(Records::Inline(batch)) };
    let topic = TopicProduceData { name, partition_data: vec![data].into(), ..TopicProduceData::default() };
    ProduceRequest { acks, timeout_ms, topic_data: [topic].into(), ..ProduceRequest::default() }
}

/// Open sockets of the broker.
fn sockets(broker: &Broker) -> usize {
    let entries = fs::read_dir(format!("/proc/{}/fd", broker.id())).unwrap();
    let links = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}
