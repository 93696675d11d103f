//! Errors of the device itself, through the kernel to the real process: a block device that lies in memory without room fails
//! writes, some of them after the file system has promised the room. The kernel makes EIO or ENOSPC of that, by what is written
//! first. Nothing acknowledged is lost by it, what is there is served, and appends go on.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::disk::full_disk::{SmallDisk, run};
use crate::ledger::Ledger;
use crate::load::Producer;
use crate::process::{Scratch, cannot};

/// ext4 on a device that has less room than it says, unmounted in the end.
struct BrittleDisk {
    mounted: PathBuf,
    filler: PathBuf,
    under: SmallDisk,
}

impl BrittleDisk {
    fn new(name: &str) -> Option<Self> {
        let under = SmallDisk::tmpfs(&format!("under-{name}"))?;
        let image = under.mounted.join("image");
        File::create(&image).unwrap().set_len(400 << 20).unwrap();
        let mounted = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mount-{name}"));
        run(Command::new("umount").args(["-q", "-l"]).arg(&mounted));
        fs::create_dir_all(&mounted).unwrap();
        // What the file system writes of its own lies where it has written before.
        let options =
            ["-q", "-b", "4096", "-m", "0", "-N", "256", "-O", "^has_journal", "-E", "lazy_itable_init=0"];
        let made = run(Command::new("mkfs.ext4").args(options).arg(&image));
        let is_mounted = made && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mounted));
        let filler = under.mounted.join("filler");
        let disk = is_mounted.then_some(Self { mounted, filler, under })?;
        disk.write_pages_singly().then_some(disk)
    }

    /// Of a write of which the file below took only a part, a loop device says that all was written, and a read finds zeros.
    /// Nobody can guard against that but with copies elsewhere. A write of one page is taken or fails.
    fn write_pages_singly(&self) -> bool {
        let source = Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(&self.mounted).output();
        let source = source.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let Some(name) = source.ok().and_then(|source| source.strip_prefix("/dev/").map(str::to_owned))
        else {
            return false;
        };
        fs::write(format!("/sys/block/{name}/queue/max_sectors_kb"), "4").is_ok()
    }

    /// From now on, what was never written cannot be.
    fn break_down(&self) {
        run(&mut Command::new("sync"));
        assert_eq!(self.under.fill(0), self.filler);
    }

    fn mend(&self) {
        fs::remove_file(&self.filler).unwrap();
    }
}

impl Drop for BrittleDisk {
    fn drop(&mut self) {
        if self.filler.exists() {
            let _ = fs::remove_file(&self.filler);
        }
        run(Command::new("umount").args(["-l"]).arg(&self.mounted));
        let _ = fs::remove_dir(&self.mounted);
    }
}

#[test]
fn a_device_that_fails_writes_loses_nothing_that_was_acknowledged() {
    let Some(disk) = BrittleDisk::new("brittle") else {
        return cannot("no ext4 in memory can be mounted here: run as root, with loop devices");
    };
    let settings = ["commit.log.file.bytes=4194304", "arena.bytes=8388608", "log.segment.bytes=4194304"];
    let scratch = Scratch::with_data("brittle", &disk.mounted.join("data"));
    let broker = scratch.start(&settings);
    broker.create_topic("synced", 2, &[("ringlog.durability", "synced")]);
    broker.create_topic("written", 2, &[("ringlog.durability", "written")]);
    let mut ledger = Ledger::new(&[("synced", 2), ("written", 2)], Vec::new());
    let mut producer = Producer::new(0, false, &ledger, 6);
    let mut connection = broker.connect();
    producer.produce(&mut connection, 100);
    disk.break_down();
    producer.produce_until_refused(&broker, &mut connection);
    ledger.read_to_end(&mut broker.connect(), &[0; 4]);
    ledger.check_acknowledged(&producer.acknowledged);

    disk.mend();
    producer.produce_until_accepted(&broker, &mut connection, 50);
    broker.kill();
    let broker = scratch.start(&settings);
    ledger.read_to_end(&mut broker.connect(), &[0; 4]);
    ledger.check_acknowledged(&producer.acknowledged);
}
