//! `audit --format sarif`: SARIF 2.1.0, as code scanning reads it.
//!
//! A result is a record in breach: it points at its rule in the rules file, and names the record as a logical location.

use std::io::Write;

use serde::Serialize;

use super::super::ReportError;
use super::super::text::layout::number;
use super::findings::share;
use super::{AuditFormat, AuditReport};
use crate::audit::{AuditVerdict, Location, RuleOutcome, RuleStatus, Severity, Violation};

pub(super) const FORMAT: AuditFormat = AuditFormat { name: "sarif", write };

/// How many records of a rule become results, and how many of all rules: code scanning refuses a file of more.
const RESULTS_PER_RULE: usize = 1_000;
const MOST_RESULTS: usize = 25_000;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

#[derive(Serialize)]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool<'a>,
    invocations: [Invocation<'a>; 1],
    column_kind: &'static str,
    results: Vec<SarifResult<'a>>,
}

#[derive(Serialize)]
struct Tool<'a> {
    driver: Driver<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver<'a> {
    name: &'static str,
    version: &'static str,
    rules: Vec<ReportingDescriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportingDescriptor<'a> {
    id: &'a str,
    short_description: Message,
    default_configuration: Configuration,
}

#[derive(Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation<'a> {
    execution_successful: bool,
    exit_code: u8,
    end_time_utc: String,
    tool_execution_notifications: Vec<Notification<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Notification<'a> {
    level: &'static str,
    message: Message,
    associated_rule: RuleReference<'a>,
}

#[derive(Serialize)]
struct RuleReference<'a> {
    id: &'a str,
    index: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult<'a> {
    rule_id: &'a str,
    rule_index: usize,
    level: &'static str,
    message: Message,
    locations: [ResultLocation; 1],
    partial_fingerprints: Fingerprints,
}

#[derive(Serialize)]
struct Message {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultLocation {
    #[serde(skip_serializing_if = "Option::is_none")]
    physical_location: Option<PhysicalLocation>,
    logical_locations: [LogicalLocation; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Serialize)]
struct ArtifactLocation {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: usize,
    start_column: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogicalLocation {
    fully_qualified_name: String,
    kind: &'static str,
}

#[derive(Serialize)]
struct Fingerprints {
    #[serde(rename = "violation/v1")]
    violation: String,
}

fn write(report: &AuditReport<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    let mut results = Vec::new();
    let mut notifications = Vec::new();
    let in_breach = report.outcome.rules.iter().filter(|rule| rule.violations > 0).count();
    let most = RESULTS_PER_RULE.min(MOST_RESULTS / in_breach.max(1));
    for (index, rule) in report.outcome.rules.iter().enumerate() {
        let found: Vec<SarifResult<'_>> = report
            .outcome
            .violations
            .iter()
            .filter(|violation| violation.rule == rule.id)
            .take(most)
            .map(|violation| result(index, rule, violation, report))
            .collect();
        notifications.extend(notification(index, rule, found.len()));
        results.extend(found);
    }
    let verdict = report.outcome.verdict(report.fail_on);
    let invocation = Invocation {
        execution_successful: verdict != AuditVerdict::Incomplete,
        exit_code: verdict.exit_status(),
        end_time_utc: report.finished.to_string(),
        tool_execution_notifications: notifications,
    };
    let rules = report.outcome.rules.iter().map(descriptor).collect();
    let driver = Driver { name: "blast-radius", version: env!("CARGO_PKG_VERSION"), rules };
    let run = Run { tool: Tool { driver }, invocations: [invocation], column_kind: "unicodeCodePoints", results };
    serde_json::to_writer_pretty(&mut *out, &Log { schema: SCHEMA, version: "2.1.0", runs: [run] })?;
    writeln!(out)?;
    Ok(())
}

fn descriptor(rule: &RuleOutcome) -> ReportingDescriptor<'_> {
    let text = rule.description.clone().unwrap_or_else(|| format!("{} of {}", rule.id, rule.table));
    ReportingDescriptor {
        id: &rule.id,
        short_description: Message { text },
        default_configuration: Configuration { level: level(rule.severity) },
    }
}

/// What is to be known of a rule beside its results: that it could not be run, that not all of them are listed.
fn notification(index: usize, rule: &RuleOutcome, listed: usize) -> Option<Notification<'_>> {
    let hidden = rule.violations.saturating_sub(u64::try_from(listed).unwrap_or(u64::MAX));
    let (level, text) = match rule.status {
        RuleStatus::Error => {
            ("error", format!("could not be run: {}", rule.message.as_deref().unwrap_or("no reason is known")))
        }
        _ if hidden > 0 => ("warning", format!("{} more violations: --records lists all", number(hidden))),
        _ => ("note", rule.message.clone()?),
    };
    Some(Notification { level, message: Message { text }, associated_rule: RuleReference { id: &rule.id, index } })
}

