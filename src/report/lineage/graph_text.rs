//! `lineage --format text`: table by table, what it is fed by and what it feeds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use crate::lineage::graph::{Hop, LineageGraph, StatementView, Usage};
use crate::model::{FeedKind, TableColumn, TableName};
use crate::report::ReportError;
use crate::report::text::layout::{counted, number, one_line, time};

/// So much of a statement is shown where not everything is asked for.
const SHOWN: usize = 100;

/// Writes the graph for people; `verbose`: statements whole.
///
/// # Errors
/// An output that refuses.
pub fn write_graph_text(graph: &LineageGraph, verbose: bool, out: &mut dyn Write) -> Result<(), ReportError> {
    if graph.is_empty() {
        writeln!(out, "nothing is known that reads or writes a table")?;
        return Ok(());
    }
    let statements = graph.statements();
    let tables: Vec<&TableName> = graph.tables().collect();
    let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    let columns = graph.columns();
    let (tables_told, columns_told) = (counted(count(tables.len()), "table"), counted(count(columns.len()), "column"));
    writeln!(out, "{tables_told}, {columns_told}, {}", counted(count(statements.len()), "statement"))?;
    let mut feeds: BTreeMap<&TableColumn, BTreeSet<(&TableColumn, FeedKind)>> = BTreeMap::new();
    for view in &statements {
        for (target, sources) in view.feeds() {
            feeds.entry(target).or_default().extend(sources);
        }
    }
    for table in tables {
        writeln!(out, "\n{table}")?;
        for (column, sources) in feeds.iter().filter(|(column, _)| column.table == *table) {
            writeln!(out, "  {} ← {}", column.column, sources_told(sources))?;
        }
        let writing: Vec<&StatementView<'_>> =
            statements.iter().filter(|view| view.targets().contains(table)).collect();
        for view in writing {
            write_writer(view, verbose, out)?;
        }
        let fed: BTreeSet<String> = statements
            .iter()
            .filter(|view| view.sources().contains(table))
            .flat_map(StatementView::targets)
            .filter(|target| *target != table)
            .map(ToString::to_string)
            .collect();
        if !fed.is_empty() {
            writeln!(out, "  feeds {}", fed.into_iter().collect::<Vec<_>>().join(", "))?;
        }
    }
    for cycle in graph.cycles() {
        let names: Vec<String> = cycle.iter().map(ToString::to_string).collect();
        writeln!(out, "\nin a circle: {}", names.join(", "))?;
    }
    Ok(())
}

fn sources_told(sources: &BTreeSet<(&TableColumn, FeedKind)>) -> String {
    let (influences, values): (Vec<_>, Vec<_>) = sources.iter().partition(|(_, kind)| *kind == FeedKind::Influence);
    let mut told: Vec<String> = values.iter().map(|(source, kind)| format!("{source} ({})", kind.as_str())).collect();
    if !influences.is_empty() {
        let names: Vec<String> = influences.iter().map(|(source, _)| source.to_string()).collect();
        told.push(format!("chosen by {}", names.join(", ")));
    }
    told.join(", ")
}

fn write_writer(view: &StatementView<'_>, verbose: bool, out: &mut dyn Write) -> Result<(), ReportError> {
    let name = &view.statement.name;
    let text = one_line(&name.text, if verbose { usize::MAX } else { SHOWN });
    let sources: Vec<String> = view.sources().iter().map(ToString::to_string).collect();
    let from = if sources.is_empty() { String::new() } else { format!(" from {}", sources.join(", ")) };
    writeln!(out, "  written{from} by {} {text}", name.origin.as_str())?;
    writeln!(out, "    {}{}", usage_told(&view.statement.usage), releases_told(view))?;
    if let Some(error) = &view.statement.error {
        writeln!(out, "    not understood: {error}")?;
    }
    Ok(())
}

fn usage_told(usage: &Usage) -> String {
    match (usage.first, usage.last) {
        (Some(first), Some(last)) if usage.count > 1 => {
            format!("{}, {} to {}", counted(usage.count, "time"), time(first), time(last))
        }
        (Some(first), _) => format!("once, {}", time(first)),
        _ => "declared, never seen to run".to_owned(),
    }
}

fn releases_told(view: &StatementView<'_>) -> String {
    let releases: Vec<String> =
        view.releases().iter().map(|(release, usage)| format!("{release} ({})", number(usage.count))).collect();
    if releases.is_empty() { String::new() } else { format!(", {}", releases.join(", ")) }
}

/// Writes how one column comes to bear on another, step by step.
///
/// # Errors
/// An output that refuses.
pub fn write_explanation_text(
    from: &TableColumn,
    to: &TableColumn,
    hops: &[Hop<'_>],
    verbose: bool,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    if hops.is_empty() {
        writeln!(out, "{from} does not bear on {to}, as far as is known")?;
    }
    for hop in hops {
        let text = one_line(&hop.statement.name.text, if verbose { usize::MAX } else { SHOWN });
        let what = match hop.kind {
            FeedKind::Copy => "is copied to",
            FeedKind::Transform => "is computed into",
            FeedKind::Aggregate => "is aggregated into",
            FeedKind::Influence => "decides which rows reach",
        };
        writeln!(out, "{} {what} {}\n  by {} {text}", hop.from, hop.to, hop.statement.name.origin.as_str())?;
        writeln!(out, "    {}", usage_told(&hop.statement.usage))?;
    }
    Ok(())
}
