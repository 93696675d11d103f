//! What happens in a life: appends and reads, and everything that comes in between.

use ringlog::model::batch::BatchHeader;
use ringlog::model::{LeaderEpoch, Offset};
use ringlog::storage::shard::{AppendError, Appended, Event, ReadError};

use crate::batches::{Stored, Wish, as_stored, build};
use crate::check::bytes_of;
use crate::clients::{Client, Expected, REMEMBERED, agrees};
use crate::failure::{Checked, Stop, ensure, trace};
use crate::plan::Plan;
use crate::world::{Held, World};

/// Attempts after which an append that is not refused for good must have succeeded.
const PATIENCE: usize = 200;
const HELD_MAX: usize = 6;

impl World {
    /// One life's actions.
    pub fn act(&mut self) -> Checked<()> {
        let count = self.random.between(1, self.plan.actions_max);
        for _ in 0..count {
            match self.random.below(100) {
                0..50 => self.append_some()?,
                50..65 => self.read_some()?,
                65..72 => self.release_one()?,
                72..76 => self.look_for_time()?,
                76..88 => {
                    let ms = self.random.pick(&[1, 10, 200, 5000]).unwrap_or(1);
                    self.pass_time(ms)?;
                }
                88..90 if self.plan.truncations => self.truncate()?,
                90..92 if self.plan.deletions => self.delete_records()?,
                92..93 if self.plan.topic_changes => self.change_topics()?,
                93..95 if self.plan.full_disk => {
                    let full = self.random.coin();
                    self.set_disk_full(full);
                }
                _ => {}
            }
            if self.plan.durability_changes && self.whims.chance(20) {
                self.change_durability()?;
            }
            self.move_on()?;
        }
        Ok(())
    }

    /// The settings of a topic change while it is used.
    fn change_durability(&mut self) -> Checked<()> {
        let place = self.whims.below(self.partitions.len().max(1) as u64) as usize;
        let Some(model) = self.partitions.get_mut(place) else { return Ok(()) };
        model.change_durability();
        model.was_written |= model.is_written();
        let (config, (shard, slot)) = (model.config, self.places[place]);
        self.shards[shard].log.set_config(slot, config);
        self.observe()
    }

    /// Some I/O, and a look at what it brought.
    fn move_on(&mut self) -> Checked<()> {
        for shard in 0..self.shards.len() {
            if self.random.chance(600) {
                self.shards[shard].poll()?;
            }
            for _ in 0..self.random.below(self.plan.pace + 1) {
                self.shards[shard].advance(&mut self.random)?;
            }
        }
        self.observe()
    }

    /// Takes the events, and notes what every partition shows.
    pub fn observe(&mut self) -> Checked<()> {
        self.check_alive()?;
        for shard in 0..self.shards.len() {
            while let Some(event) = self.shards[shard].log.poll_event() {
                if let Event::Truncated(slot) = event {
                    let place = self.places.iter().position(|&place| place == (shard, slot));
                    if let Some(partition) = place {
                        let log = self.shards[shard].log.partition(slot).expect("a partition");
                        self.partitions[partition].observe(log)?;
                        self.partitions[partition].end_truncation();
                        // What was cut off still lies behind the end, and looks as good as new.
                        if self.will_be_killed && self.random.chance(300) {
                            self.steps.die_behind_publication(self.random.below(3));
                        }
                    }
                }
            }
        }
        for (model, &(shard, slot)) in self.partitions.iter_mut().zip(&self.places) {
            let log = self.shards[shard].log.partition(slot).expect("a partition");
            model.observe(log)?;
            if self.shards[shard].log.is_idle() && !model.failed {
                model.start_durable = model.log_start;
            }
        }
        Ok(())
    }

    fn wish(&mut self, partition: usize) -> Wish {
        let limit = self.partitions[partition].config.batch_bytes_max as u64;
        let limit = limit.min(self.partitions[partition].config.segment_bytes) - 61;
        let number = self.random.below(1000);
        let record_bytes = match number {
            _ if number < self.plan.large && self.plan.large_appends => self.random.between(65_000, 140_000),
            _ if number < self.plan.large + self.plan.medium => self.random.between(2000, 60_000),
            _ => self.random.between(1, 900),
        };
        let record_count =
            if self.random.chance(20) { self.random.between(1, 400_000) } else { self.random.between(1, 9) };
        let max_timestamp = self.now_ms - self.random.below(3000) as i64;
        self.next_number += 1;
        Wish {
            number: self.next_number,
            record_count: record_count as i32,
            record_bytes: record_bytes.min(limit) as usize,
            base_timestamp: max_timestamp - self.random.below(100) as i64,
            max_timestamp,
            producer: None,
        }
    }

