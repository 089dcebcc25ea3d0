//! `history.<schema>.<table>`: every recorded version of the rows of a table, for rules to look at.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, StructArray, TimestampMicrosecondArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{MemoryCatalogProvider, MemorySchemaProvider, Session, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;

use super::lazy_table::wrap_error;
use super::{CatalogError, arrow_schema, batch_from_rows};
use crate::model::{Column, ColumnName, Operation, Row, TableName, TableSchema, Transaction, Write};

/// The engine's catalog that holds the histories.
const HISTORY: &str = "history";
/// Versions in one batch.
const VERSIONS: usize = 8_192;

/// Makes the history of a table known to the session as `history.<schema>.<table>`; one that is known already stays.
///
/// Each version of a row has the table's columns as they were written (only the key, for a delete), `_seq`, `_ts`, `_tx`,
/// `_service`, `_release` and `_op`, and the row before as the struct `_before`, NULL where it is not known. They are in
/// the order of commits. Where the table has a column of one of these names itself, it is left out. A column that some
/// version does not tell is there, and refused to every query that reads it.
///
/// # Errors
/// A recorded value that its column's type cannot hold.
pub fn register_history(
    session: &SessionContext,
    table: &TableSchema,
    transactions: &[Transaction],
) -> Result<(), CatalogError> {
    let catalog = match session.catalog(HISTORY) {
        Some(catalog) => catalog,
        None => {
            session.register_catalog(HISTORY, Arc::new(MemoryCatalogProvider::new()));
            session.catalog(HISTORY).unwrap_or_else(|| Arc::new(MemoryCatalogProvider::new()))
        }
    };
    if catalog.schema(&table.name.schema).is_none() {
        catalog.register_schema(&table.name.schema, Arc::new(MemorySchemaProvider::new()))?;
    }
    let Some(schema) = catalog.schema(&table.name.schema) else { return Ok(()) };
    if schema.table_exist(&table.name.table) {
        return Ok(());
    }
    let versions: Vec<(&Transaction, &Write)> = transactions
        .iter()
        .flat_map(|transaction| transaction.writes().map(move |write| (transaction, write)))
        .filter(|(_, write)| write.table == table.name)
        .collect();
    let before = told_before(table, &versions);
    let shape = history_schema(table, &before);
    let batches: Result<Vec<RecordBatch>, CatalogError> =
        versions.chunks(VERSIONS).map(|versions| batch(table, &before, &shape, versions)).collect();
    let rows = MemTable::try_new(shape, vec![batches?])?;
    let versions = HistoryTable { name: table.name.clone(), rows, untold: untold(table, &versions) };
    schema.register_table(table.name.table.to_string(), Arc::new(versions))?;
    Ok(())
}

/// The versions of a table's rows. A query that reads a column which not all of them tell is refused: it would take what is
/// not known for NULL.
#[derive(Debug)]
struct HistoryTable {
    name: TableName,
    rows: MemTable,
    /// How many versions do not tell a column.
    untold: HashMap<ColumnName, usize>,
}

#[async_trait]
impl TableProvider for HistoryTable {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let schema = self.schema();
        let read = match projection {
            Some(positions) => schema.project(positions)?,
            None => schema.as_ref().clone(),
        };
        for field in read.fields() {
            if let Some(versions) = self.untold.get(field.name().as_str()) {
                let (table, column) = (self.name.clone(), field.name().clone());
                return Err(wrap_error(CatalogError::Untold { table, column, versions: *versions }));
            }
        }
        self.rows.scan(state, projection, filters, limit).await
    }
}

/// The columns that some version of a row does not tell as it was written. Of a delete only the key is meant to be told.
fn untold(table: &TableSchema, versions: &[(&Transaction, &Write)]) -> HashMap<ColumnName, usize> {
    let mut untold = HashMap::new();
    let written = versions.iter().filter(|(_, write)| matches!(write.operation, Operation::Insert | Operation::Update));
    for (_, write) in written {
        let tells = |column: &ColumnName| match &write.after {
            Some(after) => after.get(column).is_some(),
            None => write.key.get(column).is_some(),
        };
        for column in
            table.columns.iter().map(|column| &column.name).filter(|column| !is_ours(column) && !tells(column))
        {
            *untold.entry(column.clone()).or_insert(0) += 1;
        }
    }
    untold
}