fn result<'a>(
    rule_index: usize,
    rule: &'a RuleOutcome,
    violation: &Violation,
    report: &AuditReport<'_>,
) -> SarifResult<'a> {
    let record = format!("{} {}", violation.table, violation.key);
    let by = match (&violation.release, &violation.written) {
        (Some(release), Some(written)) => format!(" since {release} wrote at {}", written.ts),
        (None, Some(written)) => format!(" since {}", written.ts),
        _ => String::new(),
    };
    // A rule within its tolerance fails nothing, whatever its severity.
    let level = if rule.status == RuleStatus::Pass { "note" } else { level(rule.severity) };
    let fingerprint = blake3::hash(format!("{}\0{record}", violation.rule).as_bytes());
    SarifResult {
        rule_id: &rule.id,
        rule_index,
        level,
        message: Message { text: format!("{record} violates {}{by} ({} do)", rule.id, share(rule)) },
        locations: [ResultLocation {
            physical_location: report.place(&rule.id).map(|(file, location)| physical(&file, location)),
            logical_locations: [LogicalLocation { fully_qualified_name: record, kind: "record" }],
        }],
        partial_fingerprints: Fingerprints { violation: fingerprint.to_hex().to_string() },
    }
}

fn physical(file: &str, location: &Location) -> PhysicalLocation {
    PhysicalLocation {
        artifact_location: ArtifactLocation { uri: uri(file) },
        region: Region { start_line: location.line, start_column: location.column },
    }
}

/// SARIF's name of a severity.
fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "note",
        Severity::Warn => "warning",
        Severity::Error => "error",
    }
}

/// A path as a relative URI reference, or a `file:` URI where it is absolute.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn it_keeps_to_the_schema() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("sarif-2.1.0-subset.schema.json")).expect("the schema is JSON");
        let validator = jsonschema::validator_for(&schema).expect("it is a schema");
        let log: serde_json::Value = serde_json::from_str(&sample::printed(&FORMAT)).expect("it is JSON");
        let mistakes: Vec<String> = validator.iter_errors(&log).map(|error| format!("{error}")).collect();
        assert!(mistakes.is_empty(), "{mistakes:#?}");
        let mut without_rules = log.clone();
        without_rules["runs"][0]["results"][0]["level"] = "fatal".into();
        assert!(!validator.is_valid(&without_rules), "the schema lets everything pass");
    }

    #[test]
    fn a_result_is_a_record() {
        let log: serde_json::Value = serde_json::from_str(&sample::printed(&FORMAT)).expect("it is JSON");
        let results = log["runs"][0]["results"].as_array().expect("results");
        assert_eq!(results.len(), sample::outcome().violations.len());
        insta::assert_snapshot!(serde_json::to_string_pretty(&results[0]).expect("it is JSON"));
        let notifications = &log["runs"][0]["invocations"][0]["toolExecutionNotifications"];
        assert_eq!(notifications[0]["associatedRule"]["id"], "odd");
    }

    #[test]
    fn no_more_results_than_code_scanning_takes() {
        let mut outcome = sample::outcome();
        let violation = outcome.violations.first().expect("a violation").clone();
        let rule = outcome.rules.first().expect("a rule").clone();
        (outcome.rules, outcome.violations) = (Vec::new(), Vec::new());
        for place in 0..40 {
            let id: std::sync::Arc<str> = format!("rule {place}").into();
            outcome.rules.push(RuleOutcome { id: id.clone(), violations: 700, ..rule.clone() });
            outcome.violations.extend((0..700).map(|_| Violation { rule: id.clone(), ..violation.clone() }));
        }
        let log: serde_json::Value = serde_json::from_str(&sample::printed_of(&FORMAT, &outcome)).expect("it is JSON");
        let run = &log["runs"][0];
        assert_eq!(run["results"].as_array().map(Vec::len), Some(25_000));
        let notifications = run["invocations"][0]["toolExecutionNotifications"].as_array().expect("notifications");
        assert!(notifications[39]["message"]["text"].as_str().is_some_and(|text| text.starts_with("75 more")));
    }

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("rules/a b,ü.yaml"), "rules/a%20b%2C%C3%BC.yaml");
        assert_eq!(uri("/srv/rules.yaml"), "file:///srv/rules.yaml");
    }
}
