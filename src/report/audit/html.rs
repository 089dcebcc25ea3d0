//! `audit --html FILE`: the audit as one page for a browser.

use std::io::Write;

use maud::{Markup, html};

use super::super::ReportError;
use super::super::page::page;
use super::super::text::layout::{counted, number, time};
use super::AuditReport;
use super::findings::{is_traced, listed_keys, origins, word};
use crate::audit::{AuditVerdict, ReleaseOutcome, RuleOutcome, RuleStatus};

/// How many keys of a rule and a release the page lists.
const KEYS_LISTED: usize = 1_000;

/// Writes the page: every rule, and of those in breach the keys by the release that made them so. Cells are not in it.
///
/// # Errors
/// What the writer says.
pub fn write_audit_html(report: &AuditReport<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    let title = format!("Audit of {}", report.address.database);
    out.write_all(page(&title, &body(report)).into_string().as_bytes())?;
    Ok(())
}

fn body(report: &AuditReport<'_>) -> Markup {
    let outcome = report.outcome;
    let (verdict, tone) = match outcome.verdict(report.fail_on) {
        AuditVerdict::Pass => ("passed", "right"),
        AuditVerdict::Fail => ("failed", "wrong"),
        AuditVerdict::Incomplete => ("could not run every rule", "wrong"),
    };
    let rules = counted(u64::try_from(outcome.rules.len()).unwrap_or(u64::MAX), "rule");
    let violations = counted(outcome.rules.iter().map(|rule| rule.violations).sum(), "violation");
    let is_told = |rule: &&RuleOutcome| rule.status == RuleStatus::Error || rule.violations > 0;
    html! {
        h1 { "Audit " span class=(tone) { (verdict) } ": " (rules) " checked, " (violations) " found" }
        p.note { code { (report.address.database) } " on " (report.address.server) ", " (time(report.finished)) }
        table {
            thead { tr {
                th { "" } th { "rule" } th { "table" } th.number { "violations" } th.number { "rows checked" }
            } }
            tbody { @for rule in &outcome.rules { (row(rule, report)) } }
        }
        (releases(report))
        @for rule in outcome.rules.iter().filter(is_told) { (details(rule, report)) }
        @if !outcome.limits.is_empty() {
            h2 { "What could not be decided" }
            ul { @for limit in &outcome.limits { li { (limit) } } }
        }
    }
}

fn row(rule: &RuleOutcome, report: &AuditReport<'_>) -> Markup {
    let tone = match rule.status {
        RuleStatus::Pass => "right",
        RuleStatus::Fail if !rule.fails(report.fail_on) => "note",
        RuleStatus::Fail | RuleStatus::Error => "wrong",
    };
    html! {
        tr {
            td class=(tone) { (word(rule)) }
            td { code { (rule.id) } }
            td { code { (rule.table) } }
            @if rule.status.has_run() {
                td.number { (number(rule.violations)) }
                td.number { (number(rule.checked)) }
            } @else { td {} td {} }
        }
    }
}

fn releases(report: &AuditReport<'_>) -> Markup {
    let broken: Vec<&ReleaseOutcome> =
        report.outcome.releases.iter().filter(|release| release.violations > 0).collect();
    html! {
        @if !broken.is_empty() {
            h2 { "Releases" }
            table {
                thead { tr {
                    th { "release" } th.number { "violations" } th.number { "records written" }
                    th.number { "× the others' share" } th.number { "p" }
                } }
                tbody {
                    @for release in broken {
                        tr {
                            td {
                                @if let Some(service) = &release.service { (service) " " }
                                code { (release.release) }
                            }
                            td.number { (number(release.violations)) }
                            td.number { (number(release.written)) }
                            td.number { @if let Some(lift) = release.lift { (format!("{lift:.1}")) } }
                            td.number { @if let Some(p_value) = release.p_value { (format!("{p_value:.2e}")) } }
                        }
                    }
                }
            }
        }
    }
}

fn details(rule: &RuleOutcome, report: &AuditReport<'_>) -> Markup {
    let is_traced = is_traced(report);
    html! {
        h2 { code { (rule.id) } }
        @for line in rule.description.iter().chain(&rule.message) { p { (line) } }
        ul {
            @for origin in origins(rule, report) {
                li {
                    @if is_traced {
                        b { (origin.name()) } ": " (origin.violations.len())
                        @if let Some(since) = origin.since { " since " (time(since)) }
                        ": "
                    }
                    (listed_keys(&origin.violations, KEYS_LISTED))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::audit::Severity;

    #[test]
    fn the_page_names_every_rule_and_every_key() {
        let page = sample::written(Severity::Error, false, write_audit_html);
        for told in ["Audit <span class=\"wrong\">could not run every rule</span>", "order-status-is-known", "v42"] {
            assert!(page.contains(told), "{told}: {page}");
        }
        assert!(page.contains("id 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20"), "{page}");
        assert!(page.contains("A&lt;1&gt;"), "what comes from outside is escaped: {page}");
        assert!(page.contains("Divide by zero error"), "{page}");
    }
}
