//! Numbers of a live database that the engine cannot hold exactly: which rows have them.
//!
//! A plain `numeric` may be `NaN` or infinite, or have more digits than the engine's decimals. Nothing is computed with such
//! a number but what the server computes itself: the rule that needs it fails, and its message names the rows.

use super::evaluation::AuditedTable;
use super::rule::{Rule, key_columns};
use super::sql_text::{quoted_name, quoted_table};
use crate::catalog::{PLAIN_NUMERIC_SCALE, value_from_array};
use crate::model::{Column, ColumnName, ColumnType, TableName, TableSchema};

/// How many rows a message names.
const FEW: usize = 3;
/// Digits before the point of a plain `numeric` in the engine.
const WHOLE_DIGITS: i8 = 76 - PLAIN_NUMERIC_SCALE;

impl AuditedTable<'_> {
    /// Why a rule failed, with the rows of the tables it reads that hold such numbers.
    pub(super) async fn with_inexact_numbers(&self, rule: &Rule, message: String) -> String {
        let mut told = vec![message];
        for table in rule.tables_read() {
            let Ok(schema) = self.catalog.schema(&table) else { continue };
            for column in schema.columns.iter().filter(|column| column.column_type == ColumnType::Numeric(None)) {
                told.extend(self.inexact_rows(schema, &column.name).await);
            }
        }
        told.join("; ")
    }

    /// The rows with such a number in this column, in words; `None` where there is none, or no server to say so.
    async fn inexact_rows(&self, schema: &TableSchema, column: &ColumnName) -> Option<String> {
        let personal = self.catalog.personal_columns(&schema.name);
        let mut key = key_columns(schema);
        if schema.key.is_empty() {
            key.retain(|column| !personal.contains(column));
        }
        let shape = TableSchema {
            name: TableName::clone(&schema.name),
            columns: key
                .iter()
                .filter_map(|name| schema.column(name))
                // As text: the key itself may be such a number.
                .map(|column| Column { column_type: ColumnType::Text, ..column.clone() })
                .collect(),
            key: Vec::new(),
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        };
        if shape.columns.is_empty() {
            return None;
        }
        let names: Vec<String> = key.iter().map(|name| format!("{}::text", quoted_name(name))).collect();
        let number = quoted_name(column);
        let sql = format!(
            "SELECT {} FROM {} WHERE NOT (min_scale({number}) <= {PLAIN_NUMERIC_SCALE} AND abs({number}) < 1e{WHOLE_DIGITS}) \
             ORDER BY {} LIMIT {}",
            names.join(", "),
            quoted_table(&schema.name),
            names.join(", "),
            FEW + 1
        );
        // A server that does not answer has been told of already.
        let batches = self.catalog.select_on_server(&sql, shape).await.ok()??;
        let mut rows = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let cells = key.iter().zip(batch.columns()).map(|(name, array)| {
                    let value = value_from_array(array, row, &ColumnType::Text).ok()?;
                    Some(format!("{name}={}", value.as_str().unwrap_or("NULL")))
                });
                rows.push(cells.collect::<Option<Vec<_>>>()?.join(","));
            }
        }
        let more = if rows.len() > FEW { " and more" } else { "" };
        rows.truncate(FEW);
        (!rows.is_empty()).then(|| {
            format!(
                "{}.{column} holds NaN, infinity, or more than {PLAIN_NUMERIC_SCALE} digits after the point or \
                 {WHOLE_DIGITS} before it, which nothing is computed with, in {}{more}",
                schema.name,
                rows.join("; ")
            )
        })
    }
}
