//! `explain --format json`.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::{Change, Explanation};
use crate::model::Value;
use crate::report::ReportError;
use crate::report::record::{ReportedKey, ReportedRecord};
use crate::trace::{Reader, Source, SourceRows, Version};

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    table: String,
    key: ReportedKey<'a>,
    release: Option<&'a str>,
    /// The record in the blast radius; null where it is not in it, or nothing was traced.
    affected: Option<ReportedRecord<'a>>,
    versions: Vec<ExplainedVersion<'a>>,
    /// From the record's cause back to the root.
    chain: Vec<ReportedRecord<'a>>,
    derived: Vec<ReportedRecord<'a>>,
    readers: Vec<ExplainedReader<'a>>,
    limits: &'a [String],
}

#[derive(Serialize)]
struct ExplainedVersion<'a> {
    seq: u64,
    ts: String,
    committed: String,
    tx: Option<&'a str>,
    service: Option<&'a str>,
    release: Option<&'a str>,
    op: &'static str,
    statement: Option<&'a str>,
    columns: Vec<ExplainedChange<'a>>,
    sources: Vec<ExplainedSource<'a>>,
}

#[derive(Serialize)]
struct ExplainedChange<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    personal: bool,
}

#[derive(Serialize)]
struct ExplainedSource<'a> {
    table: String,
    rows: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<&'a str>,
}

#[derive(Serialize)]
struct ExplainedReader<'a> {
    statement: &'a str,
    service: Option<&'a str>,
    release: Option<&'a str>,
    executions: u64,
    first: String,
    last: String,
    wrote: BTreeMap<String, u64>,
}

/// Writes the explanation as JSON, with a newline at its end.
///
/// # Errors
/// What the writer says.
pub fn write_explanation_json(explanation: &Explanation<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
    let story = explanation.story;
    let mut chain = explanation.chain.iter().map(|record| explanation.reported(record));
    let document = Document {
        format: "explain/1",
        table: story.table.to_string(),
        key: ReportedKey::new(&story.key, explanation.context(&story.table).schema),
        release: explanation.blast_radius.map(|found| found.release.as_str()),
        affected: chain.next(),
        versions: story.versions.iter().map(|version| explained(explanation, version)).collect(),
        chain: chain.collect(),
        derived: explanation.derived.iter().map(|record| explanation.reported(record)).collect(),
        readers: story.readers.iter().map(reader).collect(),
        limits: explanation.blast_radius.map(|found| found.limits.as_slice()).unwrap_or_default(),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)?;
    Ok(())
}

fn explained<'a>(explanation: &Explanation<'a>, version: &'a Version) -> ExplainedVersion<'a> {
    let release = version.write.attribution.as_ref().map(|attribution| &attribution.release);
    ExplainedVersion {
        seq: version.write.seq.0,
        ts: version.write.ts.to_string(),
        committed: version.committed.to_string(),
        tx: version.transaction.as_ref().map(|transaction| transaction.0.as_ref()),
        service: release.and_then(|release| release.service.as_ref()).map(|service| service.as_str()),
        release: release.map(|release| release.name.as_str()),
        op: version.write.operation.as_str(),
        statement: version.statement.as_deref(),
        columns: explanation.changes(&version.write).into_iter().map(change).collect(),
        sources: version.sources.iter().map(|source| explained_source(explanation, source)).collect(),
    }
}

fn change(change: Change<'_>) -> ExplainedChange<'_> {
    let shown = |value: Option<&'_ Value>| value.filter(|_| !change.personal).map(|_| ());
    ExplainedChange {
        name: change.column,
        before: shown(change.before).and(change.before.map(Value::as_str)),
        after: shown(change.after).and(change.after.map(Value::as_str)),
        personal: change.personal,
    }
}

fn explained_source<'a>(explanation: &Explanation<'a>, source: &'a Source) -> ExplainedSource<'a> {
    let (rows, column, values) = match &source.rows {
        SourceRows::Where(column, values) => {
            let personal = explanation.context(&source.table).is_personal(column);
            let shown = values.iter().filter_map(Value::as_str).filter(|_| !personal).collect();
            ("where", Some(column.as_ref()), shown)
        }
        SourceRows::JoinedBy(column) => ("joined", Some(column.as_ref()), Vec::new()),
        SourceRows::Any => ("any", None, Vec::new()),
    };
    ExplainedSource { table: source.table.to_string(), rows, column, values }
}

fn reader(reader: &Reader) -> ExplainedReader<'_> {
    ExplainedReader {
        statement: &reader.statement,
        service: reader.release.as_ref().and_then(|release| release.service.as_ref()).map(|service| service.as_str()),
        release: reader.release.as_ref().map(|release| release.name.as_str()),
        executions: reader.executions,
        first: reader.first.to_string(),
        last: reader.last.to_string(),
        wrote: reader.wrote.iter().map(|(table, rows)| (table.to_string(), *rows)).collect(),
    }
}
