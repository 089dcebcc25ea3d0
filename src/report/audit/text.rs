//! `audit --format text`: table by table, each rule with what was found, and the keys of the rows in breach.

use std::io::{self, Write};

use owo_colors::OwoColorize;

use super::super::text::layout::{Side, counted, number, table as aligned, wrapped};
use crate::audit::{AuditOutcome, AuditVerdict, RuleOutcome, RuleStatus, Severity, Violation};
use crate::model::{RecordKey, TableName};

/// How many keys a rule lists, where not all are asked for.
const FEW_KEYS: usize = 10;

/// Writes the outcome for people; `verbose` lists every key.
///
/// # Errors
/// What the writer says.
pub fn write_audit_text(
    outcome: &AuditOutcome,
    fail_on: Severity,
    verbose: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut tables: Vec<&TableName> = outcome.rules.iter().map(|rule| &rule.table).collect();
    tables.sort();
    tables.dedup();
    for table in tables {
        let rules: Vec<&RuleOutcome> = outcome.rules.iter().filter(|rule| rule.table == *table).collect();
        writeln!(out, "{}", table.bold())?;
        let cells: Vec<Vec<String>> = rules.iter().map(|rule| row(rule)).collect();
        for (rule, line) in rules.iter().zip(aligned(&[Side::Left, Side::Left, Side::Right, Side::Left], &cells)) {
            writeln!(out, "{}", styled(rule, fail_on, &line))?;
            details(rule, outcome, verbose, out)?;
        }
        writeln!(out)?;
    }
    verdict(outcome, fail_on, out)
}

fn row(rule: &RuleOutcome) -> Vec<String> {
    let (word, found, of) = match rule.status {
        RuleStatus::Pass => ("ok", number(rule.violations), format!("of {}", counted(rule.checked, "row"))),
        RuleStatus::Fail => {
            (rule.severity.as_str(), number(rule.violations), format!("of {}", counted(rule.checked, "row")))
        }
        RuleStatus::Error => ("not run", String::new(), String::new()),
    };
    vec![word.to_owned(), rule.id.to_string(), found, of]
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
fn details(rule: &RuleOutcome, outcome: &AuditOutcome, verbose: bool, out: &mut dyn Write) -> io::Result<()> {
    const INDENT: &str = "           ";
    if rule.status == RuleStatus::Pass && rule.violations == 0 {
        return Ok(());
    }
    for line in rule.description.iter().chain(&rule.message) {
        writeln!(out, "{}", wrapped(INDENT, line))?;
    }
    let violations: Vec<&Violation> = outcome.violations.iter().filter(|violation| violation.rule == rule.id).collect();
    if violations.is_empty() {
        return Ok(());
    }
    let listed = if verbose { violations.len() } else { violations.len().min(FEW_KEYS) };
    let keys: Vec<String> = violations.iter().take(listed).map(|violation| printable(&violation.key)).collect();
    let columns: Vec<&str> = violations[0].key.iter().map(|(column, _)| column.as_ref()).collect();
    let more = match violations.len() - listed {
        0 => String::new(),
        more => format!(" and {more} more (--verbose lists all)"),
    };
    // A key of one column prints its value alone; one of several names them itself.
    let (name, comma) =
        if let [column] = columns.as_slice() { (format!("{column} "), ", ") } else { (String::new(), "; ") };
    writeln!(out, "{}", wrapped(INDENT, &format!("{name}{}{more}", keys.join(comma))))
}

/// A key on one line: a terminal would obey control characters.
fn printable(key: &RecordKey) -> String {
    key.to_string().chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn verdict(outcome: &AuditOutcome, fail_on: Severity, out: &mut dyn Write) -> io::Result<()> {
    let with_status = |status: RuleStatus| outcome.rules.iter().filter(|rule| rule.status == status).count();
    let total = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let checked = counted(total(outcome.rules.len()), "rule");
    let found = counted(total(outcome.violations.len()), "violation");
    let failing = outcome.rules.iter().filter(|rule| rule.fails(fail_on)).count();
    match outcome.verdict(fail_on) {
        AuditVerdict::Pass if outcome.violations.is_empty() => {
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
            let not_run = counted(total(with_status(RuleStatus::Error)), "rule");
            writeln!(out, "{}", format!("{not_run} of {} could not be run; {found} found", checked).magenta().bold())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn text(fail_on: Severity, verbose: bool) -> String {
        let mut out = Vec::new();
        write_audit_text(&sample::outcome(), fail_on, verbose, &mut out).expect("it is written");
        anstream::adapter::strip_str(&String::from_utf8(out).expect("it is text")).to_string()
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
