//! What a recovered log, a read and a sealed file are compared with.

use std::path::Path;

use ringlog::model::Offset;
use ringlog::model::batch::BatchHeader;
use ringlog::runtime::disk::BlockingDisk;
use ringlog::runtime::sim::SimDisk;
use ringlog::storage::partition::PartitionLog;
use ringlog::storage::partition::segment::{SNAPSHOT_SUFFIX, parse_file_name};
use ringlog::storage::shard::{Event, ReadError, ReadPiece, Searched, TimestampSearch};

use crate::batches::Stored;
use crate::failure::{Checked, Stop, ensure};
use crate::model::PartitionModel;
use crate::world::World;

/// Steps of I/O after which a read must have come to an end.
const PATIENCE: usize = 20_000;

impl World {
    /// After a start: every log is what was promised, and what it is becomes the new truth.
    pub fn check_recovered(&mut self, clean: bool, arena_gone: bool) -> Checked<()> {
        for partition in 0..self.partitions.len() {
            let found = self.read_all(partition)?;
            self.check_partition(partition, &found, clean, arena_gone)?;
        }
        Ok(())
    }

    /// After a start that could not read everything: the partitions that it could read are whole, the others refuse.
    pub fn check_served(&mut self, offline: &[String], clean: bool, arena_gone: bool) -> Checked<()> {
        for partition in 0..self.partitions.len() {
            if !offline.contains(&self.partitions[partition].folder) {
                let found = self.read_all(partition)?;
                self.check_partition(partition, &found, clean, arena_gone)?;
                continue;
            }
            let (shard, slot) = self.places[partition];
            let read = self.shards[shard].log.read(slot, Offset::ZERO, 1, true, &mut Vec::new());
            ensure!(
                read == Err(ReadError::Storage),
                "{}: it could not be read at the start, and answers {read:?}",
                self.partitions[partition].folder
            );
        }
        Ok(())
    }

    fn check_partition(
        &mut self,
        partition: usize,
        found: &[Stored],
        clean: bool,
        arena_gone: bool,
    ) -> Checked<()> {
        let (shard, slot) = self.places[partition];
        let log = self.shards[shard].log.partition(slot).expect("a recovered partition");
        let model = &mut self.partitions[partition];
        let (start, end) = (log.log_start_offset().0, log.log_end_offset().0);
        let last_end = found.last().map_or(start.min(end), Stored::end);
        let seen = Seen { start, end, last_end, clean, arena_gone };
        ensure!(
            log.high_watermark().0 == end,
            "{}: recovered up to {end}, visible to {}",
            model.folder,
            log.high_watermark()
        );
        if !clean {
            check_snapshots(&self.disk, &model.folder, end)?;
        }
        let candidates = model.log.iter().chain(&model.cut_away).filter(|batch| batch.end() > start);
        let candidates: Vec<Stored> = candidates.cloned().collect();
        check_batches(&model.folder, log, found, &candidates)?;
        let lost = candidates.get(found.len());
        model.check_loss(&seen, lost)?;
        model.check_ends(&seen, lost, found.is_empty())?;
        let known = found.iter().zip(&candidates);
        let known = known.map(|(found, known)| Stored { number: known.number, ..found.clone() });
        model.adopt(&seen, known.collect());
        Ok(())
    }

    /// All batches that the log shows, read as a consumer would.
    fn read_all(&mut self, partition: usize) -> Checked<Vec<Stored>> {
        let (shard, slot) = self.places[partition];
        let log = self.shards[shard].log.partition(slot).expect("a partition");
        let (mut offset, end) = (log.log_start_offset(), log.high_watermark());
        let mut found = Vec::new();
        while offset < end {
            let bytes = self.read_with_patience(partition, offset, self.plan.read_cache_bytes / 2)?;
            if bytes.is_empty() {
                break;
            }
            let mut rest = bytes.as_slice();
            let before = found.len();
            while let Ok(header) = BatchHeader::check(rest) {
                let (batch, behind) = rest.split_at(header.size_bytes);
                found.push(Stored::new(0, batch));
                rest = behind;
                offset = header.end_offset();
            }
            ensure!(found.len() > before, "{}: no batch at {offset}", self.partitions[partition].folder);
        }
        Ok(found)
    }