/// The row before, where all of it is known: a part would read as a row that was NULL elsewhere. What the database
/// computes by itself is not recorded by everything.
fn known_before<'a>(table: &TableSchema, write: &'a Write) -> Option<&'a Row> {
    write.before.as_ref().filter(|before| table.is_whole(before))
}

/// The columns of `_before`: those that every row before tells.
fn told_before(table: &TableSchema, versions: &[(&Transaction, &Write)]) -> TableSchema {
    let known: Vec<&Row> = versions.iter().filter_map(|(_, write)| known_before(table, write)).collect();
    let is_told = |column: &&Column| !column.generated || known.iter().all(|row| row.get(&column.name).is_some());
    TableSchema { columns: table.columns.iter().filter(is_told).cloned().collect(), ..table.clone() }
}

fn is_ours(name: &str) -> bool {
    ["_seq", "_ts", "_tx", "_service", "_release", "_op", "_before"].contains(&name)
}

fn history_schema(table: &TableSchema, before: &TableSchema) -> SchemaRef {
    let columns = arrow_schema(table);
    let before = nullable(arrow_schema(before).fields().iter());
    let text = |name: &str| Arc::new(Field::new(name, DataType::Utf8, true));
    let mut fields = nullable(columns.fields().iter().filter(|field| !is_ours(field.name())));
    fields.extend([
        Arc::new(Field::new("_seq", DataType::UInt64, false)),
        Arc::new(Field::new("_ts", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false)),
        text("_tx"),
        text("_service"),
        text("_release"),
        Arc::new(Field::new("_op", DataType::Utf8, false)),
        Arc::new(Field::new("_before", DataType::Struct(before.into()), true)),
    ]);
    Arc::new(Schema::new(fields))
}

fn nullable<'a>(fields: impl Iterator<Item = &'a Arc<Field>>) -> Vec<Arc<Field>> {
    fields.map(|field| Arc::new(field.as_ref().clone().with_nullable(true))).collect()
}

