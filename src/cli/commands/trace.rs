//! The main job: what did this release break, and what came of it?

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::audit::RuleSet;
use crate::cli::ExitStatus;
use crate::cli::arguments::{GlobalArguments, ScopeArgument, TraceArguments};
use crate::cli::diagnostic::Failure;
use crate::cli::investigation::Investigation;
use crate::cli::output::{write_file, write_result};
use crate::engine::postgres::without_password;
use crate::model::{DatabaseSource, ReleaseName, ServiceName, TableName, TableSchema, TableSettingsByName};
use crate::report::{Report, TextOptions, records, write_html, write_json, write_text};
use crate::sql::Schemas;
use crate::trace::faults::{Correction, Fault, Faults};
use crate::trace::{BlastRadius, Question, Scratch, SuspectingFault, Suspicion, Target, suspecting_rules};

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

/// Traces the release through the history of the project that the current folder belongs to.
///
/// # Errors
/// Bad arguments, bad input, an unreachable database.
pub async fn trace(arguments: &TraceArguments) -> Result<Traced, Failure> {
    if let Some(url) = &arguments.reenact_on {
        Scratch::reach(&scratch_url(url)?).await?;
    }
    let investigation = Investigation::open().await?;
    let blast_radius = trace_in(&investigation, arguments).await?;
    let schemas = investigation.schemas().clone();
    let Investigation { project, database, .. } = investigation;
    Ok(Traced { blast_radius, schemas, settings: project.tables, database: Some(database) })
}

/// Traces the release through an investigation that is open.
///
/// # Errors
/// Bad arguments, rules or faults, a table that cannot be read.
pub(super) async fn trace_in(
    investigation: &Investigation,
    arguments: &TraceArguments,
) -> Result<BlastRadius, Failure> {
    let schemas = investigation.schemas();
    let target = Target {
        release: ReleaseName::new(arguments.release.as_str()),
        service: arguments.service.as_deref().map(ServiceName::new),
        from: arguments.from,
        until: arguments.until,
    };
    let scope = arguments.scope.unwrap_or(match arguments.faults {
        Some(_) => ScopeArgument::Faults,
        None => ScopeArgument::Violating,
    });
    let rules = match (scope, investigation.project.audit.rules.is_empty()) {
        // Faults say what is wrong; rules only help to say what is right.
        (ScopeArgument::Faults | ScopeArgument::All, true) => Vec::new(),
        _ => suspecting_rules(&RuleSet::load(&investigation.project.audit.rules, schemas).await?, schemas),
    };
    let faults = match (scope, &arguments.faults) {
        (ScopeArgument::Faults, Some(file)) => suspecting_faults(file, &target, schemas)?,
        _ => Vec::new(),
    };
    let suspicion = match scope {
        ScopeArgument::All => Suspicion::All,
        ScopeArgument::Faults => Suspicion::Faults(&faults),
        ScopeArgument::Violating => Suspicion::Violating(&rules),
    };
    let scratch = match &arguments.reenact_on {
        Some(url) => Some(Scratch::open(&scratch_url(url)?, &investigation.database, schemas).await?),
        None => None,
    };
    let (tables, keyless) = investigation.tables().await?;
    let question = Question {
        target: &target,
        suspicion: &suspicion,
        rules: &rules,
        derives: &investigation.project.derives,
        declarations: investigation.catalog.declarations(),
        list_suspects: scope == ScopeArgument::All,
        settings: &investigation.project.tables,
    };
    let mut blast_radius = crate::trace::trace_on(&investigation.history, tables, schemas, question, scratch).await?;
    blast_radius.limits.extend(keyless);
    Ok(blast_radius)
}

/// The URL of the scratch server, as it is given or as a variable holds it.
fn scratch_url(given: &str) -> Result<String, Failure> {
    let Some(name) = given.strip_prefix("env:") else { return Ok(given.to_owned()) };
    std::env::var(name).ok().filter(|url| !url.trim().is_empty()).ok_or_else(|| {
        Failure::new(format!("reach the scratch server: the variable {name} is not set"))
            .with_help(format!("Set it: export {name}=postgres://…/scratch, or write the URL after --reenact-on."))
    })
}

/// As the proposed commands repeat it: without a password.
fn shown_url(given: &str) -> Option<String> {
    if given.starts_with("env:") { Some(given.to_owned()) } else { without_password(given).ok() }
}

/// Prints what was found, and writes the records file and the page where they were asked for.
///
/// # Errors
/// An unknown format, or an output that cannot be written.
pub fn present(traced: &Traced, global: &GlobalArguments, arguments: &TraceArguments) -> Result<ExitStatus, Failure> {
    let format = Format::named(global.format.as_deref())?;
    let report = Report::new(&traced.blast_radius, &traced.schemas, &traced.settings);
    let options = text_options(traced.database.as_ref(), global, arguments);
    write_beside(&report, &options, arguments)?;
    write_result(global, |out| match format {
        Format::Json => Ok(write_json(&report, out)?),
        Format::Text => Ok(write_text(&report, &options, out)?),
    })?;
    Ok(if report.is_clean() { ExitStatus::NothingFound } else { ExitStatus::Found })
}