    fn pick_partition(&mut self) -> Option<usize> {
        let count = self.partitions.len() as u64;
        (count > 0).then(|| self.random.below(count) as usize)
    }

    fn append_some(&mut self) -> Checked<()> {
        let Some(partition) = self.pick_partition() else { return Ok(()) };
        if self.random.chance(400) {
            return self.produce(partition);
        }
        let wish = self.wish(partition);
        self.append(partition, &wish)?;
        Ok(())
    }

    /// Appends a batch, and holds the answer to the rules. The answer, if the batch was not refused.
    fn append(&mut self, partition: usize, wish: &Wish) -> Checked<Option<Appended>> {
        let bytes = build(wish);
        let header = BatchHeader::check(&bytes).expect("a batch that was built");
        let (shard, slot) = self.places[partition];
        let model = &self.partitions[partition];
        let expected = if wish.producer.is_some() { model.expected(&header) } else { Expected::Append };
        let (end, name) = (model.end, model.folder.clone());
        let answer = self.shards[shard].log.append(slot, &bytes, &header, self.now_ms);
        trace!("append to {name} {:?} of {} bytes: {answer:?}", wish.number, bytes.len());
        let model = &mut self.partitions[partition];
        let appended = matches!(answer, Ok(appended) if appended.base_offset.0 >= end);
        ensure!(
            agrees(expected, appended, &answer),
            "{name}: the answer to {wish:?} is {answer:?}, expected {expected:?}; known: {:?}",
            wish.producer.map(|producer| model.known.get(&producer.producer_id))
        );
        match answer {
            Ok(answer) if appended => {
                ensure!(
                    answer.base_offset.0 == end,
                    "{name}: appended at {}, not at {end}",
                    answer.base_offset
                );
                let again = model.log.iter().any(|batch| batch.number == wish.number);
                ensure!(
                    !again || expected == Expected::Anything,
                    "{name}: batch {} was appended twice",
                    wish.number
                );
                let bytes = as_stored(&bytes, &answer, LeaderEpoch(model.leader_epoch));
                let stored = Stored::new(wish.number, &bytes);
                ensure!(stored.end() == answer.end_offset.0, "{name}: {answer:?} for {:?}", stored.header);
                model.end = stored.end();
                model.remember(&stored);
                model.log.push(stored);
                self.check_alive()?;
                self.observe()?;
                Ok(Some(answer))
            }
            Ok(answer) => {
                let original = model.log.iter().find(|batch| batch.base() == answer.base_offset.0);
                if let Some(original) = original {
                    ensure!(
                        original.number == wish.number,
                        "{name}: batch {} is answered with {answer:?}",
                        wish.number
                    );
                    let end = original.end();
                    if answer.end_offset.0 <= model.high_watermark {
                        model.note_acknowledged(end);
                    }
                } else {
                    ensure!(
                        answer.base_offset.0 < model.log_start,
                        "{name}: nothing is at {}",
                        answer.base_offset
                    );
                }
                Ok(Some(answer))
            }
            Err(error) => {
                self.check_refusal(partition, error)?;
                Ok(None)
            }
        }
    }

    fn check_refusal(&self, partition: usize, error: AppendError) -> Checked<()> {
        let model = &self.partitions[partition];
        let Plan { broken_writes, broken_reads, full_disk, .. } = self.plan;
        // Making a file begins with a look at its folder.
        let troubled = broken_writes || broken_reads || full_disk || model.failed;
        // A folder that another shard has not moved out of the way yet is another topic's.
        let shard = self.places[partition].0;
        let has_namesake =
            self.deleted.iter().any(|(owner, folder)| *owner != shard && *folder == model.folder);
        match error {
            AppendError::Busy | AppendError::Sequence(_) => Ok(()),
            AppendError::Storage if troubled || has_namesake => Ok(()),
            other => Err(Stop::Wrong(format!("{}: an append is refused: {other}", model.folder))),
        }
    }