fn batch(
    table: &TableSchema,
    told_before: &TableSchema,
    shape: &SchemaRef,
    versions: &[(&Transaction, &Write)],
) -> Result<RecordBatch, CatalogError> {
    let written: Vec<Row> =
        versions.iter().map(|(_, write)| write.after.clone().unwrap_or_else(|| write.key.to_row())).collect();
    let nothing = Row::new();
    let known: Vec<Option<&Row>> = versions.iter().map(|(_, write)| known_before(table, write)).collect();
    let after = batch_from_rows(table, written.iter())?;
    let before = batch_from_rows(told_before, known.iter().map(|before| before.unwrap_or(&nothing)))?;
    let fields = nullable(before.schema().fields().iter());
    let nulls = NullBuffer::from_iter(known.iter().map(Option::is_some));
    let before =
        StructArray::try_new(fields.into(), before.columns().to_vec(), Some(nulls)).map_err(DataFusionError::from)?;
    let release = |write: &Write| write.attribution.as_ref().map(|attribution| attribution.release.clone());
    let service = |write: &Write| release(write).and_then(|release| release.service);
    let text = |of: &dyn Fn(&(&Transaction, &Write)) -> Option<String>| -> ArrayRef {
        Arc::new(versions.iter().map(of).collect::<StringArray>())
    };
    let shown = after.schema();
    let mut columns: Vec<ArrayRef> = after
        .columns()
        .iter()
        .zip(shown.fields())
        .filter(|(_, field)| !is_ours(field.name()))
        .map(|(column, _)| Arc::clone(column))
        .collect();
    columns.extend([
        Arc::new(UInt64Array::from_iter_values(versions.iter().map(|(_, write)| write.seq.0))) as ArrayRef,
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(versions.iter().map(|(_, write)| write.ts.as_micros()))
                .with_timezone("UTC"),
        ),
        text(&|(transaction, _)| transaction.id.as_ref().map(ToString::to_string)),
        text(&|(_, write)| service(write).map(|service| service.as_str().to_owned())),
        text(&|(_, write)| release(write).map(|release| release.name.as_str().to_owned())),
        text(&|(_, write)| Some(write.operation.as_str().to_owned())),
        Arc::new(before),
    ]);
    Ok(RecordBatch::try_new(Arc::clone(shape), columns).map_err(DataFusionError::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ColumnType, CommitSeq, Snapshots, Step, Timestamp, Value, WriteSeq};

    fn row(cells: &[(&str, &str)]) -> Row {
        cells.iter().map(|(column, value)| ((*column).into(), Value::text(*value))).collect()
    }

    /// A table whose `double` the database computes and no recording tells.
    fn table() -> TableSchema {
        let column = |name: &str, generated| Column {
            name: name.into(),
            column_type: ColumnType::Integer,
            not_null: false,
            generated,
        };
        TableSchema {
            name: TableName::new("public", "t"),
            columns: vec![column("id", false), column("n", false), column("note", false), column("double", true)],
            key: vec!["id".into()],
            foreign_keys: vec![],
            unique_keys: vec![],
        }
    }

    fn updates(rows: &[(Row, Row)]) -> Transaction {
        let write = |(before, after): &(Row, Row)| Write {
            seq: WriteSeq(1),
            ts: Timestamp::from_micros(0),
            table: table().name,
            operation: Operation::Update,
            key: after.key(&table().key).expect("a key"),
            before: Some(before.clone()),
            after: Some(after.clone()),
            reads: vec![],
            trace: None,
            attribution: None,
        };
        Transaction {
            commit: CommitSeq(1),
            id: None,
            session: None,
            started: Timestamp::from_micros(0),
            committed: Timestamp::from_micros(0),
            snapshots: Snapshots::default(),
            attribution: None,
            steps: vec![Step { statement: None, writes: rows.iter().map(write).collect() }],
        }
    }

    #[tokio::test]
    async fn what_is_not_told_is_never_read_as_null() {
        let whole = |n: &str| row(&[("id", "1"), ("n", n), ("note", "7")]);
        let part = |n: &str| row(&[("id", "1"), ("n", n)]);
        let transaction = updates(&[(whole("1"), whole("2")), (part("2"), part("3"))]);
        let session = crate::engine::session_context();
        register_history(&session, &table(), &[transaction]).expect("a history");
        let asked = async |sql: &str| -> Result<Vec<Option<i32>>, String> {
            let frame = session.sql(sql).await.map_err(|error| error.to_string())?;
            let batches = frame.collect().await.map_err(|error| error.to_string())?;
            let column = |batch: &RecordBatch| {
                let numbers = batch.column(0).as_any().downcast_ref::<arrow::array::Int32Array>();
                numbers.expect("integers").iter().collect::<Vec<_>>()
            };
            Ok(batches.iter().flat_map(column).collect())
        };
        let before = asked("SELECT h._before.note FROM history.public.t h WHERE h.id = 1").await;
        assert_eq!(before, Ok(vec![Some(7), None]), "a computed column is no reason to know nothing of the row before");
        assert_eq!(asked("SELECT n FROM history.public.t").await, Ok(vec![Some(2), Some(3)]));
        for (sql, told) in [
            ("SELECT id FROM history.public.t WHERE note IS NULL", "t.note: 1 recorded versions do not tell it"),
            ("SELECT double FROM history.public.t", "t.double: 2 recorded versions do not tell it"),
            ("SELECT h._before.double FROM history.public.t h", "double"),
        ] {
            let refused = asked(sql).await.expect_err(sql);
            assert!(refused.contains(told), "{sql}: {refused}");
        }
    }
}
