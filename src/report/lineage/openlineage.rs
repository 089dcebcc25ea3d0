//! `lineage --format openlineage`: one event a line, by <https://openlineage.io/spec/2-0-2/OpenLineage.json>.
//!
//! A statement that ran is a RunEvent of its last run; one that is only declared is a JobEvent.

use std::io::Write;

use serde_json::{Map, Value as Json, json};

use crate::lineage::graph::{LineageGraph, Origin, StatementView};
use crate::model::{FeedKind, TableColumn, TableName, Timestamp};
use crate::report::ReportError;

const PRODUCER: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/tree/v", env!("CARGO_PKG_VERSION"));
const SPEC: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/";
const COLUMN_LINEAGE: &str =
    "https://openlineage.io/spec/facets/1-2-0/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet";
const SQL_FACET: &str = "https://openlineage.io/spec/facets/1-1-0/SQLJobFacet.json#/$defs/SQLJobFacet";
/// The namespace of statements that no other tool has named.
const JOB_NAMESPACE: &str = "blast-radius";

/// How tables are named, and when what has no time of its own is said.
pub struct OpenLineageNames<'a> {
    /// Namespace and name of a table.
    pub dataset: &'a dyn Fn(&TableName) -> (String, String),
    /// The time of events about what never ran.
    pub now: Timestamp,
}

/// Writes an event for each statement that reads or writes tables.
///
/// # Errors
/// An output that refuses.
pub fn write_graph_openlineage(
    graph: &LineageGraph,
    names: &OpenLineageNames<'_>,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    for view in graph.statements() {
        serde_json::to_writer(&mut *out, &event(&view, names))?;
        writeln!(out)?;
    }
    Ok(())
}

fn event(view: &StatementView<'_>, names: &OpenLineageNames<'_>) -> Json {
    let (namespace, name) = job(view);
    let mut facets = Map::new();
    if matches!(view.statement.name.origin, Origin::Sql | Origin::Catalog | Origin::Derive) {
        facets.insert(
            "sql".to_owned(),
            json!({ "_producer": PRODUCER, "_schemaURL": SQL_FACET, "query": view.statement.name.text.as_ref() }),
        );
    }
    let run = view.statement.usage.last;
    let mut event = Map::new();
    let defined = if run.is_some() { "RunEvent" } else { "JobEvent" };
    event.insert("eventTime".to_owned(), json!(run.unwrap_or(names.now).to_string()));
    event.insert("producer".to_owned(), json!(PRODUCER));
    event.insert("schemaURL".to_owned(), json!(format!("{SPEC}{defined}")));
    if let Some(run) = run {
        event.insert("eventType".to_owned(), json!("COMPLETE"));
        event.insert("run".to_owned(), json!({ "runId": run_id(&namespace, &name, run), "facets": {} }));
    }
    event.insert("job".to_owned(), json!({ "namespace": namespace, "name": name, "facets": facets }));
    event.insert("inputs".to_owned(), view.sources().iter().map(|table| dataset(table, Map::new(), names)).collect());
    event.insert("outputs".to_owned(), view.targets().iter().map(|table| output(table, view, names)).collect());
    Json::Object(event)
}

/// A job of another tool keeps its name; a statement is named by what it does, and a hash of its template.
fn job(view: &StatementView<'_>) -> (String, String) {
    let name = &view.statement.name;
    if let (Origin::Stated(_), Some((namespace, job))) = (&name.origin, name.text.rsplit_once('/')) {
        return (namespace.to_owned(), job.to_owned());
    }
    if let Origin::Stated(by) = &name.origin {
        return (by.to_string(), name.text.to_string());
    }
    let targets: Vec<String> = view.targets().iter().map(ToString::to_string).collect();
    let hash = blake3::hash(name.text.as_bytes()).to_hex();
    let what = if targets.is_empty() { String::new() } else { format!(".{}", targets.join("+")) };
    (JOB_NAMESPACE.to_owned(), format!("{}{what}.{}", view.statement.kind, &hash[..12]))
}

/// A UUID of version 8 (RFC 9562): the same run has the same one.
fn run_id(namespace: &str, name: &str, run: Timestamp) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [namespace, name, &run.to_string()] {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let hash = hasher.finalize();
    let hex = hash.to_hex();
    format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}

fn dataset(table: &TableName, facets: Map<String, Json>, names: &OpenLineageNames<'_>) -> Json {
    let (namespace, name) = (names.dataset)(table);
    json!({ "namespace": namespace, "name": name, "facets": facets })
}

fn output(table: &TableName, view: &StatementView<'_>, names: &OpenLineageNames<'_>) -> Json {
    let mut fields = Map::new();
    for (target, sources) in view.feeds() {
        if target.table == *table {
            let inputs: Vec<Json> = sources.iter().map(|(source, kind)| input_field(source, *kind, names)).collect();
            fields.insert(target.column.to_string(), json!({ "inputFields": inputs }));
        }
    }
    let mut facets = Map::new();
    if !fields.is_empty() {
        facets.insert(
            "columnLineage".to_owned(),
            json!({ "_producer": PRODUCER, "_schemaURL": COLUMN_LINEAGE, "fields": fields }),
        );
    }
    dataset(table, facets, names)
}

fn input_field(source: &TableColumn, kind: FeedKind, names: &OpenLineageNames<'_>) -> Json {
    let (namespace, name) = (names.dataset)(&source.table);
    let transformation = match kind {
        FeedKind::Copy => json!({ "type": "DIRECT", "subtype": "IDENTITY", "masking": false }),
        FeedKind::Transform => json!({ "type": "DIRECT", "subtype": "TRANSFORMATION", "masking": false }),
        FeedKind::Aggregate => json!({ "type": "DIRECT", "subtype": "AGGREGATION", "masking": false }),
        FeedKind::Influence => json!({ "type": "INDIRECT", "masking": false }),
    };
    json!({
        "namespace": namespace,
        "name": name,
        "field": source.column.as_ref(),
        "transformations": [transformation],
    })
}