    /// Appends one more batch, however long that takes.
    pub fn append_with_patience(&mut self, partition: usize) -> Checked<()> {
        for _ in 0..PATIENCE {
            let wish = self.wish(partition);
            if self.append(partition, &wish)?.is_some() {
                return Ok(());
            }
            self.drain(|_| true, "the I/O")?;
            self.pass_time(1000)?;
        }
        let states = self.describe();
        Err(Stop::Wrong(format!(
            "{}: appends are refused for ever: {states:#?}",
            self.partitions[partition].folder
        )))
    }

    /// An idempotent producer sends something new, repeats itself, or makes a mistake.
    fn produce(&mut self, partition: usize) -> Checked<()> {
        let count = self.partitions[partition].clients.len();
        if count == 0 || (count < 3 && self.random.chance(100)) {
            self.next_number += 1;
            self.partitions[partition].clients.push(Client::new(self.next_number as i64));
            return Ok(());
        }
        let place = self.random.below(count as u64) as usize;
        let client = &self.partitions[partition].clients[place];
        if self.partitions[partition].uncertain.contains(&client.producer_id) {
            // What was cut away may be sent once more: it must not be taken for what stands there now.
            if let Some(&ghost) = client.sent.back() {
                self.append(partition, &ghost)?;
            }
            self.partitions[partition].clients.remove(place);
            return Ok(());
        }
        if client.repeated < client.sent.len() {
            let wish = client.sent[client.repeated];
            if self.append(partition, &wish)?.is_some() {
                self.partitions[partition].clients[place].repeated += 1;
            }
            return Ok(());
        }
        match self.random.below(100) {
            0..25 if !client.sent.is_empty() => {
                let place = self.random.below(client.sent.len() as u64) as usize;
                let wish = client.sent[place];
                self.append(partition, &wish)?;
            }
            25..30 => {
                let mut wish = self.wish(partition);
                let client = &self.partitions[partition].clients[place];
                let mut sequence = client.sequence();
                sequence.base_sequence += 2;
                if !client.sent.is_empty() {
                    wish.producer = Some(sequence);
                    self.append(partition, &wish)?;
                }
            }
            30..34 => {
                let client = &mut self.partitions[partition].clients[place];
                client.producer_epoch += 1;
                client.next_sequence = 0;
                client.sent.clear();
                client.repeated = 0;
            }
            _ => {
                let in_flight =
                    client.sent.iter().filter(|sent| !self.is_acknowledged(partition, sent.number));
                if in_flight.count() < REMEMBERED {
                    let mut wish = self.wish(partition);
                    wish.producer = Some(self.partitions[partition].clients[place].sequence());
                    let sent = self.append(partition, &wish);
                    // A producer whose broker dies under it has sent all the same.
                    if !matches!(sent, Ok(None)) {
                        self.partitions[partition].clients[place].note_sent(wish);
                    }
                    sent?;
                }
            }
        }
        Ok(())
    }

    fn is_acknowledged(&self, partition: usize, number: u64) -> bool {
        let model = &self.partitions[partition];
        let found = model.log.iter().rev().find(|batch| batch.number == number);
        found.is_none_or(|batch| batch.end() <= model.high_watermark)
    }

    fn read_some(&mut self) -> Checked<()> {
        let Some(partition) = self.pick_partition() else { return Ok(()) };
        let (shard, slot) = self.places[partition];
        let model = &self.partitions[partition];
        let offset = model.log_start + self.random.below((model.end - model.log_start) as u64 + 1) as i64;
        // A jump of the reservation is wide: mostly look where records are.
        let offset = match self.random.below(model.log.len() as u64 * 2 + 1) as usize {
            place if place < model.log.len() => offset.min(model.log[place].end() - 1).max(model.log_start),
            _ => offset,
        };
        let bytes_max = self.random.pick(&[1, 100, 5000, 300_000]).unwrap_or(1);
        let whole_first = self.random.coin();
        let mut pieces = Vec::new();
        let answer = self.shards[shard].log.read(slot, Offset(offset), bytes_max, whole_first, &mut pieces);
        match answer {
            Ok(done) if done.pending => ensure!(pieces.is_empty(), "a pending read has bytes"),
            Ok(done) => {
                let bytes = bytes_of(self, shard, &pieces);
                ensure!(
                    done.bytes == bytes.len() as u64,
                    "a read says {} bytes, {} are there",
                    done.bytes,
                    bytes.len()
                );
                self.check_read(partition, offset, whole_first, &bytes)?;
                if self.held.len() < HELD_MAX && self.random.chance(300) {
                    self.held.push(Held { shard, pieces, expected: bytes });
                } else {
                    self.shards[shard].log.release(pieces);
                }
            }
            Err(ReadError::Storage) if self.partitions[partition].failed || self.plan.broken_reads => {}
            Err(error) => {
                let name = &self.partitions[partition].folder;
                return Err(Stop::Wrong(format!("{name}: a read at {offset}: {error}")));
            }
        }
        self.check_alive()
    }