    /// Reads whole batches; waits for the disk as long as something is under way.
    pub fn read_with_patience(
        &mut self,
        partition: usize,
        offset: Offset,
        bytes_max: u64,
    ) -> Checked<Vec<u8>> {
        let (shard, slot) = self.places[partition];
        let name = self.partitions[partition].folder.clone();
        for _ in 0..PATIENCE {
            let io = &mut self.shards[shard];
            let mut pieces = Vec::new();
            match io.log.read(slot, offset, bytes_max, true, &mut pieces) {
                Err(error) => return Err(Stop::Wrong(format!("{name}: a read at {offset}: {error}"))),
                Ok(done) if done.pending => {
                    io.poll()?;
                    let moved = io.advance(&mut self.random)?;
                    let woken = std::iter::from_fn(|| io.log.poll_event())
                        .any(|event| event == Event::ReadReady(slot));
                    ensure!(moved || woken, "{name}: a read at {offset} waits for nothing");
                }
                Ok(_) => {
                    let bytes =
                        pieces.iter().map(|piece| io.log.bytes_of(piece)).collect::<Vec<_>>().concat();
                    io.log.release(pieces);
                    return Ok(bytes);
                }
            }
        }
        Err(Stop::Wrong(format!("{name}: a read at {offset} has no end")))
    }

    /// What a read gave against the model: whole visible batches from the one that holds `offset` on, the last perhaps cut.
    pub fn check_read(&self, partition: usize, offset: i64, whole_first: bool, bytes: &[u8]) -> Checked<()> {
        let model = &self.partitions[partition];
        let mut rest = bytes;
        let visible = model.log[model.place_of(offset)..]
            .iter()
            .take_while(|batch| batch.end() <= model.high_watermark);
        for (place, batch) in visible.enumerate() {
            if place == 0 && whole_first {
                ensure!(
                    rest.len() >= batch.bytes.len(),
                    "{}: the first batch at {offset} is cut",
                    model.folder
                );
            }
            if rest.is_empty() {
                return Ok(());
            }
            let len = rest.len().min(batch.bytes.len());
            ensure!(
                rest[..len] == batch.bytes[..len],
                "{}: a read at {offset} gives something else than batch {} at {}",
                model.folder,
                batch.number,
                batch.base()
            );
            rest = &rest[len..];
        }
        ensure!(rest.is_empty(), "{}: a read at {offset} shows {} bytes too many", model.folder, rest.len());
        Ok(())
    }

    /// Reads everything, and searches by time.
    pub fn check_everything(&mut self) -> Checked<()> {
        for partition in 0..self.partitions.len() {
            let found = self.read_all(partition)?;
            let model = &self.partitions[partition];
            let expected = &model.log[model.place_of(model.log_start)..];
            ensure!(
                expected.iter().map(|batch| &batch.bytes).eq(found.iter().map(|batch| &batch.bytes)),
                "{}: the log reads differently than it was written",
                model.folder
            );
            for _ in 0..3 {
                self.search_time(partition, true)?;
            }
        }
        Ok(())
    }

