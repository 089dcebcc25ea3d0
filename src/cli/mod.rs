//! Arguments → one plan → one call → exit status. The only room that touches a terminal.

use std::process::ExitCode;

/// Runs the program with the process's arguments; returns its exit status.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
