//! What the release got wrong, and what it should have written instead.
//!
//! A fault says it by a condition over the row as written; a rule by what it breaks when the transaction commits. Both
//! are evaluated in the right world: over what the statement would have written there.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{Expr, Ident, Query, Statement, VisitMut, VisitorMut};

use super::error::TraceError;
use super::reenact::{CompiledQuery, Execution, OverriddenRows, Refusal, Statements};
use crate::catalog::{RollingTables, World, value_from_array};
use crate::model::{
    Column, ColumnName, ColumnType, Operation, RecordKey, Row, TableName, TableSchema, Timestamp, Value,
};
use crate::sql;

/// The row at hand, for expressions of ours; its columns come first, `before.<column>` after them.
const ROW_AT_HAND: &str = "row_at_hand";

/// Expressions over one row: what it holds, what stood before, and every other table as of the moment.
pub struct RowProgram {
    query: CompiledQuery,
    columns: Vec<(ColumnName, ColumnType)>,
}

impl RowProgram {
    /// Plans expressions over a row of `table`; each yields a value of the type beside it.
    ///
    /// # Errors
    /// What the engine cannot run as PostgreSQL does.
    pub async fn compile(
        statements: &mut Statements,
        table: &TableSchema,
        expressions: &[(String, ColumnName, ColumnType)],
    ) -> Result<RowProgram, Refusal> {
        let items: Vec<String> = expressions
            .iter()
            .enumerate()
            .map(|(place, (text, _, _))| format!("({text}) AS \"value_{place}\""))
            .collect();
        let text = format!("SELECT {} FROM {ROW_AT_HAND} AS {}", items.join(", "), quoted(&table.name.table));
        let query = statements.query(&parsed_query(&text)?, &[Arc::new(row_at_hand(table))]).await?;
        let columns = expressions.iter().map(|(_, name, column_type)| (name.clone(), column_type.clone())).collect();
        Ok(RowProgram { query, columns })
    }

    /// The values for one row in one world.
    ///
    /// # Errors
    /// What cannot be evaluated for this row.
    pub async fn run(
        &self,
        tables: &mut RollingTables,
        world: World,
        row: &Row,
        before: Option<&Row>,
        time: Timestamp,
    ) -> Result<Row, Refusal> {
        let overridden = OverriddenRows::from([(0, vec![Arc::new(with_before(row, before))])]);
        let execution = Execution { parameters: &[], time, overridden: Some(&overridden) };
        let batches = self.query.run(tables, world, execution).await?;
        let batch =
            batches.iter().find(|batch| batch.num_rows() > 0).ok_or_else(|| Refusal("yields no row".to_owned()))?;
        let mut values = Row::new();
        for (array, (name, column_type)) in batch.columns().iter().zip(&self.columns) {
            let value =
                value_from_array(array, 0, column_type).map_err(|error| Refusal(format!("failed to {error}")))?;
            values.set(name.clone(), value);
        }
        Ok(values)
    }
}

/// A predicate over rows of a table that yields the keys of those that meet it.
pub struct KeyQuery {
    query: CompiledQuery,
    table: Arc<TableSchema>,
}

impl KeyQuery {
    /// The keys of the rows at hand that meet `predicate`.
    ///
    /// # Errors
    /// What the engine cannot run as PostgreSQL does.
    pub async fn of_predicate(
        statements: &mut Statements,
        table: &Arc<TableSchema>,
        predicate: &str,
    ) -> Result<KeyQuery, Refusal> {
        let alias = quoted(&table.name.table);
        let keys: Vec<String> = table.key.iter().map(|column| format!("{alias}.{}", quoted(column))).collect();
        let text = format!("SELECT {} FROM {ROW_AT_HAND} AS {alias} WHERE ({predicate})", keys.join(", "));
        let query = statements.query(&parsed_query(&text)?, &[Arc::new(row_at_hand(table))]).await?;
        Ok(KeyQuery { query, table: table.clone() })
    }

    /// The keys that a whole query yields.
    ///
    /// # Errors
    /// What the engine cannot run as PostgreSQL does.
    pub async fn of_query(
        statements: &mut Statements,
        table: &Arc<TableSchema>,
        sql: &str,
    ) -> Result<KeyQuery, Refusal> {
        let query = statements.query(&parsed_query(sql)?, &[]).await?;
        Ok(KeyQuery { query, table: table.clone() })
    }

    /// How other tables' rows lead to rows at hand: their column, and the column at hand it must equal. `None` where a
    /// reference to that table is not tied to the row at hand: then any row may be concerned.
    pub fn ties(&self, other: &TableName) -> Option<Vec<(ColumnName, ColumnName)>> {
        let references = self.query.references().iter().skip(1).filter(|reference| reference.table == *other);
        references
            .map(|reference| {
                reference.bounds.iter().find_map(|bound| match bound.operands.as_slice() {
                    [sql::Operand::Column { reference: 0, column }] => Some((bound.column.clone(), column.clone())),
                    _ => None,
                })
            })
            .collect()
    }

