//! `audit --format openlineage`: a run event whose inputs carry the DataQualityAssertions facet, for a data catalogue.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::super::ReportError;
use super::{AuditFormat, AuditReport};
use crate::audit::{AuditVerdict, RuleOutcome, RuleStatus};
use crate::model::TableName;

pub(super) const FORMAT: AuditFormat = AuditFormat { name: "openlineage", write };

const PRODUCER: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/tree/v", env!("CARGO_PKG_VERSION"));
const EVENT_SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const FACET_SCHEMA: &str = "https://openlineage.io/spec/facets/1-0-1/DataQualityAssertionsDatasetFacet.json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunEvent<'a> {
    event_time: String,
    event_type: &'static str,
    producer: &'static str,
    #[serde(rename = "schemaURL")]
    schema_url: &'static str,
    run: Run,
    job: Job,
    inputs: Vec<InputDataset<'a>>,
    outputs: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    run_id: String,
}

#[derive(Serialize)]
struct Job {
    namespace: String,
    name: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InputDataset<'a> {
    namespace: String,
    name: String,
    input_facets: InputFacets<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InputFacets<'a> {
    data_quality_assertions: Assertions<'a>,
}

#[derive(Serialize)]
struct Assertions<'a> {
    #[serde(rename = "_producer")]
    producer: &'static str,
    #[serde(rename = "_schemaURL")]
    schema_url: &'static str,
    assertions: Vec<Assertion<'a>>,
}

#[derive(Serialize)]
struct Assertion<'a> {
    assertion: &'a str,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<&'a str>,
}

fn write(report: &AuditReport<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    let mut by_table: BTreeMap<&TableName, Vec<&RuleOutcome>> = BTreeMap::new();
    for rule in &report.outcome.rules {
        by_table.entry(&rule.table).or_default().push(rule);
    }
    let address = report.address;
    let inputs =
        by_table.into_iter().map(|(table, rules)| (address.dataset(table), rules)).map(|((namespace, name), rules)| {
            InputDataset {
                namespace,
                name,
                input_facets: InputFacets {
                    data_quality_assertions: Assertions {
                        producer: PRODUCER,
                        schema_url: FACET_SCHEMA,
                        assertions: rules.into_iter().map(|rule| assertion(rule, report)).collect(),
                    },
                },
            }
        });
    let incomplete = report.outcome.verdict(report.fail_on) == AuditVerdict::Incomplete;
    let event = RunEvent {
        event_time: report.finished.to_string(),
        event_type: if incomplete { "FAIL" } else { "COMPLETE" },
        producer: PRODUCER,
        schema_url: EVENT_SCHEMA,
        run: Run { run_id: run_id(report) },
        job: Job { namespace: address.namespace.clone(), name: "blast-radius audit" },
        inputs: inputs.collect(),
        outputs: [],
    };
    serde_json::to_writer(&mut *out, &event)?;
    writeln!(out)?;
    Ok(())
}

/// A rule that could not be run has not succeeded. A column is named where the violations blame exactly one.
fn assertion<'a>(rule: &'a RuleOutcome, report: &AuditReport<'a>) -> Assertion<'a> {
    let first = report.outcome.violations.iter().find(|violation| violation.rule == rule.id);
    let column = first.and_then(|violation| match violation.columns.as_ref() {
        [column] => Some(column.as_ref()),
        _ => None,
    });
    Assertion { assertion: &rule.id, success: rule.status == RuleStatus::Pass, column }
}

/// A UUID (version 8) of this run: of what was audited, and when.
fn run_id(report: &AuditReport<'_>) -> String {
    let run = format!("{}\0{}\0{}", report.address.namespace, report.address.database, report.finished);
    let mut bytes = [0; 16];
    blake3::Hasher::new().update(run.as_bytes()).finalize_xof().fill(&mut bytes);
    let number = (u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62)) | (0x8 << 76) | (0x2 << 62);
    let digits = format!("{number:032x}");
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_event_is_openlineage_s() {
        let event: serde_json::Value = serde_json::from_str(&sample::printed(&FORMAT)).expect("it is JSON");
        insta::assert_snapshot!(serde_json::to_string_pretty(&event).expect("it is JSON"));
        let run_id = event["run"]["runId"].as_str().expect("a run id");
        let form = regex::Regex::new("^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$");
        assert!(form.expect("an expression").is_match(run_id), "{run_id}");
    }
}
