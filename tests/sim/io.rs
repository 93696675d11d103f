//! Carries out a shard's operations on the simulated disk: in any order, at any time, in part, or not at all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringlog::runtime::memory::{AlignedBuffer, ArenaMemory};
use ringlog::runtime::sim::{SimDisk, SimFaults, SimFile, SimMemory, SimRandom, SimSteps, Step};
use ringlog::storage::driver::run_task;
use ringlog::storage::operation::{
    Completion, Fault, FileId, Lane, Operation, OperationId, Outcome, Task, WritePiece,
};
use ringlog::storage::shard::{ReadPiece, ShardLog};

use crate::failure::{Checked, Stop, ensure, trace};

/// How often operations of the ring fail, of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct RingFaults {
    pub commit_write: u64,
    pub write: u64,
    pub sync: u64,
    pub read: u64,
}

/// One shard's log, its files, and what it has asked for.
pub struct ShardIo {
    pub log: ShardLog<SimMemory>,
    pub faults: RingFaults,
    disk: SimDisk,
    steps: SimSteps,
    files: BTreeMap<FileId, SimFile>,
    commit_files: Vec<FileId>,
    ring: Vec<InFlight>,
    files_lane: VecDeque<(OperationId, Task)>,
    slow_lane: VecDeque<(OperationId, Task)>,
    /// Carried out, and not yet told.
    ended: Vec<Completion>,
}

struct InFlight {
    id: OperationId,
    file: SimFile,
    work: Work,
    fault: u64,
}

enum Work {
    /// `before`: the bytes as they were when the operation was handed out.
    Write {
        pieces: Vec<WritePiece>,
        before: Vec<u8>,
        position: u64,
        durable: bool,
    },
    Sync,
    Read {
        position: u64,
        bytes: u64,
    },
}

impl ShardIo {
    pub fn new(log: ShardLog<SimMemory>, disk: SimDisk, steps: SimSteps) -> Self {
        Self {
            log,
            faults: RingFaults::default(),
            disk,
            steps,
            files: BTreeMap::new(),
            commit_files: Vec::new(),
            ring: Vec::new(),
            files_lane: VecDeque::new(),
            slow_lane: VecDeque::new(),
            ended: Vec::new(),
        }
    }

    /// Gives the log a commit-log file that is there already.
    pub fn add_commit_file(&mut self, file: SimFile, number: u64, bytes: u64) {
        let id = self.log.fresh_file();
        self.files.insert(id, file);
        self.commit_files.push(id);
        self.log.add_commit_file(id, number, bytes);
    }

    /// Takes all that the log wants done.
    pub fn poll(&mut self) -> Checked<()> {
        while let Some(operation) = self.log.poll_operation() {
            self.submit(operation)?;
        }
        self.check_alive()
    }

    pub fn check_alive(&self) -> Checked<()> {
        if self.steps.are_over() { Err(Stop::Died) } else { Ok(()) }
    }

    fn submit(&mut self, operation: Operation) -> Checked<()> {
        trace!("  wanted: {}", short(&format!("{operation:?}")));
        let (id, file, work, fault) = match operation {
            Operation::Task { id, lane, task } => {
                match lane {
                    Lane::Files => self.files_lane.push_back((id, task)),
                    Lane::Slow => self.slow_lane.push_back((id, task)),
                }
                return Ok(());
            }
            Operation::Write { id, file, pieces, position, durable } => {
                let before = self.bytes_of(&pieces);
                let commit = self.commit_files.contains(&file);
                let fault = if commit { self.faults.commit_write } else { self.faults.write };
                (id, file, Work::Write { pieces, before, position, durable }, fault)
            }
            Operation::Sync { id, file } => (id, file, Work::Sync, self.faults.sync),
            Operation::Read { id, file, position, bytes } => {
                (id, file, Work::Read { position, bytes }, self.faults.read)
            }
        };
        let Some(file) = self.files.get(&file).cloned() else {
            return Err(Stop::Wrong(format!("{file:?} is used and not open")));
        };
        self.check_blocks(&file, &work)?;
        self.ring.push(InFlight { id, file, work, fault });
        Ok(())
    }