    /// ListOffsets by time against a walk over all batches.
    pub fn search_time(&mut self, partition: usize, patient: bool) -> Checked<()> {
        let model = &self.partitions[partition];
        let visible = model.log[model.place_of(model.log_start)..].iter();
        let visible: Vec<&Stored> = visible.take_while(|batch| batch.end() <= model.high_watermark).collect();
        let place = self.random.below(visible.len() as u64 + 1) as usize;
        let wanted = visible.get(place).map_or(self.now_ms, |batch| batch.header.max_timestamp)
            + self.random.below(3) as i64
            - 1;
        let expected = visible
            .iter()
            .find(|batch| batch.header.max_timestamp >= wanted)
            .map(|batch| batch.bytes.clone());
        let name = model.folder.clone();
        let (shard, slot) = self.places[partition];
        let mut search = TimestampSearch::new(wanted);
        for attempt in 0..PATIENCE {
            let io = &mut self.shards[shard];
            let mut work = (attempt % 20) as u32 + 1;
            match io.log.search_timestamp(slot, &mut search, &mut work) {
                Ok(done @ (Searched::Found(_) | Searched::Missing)) => {
                    let found = if let Searched::Found(batch) = done { Some(batch) } else { None };
                    ensure!(
                        found.as_deref() == expected.as_deref(),
                        "{name}: the search for time {wanted} found {:?}, expected {:?}",
                        found.map(|found| BatchHeader::check(&found)),
                        expected.map(|expected| BatchHeader::check(&expected))
                    );
                    return Ok(());
                }
                Ok(Searched::Unfinished) => {}
                Ok(_) if !patient => return Ok(()),
                Ok(_) => {
                    io.poll()?;
                    let moved = io.advance(&mut self.random)?;
                    let woken = std::iter::from_fn(|| io.log.poll_event())
                        .any(|event| event == Event::ReadReady(slot));
                    ensure!(moved || woken, "{name}: the search for time {wanted} waits for nothing");
                }
                Err(ReadError::Storage) if self.partitions[partition].failed || self.plan.broken_reads => {
                    return Ok(());
                }
                Err(error) => return Err(Stop::Wrong(format!("{name}: a search by time: {error}"))),
            }
        }
        Err(Stop::Wrong(format!("{name}: a search by time has no end")))
    }

    /// A clean stop leaves files that are their batches and nothing else.
    pub fn check_sealed_files(&self) -> Checked<()> {
        for model in &self.partitions {
            let Ok(entries) = self.disk.list(Path::new(&model.folder)) else {
                let empty = model.place_of(model.log_start) == model.log.len();
                ensure!(empty, "{}: its folder is not there", model.folder);
                continue;
            };
            let names = entries
                .iter()
                .filter_map(|entry| Some((parse_file_name(&entry.name, "log")?.0, &entry.name)));
            let files: Vec<(i64, &String)> = names.collect();
            for (place, (base, name)) in files.iter().enumerate() {
                let behind = files.get(place + 1).map_or(i64::MAX, |next| next.0);
                let path = format!("{}/{name}", model.folder);
                let found = self.disk.read_file(Path::new(&path), 1 << 30).expect("a file that was listed");
                let mut rest = found.as_slice();
                let batches = model.log.iter().filter(|batch| (*base..behind).contains(&batch.base()));
                // Before a jump of the reservation lies a segment that the log start has passed: of its file any part may be lost.
                let last = batches.clone().next_back();
                let is_given_up = last.is_some_and(|last| last.end() <= model.log_start);
                for batch in batches {
                    match rest.strip_prefix(&*batch.bytes) {
                        Some(behind) => rest = behind,
                        // What lies before the log start may have been lost, from some batch on.
                        None => ensure!(
                            batch.end() <= model.log_start,
                            "{path}: batch {} is not where it should be",
                            batch.number
                        ),
                    }
                }
                ensure!(
                    rest.is_empty() || behind <= model.log_start || is_given_up,
                    "{path} has {} bytes, {} of them of no batch",
                    found.len(),
                    rest.len()
                );
            }
        }
        Ok(())
    }
}

/// What a recovered log says of itself.
struct Seen {
    start: i64,
    end: i64,
    /// End of the last batch that can be read.
    last_end: i64,
    clean: bool,
    arena_gone: bool,
}

/// No snapshot of producers may tell of batches that are not there: it would be believed once others are in their place.
fn check_snapshots(disk: &SimDisk, folder: &str, end: i64) -> Checked<()> {
    let entries = disk.list(Path::new(folder)).unwrap_or_default();
    let found = entries.iter().filter_map(|entry| parse_file_name(&entry.name, SNAPSHOT_SUFFIX));
    let behind = found.max().filter(|newest| newest.0 > end);
    ensure!(behind.is_none(), "{folder}: it ends at {end}, and has a producer snapshot of {behind:?}");
    Ok(())
}

