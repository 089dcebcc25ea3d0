//! `lineage --format json`: the graph for scripts; its statements are shaped as those of `lineage --sql`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde::Serialize;

use crate::lineage::graph::{Hop, LineageGraph, StatementView};
use crate::model::{FeedKind, TableColumn};
use crate::report::ReportError;

#[derive(Serialize)]
struct Document {
    format: &'static str,
    statements: Vec<Statement>,
    tables: Vec<String>,
    cycles: Vec<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Vec<Step>>,
}

#[derive(Serialize)]
struct Statement {
    sql: String,
    origin: String,
    kind: &'static str,
    targets: Vec<String>,
    sources: Vec<String>,
    columns: Vec<Column>,
    error: Option<String>,
    executions: u64,
    first: Option<String>,
    last: Option<String>,
    releases: Vec<Ran>,
}

#[derive(Serialize)]
struct Column {
    target: String,
    sources: Vec<String>,
    via: &'static str,
    influences: Vec<String>,
}

#[derive(Serialize)]
struct Ran {
    service: Option<String>,
    release: String,
    executions: u64,
    first: Option<String>,
    last: Option<String>,
}

#[derive(Serialize)]
struct Step {
    from: String,
    to: String,
    via: &'static str,
    origin: String,
    sql: String,
}

/// Writes the graph, and an explanation where one was asked for.
///
/// # Errors
/// An output that refuses.
pub fn write_graph_json(
    graph: &LineageGraph,
    explanation: Option<&[Hop<'_>]>,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    let document = Document {
        format: "lineage/1",
        statements: graph.statements().iter().map(statement).collect(),
        tables: graph.tables().map(ToString::to_string).collect(),
        cycles: graph.cycles().iter().map(|cycle| cycle.iter().map(ToString::to_string).collect()).collect(),
        explanation: explanation.map(|hops| hops.iter().map(step).collect()),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)?;
    Ok(())
}

fn statement(view: &StatementView<'_>) -> Statement {
    let node = view.statement;
    let ran = |(release, usage): (&&crate::model::Release, &crate::lineage::graph::Usage)| Ran {
        service: release.service.as_ref().map(ToString::to_string),
        release: release.name.to_string(),
        executions: usage.count,
        first: usage.first.map(|time| time.to_string()),
        last: usage.last.map(|time| time.to_string()),
    };
    Statement {
        sql: node.name.text.to_string(),
        origin: node.name.origin.as_str().to_owned(),
        kind: node.kind,
        targets: view.targets().iter().map(ToString::to_string).collect(),
        sources: view.sources().iter().map(ToString::to_string).collect(),
        columns: columns(&view.feeds()),
        error: node.error.clone(),
        executions: node.usage.count,
        first: node.usage.first.map(|time| time.to_string()),
        last: node.usage.last.map(|time| time.to_string()),
        releases: view.releases().iter().map(ran).collect(),
    }
}

/// Of several ways in which sources give a column its value, the strongest is told.
fn columns(feeds: &BTreeMap<&TableColumn, BTreeSet<(&TableColumn, FeedKind)>>) -> Vec<Column> {
    let column = |(target, sources): (&&TableColumn, &BTreeSet<(&TableColumn, FeedKind)>)| {
        let (influences, values): (Vec<_>, Vec<_>) = sources.iter().partition(|(_, kind)| *kind == FeedKind::Influence);
        let names = |sources: &[(&TableColumn, FeedKind)]| -> Vec<String> {
            let names: BTreeSet<String> = sources.iter().map(|(source, _)| source.to_string()).collect();
            names.into_iter().collect()
        };
        let via = values.iter().map(|(_, kind)| *kind).max().unwrap_or(FeedKind::Transform);
        Column {
            target: target.to_string(),
            sources: names(&values),
            via: via.as_str(),
            influences: names(&influences),
        }
    };
    feeds.iter().map(column).collect()
}

fn step(hop: &Hop<'_>) -> Step {
    Step {
        from: hop.from.to_string(),
        to: hop.to.to_string(),
        via: hop.kind.as_str(),
        origin: hop.statement.name.origin.as_str().to_owned(),
        sql: hop.statement.name.text.to_string(),
    }
}