    /// Never two writes in flight over one block.
    fn check_blocks(&self, file: &SimFile, work: &Work) -> Checked<()> {
        let Work::Write { position, before, .. } = work else { return Ok(()) };
        ensure!(
            position % 4096 == 0 && before.len() % 4096 == 0 && !before.is_empty(),
            "a write is not of whole blocks"
        );
        for other in &self.ring {
            if let Work::Write { position: start, before: bytes, .. } = &other.work {
                let apart =
                    position + before.len() as u64 <= *start || start + bytes.len() as u64 <= *position;
                ensure!(apart || !other.file.is_same_as(file), "two writes in flight over one block");
            }
        }
        Ok(())
    }

    fn bytes_of(&self, pieces: &[WritePiece]) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in pieces {
            match piece {
                WritePiece::Arena { chunk, place, bytes } => {
                    let piece = ReadPiece::Arena { chunk: *chunk, place: *place, bytes: *bytes };
                    all.extend_from_slice(self.log.bytes_of(&piece));
                }
                WritePiece::Buffer { buffer, bytes } => {
                    all.extend_from_slice(&buffer.as_slice()[..*bytes as usize]);
                }
            }
        }
        all
    }

    /// Takes one step of one operation. False: there is nothing to do.
    pub fn advance(&mut self, random: &mut SimRandom) -> Checked<bool> {
        let lanes = u64::from(!self.files_lane.is_empty()) + u64::from(!self.slow_lane.is_empty());
        let (ring, ended) = (self.ring.len() as u64, self.ended.len() as u64);
        if ring + lanes + ended == 0 {
            return Ok(false);
        }
        let choice = random.below(ring + lanes + ended);
        if choice < ring {
            if random.chance(150) && self.arrive_in_part(choice as usize, random) {
                return Ok(true);
            }
            let operation = self.ring.swap_remove(choice as usize);
            let completion = self.carry_out(operation, random)?;
            self.end(completion, random)?;
        } else if choice < ring + lanes {
            let slow = self.files_lane.is_empty() || (choice > ring && !self.slow_lane.is_empty());
            let next = if slow { self.slow_lane.pop_front() } else { self.next_on_files(random) };
            let (id, task) = next.expect("a lane that is not empty");
            let outcome = self.run(&task)?;
            self.end(Completion { id, outcome, pieces: Vec::new() }, random)?;
        } else {
            let completion = self.ended.swap_remove((choice - ring - lanes) as usize);
            self.tell(completion)?;
        }
        Ok(true)
    }

    /// One that overtakes no other of its folder, nor one of several folders, which overtakes none.
    fn next_on_files(&mut self, random: &mut SimRandom) -> Option<(OperationId, Task)> {
        let folder_of = |task: &Task| {
            let file = task.file().and_then(|file| self.files.get(&file));
            let folder = file.and_then(|file| Some(file.path().parent()?.to_str()?.to_owned()));
            task.folder().map(str::to_owned).or(folder)
        };
        let mut before = BTreeSet::new();
        let mut free = Vec::new();
        for (place, (_, task)) in self.files_lane.iter().enumerate() {
            let folder = folder_of(task);
            if place == 0 || folder.as_ref().is_some_and(|folder| !before.contains(folder)) {
                free.push(place);
            }
            let Some(folder) = folder else { break };
            before.insert(folder);
        }
        let place = *free.get(random.below(free.len() as u64) as usize)?;
        self.files_lane.remove(place)
    }

    /// Completions come late at times.
    fn end(&mut self, completion: Completion, random: &mut SimRandom) -> Checked<()> {
        if random.chance(200) {
            self.ended.push(completion);
            Ok(())
        } else {
            self.tell(completion)
        }
    }

    fn tell(&mut self, completion: Completion) -> Checked<()> {
        trace!("  ended: {:?} {}", completion.id, short(&format!("{:?}", completion.outcome)));
        self.log.handle_completion(completion);
        self.check_alive()
    }

    fn arrive_in_part(&mut self, place: usize, random: &mut SimRandom) -> bool {
        let InFlight { file, work: Work::Write { before, position, .. }, .. } = &self.ring[place] else {
            return false;
        };
        file.write_sectors(*position, before, || random.coin());
        true
    }

    fn carry_out(&mut self, operation: InFlight, random: &mut SimRandom) -> Checked<Completion> {
        let InFlight { id, file, work, fault } = operation;
        let step = self.steps.take();
        let failed = random.chance(fault);
        let (outcome, pieces) = match work {
            Work::Write { pieces, before, position, durable } => {
                let now = self.bytes_of(&pieces);
                let bytes = mix(&before, &now, random);
                if failed || step != Step::Alive {
                    file.write_sectors(position, &bytes, || random.coin());
                } else {
                    file.write_sectors(position, &bytes, || true);
                    if durable {
                        file.sync_range(position, bytes.len() as u64);
                    }
                }
                (Outcome::Done, pieces)
            }
            Work::Sync => {
                if !failed && step == Step::Alive {
                    file.sync_all();
                }
                (Outcome::Done, Vec::new())
            }
            Work::Read { position, bytes } => {
                let mut buffer = AlignedBuffer::zeroed(bytes as usize);
                file.read_sectors(position, buffer.as_mut_slice());
                (Outcome::Buffer(buffer), Vec::new())
            }
        };
        self.check_alive()?;
        let outcome = if failed { Outcome::Failed(Fault::Io) } else { outcome };
        Ok(Completion { id, outcome, pieces })
    }

    fn run(&mut self, task: &Task) -> Checked<Outcome> {
        let file = task.file().and_then(|file| self.files.get(&file));
        ensure!(task.file().is_none() || file.is_some(), "{task:?} works on a file that is not open");
        let faults = self.disk.faults();
        if let Task::RenameFolders { .. } = task {
            // A deleted topic's folder that keeps its name is told to people; what comes of it the model does not know.
            self.disk.set_faults(SimFaults { read: 0, ..faults });
        }
        let done = run_task(&self.disk, task, file);
        self.disk.set_faults(faults);
        self.check_alive()?;
        if let Task::Close { file } = task {
            self.files.remove(file);
        }
        if let (Some(name), Some(opened)) = (task.opens(), done.opened) {
            self.files.insert(name, opened);
            if matches!(task, Task::CreateCommitFile { .. }) {
                self.commit_files.push(name);
            }
        }
        Ok(done.outcome)
    }

    /// The process is gone: of what was under way, anything may have happened. Returns the memory that it left.
    pub fn die(self, random: &mut SimRandom) -> SimMemory {
        let Self { log, disk, steps, files, ring, mut files_lane, mut slow_lane, .. } = self;
        let mut memory = log.into_memory();
        memory.settle();
        steps.live();
        for operation in ring {
            let Work::Write { pieces, before, position, .. } = operation.work else { continue };
            let mut now = Vec::new();
            for piece in &pieces {
                now.extend_from_slice(match piece {
                    WritePiece::Arena { place, bytes, .. } => memory.read(*place as usize, *bytes as usize),
                    WritePiece::Buffer { buffer, bytes } => &buffer.as_slice()[..*bytes as usize],
                });
            }
            let bytes = mix(&before, &now, random);
            let whole = random.coin();
            operation.file.write_sectors(position, &bytes, || whole || random.coin());
        }
        for lane in [&mut files_lane, &mut slow_lane] {
            let Some((_, task)) = lane.pop_front() else { continue };
            if random.coin() {
                steps.die_after(random.below(10));
                let file = task.file().and_then(|file| files.get(&file));
                run_task(&disk, &task, file);
                steps.live();
            }
        }
        memory
    }

    /// The log and its files are given up after a clean stop.
    pub fn into_memory(self) -> SimMemory {
        self.log.into_memory()
    }
}

fn short(text: &str) -> &str {
    text.get(..300).unwrap_or(text)
}

/// A device may read memory at any time between the submission and the completion.
fn mix(before: &[u8], now: &[u8], random: &mut SimRandom) -> Vec<u8> {
    if before == now {
        return now.to_vec();
    }
    let mut bytes = now.to_vec();
    for (to, from) in bytes.chunks_mut(512).zip(before.chunks(512)) {
        if random.coin() {
            to.copy_from_slice(from);
        }
    }
    bytes
}
