//! `history.<schema>.<table>`: every recorded version of the rows of a table, for rules to look at.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, StructArray, TimestampMicrosecondArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::{MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use super::{CatalogError, arrow_schema, batch_from_rows};
use crate::model::{Row, TableSchema, Transaction, Write};

/// The engine's catalog that holds the histories.
const HISTORY: &str = "history";
/// Versions in one batch.
const VERSIONS: usize = 8_192;

/// Makes the history of a table known to the session as `history.<schema>.<table>`; one that is known already stays.
///
/// Each version of a row has the table's columns as they were written (only the key, for a delete), `_seq`, `_ts`, `_tx`,
/// `_service`, `_release` and `_op`, and the row before as the struct `_before`, NULL where it is not known. They are in
/// the order of commits. Where the table has a column of one of these names itself, it is left out.
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
    let shape = history_schema(table);
    let batches: Result<Vec<RecordBatch>, CatalogError> =
        versions.chunks(VERSIONS).map(|versions| batch(table, &shape, versions)).collect();
    schema.register_table(table.name.table.to_string(), Arc::new(MemTable::try_new(shape, vec![batches?])?))?;
    Ok(())
}

fn is_ours(name: &str) -> bool {
    ["_seq", "_ts", "_tx", "_service", "_release", "_op", "_before"].contains(&name)
}

fn history_schema(table: &TableSchema) -> SchemaRef {
    let columns = arrow_schema(table);
    let before = nullable(columns.fields().iter());
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
    shape: &SchemaRef,
    versions: &[(&Transaction, &Write)],
) -> Result<RecordBatch, CatalogError> {
    let written: Vec<Row> =
        versions.iter().map(|(_, write)| write.after.clone().unwrap_or_else(|| write.key.to_row())).collect();
    let nothing = Row::new();
    // A row of which only a part is known would read as one that was NULL elsewhere.
    let known: Vec<Option<&Row>> = versions
        .iter()
        .map(|(_, write)| write.before.as_ref().filter(|before| before.iter().len() >= table.columns.len()))
        .collect();
    let after = batch_from_rows(table, written.iter())?;
    let before = batch_from_rows(table, known.iter().map(|before| before.unwrap_or(&nothing)))?;
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
