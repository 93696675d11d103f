//! Arguments, start-up, offline tools. The edge: everything above is a library to it.
//!
//! One file per subcommand: a struct of its arguments with `run(self) -> Result<(), Error>`; it becomes reachable by a
//! line in `Command`, one in `Command::run` and one in `Command::is_json`. What a command finds goes to stdout, what went
//! wrong to stderr as one line: `error: …`, or under `--json` `{"error":"…"}`. Exit code: 0 done, 1 failed, 2 the arguments
//! were not understood, which is said in words, since then it is not known what was asked for.

pub mod banner;
pub mod json;

mod bench;
mod bootstrap;
mod config;
mod consume;
mod error;
mod inspect;
mod logging;
mod machine;
mod produce;
mod serve;
mod topic;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use error::Error;

use json::Json;

/// Runs the command that the process arguments name and returns its exit code.
pub fn main() -> ExitCode {
    // A wrong argument ends the process here, with usage on stderr and exit code 2; --help with 0.
    let command = Arguments::parse().command;
    let is_json = command.is_json();
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = if is_json {
                Json::Object(vec![("error", Json::Text(error.to_string()))]).to_string()
            } else {
                format!("error: {error}")
            };
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "{line}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, Parser)]
#[command(name = "ringlog", version, about = ABOUT, after_help = EXAMPLES, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Every subcommand, in the order of the help.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Config(config::Config),
    Bench(bench::Bench),
    Topic(topic::Topic),
    Produce(produce::Produce),
    Consume(consume::Consume),
    Inspect(inspect::Inspect),
}

impl Command {
    fn run(self) -> Result<(), Error> {
        match self {
            Self::Serve(serve) => serve.run(),
            Self::Config(config) => config.run(),
            Self::Bench(bench) => bench.run(),
            Self::Topic(topic) => topic.run(),
            Self::Produce(produce) => produce.run(),
            Self::Consume(consume) => consume.run(),
            Self::Inspect(inspect) => inspect.run(),
        }
    }

    /// Whether what it prints is to be JSON, its error too.
    const fn is_json(&self) -> bool {
        match self {
            Self::Serve(_) => false,
            Self::Config(config) => config.is_json(),
            Self::Bench(bench) => bench.is_json(),
            Self::Topic(topic) => topic.is_json(),
            Self::Produce(produce) => produce.json,
            Self::Consume(consume) => consume.json,
            Self::Inspect(inspect) => inspect.is_json(),
        }
    }
}

const ABOUT: &str = "Event streaming broker that speaks the Apache Kafka protocol";

const EXAMPLES: &str = "\
Examples:
  ringlog serve                                  serve this machine, data in ./ringlog-data
  ringlog serve --data /var/lib/ringlog --set num.partitions=4
  ringlog config keys                            every setting, its default and the reason
  ringlog config check server.properties
  ringlog bench produce --seconds 5              load the broker of this machine and measure it
  ringlog topic create orders --partitions 4     a topic, on the broker at 127.0.0.1:9092
  ringlog inspect segment FILE                   what stands in a file of a data directory";

/// Writes a result to stdout. A reader that has gone (`| head`) is no error.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Stdout { error }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
