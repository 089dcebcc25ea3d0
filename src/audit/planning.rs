//! The SQL that finds the rows in breach of a rule, and what the engine has against it before any row is read.

use std::sync::Arc;

use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use super::AuditError;
use super::checks::{Violating, shared_sql};
use super::mistake::Mistakes;
use super::names::Schemas;
use super::rule::{Rule, key_columns};
use super::sql_text::{quoted_name, quoted_table, quoted_text};
use crate::catalog::{CatalogError, arrow_schema, register_history, register_table};
use crate::engine;
use crate::model::{ColumnName, TableSchema};

/// Plans every rule over empty tables, and notes what the engine refuses: a type that does not fit, a column that a
/// subquery does not have, a form it cannot run.
pub(super) async fn note_refusals(
    rules: &[Rule],
    schemas: &Schemas,
    mistakes: &mut Mistakes,
) -> Result<(), AuditError> {
    let session = engine::session_context();
    for (name, schema) in schemas {
        let empty = MemTable::try_new(arrow_schema(schema), vec![Vec::new()]).map_err(CatalogError::from)?;
        register_table(&session, name, Arc::new(empty))?;
    }
    for rule in rules {
        let Some(table) = schemas.get(&rule.table) else { continue };
        let from = quoted_table(&rule.table);
        let violating = select_violating(rule, table, &key_columns(table));
        for history in rule.histories_read() {
            if let Some(schema) = schemas.get(&history) {
                register_history(&session, schema, &[])?;
            }
        }
        let expected = rule.expected().into_iter().map(|(_, value)| format!("SELECT ({value}) FROM {from}"));
        for sql in std::iter::once(violating).chain(expected) {
            if let Err(error) = plan(&session, &sql).await {
                let message = format!("the engine cannot run this rule: {}", engine_message(&error));
                mistakes.push(rule.check_location.clone(), message, None);
                break;
            }
        }
    }
    Ok(())
}

async fn plan(session: &SessionContext, sql: &str) -> Result<(), DataFusionError> {
    session.sql(sql).await?.create_physical_plan().await.map(|_| ())
}

/// Selects `key` of the rows in breach, as `key_0`, `key_1` and on.
pub(super) fn select_violating(rule: &Rule, table: &TableSchema, key: &[ColumnName]) -> String {
    let columns = key_as_positions(key);
    match rule.violating(table) {
        Violating::Row(predicate) => format!("SELECT {columns} FROM {} WHERE {predicate}", quoted_table(&table.name)),
        Violating::Query(query) => format!("SELECT {columns} FROM ({query}) AS violating"),
        Violating::Write { insert, update } => {
            let of_write = "_seq, _ts, _tx, _service, _release";
            let breach = format!("CASE _op WHEN 'insert' THEN ({insert}) ELSE ({update}) END");
            format!("SELECT {columns}, {of_write} FROM {} WHERE {breach}", written_rows(table))
        }
        Violating::Table(question) => shared_sql(&table.name, &[&question]),
        Violating::Release(question) => question.sql,
    }
}

/// The recorded inserts and updates of a table, under its own name: what was written, and what stood before as
/// `"before.<column>"`. An update whose row before is not known is not among them.
pub(super) fn written_rows(table: &TableSchema) -> String {
    let history = format!("history.{}", quoted_table(&table.name));
    let before: String = table
        .columns
        .iter()
        .map(|column| {
            let alias = quoted_name(&format!("before.{}", column.name));
            format!(", get_field(_before, {}) AS {alias}", quoted_text(&column.name))
        })
        .collect();
    format!(
        "(SELECT *{before} FROM {history} WHERE _op = 'insert' OR (_op = 'update' AND _before IS NOT NULL)) AS {}",
        quoted_name(&table.name.table)
    )
}

/// `"id" AS key_0, …`; something harmless where there is no column.
pub(super) fn key_as_positions(key: &[ColumnName]) -> String {
    let columns: Vec<String> =
        key.iter().enumerate().map(|(position, column)| format!("{} AS key_{position}", quoted_name(column))).collect();
    if columns.is_empty() { "1".to_owned() } else { columns.join(", ") }
}

/// What the engine says, without what only its developers need.
pub(super) fn engine_message(error: &DataFusionError) -> String {
    let root = error.find_root().strip_backtrace();
    let prefixes = ["Error during planning: ", "Schema error: ", "External error: "];
    let message = prefixes.iter().find_map(|prefix| root.strip_prefix(prefix));
    message.unwrap_or(&root).lines().next().unwrap_or_default().to_owned()
}
