//! Carrying out storage operations: reads, writes and syncs on the ring, everything that may block on worker threads.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::rc::Rc;

use super::figures::{DeviceFigures, now_us};
use super::token::Token;
use crate::model::number::{index, wide};
use crate::runtime::disk::{BlockingDisk, RealDisk};
use crate::runtime::file::{Access, Caching, FileHandle};
use crate::runtime::memory::AlignedBuffer;
use crate::runtime::ring::{self, Ring};
use crate::runtime::worker::{self, WorkClient};
use crate::storage::driver::{self, TaskDone, run_task};
use crate::storage::operation::{
    Completion, Fault, FileId, Lane, Operation, OperationId, Outcome, Task, WritePiece,
};

/// What a worker's task gave.
pub(super) struct TaskResult {
    id: OperationId,
    order: Order,
    opened: Option<(FileId, String)>,
    done: TaskDone<FileHandle>,
}

/// What a task must not overtake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Other tasks on files, of any folder. Those of other shards it does not see.
    Alone,
    /// Those of its folder.
    Folder(worker::Lane),
    /// Other slow ones.
    Slow,
}

/// A task, and the path of the open file that it names.
struct Waiting {
    id: OperationId,
    order: Order,
    path: Option<String>,
    task: Task,
}

struct OpenFile {
    handle: Rc<FileHandle>,
    path: String,
}

/// An operation that the ring has.
struct UnderWay {
    kind: Kind,
    began_us: u64,
    /// The core's pieces of a write, to be given back with its completion.
    pieces: Vec<WritePiece>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    DurableWrite,
    Sync,
    Read,
}

/// The files of one shard and the operations under way on them.
pub(super) struct Storage {
    disk: RealDisk,
    files: HashMap<FileId, OpenFile>,
    workers: WorkClient<TaskResult>,
    /// Tasks on files that found their lane full, or wait for or as one that is to be alone; bounded, as all that wait, by the
    /// operations that storage has under way.
    waiting: VecDeque<Waiting>,
    /// Slow tasks that found their lane full.
    waiting_slow: VecDeque<Waiting>,
    /// Tasks on files that workers have.
    on_files: usize,
    /// One of them is to be alone.
    has_lone: bool,
    results: Vec<TaskResult>,
    /// What ended without the ring or a worker.
    ended: VecDeque<Completion>,
    /// What the ring has.
    under_way: HashMap<OperationId, UnderWay>,
    figures: DeviceFigures,
    /// Operations whose completion has not been handed over.
    unended: usize,
}

impl Storage {
    pub(super) fn new(disk: RealDisk, workers: WorkClient<TaskResult>) -> Self {
        Self {
            disk,
            files: HashMap::new(),
            workers,
            waiting: VecDeque::new(),
            waiting_slow: VecDeque::new(),
            on_files: 0,
            has_lone: false,
            results: Vec::new(),
            ended: VecDeque::new(),
            under_way: HashMap::new(),
            figures: DeviceFigures::default(),
            unended: 0,
        }
    }

    /// Whether everything that was started has ended.
    pub(super) const fn is_idle(&self) -> bool {
        self.unended == 0
    }

    /// Forgets all files, for a log that begins anew. Only when idle.
    pub(super) fn reset(&mut self) {
        assert!(self.is_idle(), "files of the log are in use");
        self.files.clear();
    }

    /// Opens a file that is there, before the first operation.
    pub(super) fn open_now(&mut self, file: FileId, path: &str) -> Result<(), crate::runtime::Error> {
        let handle = self.disk.open(Path::new(path), Access::Write, Caching::Direct)?;
        self.files.insert(file, OpenFile { handle: Rc::new(handle), path: path.to_owned() });
        Ok(())
    }

    /// Starts an operation.
    pub(super) fn start(&mut self, ring: &mut Ring, operation: Operation) {
        self.unended += 1;
        match operation {
            Operation::Write { id, file, pieces, position, durable } => {
                self.start_write(ring, id, file, pieces, position, durable);
            }
            Operation::Sync { id, file } => match self.files.get(&file) {
                Some(open) => {
                    self.under_way.insert(id, UnderWay::begin(Kind::Sync, Vec::new()));
                    ring.sync(&open.handle, Token::Storage(id).encode());
                }
                None => self.fail(id, Vec::new()),
            },
            Operation::Read { id, file, position, bytes } => match self.files.get(&file) {
                Some(open) => {
                    self.under_way.insert(id, UnderWay::begin(Kind::Read, Vec::new()));
                    let buffer = AlignedBuffer::with_capacity(index(bytes));
                    ring.read(&open.handle, buffer, index(bytes), position, Token::Storage(id).encode());
                }
                None => self.fail(id, Vec::new()),
            },
            Operation::Task { id, task: Task::Close { file }, .. } => {
                self.files.remove(&file);
                self.ended.push_back(Completion { id, outcome: Outcome::Done, pieces: Vec::new() });
            }
            Operation::Task { id, lane, task } => {
                let path = task.file().and_then(|file| self.files.get(&file)).map(|open| open.path.clone());
                let order = order_of(lane, &task, path.as_deref());
                let queue = if order == Order::Slow { &mut self.waiting_slow } else { &mut self.waiting };
                queue.push_back(Waiting { id, order, path, task });
                self.start_tasks();
            }
        }
    }