    /// The keys met, of these rows or (where none are given) of the whole query.
    ///
    /// # Errors
    /// What cannot be evaluated.
    pub async fn run(
        &self,
        tables: &mut RollingTables,
        rows: Option<Vec<Arc<Row>>>,
        time: Timestamp,
    ) -> Result<Vec<RecordKey>, Refusal> {
        let overridden = rows.map(|rows| OverriddenRows::from([(0, rows)]));
        let execution = Execution { parameters: &[], time, overridden: overridden.as_ref() };
        let batches = self.query.run(tables, World::Actual, execution).await?;
        let mut keys = Vec::new();
        for batch in &batches {
            for position in 0..batch.num_rows() {
                let mut cells = Vec::with_capacity(self.table.key.len());
                for (array, name) in batch.columns().iter().zip(&self.table.key) {
                    let Some(column) = self.table.column(name) else { continue };
                    let value = value_from_array(array, position, &column.column_type)
                        .map_err(|error| Refusal(format!("failed to {error}")))?;
                    cells.push((name.clone(), value));
                }
                keys.push(RecordKey::new(cells));
            }
        }
        Ok(keys)
    }
}

/// One fault of a faults file, planned.
pub struct Fault {
    /// The table it is about.
    pub table: TableName,
    /// The operations it is about.
    pub operations: Vec<Operation>,
    /// Whether the write should have happened at all.
    pub written: bool,
    program: RowProgram,
    label: String,
}

/// The name that the condition's value goes by in a fault's program.
const MATCHED: &str = " matched";

impl Fault {
    /// Plans a fault: its condition, and the values it sets.
    ///
    /// # Errors
    /// SQL that cannot be evaluated over the history.
    pub async fn compile(
        statements: &mut Statements,
        table: &TableSchema,
        operations: Vec<Operation>,
        condition: &str,
        set: Option<&[(ColumnName, String)]>,
    ) -> Result<Fault, TraceError> {
        let label = format!("the fault of {} where {condition}", table.name);
        let mut expressions = vec![(condition.to_owned(), ColumnName::from(MATCHED), ColumnType::Boolean)];
        for (column, text) in set.unwrap_or_default() {
            let known = table.column(column).map(|column| column.column_type.clone());
            let column_type = known.ok_or_else(|| TraceError::Evaluate {
                what: label.clone(),
                reason: format!("{} has no column {column}", table.name),
            })?;
            expressions.push((text.clone(), column.clone(), column_type));
        }
        let program = RowProgram::compile(statements, table, &expressions).await;
        let program =
            program.map_err(|refusal| TraceError::Evaluate { what: label.clone(), reason: refusal.to_string() })?;
        Ok(Fault { table: table.name.clone(), operations, written: set.is_some(), program, label })
    }

    /// What the fault says of one write: `None` where it is not about it, else the values that should stand.
    ///
    /// # Errors
    /// What cannot be evaluated for this row.
    pub async fn judge(
        &self,
        tables: &mut RollingTables,
        row: &Row,
        before: Option<&Row>,
        time: Timestamp,
    ) -> Result<Option<Row>, TraceError> {
        let values = self.program.run(tables, World::Right, row, before, time).await;
        let values =
            values.map_err(|refusal| TraceError::Evaluate { what: self.label.clone(), reason: refusal.to_string() })?;
        if values.get(MATCHED).and_then(Value::as_str) != Some("t") {
            return Ok(None);
        }
        let set = values.iter().filter(|(column, _)| column.as_ref() != MATCHED);
        Ok(Some(set.map(|(column, value)| (column.clone(), value.clone())).collect()))
    }
}

fn row_at_hand(table: &TableSchema) -> TableSchema {
    let before = table.columns.iter().map(|column| Column { name: before_name(&column.name), ..column.clone() });
    TableSchema {
        name: TableName::new("public", ROW_AT_HAND),
        columns: table.columns.iter().cloned().chain(before).collect(),
        key: table.key.clone(),
        foreign_keys: Vec::new(),
    }
}

fn before_name(column: &str) -> ColumnName {
    format!("before.{column}").into()
}

fn with_before(row: &Row, before: Option<&Row>) -> Row {
    let before = before.into_iter().flat_map(Row::iter).map(|(column, value)| (before_name(column), value.clone()));
    row.iter().map(|(column, value)| (column.clone(), value.clone())).chain(before).collect()
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn parsed_query(text: &str) -> Result<Query, Refusal> {
    let mut statements = sql::parse(text)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(mut query)), true) => {
            let _ = query.visit(&mut BeforeColumns);
            Ok(*query)
        }
        _ => Err(Refusal("is not one expression".to_owned())),
    }
}

/// `before.<column>` as the one column that the row at hand has for it.
struct BeforeColumns;

impl VisitorMut for BeforeColumns {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expression
            && let [qualifier, column] = parts.as_slice()
            && sql::folded(qualifier) == "before"
        {
            *expression = Expr::Identifier(Ident::with_quote('"', before_name(&sql::folded(column)).to_string()));
        }
        ControlFlow::Continue(())
    }
}
