//! `repair`: the three files, and their rehearsal.

use super::trace::{Format, Traced, folder_prefix, text_options, write_beside};
use crate::cli::ExitStatus;
use crate::cli::arguments::{GlobalArguments, IncludeArgument, RepairArguments};
use crate::cli::diagnostic::Failure;
use crate::cli::output::write_result;
use crate::model::DatabaseSource;
use crate::repair::{Rehearsal, RepairOptions, RepairPlan, plan, verify, write_files};
use crate::report::{Report, write_repair_json, write_repair_text};

/// Writes the repair of what was traced, rehearses it where asked, and prints what it does.
///
/// # Errors
/// An unknown format, files that cannot be written, a database that does not answer or refuses the repair.
pub async fn repair(
    traced: &Traced,
    global: &GlobalArguments,
    arguments: &RepairArguments,
) -> Result<ExitStatus, Failure> {
    let format = Format::named(global.format.as_deref())?;
    let report = Report::new(&traced.blast_radius, &traced.schemas, &traced.settings);
    let options = text_options(traced.database.as_ref(), global, &arguments.trace);
    write_beside(&report, &options, &arguments.trace)?;
    let options = RepairOptions {
        include_possible: arguments.include.contains(&IncludeArgument::Possible),
        include_personal: arguments.include.contains(&IncludeArgument::Personal),
        batch_rows: usize::try_from(arguments.batch).unwrap_or(usize::MAX),
        settings: &traced.settings,
    };
    let plan = plan(&traced.blast_radius, &traced.schemas, options);
    let files = write_files(&plan, &arguments.out)?;
    let rehearsal = if arguments.verify { Some(rehearsed(traced, &plan).await?) } else { None };
    let folder = if arguments.out.is_absolute() { String::new() } else { folder_prefix(global.project.as_deref()) };
    write_result(global, |out| match format {
        Format::Json => Ok(write_repair_json(&plan, rehearsal.as_ref(), out)?),
        Format::Text => Ok(write_repair_text(&plan, &files, rehearsal.as_ref(), &folder, out)?),
    })?;
    let incomplete = rehearsal.is_some_and(|rehearsal| !rehearsal.is_complete());
    Ok(if plan.manual.is_empty() && !incomplete { ExitStatus::NothingFound } else { ExitStatus::Found })
}

async fn rehearsed(traced: &Traced, plan: &RepairPlan) -> Result<Rehearsal, Failure> {
    match &traced.database {
        Some(DatabaseSource::Postgres { url, .. }) => Ok(verify(url, plan).await?),
        _ => Err(Failure::new("rehearse the repair: the project names no database url")
            .with_help("The files are written. Name the database under [database] url in blast-radius.toml.")),
    }
}
