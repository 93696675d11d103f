//! Arguments, start-up, offline tools. The edge: everything above is a library to it.

/// Runs the command that the process arguments name and returns its exit code.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