    fn start_write(
        &mut self,
        ring: &mut Ring,
        id: OperationId,
        file: FileId,
        pieces: Vec<WritePiece>,
        position: u64,
        durable: bool,
    ) {
        let Some(open) = self.files.get(&file) else {
            self.fail(id, pieces);
            return;
        };
        let mut lent = Vec::with_capacity(pieces.len());
        let mut kept = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                WritePiece::Arena { chunk, place, bytes } => {
                    lent.push(ring::WritePiece::Arena { position: index(place), len: index(bytes) });
                    kept.push(WritePiece::Arena { chunk, place, bytes });
                }
                WritePiece::Buffer { mut buffer, bytes } => {
                    buffer.set_len(index(bytes));
                    lent.push(ring::WritePiece::Block(buffer));
                }
            }
        }
        let kind = if durable { Kind::DurableWrite } else { Kind::Write };
        self.under_way.insert(id, UnderWay::begin(kind, kept));
        ring.write(&open.handle, lent, position, durable, Token::Storage(id).encode());
    }

    fn fail(&mut self, id: OperationId, pieces: Vec<WritePiece>) {
        self.ended.push_back(Completion { id, outcome: Outcome::Failed(Fault::NotFound), pieces });
    }

    fn start_tasks(&mut self) {
        while let Some(next) = self.waiting.front() {
            let lane = match next.order {
                Order::Folder(lane) if !self.has_lone => lane,
                Order::Alone if self.on_files == 0 => worker::Lane::Files(0),
                _ => break,
            };
            let is_lone = next.order == Order::Alone;
            if !start_first(&self.disk, &mut self.workers, &mut self.waiting, lane) {
                break;
            }
            self.on_files += 1;
            self.has_lone = is_lone;
        }
        while start_first(&self.disk, &mut self.workers, &mut self.waiting_slow, worker::Lane::Slow) {}
    }

    /// A completion of the ring for operation `id`.
    pub(super) fn handle_ring(&mut self, id: OperationId, outcome: ring::Outcome) -> Completion {
        self.unended -= 1;
        let mut pieces = Vec::new();
        if let Some(ended) = self.under_way.remove(&id) {
            self.count(&ended, &outcome);
            pieces = ended.pieces;
        }
        let outcome = match outcome {
            ring::Outcome::Written { pieces: lent, result } => {
                for piece in lent {
                    if let ring::WritePiece::Block(mut buffer) = piece {
                        let bytes = wide(buffer.len());
                        buffer.set_len(buffer.capacity());
                        pieces.push(WritePiece::Buffer { buffer, bytes });
                    }
                }
                result.map_or_else(|error| Outcome::Failed(fault_of(&error)), |_| Outcome::Done)
            }
            // As long as what was read: storage knows how much there should be.
            ring::Outcome::Read { buffer, result } => match result {
                Ok(_) => Outcome::Buffer(buffer),
                Err(error) => Outcome::Failed(fault_of(&error)),
            },
            ring::Outcome::Synced(result) => {
                result.map_or_else(|error| Outcome::Failed(fault_of(&error)), |()| Outcome::Done)
            }
            _ => Outcome::Failed(Fault::Io),
        };
        Completion { id, outcome, pieces }
    }

    fn count(&mut self, ended: &UnderWay, outcome: &ring::Outcome) {
        let took_us = now_us().saturating_sub(ended.began_us);
        let figures = &mut self.figures;
        match outcome {
            ring::Outcome::Written { result: Ok(bytes), .. } => figures.written_bytes += wide(*bytes),
            ring::Outcome::Read { result: Ok(bytes), .. } => figures.read_bytes += wide(*bytes),
            _ => {}
        }
        let histogram = match ended.kind {
            Kind::Write => &mut figures.writes,
            Kind::DurableWrite => &mut figures.durable_writes,
            Kind::Sync => &mut figures.flushes,
            Kind::Read => &mut figures.reads,
        };
        histogram.record(took_us);
    }

    pub(super) const fn figures(&self) -> &DeviceFigures {
        &self.figures
    }

    /// The next operation that ended on a worker, or at once.
    pub(super) fn poll_ended(&mut self) -> Option<Completion> {
        let ended = self.take_ended();
        self.unended -= usize::from(ended.is_some());
        ended
    }

    fn take_ended(&mut self) -> Option<Completion> {
        if let Some(completion) = self.ended.pop_front() {
            return Some(completion);
        }
        let mut results = std::mem::take(&mut self.results);
        self.workers.take_results(&mut results);
        for TaskResult { id, order, opened, done } in results.drain(..) {
            self.on_files -= usize::from(order != Order::Slow);
            self.has_lone &= order != Order::Alone;
            if let (Some((file, path)), Some(handle)) = (opened, done.opened) {
                self.files.insert(file, OpenFile { handle: Rc::new(handle), path });
            }
            if matches!(done.outcome, Outcome::Failed(_)) {
                tracing::warn!(operation = id.0, "a file task has failed");
            }
            self.ended.push_back(Completion { id, outcome: done.outcome, pieces: Vec::new() });
        }
        self.results = results;
        self.start_tasks();
        self.ended.pop_front()
    }
}