/// Refuses, before the long work, what would be refused after it.
///
/// # Errors
/// A format or a records file that this job does not know; a faults file that the scope would not look at.
pub fn check(global: &GlobalArguments, arguments: &TraceArguments) -> Result<(), Failure> {
    Format::named(global.format.as_deref())?;
    arguments.records.as_deref().map(records::format_of).transpose()?;
    match (&arguments.faults, arguments.scope) {
        (Some(file), Some(ScopeArgument::Violating | ScopeArgument::All)) => {
            Err(Failure::new(format!("use {}: only --scope faults looks at a faults file", file.display()))
                .with_help("Leave out --scope, or --faults."))
        }
        _ => Ok(()),
    }
}

/// Writes the files of `--records` and `--html`, where they were given.
pub(super) fn write_beside(
    report: &Report<'_>,
    options: &TextOptions,
    arguments: &TraceArguments,
) -> Result<(), Failure> {
    if let Some(path) = &arguments.records {
        let format = records::format_of(path)?;
        write_file(path, |file| Ok((format.write)(report, file)?))?;
    }
    if let Some(path) = &arguments.html {
        write_file(path, |file| Ok(write_html(report, options, file)?))?;
    }
    Ok(())
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
pub(super) fn text_options(
    database: Option<&DatabaseSource>,
    global: &GlobalArguments,
    arguments: &TraceArguments,
) -> TextOptions {
    let project = global.project.as_deref();
    let global_arguments =
        project.map_or_else(String::new, |folder| format!("-C {} ", shell_word(&folder.display().to_string())));
    TextOptions {
        global_arguments,
        trace_arguments: trace_words(arguments).join(" "),
        folder: folder_prefix(project),
        can_rehearse: matches!(database, Some(DatabaseSource::Postgres { .. })),
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
        ("--reenact-on", arguments.reenact_on.as_deref().and_then(shown_url)),
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

/// The faults of a file that says what the traced release got wrong.
fn suspecting_faults(file: &Path, target: &Target, schemas: &Schemas) -> Result<Vec<SuspectingFault>, Failure> {
    let faults = Faults::load(file, schemas)?;
    if faults.release != target.release {
        let shown = file.display();
        return Err(Failure::new(format!(
            "trace {} by {shown}: it says what {} got wrong",
            target.release, faults.release
        ))
        .with_help("Name the faults file of this release, or the release of this file."));
    }
    let suspecting = |fault: Fault| SuspectingFault {
        table: fault.table,
        operations: fault.operations,
        condition: fault.condition.sql,
        set: match fault.correction {
            Correction::Set(set) => Some(set.into_iter().map(|(column, value)| (column, value.sql)).collect()),
            Correction::NotWritten => None,
        },
    };
    Ok(faults.faults.into_iter().map(suspecting).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::arguments::Arguments;
    use crate::model::ReleaseName;

    fn arguments(line: &str) -> (GlobalArguments, TraceArguments) {
        let parsed = Arguments::try_parse_from(line.split(' ')).expect("the arguments are right");
        (parsed.global, parsed.trace.expect("it is the main job"))
    }

    fn nothing_found() -> Traced {
        let blast_radius = BlastRadius {
            release: ReleaseName::new("v42"),
            service: None,
            writes: BTreeMap::new(),
            window: None,
            onset: None,
            rules: vec![],
            statements: vec![],
            unattributed: 0,
            suspects: 0,
            limits: vec![],
            records: vec![],
        };
        Traced { blast_radius, schemas: BTreeMap::new(), settings: TableSettingsByName::new(), database: None }
    }

    #[test]
    fn results_go_where_they_are_asked_to_go() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (report, records, page) = (path("report.txt"), path("records.csv"), path("report.html"));
        let line = format!("blast-radius --release v42 -o {report} --records {records} --html {page}");
        let (global, trace) = arguments(&line);
        let status = present(&nothing_found(), &global, &trace).expect("both files can be written");
        assert_eq!(status, ExitStatus::NothingFound);
        let report = std::fs::read_to_string(report).expect("the report is there");
        assert!(report.starts_with("v42 wrote nothing that is known to be wrong\n"), "{report:?}");
        let records = std::fs::read_to_string(records).expect("the records are there");
        assert_eq!(records.lines().count(), 1, "{records}");
        let page = std::fs::read_to_string(page).expect("the page is there");
        assert!(page.contains("wrote nothing that is known to be wrong"), "{page}");
    }

    #[test]
    fn commands_repeat_what_was_asked() {
        let (global, trace) =
            arguments("blast-radius -C my/shop --release v42 --scope all --from 2026-03-02T10:00:00Z");
        let options = text_options(None, &global, &trace);
        assert_eq!(options.global_arguments, "-C my/shop ");
        assert_eq!(options.trace_arguments, "--release v42 --scope all --from 2026-03-02T10:00:00Z");
        assert_eq!(options.folder, "my/shop/");
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word("v42"), "v42");
        assert_eq!(shell_word("bob's release"), r"'bob'\''s release'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(folder_prefix(Some(Path::new("datasets/shop/"))), "datasets/shop/");
    }
}
