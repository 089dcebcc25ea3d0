//! `audit`: check the invariants, and name every record in breach of one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::audit::{
    Acceptance, Accepted, AuditOutcome, AuditVerdict, LastAudit, RuleSet, RuleStatus, Severity, StartingPoint,
    Violation, changed_records, fingerprint, kept_results, keys_in_breach, run, run_since,
};
use crate::catalog::{Catalog, DatabaseAddress, nearest_name};
use crate::cli::ExitStatus;
use crate::cli::arguments::{AuditArguments, GlobalArguments, SinceArgument};
use crate::cli::attribution::attribute;
use crate::cli::diagnostic::Failure;
use crate::cli::investigation::Investigation;
use crate::cli::output::{write_file, write_result};
use crate::model::{RecordKey, TableName, Timestamp};
use crate::project::FailOn;
use crate::report::audit::{AuditFormat, AuditReport, write_audit_html, write_violations};

/// Audits the project that the current folder belongs to, and prints what was found.
///
/// # Errors
/// Bad arguments, bad rules, an unreachable database, an output that cannot be written; a rule that could not be
/// evaluated, after everything else was printed.
pub async fn audit(global: &GlobalArguments, arguments: &AuditArguments) -> Result<ExitStatus, Failure> {
    let format = AuditFormat::named(global.format.as_deref()).ok_or_else(|| unknown_format(global))?;
    check_records_name(arguments)?;
    let investigation = Investigation::open().await?;
    let address = DatabaseAddress::of(&investigation.database);
    let catalog = &investigation.catalog;
    warn_of_unknown_tables(catalog, global);
    let rules = RuleSet::load(&investigation.project.audit.rules, catalog.schemas()).await?;
    tell_what_is_not_checked(&rules);
    let mut outcome = match arguments.since {
        None => run(&rules, catalog, &investigation.history).await?,
        Some(SinceArgument::Last) => audit_changes(&rules, &investigation, &address).await?,
    };
    let start = keys_in_breach(&outcome, &rules, catalog)?;
    let project = &investigation.project;
    accept(&mut outcome, &rules, project.audit.accepted.as_deref(), arguments, global)?;
    attribute(&mut outcome, &rules, &investigation).await?;
    let finished = Timestamp::from_micros(jiff::Timestamp::now().as_microsecond());
    keep(&outcome, &rules, &start, &investigation, &address, finished).await;
    let (project, catalog) = (&investigation.project, &investigation.catalog);
    let fail_on = match project.audit.fail_on {
        FailOn::Error => Severity::Error,
        FailOn::Warn => Severity::Warn,
    };
    if let Some(path) = &arguments.records {
        write_file(path, |file| Ok(write_violations(&outcome, catalog.schemas(), file)?))?;
    }
    let report = AuditReport {
        outcome: &outcome,
        fail_on,
        schemas: catalog.schemas(),
        places: &rules.rules().iter().map(|rule| (Arc::clone(&rule.id), rule.location.clone())).collect(),
        folder: repository_of(&project.folder),
        address: &address,
        finished,
        verbose: global.verbose,
    };
    if let Some(path) = &arguments.html {
        write_file(path, |file| Ok(write_audit_html(&report, file)?))?;
    }
    write_result(global, |out| Ok(format.write(&report, out)?))?;
    conclude(&outcome, fail_on)
}

