//! Arguments, start-up, offline tools. The edge: everything above is a library to it.
//!
//! One file per subcommand: a struct of its arguments with `run(self) -> Result<(), Error>`; it becomes reachable by a
//! line in `Command` and one in `Command::run`. What a command finds goes to stdout, what went wrong to stderr as
//! one line `error: …`. Exit code: 0 done, 1 failed, 2 the arguments were not understood.

pub mod banner;
pub mod json;

mod bench;
mod config;
mod error;
mod logging;
mod machine;
mod serve;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use error::Error;

/// Runs the command that the process arguments name and returns its exit code.
pub fn main() -> ExitCode {
    // A wrong argument ends the process here, with usage on stderr and exit code 2; --help with 0.
    match Arguments::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "error: {error}");
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
}

impl Command {
    fn run(self) -> Result<(), Error> {
        match self {
            Self::Serve(serve) => serve.run(),
            Self::Config(config) => config.run(),
            Self::Bench(bench) => bench.run(),
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
  ringlog bench produce --seconds 5              load the broker of this machine and measure it";

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
