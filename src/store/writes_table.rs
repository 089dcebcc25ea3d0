//! `writes/<schema>.<table>`: write events as typed columns.
//!
//! A row holds the columns of its images as text, exactly as they came: `before_total`, `after_total`, `key_id`.
//! Which columns an image has, and in what order, stands in `_before_columns`, `_after_columns` and `_key_columns`:
//! what is not listed there is absent, which is not NULL.

use std::sync::Arc;

use ahash::HashMap;
use arrow::array::{RecordBatch, StringArray};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::batch::{BatchBuilder, POSITION, ReadBatch, integer_at, json_of_values, text_at, time_at, values_of_json};
use crate::model::{
    ColumnName, Operation, RecordKey, RecordRead, RecordedWrite, ReleaseName, Row, ServiceName, SessionId, TableName,
    TraceId, TransactionId, Value,
};

/// The time of the write.
pub(super) const TS: &str = "_ts";

/// The folder of a table's writes within the store.
pub(super) fn folder(table: &TableName) -> String {
    const LONGEST: usize = 120;
    let name = format!("{}.{}", plain_name(&table.schema), plain_name(&table.table));
    if name.len() <= LONGEST {
        return format!("writes/{name}");
    }
    let hash = blake3::hash(name.as_bytes()).to_hex();
    format!("writes/{}-{}", &name[..80], &hash[..16])
}

/// A name in lower-case ASCII letters, digits and `_`; every other byte is `-` and two hexadecimal digits, so that two
/// names stay two, also where a file system or Delta Lake knows no difference between upper and lower case.
fn plain_name(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => plain.push(char::from(byte)),
            _ => plain.push_str(&format!("-{byte:02x}")),
        }
    }
    plain
}

/// Rows of one table, each with its place in the order of arrival, as one batch.
pub(super) fn batch_of_writes(folder: &str, rows: &[(i64, &RecordedWrite)]) -> Result<RecordBatch, StoreError> {
    let sequence = |write: &RecordedWrite| write.seq.map(i64::try_from).transpose();
    let sequences: Result<Vec<Option<i64>>, _> = rows.iter().map(|(_, write)| sequence(write)).collect();
    let sequences = sequences.map_err(|_| StoreError::record(folder, format!("its seq is over {}", i64::MAX)))?;
    let writes = || rows.iter().map(|(_, write)| *write);
    let parameters: Vec<Option<String>> = writes().map(|write| json_of_values(&write.parameters)).collect();
    let reads: Result<Vec<Option<String>>, _> = writes().map(|write| json_of_reads(&write.reads)).collect();
    let reads = reads.map_err(|error| StoreError::record(folder, error))?;

    let mut batch = BatchBuilder::default();
    batch.integer(POSITION, rows.iter().map(|(position, _)| Some(*position)));
    batch.time(TS, writes().map(|write| Some(write.ts)));
    batch.integer("_seq", sequences.into_iter());
    batch.text("_op", writes().map(|write| Some(write.operation.as_str())));
    batch.text("_tx", writes().map(|write| write.transaction.as_ref().map(|id| id.0.as_ref())));
    batch.text("_session", writes().map(|write| write.session.as_ref().map(|id| id.0.as_ref())));
    batch.text("_trace", writes().map(|write| write.trace.as_ref().map(|id| id.0.as_ref())));
    batch.text("_service", writes().map(|write| write.service.as_ref().map(ServiceName::as_str)));
    batch.text("_release", writes().map(|write| write.release.as_ref().map(ReleaseName::as_str)));
    batch.text("_statement", writes().map(|write| write.statement.as_deref()));
    batch.text("_params", parameters.iter().map(Option::as_deref));
    batch.text("_reads", reads.iter().map(Option::as_deref));
    batch.identities(writes().map(|write| &write.id));
    let keys: Vec<Option<&Row>> = writes().map(|write| Some(&write.key)).collect();
    let befores: Vec<Option<&Row>> = writes().map(|write| write.before.as_ref()).collect();
    let afters: Vec<Option<&Row>> = writes().map(|write| write.after.as_ref()).collect();
    for (kind, images) in [("key", keys), ("before", befores), ("after", afters)] {
        add_images(&mut batch, kind, &images);
    }
    batch.finish(folder)
}