    fn release_one(&mut self) -> Checked<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let place = self.random.below(self.held.len() as u64) as usize;
        let Held { shard, pieces, expected } = self.held.swap_remove(place);
        let bytes = bytes_of(self, shard, &pieces);
        ensure!(bytes == expected, "a reply changed while it was being sent");
        self.shards[shard].log.release(pieces);
        Ok(())
    }

    pub fn release_all(&mut self) -> Checked<()> {
        while !self.held.is_empty() {
            self.release_one()?;
        }
        Ok(())
    }

    fn look_for_time(&mut self) -> Checked<()> {
        let Some(partition) = self.pick_partition() else { return Ok(()) };
        self.search_time(partition, false)
    }

    fn truncate(&mut self) -> Checked<()> {
        let Some(partition) = self.pick_partition() else { return Ok(()) };
        let (shard, slot) = self.places[partition];
        let model = &mut self.partitions[partition];
        if model.truncating.is_some() || model.failed {
            return Ok(());
        }
        let span = (model.end - model.log_start) as u64;
        let mut offset = model.end - self.random.below(span.min(40) + 1) as i64;
        if let Some(batch) = model.log.get(self.random.below(model.log.len() as u64 * 2 + 1) as usize)
            && self.random.coin()
        {
            offset = offset.min(batch.end()).max(model.log_start);
        }
        let leader_epoch = model.leader_epoch + 1;
        let answer = self.shards[shard].log.truncate(slot, Offset(offset), LeaderEpoch(leader_epoch));
        trace!("truncate {} to {offset}: {answer:?}", model.folder);
        match answer {
            Ok(()) => {
                model.leader_epoch = leader_epoch;
                model.begin_truncation(offset);
                self.check_alive()?;
                self.observe()
            }
            Err(error) => self.check_refusal(partition, error),
        }
    }

    fn delete_records(&mut self) -> Checked<()> {
        let Some(partition) = self.pick_partition() else { return Ok(()) };
        let (shard, slot) = self.places[partition];
        let model = &mut self.partitions[partition];
        if model.failed {
            return Ok(());
        }
        let offset = match model.log.get(self.random.below(model.log.len() as u64 + 1) as usize) {
            Some(batch) => batch.base() + self.random.below(3) as i64,
            None => model.log_start,
        };
        let answer = self.shards[shard].log.delete_records(slot, Offset(offset));
        trace!("delete records of {} to {offset}: {answer:?}", model.folder);
        match answer {
            Ok(start) => {
                let expected = offset.min(model.high_watermark).max(model.log_start);
                ensure!(
                    start.0 == expected,
                    "{}: the log starts at {start}, not at {expected}",
                    model.folder
                );
                model.log_start = start.0;
                self.check_alive()
            }
            Err(error) => self.check_refusal(partition, error),
        }
    }

    fn change_topics(&mut self) -> Checked<()> {
        if self.partitions.len() > 1 && self.random.coin() {
            let place = self.random.below(self.partitions.len() as u64) as usize;
            return self.delete_topic(place);
        }
        if self.partitions.len() < 6 {
            let place = self.new_topic();
            let shard = self.shard_of(place);
            let model = &mut self.partitions[place];
            model.leader_epoch = 1;
            let slot = self.shards[shard].log.create_partition(
                model.id,
                model.folder.clone(),
                model.config,
                LeaderEpoch(1),
            );
            self.places.push((shard, slot));
        }
        self.check_alive()
    }

    /// The metadata forgets the topic first, then its log goes.
    pub fn delete_topic(&mut self, place: usize) -> Checked<()> {
        let gone = self.partitions.remove(place);
        trace!("delete {}", gone.folder);
        let (shard, slot) = self.places.remove(place);
        self.deleted.insert((shard, gone.folder.clone()));
        self.shards[shard].log.delete_partitions([(slot, format!(".deleted-{}", gone.id))]);
        self.check_alive()
    }
}