impl PartitionModel {
    /// Everything before it had to survive.
    fn promised(&self, seen: &Seen) -> i64 {
        match (seen.clean, seen.arena_gone) {
            (true, _) => self.end,
            (false, true) => self.durable,
            (false, false) => self.kept,
        }
    }

    /// A log that did not promise to survive the loss of power goes on behind all that it may have given out.
    fn may_jump(&self, seen: &Seen) -> bool {
        self.was_written && seen.arena_gone && !seen.clean
    }

    fn check_loss(&self, seen: &Seen, lost: Option<&Stored>) -> Checked<()> {
        let promised = self.promised(seen);
        if let Some(lost) = lost {
            ensure!(
                lost.end() > promised,
                "{}: batch {} at {}..{} is lost, all before {promised} was promised; the log is {}..{}",
                self.folder,
                lost.number,
                lost.base(),
                lost.end(),
                seen.start,
                seen.end
            );
        }
        Ok(())
    }

    fn check_ends(&self, seen: &Seen, lost: Option<&Stored>, empty: bool) -> Checked<()> {
        let Seen { start, end, last_end, .. } = *seen;
        let name = &self.folder;
        let may_jump = self.may_jump(seen);
        let before = self.log.iter().rev().map(Stored::end).find(|&known| known <= last_end);
        let lost = lost.map(Stored::base);
        let natural =
            [Some(self.end), self.end_before_truncation, Some(last_end), before, lost].contains(&Some(end));
        ensure!(natural || may_jump, "{name}: the log ends at {end}, its last batch at {last_end}");
        ensure!(end >= self.given, "{name}: offsets from {end} on would be given again, {} was", self.given);
        ensure!(
            start <= self.start_before_truncation.unwrap_or(self.log_start)
                || (may_jump && empty)
                || self.retains(),
            "{name}: the log starts at {start}, not at {}",
            self.log_start
        );
        ensure!(
            start >= self.start_durable.min(last_end),
            "{name}: the log starts at {start}, it started at {}",
            self.start_durable
        );
        Ok(())
    }

    /// What was found is the truth from now on.
    fn adopt(&mut self, seen: &Seen, found: Vec<Stored>) {
        let resumed = self.may_jump(seen) && seen.end > seen.last_end;
        self.log.retain(|batch| batch.end() <= seen.start);
        self.log.extend(found);
        self.end_truncation();
        self.end = seen.end;
        self.high_watermark = seen.end;
        self.kept = seen.end;
        self.durable = seen.end;
        self.given = seen.end;
        self.log_start = seen.start;
        self.start_durable = seen.start;
        self.failed = false;
        self.was_written = self.is_written();
        self.shown_as_written = 0;
        self.remember_all();
        if resumed {
            self.known.clear();
            self.uncertain.clear();
            self.clients.clear();
        }
        let forgotten =
            self.log.iter().filter(|batch| batch.end() <= seen.start && batch.header.is_idempotent());
        self.uncertain.extend(forgotten.map(|batch| batch.header.producer_id.0));
    }
}

/// What was found is what was appended, in order and without a hole.
fn check_batches(name: &str, log: &PartitionLog, found: &[Stored], candidates: &[Stored]) -> Checked<()> {
    for (place, batch) in found.iter().enumerate() {
        let expected = candidates.get(place);
        ensure!(
            expected.is_some_and(|expected| expected.bytes == batch.bytes),
            "{name}: a batch was recovered at {}..{}, expected {:?}",
            batch.base(),
            batch.end(),
            expected.map(|expected| (expected.number, expected.base(), expected.end(), expected.header))
        );
        let leader_epoch = log.epochs().epoch_of(batch.header.base_offset.max(log.log_start_offset()));
        ensure!(
            leader_epoch == Some(batch.header.leader_epoch),
            "{name}: offset {} has epoch {}, the cache says {leader_epoch:?}",
            batch.base(),
            batch.header.leader_epoch.0
        );
    }
    Ok(())
}

/// The bytes of a reply.
pub fn bytes_of(world: &World, shard: usize, pieces: &[ReadPiece]) -> Vec<u8> {
    pieces.iter().map(|piece| world.shards[shard].log.bytes_of(piece)).collect::<Vec<_>>().concat()
}
