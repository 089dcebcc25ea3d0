//! `audit --format markdown`: a summary for a pull request, a job's summary page, a chat.

use std::io::{self, Write};

use super::super::ReportError;
use super::super::text::layout::{counted, number, time};
use super::findings::{is_traced, listed_keys, origins, word};
use super::{AuditFormat, AuditReport};
use crate::audit::{AuditVerdict, RuleOutcome, RuleStatus};

pub(super) const FORMAT: AuditFormat = AuditFormat { name: "markdown", write };

/// How many keys a line lists.
const KEYS_LISTED: usize = 20;

fn write(report: &AuditReport<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    let outcome = report.outcome;
    let violations: u64 = outcome.rules.iter().map(|rule| rule.violations).sum();
    let title = match outcome.verdict(report.fail_on) {
        AuditVerdict::Pass => "passed",
        AuditVerdict::Fail => "failed",
        AuditVerdict::Incomplete => "could not run every rule",
    };
    let rules = counted(u64::try_from(outcome.rules.len()).unwrap_or(u64::MAX), "rule");
    writeln!(out, "## Audit {title}: {rules} checked, {} found\n", counted(violations, "violation"))?;
    writeln!(out, "| | rule | table | violations | rows checked |\n|---|---|---|---:|---:|")?;
    for rule in &outcome.rules {
        let found = match rule.status {
            RuleStatus::Error => "| |".to_owned(),
            RuleStatus::Pass | RuleStatus::Fail => {
                format!("| {} | {} |", number(rule.violations), number(rule.checked))
            }
        };
        writeln!(out, "| {} | {} | {} {found}", word(rule), escaped(&rule.id), escaped(&rule.table.to_string()))?;
    }
    let told = |rule: &&RuleOutcome| rule.status == RuleStatus::Error || rule.violations > 0;
    for rule in outcome.rules.iter().filter(told) {
        details(rule, report, out)?;
    }
    releases(report, out)?;
    Ok(())
}

fn details(rule: &RuleOutcome, report: &AuditReport<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n### {}\n", escaped(&rule.id))?;
    for line in rule.description.iter().chain(&rule.message) {
        writeln!(out, "{}\n", escaped(line))?;
    }
    let traced = is_traced(report);
    for origin in origins(rule, report) {
        let keys = escaped(&listed_keys(&origin.violations, KEYS_LISTED));
        if !traced {
            writeln!(out, "- {keys}")?;
            continue;
        }
        let since = origin.since.map(|since| format!(" since {}", time(since))).unwrap_or_default();
        writeln!(out, "- **{}**: {}{since}: {keys}", escaped(&origin.name()), origin.violations.len())?;
    }
    Ok(())
}

fn releases(report: &AuditReport<'_>, out: &mut dyn Write) -> io::Result<()> {
    let broken: Vec<_> = report.outcome.releases.iter().filter(|release| release.violations > 0).collect();
    if broken.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### Releases\n\n| release | violations | writes | lift | p |\n|---|---:|---:|---:|---:|")?;
    for release in broken {
        let service = release.service.as_ref().map(|service| format!("{service} ")).unwrap_or_default();
        let name = escaped(&format!("{service}{}", release.release));
        let lift = release.lift.map(|lift| format!("{lift:.1}")).unwrap_or_default();
        let p_value = release.p_value.map(|p_value| format!("{p_value:.2e}")).unwrap_or_default();
        writeln!(
            out,
            "| {name} | {} | {} | {lift} | {p_value} |",
            number(release.violations),
            number(release.written)
        )?;
    }
    Ok(())
}

/// Text as text: nothing of it is markup, and a table's cell stays one.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => escaped.extend(['\\', character]),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '@' => escaped.push_str("&#64;"),
            _ if character.is_control() => escaped.push(' '),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn it_reads_well() {
        insta::assert_snapshot!(sample::printed(&FORMAT));
    }

    #[test]
    fn text_is_no_markup() {
        assert_eq!(escaped("a|b <script>\n@all `x`"), "a\\|b &lt;script&gt; &#64;all \\`x\\`");
    }
}
