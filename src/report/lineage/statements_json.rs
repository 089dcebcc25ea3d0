//! `lineage --sql --format json`: the contract's document, the same bytes for the same statements.

use std::io::Write;

use serde::Serialize;

use super::super::ReportError;
use crate::model::TableName;
use crate::sql::{ColumnLineage, Influence, StatementAnalysis};

#[derive(Serialize)]
struct Document<'a> {
    statements: Vec<Statement<'a>>,
}

#[derive(Serialize)]
struct Statement<'a> {
    sql: &'a str,
    kind: &'static str,
    targets: Vec<String>,
    sources: Vec<String>,
    columns: Vec<Column>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Column {
    target: String,
    sources: Vec<String>,
    via: &'static str,
    influences: Vec<String>,
}

/// Writes the contract's document, with a newline at its end.
///
/// # Errors
/// What the writer says.
pub fn write_statements_json(statements: &[StatementAnalysis], out: &mut dyn Write) -> Result<(), ReportError> {
    let document = Document { statements: statements.iter().map(statement).collect() };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)?;
    Ok(())
}

fn statement(analysis: &StatementAnalysis) -> Statement<'_> {
    let names = |tables: &[TableName]| tables.iter().map(ToString::to_string).collect();
    Statement {
        sql: &analysis.sql,
        kind: analysis.kind.as_str(),
        targets: names(&analysis.targets),
        sources: names(&analysis.sources),
        columns: analysis.columns.iter().map(column).collect(),
        error: analysis.error.as_ref().map(|error| format!("failed to {error}")),
    }
}

fn column(lineage: &ColumnLineage) -> Column {
    Column {
        target: lineage.target.to_string(),
        sources: lineage.sources.iter().map(ToString::to_string).collect(),
        via: lineage.via.as_str(),
        influences: influencing(&lineage.influences),
    }
}

/// The columns that influence, each once, whatever they do it by.
pub(super) fn influencing(influences: &[Influence]) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    influences
        .iter()
        .filter(|influence| seen.insert(&influence.column))
        .map(|influence| influence.column.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Dialect, Schema, analyze};

    #[test]
    fn the_document_is_the_contract_s() {
        let sql = "INSERT INTO t (c) SELECT a FROM s WHERE b > 0; SELEC 1";
        let mut out = Vec::new();
        write_statements_json(&analyze(sql, &Schema::default(), Dialect::Postgres), &mut out).expect("it is written");
        insta::assert_snapshot!(String::from_utf8(out).expect("JSON is text"));
    }
}
