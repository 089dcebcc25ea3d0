//! `audit --format json`: the contract's document, the same bytes for the same findings.

use std::io::Write;

use serde::Serialize;

use super::super::ReportError;
use super::super::record::ReportedKey;
use super::{AuditFormat, AuditReport};
use crate::audit::{ReleaseOutcome, RuleOutcome, Schemas, Violation};

pub(super) const FORMAT: AuditFormat = AuditFormat { name: "json", write };

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    status: &'static str,
    rules: Vec<Rule<'a>>,
    releases: Vec<Release<'a>>,
    violations: Vec<ReportedViolation<'a>>,
}

#[derive(Serialize)]
struct Rule<'a> {
    id: &'a str,
    table: String,
    severity: &'static str,
    status: &'static str,
    checked: u64,
    violations: u64,
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct Release<'a> {
    service: Option<&'a str>,
    release: &'a str,
    written: u64,
    violations: u64,
    lift: Option<f64>,
    p_value: Option<f64>,
}

/// A violation as the document and the records files write it.
#[derive(Serialize)]
pub(super) struct ReportedViolation<'a> {
    rule: &'a str,
    table: String,
    key: ReportedKey<'a>,
    columns: Vec<&'a str>,
    release: Option<&'a str>,
    written: Option<Written<'a>>,
}

#[derive(Serialize)]
struct Written<'a> {
    seq: Option<u64>,
    ts: String,
    tx: Option<&'a str>,
    release: Option<&'a str>,
}

fn write(report: &AuditReport<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    let AuditReport { outcome, schemas, .. } = *report;
    let document = Document {
        format: "audit/1",
        status: outcome.verdict(report.fail_on).as_str(),
        rules: outcome.rules.iter().map(rule).collect(),
        releases: outcome.releases.iter().map(release).collect(),
        violations: outcome.violations.iter().map(|violation| ReportedViolation::new(violation, schemas)).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)?;
    Ok(())
}

fn rule(rule: &RuleOutcome) -> Rule<'_> {
    Rule {
        id: &rule.id,
        table: rule.table.to_string(),
        severity: rule.severity.as_str(),
        status: rule.status.as_str(),
        checked: rule.checked,
        violations: rule.violations,
        message: rule.message.as_deref(),
    }
}

fn release(release: &ReleaseOutcome) -> Release<'_> {
    Release {
        service: release.service.as_ref().map(|service| service.as_str()),
        release: release.release.as_str(),
        written: release.written,
        violations: release.violations,
        lift: release.lift,
        p_value: release.p_value,
    }
}

impl<'a> ReportedViolation<'a> {
    pub(super) fn new(violation: &'a Violation, schemas: &'a Schemas) -> Self {
        let schema = schemas.get(&violation.table).map(AsRef::as_ref);
        ReportedViolation {
            rule: &violation.rule,
            table: violation.table.to_string(),
            key: ReportedKey::new(&violation.key, schema),
            columns: violation.columns.iter().map(AsRef::as_ref).collect(),
            release: violation.release.as_ref().map(|release| release.name.as_str()),
            written: violation.written.as_ref().map(|written| Written {
                seq: written.seq.map(|seq| seq.0),
                ts: written.ts.to_string(),
                tx: written.tx.as_ref().map(|tx| tx.0.as_ref()),
                release: written.release.as_ref().map(|release| release.name.as_str()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_document_is_the_contract_s() {
        insta::assert_snapshot!(sample::printed(&FORMAT));
    }
}
