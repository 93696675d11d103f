//! Lives on the simulated machine: death and loss of power at any step, operations that fail, a disk that fills up.

use super::*;
use crate::runtime::sim::{SimDisk, SimFaults, SimRandom, SimSteps};
use std::collections::BTreeSet;

/// Topic names and the next producer id: all that the commands here change.
type Seen = (BTreeSet<String>, i64);

/// One machine, and what a client knows of its metadata.
struct Life {
    random: SimRandom,
    steps: SimSteps,
    disk: SimDisk,
    answered: Seen,
    /// What may be found instead after a start, if the commands refused last did happen.
    possible: Vec<Seen>,
    start_count: u64,
    names_used: u64,
}

fn seen(image: &Image) -> Seen {
    (image.topics().map(|topic| topic.name.to_string()).collect(), image.next_producer_id().0)
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = SimRandom::new(seed);
        let steps = SimSteps::default();
        let disk = SimDisk::new(steps.clone(), random.fork());
        let answered = Seen::default();
        Self { random, steps, disk, answered, possible: Vec::new(), start_count: 0, names_used: 0 }
    }

    fn try_open(&mut self) -> Result<Controller<SimDisk>, Error> {
        let seed = self.random.number();
        let config = Arc::new(fixtures::config(7));
        Controller::open(self.disk.clone(), config, Box::new(random_from(seed)))
    }

    /// From a start to a death, or for some commands.
    fn start(&mut self) {
        if self.random.coin() {
            self.steps.die_after(self.random.clone().below(80));
            self.random.number();
        }
        if self.random.chance(300) {
            self.disk.set_faults(SimFaults { read: 5, write: 40, sync: 40, full: false });
        }
        let opened = self.try_open();
        if let Ok(mut controller) = opened {
            self.check_start(&controller);
            for _ in 0..self.random.below(12) {
                self.command(&mut controller);
            }
        }
        if self.steps.are_over() && self.random.coin() {
            self.disk.lose_power();
        }
        self.steps.live();
        self.disk.set_faults(SimFaults::default());
    }

    fn check_start(&mut self, controller: &Controller<SimDisk>) {
        let image = controller.image();
        assert!(image.start_count().0 > self.start_count, "a start is counted before anything is appended");
        self.start_count = image.start_count().0;
        let found = seen(&image);
        assert!(
            found == self.answered || self.possible.contains(&found),
            "{found:?}, not {:?}",
            self.answered
        );
        self.answered = found;
        self.possible.clear();
    }

    fn command(&mut self, controller: &mut Controller<SimDisk>) {
        self.disk.set_faults(SimFaults { full: self.random.chance(100), ..SimFaults::default() });
        let (mut names, mut next_producer_id) = self.answered.clone();
        let mut commands = Vec::new();
        for _ in 0..self.random.between(1, 3) {
            let old = names.first().cloned().filter(|_| self.random.coin());
            if let Some(old) = old {
                commands.push(delete(&old));
                names.remove(&old);
            } else if self.random.coin() {
                commands.push(Command::AllocateProducerIds);
                next_producer_id += 1_000;
            } else {
                self.names_used += 1;
                // Long enough that batches span sectors.
                let name = format!("{}-{}", self.names_used, "x".repeat(200));
                commands.push(create(&[&name]));
                names.insert(name);
            }
        }
        let after = (names, next_producer_id);
        let replies = controller.handle(&commands);
        if replies.iter().all(Result::is_ok) {
            self.answered = after;
            self.possible.clear();
        } else {
            assert!(replies.iter().all(|reply| *reply == Err(Refusal::Storage)), "{replies:?}");
            self.possible.push(after);
        }
        assert_eq!(seen(&controller.image()), self.answered);
        if self.random.chance(200) {
            let _ = controller.store.compact(&controller.state);
        }
    }
}

#[test]
fn nothing_answered_is_lost_and_nothing_refused_comes_back_late() {
    for seed in 0..600 {
        let mut life = Life::new(seed);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..8 {
                life.start();
            }
            let controller = life.try_open();
            let controller = controller.unwrap_or_else(|error| panic!("a sound machine starts: {error}"));
            life.check_start(&controller);
        }));
        assert!(caught.is_ok(), "seed {seed}");
    }
}
