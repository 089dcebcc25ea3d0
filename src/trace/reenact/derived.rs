//! The query of a `[[derive]]`: the rows of a derived table, by their key.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use sqlparser::ast::Query;

use super::{CompiledQuery, Execution, Refusal, Statements};
use crate::catalog::{RollingTables, World, value_from_array};
use crate::model::{ColumnName, ColumnType, RecordKey, Row, TableSchema};
use crate::sql::TableReference;

/// A query that gives the rows of a table.
pub struct DerivedQuery {
    query: CompiledQuery,
    key: Vec<ColumnName>,
    /// Of each output column: the column of the table that it is, if any.
    columns: Vec<Option<(ColumnName, ColumnType)>>,
    surplus: Vec<String>,
}

impl Statements {
    /// Plans the query of a derived table. PostgreSQL's meaning is kept where the engine has it; where it has not, the
    /// engine's own serves, because what it gives is checked against what the table holds.
    ///
    /// # Errors
    /// What the engine cannot run, a query without a column of the key.
    pub async fn derived_query(
        &mut self,
        query: &Query,
        table: &TableSchema,
        key: &[ColumnName],
    ) -> Result<DerivedQuery, Refusal> {
        let compiled = match self.postgres_query(query, &[]).await {
            Ok(compiled) => compiled,
            Err(_) => self.query(query, &[]).await?,
        };
        let output = compiled.output().await?;
        let column = |name: &String| table.column(name).map(|column| (column.name.clone(), column.column_type.clone()));
        let columns: Vec<Option<(ColumnName, ColumnType)>> =
            output.fields().iter().map(|field| column(field.name())).collect();
        let has = |name: &ColumnName| columns.iter().flatten().any(|(known, _)| known == name);
        if let Some(missing) = key.iter().find(|name| !has(name)) {
            return Err(Refusal(format!("yields no column {missing}, which is in the key")));
        }
        let surplus = surplus(&output, &columns);
        Ok(DerivedQuery { query: compiled, key: key.to_vec(), columns, surplus })
    }
}

fn surplus(output: &SchemaRef, columns: &[Option<(ColumnName, ColumnType)>]) -> Vec<String> {
    let unknown = output.fields().iter().zip(columns).filter(|(_, column)| column.is_none());
    unknown.map(|(field, _)| field.name().clone()).collect()
}

impl DerivedQuery {
    /// Every reference it reads through.
    pub fn references(&self) -> &[TableReference] {
        self.query.references()
    }

    /// Output columns that the table does not have.
    pub fn surplus(&self) -> &[String] {
        &self.surplus
    }

    /// The rows that it gives in one world, by their key; values are canonical for the table's columns.
    ///
    /// # Errors
    /// What PostgreSQL would refuse too, a value that does not fit its column, two rows of one key.
    pub async fn run(
        &self,
        tables: &mut RollingTables,
        world: World,
        execution: Execution<'_>,
    ) -> Result<BTreeMap<RecordKey, Row>, Refusal> {
        let mut rows = BTreeMap::new();
        for batch in self.query.run(tables, world, execution).await? {
            for position in 0..batch.num_rows() {
                let mut row = Row::new();
                for (array, column) in batch.columns().iter().zip(&self.columns) {
                    let Some((name, column_type)) = column else { continue };
                    let value = value_from_array(array, position, column_type);
                    row.set(Arc::clone(name), value.map_err(|error| Refusal(format!("failed to {error}")))?);
                }
                let key = row.key(&self.key).ok_or_else(|| Refusal("yields a row without its key".to_owned()))?;
                if rows.contains_key(&key) {
                    return Err(Refusal(format!("yields several rows for the key {key}")));
                }
                rows.insert(key, row);
            }
        }
        Ok(rows)
    }
}