fn add_images(batch: &mut BatchBuilder, kind: &str, images: &[Option<&Row>]) {
    let mut places: HashMap<&str, usize> = HashMap::default();
    let mut columns: Vec<&ColumnName> = Vec::new();
    let mut layouts: Vec<Option<Arc<str>>> = Vec::with_capacity(images.len());
    let mut last: Option<(&Row, Arc<str>)> = None;
    for image in images {
        // Neighbours mostly have the same columns: their layout is written once.
        let layout = image.map(|image| match &last {
            Some((earlier, layout)) if has_same_columns(earlier, image) => Arc::clone(layout),
            _ => {
                for (column, _) in image.iter() {
                    places.entry(column).or_insert_with(|| {
                        columns.push(column);
                        columns.len() - 1
                    });
                }
                Arc::from(serde_json::Value::from_iter(image.iter().map(|(column, _)| column.as_ref())).to_string())
            }
        });
        if let (Some(image), Some(layout)) = (image, &layout) {
            last = Some((image, Arc::clone(layout)));
        }
        layouts.push(layout);
    }
    batch.text(&format!("_{kind}_columns"), layouts.iter().map(Option::as_deref));
    for (place, column) in columns.into_iter().enumerate() {
        let cells = images.iter().map(|image| image.and_then(|image| image.get_at(place, column)?.as_str()));
        batch.text(&format!("{kind}_{}", plain_name(column)), cells);
    }
}

fn has_same_columns(left: &Row, right: &Row) -> bool {
    left.iter().len() == right.iter().len()
        && left.iter().zip(right.iter()).all(|((left, _), (right, _))| Arc::ptr_eq(left, right) || left == right)
}

/// The JSON of `_reads`.
#[derive(Serialize, Deserialize)]
struct StoredRead {
    schema: String,
    table: String,
    key: Vec<(String, Option<String>)>,
    columns: Vec<String>,
}

fn json_of_reads(reads: &[RecordRead]) -> Result<Option<String>, serde_json::Error> {
    let stored = |read: &RecordRead| StoredRead {
        schema: read.table.schema.to_string(),
        table: read.table.table.to_string(),
        key: read.key.iter().map(|(column, value)| (column.to_string(), value.as_str().map(str::to_owned))).collect(),
        columns: read.columns.iter().map(|column| column.to_string()).collect(),
    };
    let stored: Vec<StoredRead> = reads.iter().map(stored).collect();
    if stored.is_empty() { Ok(None) } else { serde_json::to_string(&stored).map(Some) }
}

fn reads_of_json(json: Option<&str>) -> Result<Vec<RecordRead>, serde_json::Error> {
    let Some(json) = json else { return Ok(Vec::new()) };
    let stored: Vec<StoredRead> = serde_json::from_str(json)?;
    let read = |read: StoredRead| RecordRead {
        table: TableName::new(read.schema, read.table),
        key: RecordKey::new(read.key.into_iter().map(|(column, value)| (column.into(), Value::from(value))).collect()),
        columns: read.columns.into_iter().map(ColumnName::from).collect(),
    };
    Ok(stored.into_iter().map(read).collect())
}

