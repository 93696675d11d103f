//! `ringlog bench`: load a broker and measure it; the floor that it is measured against.

mod arguments;
mod compare;
mod floor;
mod load;
mod report;
mod restart;
mod verdict;

use clap::{Args, Subcommand};

use super::Error;

/// Measure a broker: throughput, latency, and what they cost
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Bench {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Produce batches; latency is from the intended sending to the acknowledgement
    Produce(load::Produce),
    /// Write a little, then fetch it again and again
    Fetch(load::Fetch),
    /// Produce, and fetch at the tail; latency is from the intended sending to the arrival at a consumer
    EndToEnd(load::EndToEnd),
    /// Run a floor: a server that does with the bytes of a produce or fetch only what cannot be left out
    Floor(floor::Floor),
    /// Measure ringlog, the floor and Apache Kafka in turns, and hold the figures against their bars
    Compare(compare::Compare),
    /// Start ringlog, and Apache Kafka, and watch them doing nothing
    Idle(restart::Idle),
    /// Fill ringlog, kill it under load, and time its restart
    Recovery(restart::Recovery),
}

const EXAMPLES: &str = "\
Examples:
  ringlog bench produce --durability synced --connections 16 --in-flight 1 --record-bytes 100 --batch-bytes 0
  ringlog bench produce --rate 1000 --connections 1 --partitions 1 --record-bytes 100 --batch-bytes 0 --idle spin
  ringlog bench fetch --broker-cpu 0 --loader-cpu 1 --json
  ringlog bench end-to-end --bootstrap broker:9092 --rate 5000 --seconds 30
  ringlog bench floor --durability written --listen 127.0.0.1:9192 --cpu 0 &
  ringlog bench produce --floor --bootstrap 127.0.0.1:9192 --broker-cpu 0 --loader-cpu 1
  ringlog bench compare --list
  ringlog bench compare produce small --rounds 5 --kafka-home ~/kafka_2.13-4.2.0

The broker may be any that speaks the Kafka protocol. Topics are made for each run and deleted after it.";

impl Bench {
    pub(super) const fn is_json(&self) -> bool {
        match &self.action {
            Action::Produce(produce) => produce.is_json(),
            Action::Fetch(fetch) => fetch.is_json(),
            Action::EndToEnd(end_to_end) => end_to_end.is_json(),
            Action::Floor(_) | Action::Compare(_) | Action::Idle(_) | Action::Recovery(_) => false,
        }
    }

    pub(super) fn run(self) -> Result<(), Error> {
        match self.action {
            Action::Produce(produce) => produce.run(),
            Action::Fetch(fetch) => fetch.run(),
            Action::EndToEnd(end_to_end) => end_to_end.run(),
            Action::Floor(floor) => floor.run(),
            Action::Compare(compare) => compare.run(),
            Action::Idle(idle) => idle.run(),
            Action::Recovery(recovery) => recovery.run(),
        }
    }
}
