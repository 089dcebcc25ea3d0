//! `audit --format github`: workflow commands, which GitHub shows as annotations at the rule's line.
//!
//! One annotation for each rule in breach or not run, because GitHub shows ten of a kind at most; then one plain line.

use std::io::Write;

use super::super::ReportError;
use super::super::text::layout::counted;
use super::findings::{is_traced, listed_keys, origins, share};
use super::{AuditFormat, AuditReport};
use crate::audit::{RuleOutcome, RuleStatus, Severity};

pub(super) const FORMAT: AuditFormat = AuditFormat { name: "github", write };

/// How many keys an annotation lists.
const KEYS_LISTED: usize = 10;

fn write(report: &AuditReport<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    for rule in report.outcome.rules.iter().filter(|rule| rule.status != RuleStatus::Pass) {
        let mut properties = Vec::new();
        if let Some((file, location)) = report.place(&rule.id) {
            properties.push(format!("file={}", escaped_property(&file)));
            properties.push(format!("line={},col={}", location.line, location.column));
        }
        properties.push(format!("title={}", escaped_property(&format!("{} ({})", rule.id, rule.table))));
        let message = escaped_message(&message(rule, report));
        writeln!(out, "::{} {}::{message}", command(rule, report.fail_on), properties.join(","))?;
    }
    let violations: u64 = report.outcome.rules.iter().map(|rule| rule.violations).sum();
    let rules = counted(u64::try_from(report.outcome.rules.len()).unwrap_or(u64::MAX), "rule");
    let status = report.outcome.verdict(report.fail_on).as_str();
    writeln!(out, "audit: {status}: {rules} checked, {} found", counted(violations, "violation"))?;
    Ok(())
}

fn command(rule: &RuleOutcome, fail_on: Severity) -> &'static str {
    match (rule.status, rule.severity) {
        (RuleStatus::Error, _) => "error",
        _ if rule.fails(fail_on) => "error",
        (_, Severity::Info) => "notice",
        _ => "warning",
    }
}

fn message(rule: &RuleOutcome, report: &AuditReport<'_>) -> String {
    if rule.status == RuleStatus::Error {
        return format!("could not be run: {}", rule.message.as_deref().unwrap_or("no reason is known"));
    }
    let mut lines = vec![format!("{} of {} violate it", share(rule), rule.table)];
    lines.extend(rule.description.iter().chain(&rule.message).cloned());
    let traced = is_traced(report);
    for origin in origins(rule, report) {
        let keys = listed_keys(&origin.violations, KEYS_LISTED);
        let count = origin.violations.len();
        lines.push(if traced { format!("{} ({count}): {keys}", origin.name()) } else { keys });
    }
    lines.join("\n")
}

/// What a command's message may not hold as it is.
fn escaped_message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property may hold neither these nor what ends it.
fn escaped_property(text: &str) -> String {
    escaped_message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_rule_is_an_annotation_on_a_line_of_its_own() {
        let printed = sample::printed(&FORMAT);
        insta::assert_snapshot!(printed);
        assert_eq!(printed.lines().filter(|line| line.starts_with("::")).count(), 3, "{printed}");
    }

    #[test]
    fn what_would_end_a_command_is_escaped() {
        assert_eq!(escaped_message("100%\r\n:,"), "100%25%0D%0A:,");
        assert_eq!(escaped_property("a:b,c\n"), "a%3Ab%2Cc%0A");
    }
}