/// Accepts what is to be accepted, and takes out what is.
fn accept(
    outcome: &mut AuditOutcome,
    rules: &RuleSet,
    file: Option<&Path>,
    arguments: &AuditArguments,
    global: &GlobalArguments,
) -> Result<(), Failure> {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let Some(file) = file else {
        if arguments.accept.is_none() {
            return Ok(());
        }
        return Err(Failure::new("accept violations: the project names no file for them")
            .with_help("Name one in blast-radius.toml: [audit] with accepted = \"accepted.yaml\"."));
    };
    Accepted::read(file, rules)?.apply(outcome, rules, today)?;
    if let (Some(rule), Some(until), Some(reason)) = (&arguments.accept, arguments.until, &arguments.reason) {
        if !rules.rules().iter().any(|known| known.id.as_ref() == rule) {
            let nearest = nearest_name(rule, rules.rules().iter().map(|known| known.id.as_ref()));
            let help = nearest.map_or_else(String::new, |nearest| format!("Did you mean {nearest}?"));
            return Err(Failure::new(format!("accept violations of {rule}: there is no such rule")).with_help(help));
        }
        if until < today {
            return Err(Failure::new(format!("accept violations until {until}: that day is past")));
        }
        if outcome.unlisted.iter().any(|unlisted| unlisted.rule.as_ref() == rule) {
            return Err(Failure::new(format!(
                "accept violations of {rule}: they are too many to be accepted one by one"
            ))
            .with_help("Give the rule a tolerance, or a where that leaves these rows out."));
        }
        let names_no_record =
            |violation: &Violation| violation.rule.as_ref() == rule && violation.key.iter().len() == 0;
        if outcome.violations.iter().any(names_no_record) {
            return Err(Failure::new(format!(
                "accept violations of {rule}: it is about a table or a release as a whole, so every later one would be accepted too"
            ))
            .with_help("Give the rule other bounds, or a tolerance."));
        }
        let acceptance = Acceptance { rule, until, reason };
        let count = Accepted::append(file, rules, acceptance, &outcome.violations)?;
        if !global.quiet {
            // Where standard error is closed, nobody wants to know.
            let _ = writeln!(
                anstream::stderr(),
                "accepted {count} violations of {rule} until {until} in {}",
                file.display()
            );
        }
        Accepted::read(file, rules)?.apply(outcome, rules, today)?;
    }
    Ok(())
}

/// Audits what changed since the last audit, where a rule allows that.
async fn audit_changes(
    rules: &RuleSet,
    investigation: &Investigation,
    address: &DatabaseAddress,
) -> Result<AuditOutcome, Failure> {
    let store = &investigation.store;
    let last = store.audit_starts(rules.rules().iter().map(|rule| Arc::clone(&rule.id))).await?;
    let from = last.values().map(|start| start.through).min().unwrap_or(i64::MAX);
    let changed = changed_records(&store.writes_from(from).await?, investigation.schemas());
    let recorded: BTreeSet<TableName> = store.written_tables().cloned().collect();
    let last_gap = store.gaps().iter().map(|gap| gap.noticed).max();
    let last = LastAudit { rules: &last, address, changed: &changed, recorded: &recorded, last_gap };
    Ok(run_since(rules, &investigation.catalog, &investigation.history, last).await?)
}

/// Keeps how the rules came out, for `status` and for the next audit. What was found is told all the same where that
/// cannot be.
async fn keep(
    outcome: &AuditOutcome,
    rules: &RuleSet,
    keys: &BTreeMap<Arc<str>, Vec<RecordKey>>,
    investigation: &Investigation,
    address: &DatabaseAddress,
    at: Timestamp,
) {
    let schemas = investigation.catalog.schemas();
    let fingerprints: BTreeMap<Arc<str>, Arc<str>> = rules
        .rules()
        .iter()
        .filter_map(|rule| Some((Arc::clone(&rule.id), fingerprint(rule, schemas.get(&rule.table)?, address))))
        .collect();
    let start = StartingPoint { keys, fingerprints: &fingerprints, through: investigation.done_before };
    let kept = investigation.store.keep_audit(&kept_results(outcome, at, start)).await;
    if let Err(error) = kept {
        // Where standard error is closed, nobody can be told.
        let _ = writeln!(anstream::stderr(), "warning: failed to keep the results of this audit: {error}");
    }
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

/// Tests of dbt's or Soda's files that are not understood are told even by a quiet audit: it has not checked them.
fn tell_what_is_not_checked(rules: &RuleSet) {
    let mut stderr = anstream::stderr();
    for mistake in rules.not_understood().iter() {
        // Where standard error is closed, nobody can be told.
        let _ = writeln!(stderr, "warning: not checked: {mistake}");
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

/// The folder that CI checked out: the nearest one with a `.git`, else the project's.
fn repository_of(project: &Path) -> &Path {
    project.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(project)
}

fn unknown_format(global: &GlobalArguments) -> Failure {
    Failure::new(format!("print as '{}': no such format", global.format.as_deref().unwrap_or_default()))
        .with_help(format!("Formats: {}.", AuditFormat::names().join(", ")))
}
