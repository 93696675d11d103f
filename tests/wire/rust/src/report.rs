//! One line per check.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

#[derive(Default)]
pub struct Report {
    failed: usize,
}

impl Report {
    /// Runs a check; an error or a panic fails it, with its text on standard error.
    pub fn check(&mut self, name: &str, check: impl FnOnce() -> anyhow::Result<()>) {
        match catch_unwind(AssertUnwindSafe(check)) {
            Ok(Ok(())) => println!("ok {name}"),
            Ok(Err(error)) => {
                println!("FAILED {name}: {}", format!("{error:#}").replace('\n', " "));
                self.failed += 1;
            }
            Err(_) => {
                println!("FAILED {name}: panicked");
                self.failed += 1;
            }
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