/// What [`batch_of_writes`] wrote, read back: each write with its place in the order of arrival.
pub(super) fn writes_of_batch(
    folder: &str,
    table: &TableName,
    batch: &RecordBatch,
    texts: &mut Texts,
) -> Result<Vec<(i64, RecordedWrite)>, StoreError> {
    let read = ReadBatch { batch, table: folder };
    let ids = read.identities()?;
    let (positions, times, sequences) = (read.integer(POSITION)?, read.time(TS)?, read.integer("_seq")?);
    let (operations, transactions, sessions) = (read.text("_op")?, read.text("_tx")?, read.text("_session")?);
    let (traces, services, releases) = (read.text("_trace")?, read.text("_service")?, read.text("_release")?);
    let (statements, parameters, reads) = (read.text("_statement")?, read.text("_params")?, read.text("_reads")?);
    let mut keys = images_of(&read, "key", texts)?.into_iter();
    let mut befores = images_of(&read, "before", texts)?.into_iter();
    let mut afters = images_of(&read, "after", texts)?.into_iter();
    let content = |error: serde_json::Error| StoreError::content(folder, error);
    let mut writes = Vec::with_capacity(batch.num_rows());
    for (row, id) in ids.into_iter().enumerate() {
        let mut shared = |column: &StringArray| text_at(column, row).map(|text| texts.shared(text));
        let operation = text_at(&operations, row).and_then(Operation::from_contract);
        let seq = integer_at(&sequences, row).map(u64::try_from).transpose();
        let write = RecordedWrite {
            id,
            seq: seq.map_err(|error| StoreError::content(folder, error))?,
            ts: read.required(time_at(&times, row), TS)?,
            table: table.clone(),
            operation: read.required(operation, "_op")?,
            key: keys.next().flatten().unwrap_or_default(),
            before: befores.next().flatten(),
            after: afters.next().flatten(),
            reads: reads_of_json(text_at(&reads, row)).map_err(content)?,
            transaction: shared(&transactions).map(TransactionId),
            session: shared(&sessions).map(SessionId),
            trace: shared(&traces).map(TraceId),
            release: shared(&releases).map(ReleaseName::new),
            service: shared(&services).map(ServiceName::new),
            statement: shared(&statements),
            parameters: values_of_json(text_at(&parameters, row)).map_err(content)?,
        };
        writes.push((read.required(integer_at(&positions, row), POSITION)?, write));
    }
    Ok(writes)
}

/// The images of one kind, row by row.
fn images_of(read: &ReadBatch<'_>, kind: &str, texts: &mut Texts) -> Result<Vec<Option<Row>>, StoreError> {
    let layouts = read.text(&format!("_{kind}_columns"))?;
    let mut cells: HashMap<ColumnName, StringArray> = HashMap::default();
    let mut known: HashMap<&str, Vec<ColumnName>> = HashMap::default();
    let mut images = Vec::with_capacity(read.batch.num_rows());
    for row in 0..read.batch.num_rows() {
        let Some(layout) = text_at(&layouts, row) else {
            images.push(None);
            continue;
        };
        if !known.contains_key(layout) {
            let names: Vec<String> =
                serde_json::from_str(layout).map_err(|error| StoreError::content(read.table, error))?;
            let names: Vec<ColumnName> = names.iter().map(|name| texts.shared(name)).collect();
            for name in &names {
                if !cells.contains_key(name) {
                    cells.insert(Arc::clone(name), read.text(&format!("{kind}_{}", plain_name(name)))?);
                }
            }
            known.insert(layout, names);
        }
        let columns = known.get(layout).map(Vec::as_slice).unwrap_or_default();
        let mut image = Row::new();
        for column in columns {
            let cell = cells.get(column).and_then(|cells| text_at(cells, row));
            image.push(Arc::clone(column), cell.map_or(Value::NULL, Value::text));
        }
        images.push(Some(image));
    }
    Ok(images)
}

/// Texts that repeat from row to row, each held once.
#[derive(Default)]
pub(super) struct Texts(ahash::HashSet<Arc<str>>);

impl Texts {
    pub(super) fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(held) = self.0.get(text) {
            return Arc::clone(held);
        }
        let text: Arc<str> = text.into();
        self.0.insert(Arc::clone(&text));
        text
    }
}
