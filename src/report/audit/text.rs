//! `audit --format text`: table by table, each rule with what was found, and the keys of the rows in breach, by the
//! release that made them so.

use std::io::{self, Write};

use owo_colors::OwoColorize;

use super::super::ReportError;
use super::super::text::layout::{Side, counted, number, table as aligned, time, wrapped};
use super::findings::{is_traced, listed_keys, origins, word};
use super::{AuditFormat, AuditReport};
use crate::audit::{AuditVerdict, ReleaseOutcome, RuleOutcome, RuleStatus, Severity, Violation, suspect};
use crate::model::{Release, TableName};

pub(super) const FORMAT: AuditFormat = AuditFormat { name: "text", write };

/// How many keys a line lists, where not all are asked for.
const FEW_KEYS: usize = 10;

const INDENT: &str = "           ";

fn write(report: &AuditReport<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    let mut tables: Vec<&TableName> = report.outcome.rules.iter().map(|rule| &rule.table).collect();
    tables.sort();
    tables.dedup();
    for table in tables {
        let rules: Vec<&RuleOutcome> = report.outcome.rules.iter().filter(|rule| rule.table == *table).collect();
        writeln!(out, "{}", table.bold())?;
        let cells: Vec<Vec<String>> = rules.iter().map(|rule| row(rule)).collect();
        for (rule, line) in rules.iter().zip(aligned(&[Side::Left, Side::Left, Side::Right, Side::Left], &cells)) {
            writeln!(out, "{}", styled(rule, report.fail_on, &line))?;
            details(rule, report, out)?;
        }
        writeln!(out)?;
    }
    releases(report, out)?;
    for limit in &report.outcome.limits {
        writeln!(out, "{}", wrapped("", limit))?;
    }
    verdict(report, out)?;
    suspicion(report, out)?;
    Ok(())
}

/// Which release to look into, in one line.
fn suspicion(report: &AuditReport<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Some(release) = suspect(report.outcome) else { return Ok(()) };
    let name = Release { service: release.service.clone(), name: release.release.clone() };
    let total = u64::try_from(report.outcome.violations.len()).unwrap_or(u64::MAX);
    let lift = release.lift.map(|lift| format!(", {lift:.1} times the others' share")).unwrap_or_default();
    let of_these = match release.violations == total {
        true => "all of these".to_owned(),
        false => format!("{} of these {}", number(release.violations), number(total)),
    };
    let command = format!("run `blast-radius --release {}`", release.release);
    writeln!(out, "{}", format!("{name} made {of_these}{lift}; {command}").bold())
}

fn row(rule: &RuleOutcome) -> Vec<String> {
    let (found, of) = match rule.status {
        RuleStatus::Error => (String::new(), String::new()),
        RuleStatus::Pass | RuleStatus::Fail => {
            (number(rule.violations), format!("of {}", counted(rule.checked, "row")))
        }
    };
    vec![word(rule).to_owned(), rule.id.to_string(), found, of]
}

fn styled(rule: &RuleOutcome, fail_on: Severity, line: &str) -> String {
    match rule.status {
        RuleStatus::Pass => line.green().to_string(),
        RuleStatus::Fail if rule.fails(fail_on) => line.red().bold().to_string(),
        RuleStatus::Fail => line.yellow().to_string(),
        RuleStatus::Error => line.magenta().bold().to_string(),
    }
}

