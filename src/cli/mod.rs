//! Arguments → one plan → one call → exit status. The only room that touches a terminal.

pub mod arguments;
mod attribution;
pub mod commands;
pub mod diagnostic;
pub mod executions;
mod failures;
pub mod investigation;
pub mod output;
mod pulling;
pub mod recorded;

use std::io::Write;
use std::process::ExitCode;

use anstream::AutoStream;
use clap::Parser;

use arguments::{Arguments, Command};
use diagnostic::Failure;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Nothing was found, or nothing is left for a person to do: 0.
    NothingFound,
    /// Something was found: 1.
    Found,
}

/// Exit status of a job that could not be done.
const FAILED: u8 = 2;

/// Runs the program with the process's arguments; returns its exit status.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and usage errors; that nobody reads them any more is no error.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(FAILED));
        }
    };
    let choice = output::color_choice(arguments.global.color);
    match run(arguments) {
        Ok(ExitStatus::NothingFound) => ExitCode::SUCCESS,
        Ok(ExitStatus::Found) => ExitCode::from(1),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            let mut stderr = AutoStream::new(std::io::stderr().lock(), choice);
            // Where standard error is closed too, the exit status still tells.
            let _ = stderr.write_all(failure.rendered(true).as_bytes());
            ExitCode::from(FAILED)
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitStatus, Failure> {
    if let Some(folder) = &arguments.global.project {
        std::env::set_current_dir(folder)
            .map_err(|error| Failure::new(format!("work in {}: {error}", folder.display())))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("start: {error}")))?;
    runtime.block_on(dispatch(arguments))
}

async fn dispatch(Arguments { global, trace, command }: Arguments) -> Result<ExitStatus, Failure> {
    match (trace, command) {
        (Some(_), Some(_)) => {
            Err(Failure::new("understand the arguments: options of the main job stand before a command")
                .with_help("Write them after the command: blast-radius repair --release v42 --out DIR."))
        }
        (Some(trace), None) => {
            commands::trace::check(&global, &trace)?;
            let traced = commands::trace::trace(&trace).await?;
            commands::trace::present(&traced, &global, &trace)
        }
        (None, Some(Command::Repair(repair))) => {
            commands::trace::check(&global, &repair.trace)?;
            let traced = commands::trace::trace(&repair.trace).await?;
            commands::repair::repair(&traced, &global, &repair).await
        }
        (None, Some(Command::Init(init))) => commands::init::init(&global, &init).await,
        (None, Some(Command::Ingest(ingest))) => commands::ingest::run(&global, &ingest).await,
        (None, Some(Command::Lineage(lineage))) if lineage.sql.is_empty() => {
            commands::lineage_graph::lineage_graph(&global, &lineage).await
        }
        (None, Some(Command::Lineage(lineage))) => commands::lineage::run(&global, &lineage),
        (None, Some(Command::Explain(explain))) => commands::explain::explain(&global, &explain).await,
        (None, Some(Command::Capture(capture))) => commands::capture::run(&global, &capture).await,
        (None, Some(Command::Status)) => commands::status::status(&global).await,
        (None, Some(Command::Audit(audit))) => commands::audit::audit(&global, &audit).await,
        (None, None) => Err(Failure::new("understand the arguments: no --release and no command")
            .with_help("Ask with: blast-radius --release v42")),
    }
}
