//! The program: see [`blast_radius::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    blast_radius::cli::main()
}
