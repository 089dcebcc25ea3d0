//! The main job: what did this release break, and what came of it?

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::cli::ExitStatus;
use crate::cli::arguments::{GlobalArguments, TraceArguments};
use crate::cli::diagnostic::Failure;
use crate::cli::output::{write_file, write_result};
use crate::model::{DatabaseSource, TableName, TableSchema, TableSettingsByName};
use crate::report::{Report, TextOptions, records, write_json, write_text};
use crate::trace::BlastRadius;

/// A traced release, with what is needed to report and repair it.
pub struct Traced {
    /// What the trace found.
    pub blast_radius: BlastRadius,
    /// The tables' shapes.
    pub schemas: BTreeMap<TableName, Arc<TableSchema>>,
    /// What the project file says of the tables.
    pub settings: TableSettingsByName,
    /// The data under audit.
    pub database: Option<DatabaseSource>,
}

/// Traces the release.
///
/// # Errors
/// Bad arguments, bad input, an unreachable database.
pub async fn trace(arguments: &TraceArguments) -> Result<Traced, Failure> {
    let help = "This build reports and repairs, but its trace room is not connected.";
    Err(Failure::new(format!("trace {}", arguments.release)).with_help(help))
}

/// Prints what was found, and writes the records file where one was asked for.
///
/// # Errors
/// An unknown format, or an output that cannot be written.
pub fn present(traced: &Traced, global: &GlobalArguments, arguments: &TraceArguments) -> Result<ExitStatus, Failure> {
    let format = Format::named(global.format.as_deref())?;
    let report = Report::new(&traced.blast_radius, &traced.schemas, &traced.settings);
    write_records(&report, arguments)?;
    write_result(global, |out| match format {
        Format::Json => Ok(write_json(&report, out)?),
        Format::Text => Ok(write_text(&report, &text_options(global, arguments), out)?),
    })?;
    Ok(if report.is_clean() { ExitStatus::NothingFound } else { ExitStatus::Found })
}

/// Refuses, before the long work, what would be refused after it.
///
/// # Errors
/// A format or a records file that this job does not know.
pub fn check(global: &GlobalArguments, arguments: &TraceArguments) -> Result<(), Failure> {
    Format::named(global.format.as_deref())?;
    arguments.records.as_deref().map(records::format_of).transpose()?;
    Ok(())
}

/// Writes `--records FILE`, where it was given.
pub(super) fn write_records(report: &Report<'_>, arguments: &TraceArguments) -> Result<(), Failure> {
    let Some(path) = &arguments.records else { return Ok(()) };
    let format = records::format_of(path)?;
    write_file(path, |file| Ok((format.write)(report, file)?))
}

/// How the main job, or repair, prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

impl Format {
    pub(super) fn named(name: Option<&str>) -> Result<Self, Failure> {
        match name {
            None | Some("text") => Ok(Format::Text),
            Some("json") => Ok(Format::Json),
            Some(other) => {
                Err(Failure::new(format!("print as '{other}': no such format")).with_help("Formats: text, json."))
            }
        }
    }
}

/// What the proposed commands repeat of this one.
fn text_options(global: &GlobalArguments, arguments: &TraceArguments) -> TextOptions {
    let project = global.project.as_deref();
    let global_arguments =
        project.map_or_else(String::new, |folder| format!("-C {} ", shell_word(&folder.display().to_string())));
    TextOptions {
        global_arguments,
        trace_arguments: trace_words(arguments).join(" "),
        folder: folder_prefix(project),
        verbose: global.verbose,
    }
}

/// What goes before a relative file name to reach it from where the command was given.
pub(super) fn folder_prefix(project: Option<&Path>) -> String {
    project.map_or_else(String::new, |folder| {
        shell_word(&format!("{}/", folder.display().to_string().trim_end_matches('/')))
    })
}

fn trace_words(arguments: &TraceArguments) -> Vec<String> {
    let scope = arguments.scope.and_then(|scope| clap::ValueEnum::to_possible_value(&scope));
    let options = [
        ("--release", Some(arguments.release.clone())),
        ("--service", arguments.service.clone()),
        ("--faults", arguments.faults.as_ref().map(|path| path.display().to_string())),
        ("--scope", scope.map(|scope| scope.get_name().to_owned())),
        ("--from", arguments.from.map(|time| time.to_string())),
        ("--until", arguments.until.map(|time| time.to_string())),
    ];
    let given = options.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", shell_word(&value?))));
    given.collect()
}

fn shell_word(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "_@%+=:,./-".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word("v42"), "v42");
        assert_eq!(shell_word("bob's release"), r"'bob'\''s release'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(folder_prefix(Some(Path::new("datasets/shop/"))), "datasets/shop/");
    }
}