/// What the rule says, why it could not be run, and who violates it; nothing of a rule that holds.
fn details(rule: &RuleOutcome, report: &AuditReport<'_>, out: &mut dyn Write) -> io::Result<()> {
    if rule.status == RuleStatus::Pass && rule.violations == 0 {
        return Ok(());
    }
    for line in rule.description.iter().chain(&rule.message) {
        writeln!(out, "{}", wrapped(INDENT, line))?;
    }
    let traced = is_traced(report);
    for origin in origins(rule, report) {
        let keys = few_keys(&origin.violations, report.verbose);
        // A table as a whole: the message has told it.
        if keys.is_empty() && origin.release.is_none() {
            continue;
        }
        if !traced {
            writeln!(out, "{}", wrapped(INDENT, &keys))?;
            continue;
        }
        let count = number(u64::try_from(origin.violations.len()).unwrap_or(u64::MAX));
        let since = origin.since.map(|since| format!(" since {}", time(since))).unwrap_or_default();
        writeln!(out, "{INDENT}{}", format!("{}: {count}{since}", origin.name()).bold())?;
        if !keys.is_empty() {
            writeln!(out, "{}", wrapped(&format!("{INDENT}  "), &keys))?;
        }
    }
    Ok(())
}

fn few_keys(violations: &[&Violation], verbose: bool) -> String {
    let most = if verbose { violations.len() } else { FEW_KEYS };
    let hint = if violations.len() > most { " (--verbose lists all)" } else { "" };
    format!("{}{hint}", listed_keys(violations, most))
}

/// What each release wrote and broke, where the history tells.
fn releases(report: &AuditReport<'_>, out: &mut dyn Write) -> io::Result<()> {
    let broken: Vec<&ReleaseOutcome> =
        report.outcome.releases.iter().filter(|release| release.violations > 0).collect();
    if broken.is_empty() {
        return Ok(());
    }
    writeln!(out, "{}", "Releases".bold())?;
    let cells: Vec<Vec<String>> = broken.iter().map(|release| release_row(release)).collect();
    let sides = [Side::Left, Side::Right, Side::Left, Side::Left];
    for line in aligned(&sides, &cells) {
        writeln!(out, "{line}")?;
    }
    writeln!(out)
}

fn release_row(release: &ReleaseOutcome) -> Vec<String> {
    let service = release.service.as_ref().map(|service| format!("{service} ")).unwrap_or_default();
    let mut likelihood = Vec::new();
    likelihood.extend(release.lift.map(|lift| format!("{lift:.1} × the others' share")));
    likelihood.extend(release.p_value.map(|p_value| format!("p {p_value:.2e}")));
    vec![
        format!("{service}{}", release.release),
        counted(release.violations, "violation"),
        format!("of {}", counted(release.written, "record")),
        likelihood.join(", "),
    ]
}

fn verdict(report: &AuditReport<'_>, out: &mut dyn Write) -> io::Result<()> {
    let AuditReport { outcome, fail_on, .. } = *report;
    let total = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let checked = counted(total(outcome.rules.len()), "rule");
    let violations: u64 = outcome.rules.iter().map(|rule| rule.violations).sum();
    let found = counted(violations, "violation");
    let failing = outcome.rules.iter().filter(|rule| rule.fails(fail_on)).count();
    match outcome.verdict(fail_on) {
        AuditVerdict::Pass if violations == 0 => {
            writeln!(out, "{}", format!("{checked} checked: all of them hold").green().bold())
        }
        AuditVerdict::Pass => {
            writeln!(out, "{}", format!("{checked} checked: {found}, none of which fails the audit").yellow().bold())
        }
        AuditVerdict::Fail => writeln!(
            out,
            "{}",
            format!("{checked} checked: {} broken, {found} in all", number(total(failing))).red().bold()
        ),
        AuditVerdict::Incomplete => {
            let not_run = outcome.rules.iter().filter(|rule| rule.status == RuleStatus::Error).count();
            let not_run = counted(total(not_run), "rule");
            writeln!(out, "{}", format!("{not_run} of {checked} could not be run; {found} found").magenta().bold())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn text(fail_on: Severity, verbose: bool) -> String {
        let text = sample::printed_with(&FORMAT, fail_on, verbose);
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn it_reads_well() {
        insta::assert_snapshot!(text(Severity::Error, false));
    }

    #[test]
    fn verbose_lists_every_key() {
        let text = text(Severity::Error, true);
        assert!(text.contains("20") && !text.contains("more"), "{text}");
    }
}
