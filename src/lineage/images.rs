//! Recorded images made whole: canonical for their columns' types, and completed from the writes before.

use std::collections::{BTreeMap, BTreeSet};

use ahash::HashMap;

use crate::model::{ColumnName, Operation, RecordKey, RecordedWrite, Row, TableName, TableSchema, Value};
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

/// What became of every write's images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completed {
    /// Of each write, in order; `None` for one of a table that is not known, or of a record that cannot be named.
    pub images: Vec<Option<Images>>,
    /// Per column, how many recorded values it cannot hold: most likely its type was changed since. They count as not
    /// told.
    pub unfit: BTreeMap<(TableName, ColumnName), usize>,
}

/// Completes the images of each write.
pub fn complete(writes: &[&RecordedWrite], schemas: &Schemas) -> Completed {
    let partial = tables_with_partial_images(writes, schemas);
    let mut latest: HashMap<(&TableName, RecordKey), Row> = HashMap::default();
    let mut completed = Completed::default();
    for write in writes {
        let Some(schema) = schemas.get(&write.table) else {
            completed.images.push(None);
            continue;
        };
        let (mut images, unfit) = canonical_images(write, schema);
        for column in &unfit.columns {
            *completed.unfit.entry((write.table.clone(), column.clone())).or_insert(0) += 1;
        }
        if schema.key.iter().any(|column| unfit.columns.contains(column)) {
            completed.images.push(None);
            continue;
        }
        if partial.contains(&write.table) {
            complete_from(&mut images, write.operation, &latest, &write.table, schema);
            // What an earlier write left there is not what this one tells.
            images.before = images.before.map(|before| without(before, &unfit.before));
            images.after = images.after.map(|after| without(after, &unfit.after));
            remember(&images, write.operation, &mut latest, &write.table, schema);
        }
        completed.images.push(Some(images));
    }
    completed
}

/// Columns of one write whose values their types cannot hold.
#[derive(Debug, Default)]
struct Unfit {
    before: BTreeSet<ColumnName>,
    after: BTreeSet<ColumnName>,
    /// Of either image, or of the stated key.
    columns: BTreeSet<ColumnName>,
}

fn without(row: Row, columns: &BTreeSet<ColumnName>) -> Row {
    if columns.is_empty() {
        return row;
    }
    row.iter().filter(|(name, _)| !columns.contains(*name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whether every write tells all columns of its images: then none is completed from another.
pub fn are_whole(writes: &[RecordedWrite], schemas: &Schemas) -> bool {
    tables_with_partial_images(&writes.iter().collect::<Vec<_>>(), schemas).is_empty()
}

fn tables_with_partial_images<'a>(writes: &[&'a RecordedWrite], schemas: &Schemas) -> BTreeSet<&'a TableName> {
    let whole = |image: &Option<Row>, schema: &TableSchema| image.as_ref().is_some_and(|row| schema.is_whole(row));
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

fn canonical_images(write: &RecordedWrite, schema: &TableSchema) -> (Images, Unfit) {
    let mut unfit = Unfit::default();
    let before = write.before.as_ref().map(|row| canonical_row(row, schema, &mut unfit.before));
    let after = write.after.as_ref().map(|row| canonical_row(row, schema, &mut unfit.after));
    let stated = canonical_row(&write.key, schema, &mut unfit.columns);
    unfit.columns.extend(unfit.before.iter().chain(&unfit.after).cloned());
    let image = match write.operation {
        Operation::Delete => &before,
        _ => &after,
    };
    let of_image = |image: &Option<Row>| image.as_ref().and_then(|row| row.key(&schema.key));
    let key = of_image(image).or_else(|| stated.key(&schema.key)).or_else(|| of_image(&before));
    (Images { key: key.unwrap_or_else(|| RecordKey::new(Vec::new())), before, after }, unfit)
}

/// Columns that the table does not have (any more) are left out: they cannot be wrong now. So are values that their
/// column cannot hold (any more): what they were before its type changed is not what they would be now.
fn canonical_row(row: &Row, schema: &TableSchema, unfit: &mut BTreeSet<ColumnName>) -> Row {
    let mut canonical = Row::new();
    for (name, value) in row.iter() {
        let Some(column) = schema.column(name) else { continue };
        match column.column_type.canonical(value) {
            Ok(value) => canonical.set(column.name.clone(), value),
            Err(_) => _ = unfit.insert(column.name.clone()),
        }
    }
    canonical
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnType, RecordingId, Timestamp};

    fn row(cells: &[(&str, &str)]) -> Row {
        cells.iter().map(|(column, value)| ((*column).into(), Value::text(*value))).collect()
    }

    fn write(operation: Operation, before: Option<Row>, after: Option<Row>) -> RecordedWrite {
        RecordedWrite {
            id: RecordingId([0; 16]),
            seq: None,
            ts: Timestamp::from_micros(0),
            table: TableName::new("public", "t"),
            operation,
            key: Row::new(),
            before,
            after,
            reads: Vec::new(),
            transaction: None,
            session: None,
            trace: None,
            release: None,
            service: None,
            statement: None,
            parameters: Vec::new(),
        }
    }

    fn schemas() -> Schemas {
        let name = TableName::new("public", "t");
        let column =
            |name: &str, column_type| Column { name: name.into(), column_type, not_null: false, generated: false };
        let columns = vec![
            column("id", ColumnType::Integer),
            column("size", ColumnType::Integer),
            column("note", ColumnType::Text),
        ];
        let schema = TableSchema {
            name: name.clone(),
            columns,
            key: vec!["id".into()],
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
        };
        [(name, schema.into())].into_iter().collect()
    }

    #[test]
    fn a_value_from_before_its_column_changed_its_type_is_not_told() {
        let large = row(&[("id", "1"), ("size", "large"), ("note", "a")]);
        let three = row(&[("id", "1"), ("size", "3"), ("note", "a")]);
        let writes = [
            write(Operation::Insert, None, Some(row(&[("id", "1"), ("size", "2"), ("note", "a")]))),
            // Part of an image: what it does not tell is completed, but never with an older size.
            write(Operation::Update, None, Some(row(&[("id", "1"), ("size", "large")]))),
            write(Operation::Update, Some(large), Some(three.clone())),
        ];
        let completed = complete(&writes.iter().collect::<Vec<_>>(), &schemas());
        let images: Vec<&Images> = completed.images.iter().flatten().collect();
        let unknown = row(&[("id", "1"), ("note", "a")]);
        assert_eq!(images.len(), 3);
        assert_eq!(images[1].after.as_ref(), Some(&unknown));
        assert_eq!(images[2].before.as_ref(), Some(&unknown));
        assert_eq!(images[2].after.as_ref(), Some(&unknown.overlaid(&three)));
        let size = (TableName::new("public", "t"), ColumnName::from("size"));
        assert_eq!(completed.unfit, BTreeMap::from([(size, 2)]));
    }

    #[test]
    fn a_record_whose_key_no_longer_fits_is_left_out_and_counted() {
        let writes = [
            write(Operation::Insert, None, Some(row(&[("id", "A-1"), ("size", "1"), ("note", "a")]))),
            write(Operation::Insert, None, Some(row(&[("id", "7"), ("size", "1"), ("note", "a")]))),
        ];
        let completed = complete(&writes.iter().collect::<Vec<_>>(), &schemas());
        assert_eq!(completed.images.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
        assert_eq!(completed.unfit.values().sum::<usize>(), 1);
    }
}
