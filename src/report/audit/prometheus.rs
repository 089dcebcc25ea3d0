//! `audit --format prometheus`: gauges in Prometheus' text format, for a node exporter's textfile collector or a
//! Pushgateway.

use std::io::{self, Write};

use super::super::ReportError;
use super::{AuditFormat, AuditReport};
use crate::audit::{RuleOutcome, RuleStatus};

pub(super) const FORMAT: AuditFormat = AuditFormat { name: "prometheus", write };

/// Digits after the point of a second.
const MICROS: i64 = 1_000_000;

fn write(report: &AuditReport<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    let outcome = report.outcome;
    let status = outcome.verdict(report.fail_on).exit_status();
    head("audit_status", "The exit status: 0 passed, 1 failed, 2 could not run every rule.", out)?;
    writeln!(out, "blast_radius_audit_status {status}")?;
    head("audit_finished_seconds", "When the audit was done, in seconds since 1970.", out)?;
    let finished = report.finished.as_micros();
    writeln!(out, "blast_radius_audit_finished_seconds {}", finished.div_euclid(MICROS))?;
    let run = || outcome.rules.iter().filter(|rule| rule.status != RuleStatus::Error);
    per_rule("rule_violations", "Rows in breach of the rule.", run(), |rule| rule.violations, out)?;
    per_rule("rule_checked_rows", "Rows that the rule was checked against.", run(), |rule| rule.checked, out)?;
    let status = |rule: &RuleOutcome| match rule.status {
        RuleStatus::Pass => 0,
        RuleStatus::Fail => 1,
        RuleStatus::Error => 2,
    };
    per_rule("rule_status", "0 passed, 1 failed, 2 could not be run.", outcome.rules.iter(), status, out)?;
    if !outcome.releases.is_empty() {
        head("release_violations", "Violations that the release's transactions made.", out)?;
    }
    for release in &outcome.releases {
        let service = release.service.as_ref().map_or("", |service| service.as_str());
        writeln!(
            out,
            "blast_radius_release_violations{{service=\"{}\",release=\"{}\"}} {}",
            escaped(service),
            escaped(release.release.as_str()),
            release.violations
        )?;
    }
    Ok(())
}

fn head(name: &str, help: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# HELP blast_radius_{name} {help}\n# TYPE blast_radius_{name} gauge")
}

fn per_rule<'r>(
    name: &str,
    help: &str,
    rules: impl Iterator<Item = &'r RuleOutcome>,
    value: impl Fn(&RuleOutcome) -> u64,
    out: &mut dyn Write,
) -> io::Result<()> {
    head(name, help, out)?;
    for rule in rules {
        writeln!(
            out,
            "blast_radius_{name}{{rule=\"{}\",table=\"{}\"}} {}",
            escaped(&rule.id),
            escaped(&rule.table.to_string()),
            value(rule)
        )?;
    }
    Ok(())
}

/// A label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_rule_is_a_series() {
        insta::assert_snapshot!(sample::printed(&FORMAT));
    }

    #[test]
    fn what_would_end_a_label_is_escaped() {
        assert_eq!(escaped("a\"b\\c\n"), "a\\\"b\\\\c\\n");
    }
}
