//! `audit --format junit`: a suite a table, a case a rule, as CI systems read it.

use std::io::Write;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::super::ReportError;
use super::super::text::layout::number;
use super::findings::share;
use super::{AuditFormat, AuditReport};
use crate::audit::{AuditOutcome, RuleOutcome, RuleStatus, Severity};
use crate::model::TableName;

pub(super) const FORMAT: AuditFormat = AuditFormat { name: "junit", write };

/// How many keys a failure lists.
const KEYS_LISTED: usize = 100;

/// A rule whose violations do not fail the audit is a success that says what was found.
fn write(report: &AuditReport<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    let AuditReport { outcome, fail_on, .. } = *report;
    let mut suites = Report::new("blast-radius audit");
    let mut tables: Vec<&TableName> = Vec::new();
    for rule in &outcome.rules {
        if !tables.contains(&&rule.table) {
            tables.push(&rule.table);
        }
    }
    for table in tables {
        let mut suite = TestSuite::new(table.to_string());
        let rules = outcome.rules.iter().filter(|rule| rule.table == *table);
        suite.add_test_cases(rules.map(|rule| case(rule, outcome, fail_on)));
        suites.add_test_suite(suite);
    }
    let text = suites.to_string().map_err(|error| ReportError::Junit(error.to_string()))?;
    out.write_all(text.as_bytes())?;
    Ok(())
}

fn case(rule: &RuleOutcome, outcome: &AuditOutcome, fail_on: Severity) -> TestCase {
    let found = format!("{} violate it", share(rule));
    let details = || {
        let keys = outcome.violations.iter().filter(|violation| violation.rule == rule.id);
        let mut lines: Vec<String> = rule.description.iter().chain(&rule.message).cloned().collect();
        lines.extend(keys.take(KEYS_LISTED).map(|violation| violation.key.to_string()));
        let listed = u64::try_from(KEYS_LISTED).unwrap_or(u64::MAX);
        if rule.violations > listed {
            lines.push(format!("and {} more", number(rule.violations - listed)));
        }
        lines.join("\n")
    };
    let mut status = TestCaseStatus::success();
    let mut said = None;
    match rule.status {
        RuleStatus::Error => {
            status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(rule.message.clone().unwrap_or_default()).set_type("error");
        }
        RuleStatus::Fail if rule.fails(fail_on) => {
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(found).set_type(rule.severity.as_str()).set_description(details());
        }
        RuleStatus::Fail => said = Some(format!("{}: {found}\n{}", rule.severity.as_str(), details())),
        RuleStatus::Pass => {}
    }
    let mut case = TestCase::new(rule.id.as_ref(), status);
    case.set_classname(rule.table.to_string());
    if let Some(said) = said {
        case.set_system_out(said);
    }
    case
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_case_is_a_rule() {
        insta::assert_snapshot!(sample::printed(&FORMAT));
    }
}