impl UnderWay {
    fn begin(kind: Kind, pieces: Vec<WritePiece>) -> Self {
        Self { kind, began_us: now_us(), pieces }
    }
}

fn fault_of(error: &std::io::Error) -> Fault {
    match error.kind() {
        std::io::ErrorKind::StorageFull
        | std::io::ErrorKind::QuotaExceeded
        | std::io::ErrorKind::FileTooLarge => Fault::NoSpace,
        std::io::ErrorKind::NotFound => Fault::NotFound,
        _ => Fault::Io,
    }
}

/// Starts the first task of the queue. False: there is none, or the lane is full.
fn start_first(
    disk: &RealDisk,
    workers: &mut WorkClient<TaskResult>,
    queue: &mut VecDeque<Waiting>,
    lane: worker::Lane,
) -> bool {
    let Some(first) = queue.pop_front() else { return false };
    let disk = disk.clone();
    let job = move |Waiting { id, order, path, task }: Waiting| TaskResult {
        id,
        order,
        opened: opened_path(&task),
        done: work(&disk, &task, path.as_deref()),
    };
    // Given back, not copied: what a checkpoint or an index is made of is large.
    let refused = workers.run_on(lane, first, job).err();
    let is_started = refused.is_none();
    if let Some(refused) = refused {
        queue.push_front(refused);
    }
    is_started
}

/// `path`: that of the open file which the task names.
fn order_of(lane: Lane, task: &Task, path: Option<&str>) -> Order {
    let folder = path.and_then(|path| path.rsplit_once('/')).map(|(folder, _)| folder);
    match (lane, task.folder().or(folder)) {
        (Lane::Slow, _) => Order::Slow,
        (Lane::Files, None) => Order::Alone,
        (Lane::Files, Some(folder)) => {
            let mut hasher = DefaultHasher::new();
            folder.hash(&mut hasher);
            Order::Folder(worker::Lane::Files(hasher.finish()))
        }
    }
}

/// Runs on a worker. `path`: that of the open file which the task names; it is opened again, since handles of the ring stay on
/// their thread.
fn work(disk: &RealDisk, task: &Task, path: Option<&str>) -> TaskDone<FileHandle> {
    let reopened = path.map(|path| disk.open(Path::new(path), Access::Write, Caching::Buffered)).transpose();
    match reopened {
        Ok(file) => run_task(disk, task, file.as_ref()),
        Err(error) => TaskDone { outcome: Outcome::Failed(driver::fault_of(&error)), opened: None },
    }
}

/// Where the file that a task opens lies.
fn opened_path(task: &Task) -> Option<(FileId, String)> {
    match task {
        Task::Open { file, path, .. } | Task::CreateCommitFile { file, path, .. } => {
            Some((*file, path.clone()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::operation::RenameFolder;

    #[test]
    fn tasks_of_a_folder_share_a_lane_and_those_of_several_are_alone() {
        let order = |lane, task: Task, path| order_of(lane, &task, path);
        let prepare = |path: &str| Task::Prepare { path: path.to_owned(), bytes: 1 };
        let first = order(Lane::Files, prepare("t-0/next.log"), None);
        let read = Task::ReadIndex { path: "t-0/00000000000000000000.index".to_owned(), bytes_max: 1 };
        assert!(matches!(first, Order::Folder(_)) && first == order(Lane::Files, read, None));
        // What names an open file works in that one's folder.
        let allocate = Task::Allocate { file: FileId(1), bytes: 1 };
        assert!(first == order(Lane::Files, allocate, Some("t-0/00000000000000000000.log")));
        let aside = Task::SetAside { paths: vec!["t-0/a".to_owned(), "t-0/b".to_owned()] };
        assert!(first == order(Lane::Files, aside, None));
        let truncated = Task::RemoveTruncated {
            paths: Vec::new(),
            folder: "t-0".to_owned(),
            end_offset: crate::model::Offset(0),
        };
        assert!(first == order(Lane::Files, truncated, None));
        assert!(first != order(Lane::Files, prepare("t-1/next.log"), None));

        let folder_file = ("partition.metadata".to_owned(), Vec::new());
        let rename = RenameFolder { from: "t-0".to_owned(), to: ".deleted".to_owned(), folder_file };
        assert!(order(Lane::Files, Task::RenameFolders { folders: vec![rename] }, None) == Order::Alone);
        let remove = Task::RemoveFolder { path: ".deleted".to_owned() };
        assert!(order(Lane::Slow, remove, None) == Order::Slow);
    }
}
