//! What a partition promised: every record acknowledged, every offset shown, and what a death may take.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringlog::model::{Durability, TopicPartition};
use ringlog::storage::partition::{LogConfig, PartitionLog};

use crate::batches::Stored;
use crate::clients::{Client, KnownBatch};
use crate::failure::{Checked, ensure, trace};

/// One partition as its clients know it.
pub struct PartitionModel {
    pub id: TopicPartition,
    pub folder: String,
    pub config: LogConfig,
    pub leader_epoch: i32,
    /// All batches, in order, those before the log start included for a while.
    pub log: Vec<Stored>,
    /// A truncation is under way: these have gone, and may come back should the machine die before it is done.
    pub cut_away: Vec<Stored>,
    /// The end that the truncation under way leaves.
    pub truncating: Option<i64>,
    /// The end before it, which comes back with what it cuts away.
    pub end_before_truncation: Option<i64>,
    /// The log start before it, which comes back likewise: the batch that holds the new end may begin before the log does, and
    /// then the log start goes back with it.
    pub start_before_truncation: Option<i64>,
    pub end: i64,
    pub log_start: i64,
    /// The log start cannot go back before this.
    pub start_durable: i64,
    pub high_watermark: i64,
    /// Batches that end at or before this survive the death of the process.
    pub kept: i64,
    /// Batches that end at or before this survive the loss of power.
    pub durable: i64,
    /// Offsets below it were given out or shown: other data never gets them.
    pub given: i64,
    pub clients: Vec<Client>,
    /// What the broker must remember of each producer.
    pub known: BTreeMap<i64, VecDeque<KnownBatch>>,
    /// Producers of which it may have forgotten something.
    pub uncertain: BTreeSet<i64>,
    /// Its storage has failed in this life.
    pub failed: bool,
    /// At some time of this life, being acknowledged meant no more than to survive the death of the process.
    pub was_written: bool,
    /// Offsets below it were shown while it meant that.
    pub shown_as_written: i64,
}

impl PartitionModel {
    pub fn new(id: TopicPartition, folder: String, config: LogConfig, leader_epoch: i32) -> Self {
        Self {
            id,
            folder,
            config,
            leader_epoch,
            log: Vec::new(),
            cut_away: Vec::new(),
            truncating: None,
            end_before_truncation: None,
            start_before_truncation: None,
            end: 0,
            log_start: 0,
            start_durable: 0,
            high_watermark: 0,
            kept: 0,
            durable: 0,
            given: 0,
            clients: Vec::new(),
            known: BTreeMap::new(),
            uncertain: BTreeSet::new(),
            failed: false,
            was_written: config.durability == Durability::Written,
            shown_as_written: 0,
        }
    }

    /// Another promise from now on: the old one still holds for what was acknowledged under it.
    pub fn change_durability(&mut self) {
        if self.is_written() {
            self.shown_as_written = self.high_watermark;
            self.config.durability = Durability::Synced;
            self.config.flush_records = None;
            self.config.flush_ms = None;
        } else {
            self.config.durability = Durability::Written;
        }
        trace!("{} is {:?} from now on", self.folder, self.config.durability);
    }

    pub fn is_written(&self) -> bool {
        self.config.durability == Durability::Written
    }

    /// The log start moves without being told to.
    pub fn retains(&self) -> bool {
        self.config.retention_bytes.is_some() || self.config.retention_ms.is_some()
    }

    /// Looks at the log after something happened: what it shows now is a promise.
    pub fn observe(&mut self, log: &PartitionLog) -> Checked<()> {
        if log.has_failed() {
            self.failed = true;
            return Ok(());
        }
        let end = log.log_end_offset().0;
        let high_watermark = log.high_watermark().0;
        if self.truncating.is_some() && end < self.end {
            self.note_cut(end)?;
        }
        ensure!(end == self.end, "{}: the log ends at {end}, not at {}", self.folder, self.end);
        ensure!(
            high_watermark <= end,
            "{}: high watermark {high_watermark} is behind the end {end}",
            self.folder
        );
        ensure!(
            self.truncating.is_some() || high_watermark >= self.high_watermark,
            "{}: the high watermark went back from {} to {high_watermark}",
            self.folder,
            self.high_watermark
        );
        if high_watermark != self.high_watermark {
            trace!("  {} is visible to {high_watermark}, flushed to {}", self.folder, log.flushed_offset());
        }
        self.high_watermark = high_watermark;
        self.note_acknowledged(high_watermark.min(self.truncating.unwrap_or(i64::MAX)));
        self.durable = self.durable.max(log.flushed_offset().0.min(self.truncating.unwrap_or(i64::MAX)));
        let start = log.log_start_offset().0;
        if start != self.log_start {
            ensure!(
                self.retains() && start > self.log_start,
                "{}: the log starts at {start}, not at {}",
                self.folder,
                self.log_start
            );
            ensure!(
                start <= high_watermark,
                "{}: the log starts at {start}, above the high watermark",
                self.folder
            );
            self.log_start = start;
        }
        Ok(())
    }

    /// A client was told, or could have been told, that everything before `end` is safe.
    pub fn note_acknowledged(&mut self, end: i64) {
        self.kept = self.kept.max(end);
        self.given = self.given.max(end);
        if !self.is_written() && end > self.shown_as_written {
            self.durable = self.durable.max(end);
        }
    }

    /// From here on nothing at or behind `end_offset` is promised any more.
    pub fn begin_truncation(&mut self, end_offset: i64) {
        let end = self
            .log
            .iter()
            .find(|batch| batch.end() > end_offset)
            .map_or(end_offset, |batch| batch.base().min(end_offset));
        self.truncating = Some(end);
        self.end_before_truncation = Some(self.end);
        self.start_before_truncation = Some(self.log_start);
        self.kept = self.kept.min(end);
        self.durable = self.durable.min(end);
        self.given = self.given.min(end);
        self.shown_as_written = self.shown_as_written.min(end);
    }

    fn note_cut(&mut self, end: i64) -> Checked<()> {
        while let Some(last) = self.log.pop() {
            if last.end() <= end {
                self.log.push(last);
                break;
            }
            if let Some(producer_id) = Some(last.header.producer_id.0).filter(|id| *id >= 0) {
                self.uncertain.insert(producer_id);
            }
            self.cut_away.insert(0, last);
        }
        let base = self.cut_away.first().map(Stored::base);
        ensure!(
            base.is_none_or(|base| base >= end),
            "{}: cut at {end}, in the middle of a batch",
            self.folder
        );
        self.end = end;
        self.high_watermark = self.high_watermark.min(end);
        self.log_start = self.log_start.min(end);
        self.start_durable = self.start_durable.min(end);
        Ok(())
    }

    pub fn end_truncation(&mut self) {
        self.truncating = None;
        self.end_before_truncation = None;
        self.start_before_truncation = None;
        self.cut_away.clear();
    }

    /// The first batch that a read at `offset` may return.
    pub fn place_of(&self, offset: i64) -> usize {
        self.log.partition_point(|batch| batch.end() <= offset)
    }
}
