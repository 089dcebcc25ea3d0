//! Recorded images made whole: canonical for their columns' types, and completed from the writes before.

use std::collections::{BTreeSet, HashMap};

use super::LineageError;
use crate::model::{ModelError, Operation, RecordKey, RecordedWrite, Row, TableName, TableSchema, Value};
use crate::sql::Schemas;

/// A write's key and images, canonical and as whole as the history can make them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// The record's key after the write (before it, for a delete); empty for a truncate.
    pub key: RecordKey,
    /// The row as it was.
    pub before: Option<Row>,
    /// The row as written.
    pub after: Option<Row>,
}

/// The images of each write, in order; `None` for a table that is not known.
///
/// # Errors
/// A recorded value that its column's type cannot hold.
pub fn complete(writes: &[&RecordedWrite], schemas: &Schemas) -> Result<Vec<Option<Images>>, LineageError> {
    let partial = tables_with_partial_images(writes, schemas);
    let mut latest: HashMap<(&TableName, RecordKey), Row> = HashMap::new();
    let mut completed = Vec::with_capacity(writes.len());
    for write in writes {
        let Some(schema) = schemas.get(&write.table) else {
            completed.push(None);
            continue;
        };
        let mut images = canonical_images(write, schema)?;
        if partial.contains(&write.table) {
            complete_from(&mut images, write.operation, &latest, &write.table, schema);
            remember(&images, write.operation, &mut latest, &write.table, schema);
        }
        completed.push(Some(images));
    }
    Ok(completed)
}

fn tables_with_partial_images<'a>(writes: &[&'a RecordedWrite], schemas: &Schemas) -> BTreeSet<&'a TableName> {
    let whole = |image: &Option<Row>, schema: &TableSchema| {
        image.as_ref().is_some_and(|row| row.iter().len() >= schema.columns.len())
    };
    let is_partial = |write: &&&RecordedWrite| {
        schemas.get(&write.table).is_some_and(|schema| match write.operation {
            Operation::Insert => !whole(&write.after, schema),
            Operation::Update => !whole(&write.before, schema) || !whole(&write.after, schema),
            Operation::Delete => !whole(&write.before, schema),
            Operation::Truncate => false,
        })
    };
    writes.iter().filter(is_partial).map(|write| &write.table).collect()
}

fn canonical_images(write: &RecordedWrite, schema: &TableSchema) -> Result<Images, LineageError> {
    let before = write.before.as_ref().map(|row| canonical_row(row, schema)).transpose()?;
    let after = write.after.as_ref().map(|row| canonical_row(row, schema)).transpose()?;
    let stated = canonical_row(&write.key, schema)?;
    let image = match write.operation {
        Operation::Delete => &before,
        _ => &after,
    };
    let of_image = |image: &Option<Row>| image.as_ref().and_then(|row| row.key(&schema.key));
    let key = of_image(image).or_else(|| stated.key(&schema.key)).or_else(|| of_image(&before));
    Ok(Images { key: key.unwrap_or_else(|| RecordKey::new(Vec::new())), before, after })
}

/// Columns that the table does not have (any more) are left out: they cannot be wrong now.
fn canonical_row(row: &Row, schema: &TableSchema) -> Result<Row, LineageError> {
    let known = row.iter().filter_map(|(name, value)| schema.column(name).map(|column| (column, value)));
    known
        .map(|(column, value)| {
            let canonical = column.column_type.canonical(value);
            canonical.map(|value| (column.name.clone(), value)).map_err(|source| refused(schema, &column.name, source))
        })
        .collect()
}

fn refused(schema: &TableSchema, column: &str, source: ModelError) -> LineageError {
    LineageError::Value { table: schema.name.clone(), column: column.to_owned(), source }
}

fn complete_from(
    images: &mut Images,
    operation: Operation,
    latest: &HashMap<(&TableName, RecordKey), Row>,
    table: &TableName,
    schema: &TableSchema,
) {
    let old_key =
        images.before.as_ref().and_then(|before| before.key(&schema.key)).unwrap_or_else(|| images.key.clone());
    let known = latest.get(&(table, old_key));
    match operation {
        Operation::Update | Operation::Delete => {
            images.before = match (known, images.before.take()) {
                (Some(known), Some(before)) => Some(known.overlaid(&before)),
                (Some(known), None) => Some(known.clone()),
                (None, before) => before,
            };
            if let (Some(before), Some(after)) = (&images.before, &images.after) {
                images.after = Some(before.overlaid(after));
            }
        }
        // A column that an insert's image does not tell took its default, which is not known: it stays absent.
        Operation::Insert | Operation::Truncate => {}
    }
}

fn remember<'a>(
    images: &Images,
    operation: Operation,
    latest: &mut HashMap<(&'a TableName, RecordKey), Row>,
    table: &'a TableName,
    schema: &TableSchema,
) {
    if let Some(old) = images.before.as_ref().and_then(|before| before.key(&schema.key)) {
        latest.remove(&(table, old));
    }
    match (operation, &images.after) {
        (Operation::Insert | Operation::Update, Some(after)) => {
            latest.insert((table, images.key.clone()), after.clone());
        }
        (Operation::Truncate, _) => latest.retain(|(name, _), _| *name != table),
        _ => {
            latest.remove(&(table, images.key.clone()));
        }
    }
}

/// A recorded record key in the order and spelling of its table.
pub fn canonical_key(key: &RecordKey, schema: &TableSchema) -> RecordKey {
    let cell = |(name, value): (&std::sync::Arc<str>, &Value)| {
        let canonical = schema.column(name).and_then(|column| column.column_type.canonical(value).ok());
        (name.clone(), canonical.unwrap_or_else(|| value.clone()))
    };
    let row: Row = key.iter().map(cell).collect();
    row.key(&schema.key)
        .unwrap_or_else(|| RecordKey::new(row.iter().map(|(name, value)| (name.clone(), value.clone())).collect()))
}
