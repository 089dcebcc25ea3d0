//! `audit`: check the invariants, and name every record in breach of one.

use std::io::Write;
use std::path::Path;

use crate::audit::{AuditOutcome, AuditVerdict, RuleSet, RuleStatus, Severity, run};
use crate::catalog::Catalog;
use crate::cli::ExitStatus;
use crate::cli::arguments::{AuditArguments, GlobalArguments};
use crate::cli::diagnostic::Failure;
use crate::cli::output::{write_file, write_result};
use crate::project::{FailOn, Project};
use crate::report::audit::{write_audit_json, write_audit_junit, write_audit_text, write_violations};

/// Audits the project that the current folder belongs to, and prints what was found.
///
/// # Errors
/// Bad arguments, bad rules, an unreachable database, an output that cannot be written; a rule that could not be
/// evaluated, after everything else was printed.
pub async fn audit(global: &GlobalArguments, arguments: &AuditArguments) -> Result<ExitStatus, Failure> {
    let format = Format::named(global.format.as_deref())?;
    check_records_name(arguments)?;
    let project = Project::find(Path::new("."))?;
    if project.audit.accepted.is_some() {
        return Err(Failure::new("heed the accepted violations: [audit] accepted is not supported yet")
            .with_help("Take it out of blast-radius.toml, or use where or tolerance in the rules."));
    }
    let database = project.database()?.ok_or_else(|| {
        Failure::new("find the data: the project names no database")
            .with_help("Name it in blast-radius.toml: [database] with url = \"env:DATABASE_URL\", or files = \"data\".")
    })?;
    let catalog = Catalog::open(&database, &project.tables).await?;
    warn_of_unknown_tables(&catalog, global);
    let rules = RuleSet::load(&project.audit.rules, catalog.schemas()).await?;
    let outcome = run(&rules, &catalog).await?;
    let fail_on = match project.audit.fail_on {
        FailOn::Error => Severity::Error,
        FailOn::Warn => Severity::Warn,
    };
    if let Some(path) = &arguments.records {
        write_file(path, |file| Ok(write_violations(&outcome, catalog.schemas(), file)?))?;
    }
    write_result(global, |out| match format {
        Format::Text => Ok(write_audit_text(&outcome, fail_on, global.verbose, out)?),
        Format::Json => Ok(write_audit_json(&outcome, fail_on, catalog.schemas(), out)?),
        Format::Junit => Ok(write_audit_junit(&outcome, fail_on, out)?),
    })?;
    conclude(&outcome, fail_on)
}

fn conclude(outcome: &AuditOutcome, fail_on: Severity) -> Result<ExitStatus, Failure> {
    match outcome.verdict(fail_on) {
        AuditVerdict::Pass => Ok(ExitStatus::NothingFound),
        AuditVerdict::Fail => Ok(ExitStatus::Found),
        AuditVerdict::Incomplete => {
            let not_run = outcome.rules.iter().filter(|rule| rule.status == RuleStatus::Error);
            let ids: Vec<&str> = not_run.map(|rule| rule.id.as_ref()).collect();
            Err(Failure::new(format!("run every rule: {}", ids.join(", ")))
                .with_help("The report says why; what the other rules found is in it."))
        }
    }
}

fn check_records_name(arguments: &AuditArguments) -> Result<(), Failure> {
    match &arguments.records {
        Some(path) if path.extension().is_none_or(|ending| ending != "ndjson") => {
            Err(Failure::new(format!("write records to {}: its name must end in .ndjson", path.display())))
        }
        _ => Ok(()),
    }
}

/// A setting of a misspelt table has no effect: said, but no reason to stop.
fn warn_of_unknown_tables(catalog: &Catalog, global: &GlobalArguments) {
    if global.quiet {
        return;
    }
    for (table, nearest) in catalog.unknown_settings() {
        let hint = nearest.map(|nearest| format!(": did you mean {nearest}?")).unwrap_or_default();
        let mut stderr = anstream::stderr();
        // Where standard error is closed, nobody wants the warning.
        let _ = writeln!(stderr, "warning: [tables] names {table}, which the database does not have{hint}");
    }
}

/// How an audit prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
    Junit,
}

impl Format {
    fn named(name: Option<&str>) -> Result<Self, Failure> {
        match name {
            None | Some("text") => Ok(Format::Text),
            Some("json") => Ok(Format::Json),
            Some("junit") => Ok(Format::Junit),
            Some(other) => {
                Err(Failure::new(format!("print as '{other}': no such format"))
                    .with_help("Formats: text, json, junit."))
            }
        }
    }
}
