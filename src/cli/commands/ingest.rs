//! `ingest`: write events and SQL logs into the store.

use std::path::{Path, PathBuf};

use crate::capture::FormatChoice;
use crate::cli::ExitStatus;
use crate::cli::arguments::{GlobalArguments, IngestArguments};
use crate::cli::diagnostic::Failure;
use crate::cli::output::write_result;
use crate::cli::recorded::{IngestError, IngestSummary, Recorded, Wanted, file, named_files, read_all};
use crate::project::Project;
use crate::store::Store;

/// Loads what the arguments name, and prints what came of it.
///
/// # Errors
/// See [`ingest`]; a format that is not known.
pub async fn run(global: &GlobalArguments, arguments: &IngestArguments) -> Result<ExitStatus, Failure> {
    let format = match global.format.as_deref() {
        None => FormatChoice::AUTO,
        Some(name) => FormatChoice::named(name).map_err(Failure::new)?,
    };
    let format = match &arguments.log_line_prefix {
        None => format,
        Some(setting) => format.with_log_line_prefix(setting).map_err(Failure::new)?,
    };
    let project = Project::find(Path::new("."))?;
    let summary = ingest(&project, &arguments.files, &format, arguments.strict).await?;
    write_result(global, |out| Ok(write!(out, "{summary}")?))?;
    Ok(if summary.rejected() == 0 { ExitStatus::NothingFound } else { ExitStatus::Found })
}

/// Reads `files` (`-` is standard input) into the project's store; without any, those of `[ingest] files` that are new
/// or have grown. The exit status is 1 where [`IngestSummary::rejected`] is not 0.
///
/// # Errors
/// An input that cannot be read, a store that cannot be written, and with `strict` any damaged line: nothing is stored.
pub async fn ingest(
    project: &Project,
    files: &[PathBuf],
    format: &FormatChoice,
    strict: bool,
) -> Result<IngestSummary, IngestError> {
    let (inputs, wanted) = if files.is_empty() {
        (named_files(project)?, Wanted::New)
    } else {
        (files.iter().map(|path| input(project, path)).collect::<Result<_, _>>()?, Wanted::All)
    };
    if inputs.is_empty() {
        return Err(IngestError::NothingNamed { project: project.file.clone() });
    }
    let mut store = Store::open(&project.store).await?;
    read_all(&mut store, inputs, format, &wanted, strict).await
}

fn input(project: &Project, path: &Path) -> Result<Recorded, IngestError> {
    if path == Path::new("-") { Ok(Recorded::StandardInput) } else { file(project, path) }
}
