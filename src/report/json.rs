//! `--format json`: the contract's document, the same bytes for the same findings.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::record::ReportedRecord;
use super::{Report, ReportError};
use crate::trace::OnsetShape;

/// How many records the document lists; a records file has them all.
pub const LISTED_RECORDS: usize = 1_000;

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    release: &'a str,
    service: Option<&'a str>,
    writes: Writes,
    window: Option<Window>,
    onset: Option<Onset>,
    summary: Summary,
    tables: Vec<Table>,
    rules: Vec<Rule<'a>>,
    statements: Vec<Statement<'a>>,
    unattributed: u64,
    limits: &'a [String],
    records: Vec<ReportedRecord<'a>>,
}

#[derive(Serialize)]
struct Writes {
    total: u64,
    by_table: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct Window {
    first: String,
    last: String,
}

#[derive(Serialize)]
struct Onset {
    first_wrong: String,
    last_wrong: String,
    shape: &'static str,
}

#[derive(Serialize)]
struct Summary {
    root: u64,
    derived: u64,
    possible: u64,
    suspect: u64,
    live: u64,
    healed: u64,
    tables: u64,
    subjects: u64,
    external: u64,
}

#[derive(Serialize)]
struct Table {
    table: String,
    root: u64,
    derived: u64,
    possible: u64,
    live: u64,
    depth: u32,
}

#[derive(Serialize)]
struct Rule<'a> {
    id: &'a str,
    violations: u64,
}

#[derive(Serialize)]
struct Statement<'a> {
    statement: &'a str,
    executions: u64,
    affected: u64,
    exact: bool,
}

/// Writes the contract's document, with a newline at its end.
///
/// # Errors
/// What the writer says.
pub fn write_json(report: &Report<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    serde_json::to_writer_pretty(&mut *out, &document(report))?;
    writeln!(out)?;
    Ok(())
}

fn document<'a>(report: &Report<'a>) -> Document<'a> {
    let found = report.blast_radius;
    let totals = report.summary;
    Document {
        format: "blast-radius/1",
        release: found.release.as_str(),
        service: found.service.as_ref().map(|service| service.as_str()),
        writes: Writes {
            total: found.writes.values().sum(),
            by_table: found.writes.iter().map(|(table, writes)| (table.to_string(), *writes)).collect(),
        },
        window: found.window.map(|(first, last)| Window { first: first.to_string(), last: last.to_string() }),
        onset: found.onset.map(|onset| Onset {
            first_wrong: onset.first_wrong.to_string(),
            last_wrong: onset.last_wrong.to_string(),
            shape: shape(onset.shape),
        }),
        summary: Summary {
            root: totals.root,
            derived: totals.derived,
            possible: totals.possible,
            suspect: totals.suspect,
            live: totals.live,
            healed: totals.healed,
            tables: totals.tables,
            subjects: totals.subjects,
            external: totals.external,
        },
        tables: tables(report),
        rules: found.rules.iter().map(|(id, violations)| Rule { id, violations: *violations }).collect(),
        statements: statements(report),
        unattributed: found.unattributed,
        limits: &found.limits,
        records: report.records().take(LISTED_RECORDS).map(|(_, record)| record).collect(),
    }
}

fn shape(shape: OnsetShape) -> &'static str {
    match shape {
        OnsetShape::Sudden => "sudden",
        OnsetShape::Slow => "slow",
    }
}

fn tables(report: &Report<'_>) -> Vec<Table> {
    let table = |table: &super::TableSummary| Table {
        table: table.table.to_string(),
        root: table.root,
        derived: table.derived,
        possible: table.possible,
        live: table.live,
        depth: table.depth,
    };
    report.tables.iter().map(table).collect()
}

fn statements<'a>(report: &Report<'a>) -> Vec<Statement<'a>> {
    let statement = |statement: &'a crate::trace::AffectedStatement| Statement {
        statement: &statement.statement,
        executions: statement.executions,
        affected: statement.affected,
        exact: statement.exact,
    };
    report.blast_radius.statements.iter().map(statement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_document_is_the_contracts() {
        let (found, schemas, settings) = (sample::blast_radius(), sample::schemas(), sample::settings());
        let mut json = Vec::new();
        write_json(&Report::new(&found, &schemas, &settings), &mut json).expect("a vector takes everything");
        insta::assert_snapshot!(String::from_utf8(json).expect("JSON is UTF-8"));
    }

    #[test]
    fn a_clean_release_has_nulls_and_empty_lists() {
        let (found, schemas, settings) = (sample::clean(), sample::schemas(), sample::settings());
        let report = Report::new(&found, &schemas, &settings);
        assert!(report.is_clean());
        let document = serde_json::to_value(document(&report)).expect("the document is JSON");
        assert_eq!(document["onset"], serde_json::Value::Null);
        assert_eq!(document["records"], serde_json::json!([]));
        assert_eq!(document["writes"]["total"], serde_json::json!(12_346));
    }
}
