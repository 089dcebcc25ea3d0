//! Columns of record batches: built from values, and read back by name.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};

use super::StoreError;
use crate::model::{RecordingId, Timestamp, Value};

/// The place in the order of arrival.
pub(super) const POSITION: &str = "_position";
/// The identity.
pub(super) const ID: &str = "_id";

/// The type of every point in time.
pub(super) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A batch under construction: names and columns in order. All columns may be NULL, as Delta Lake wants them to be
/// where a table may gain columns.
#[derive(Default)]
pub(super) struct BatchBuilder {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
}

impl BatchBuilder {
    pub(super) fn text<'a>(&mut self, name: &str, values: impl Iterator<Item = Option<&'a str>>) {
        self.push(name, DataType::Utf8, Arc::new(values.collect::<StringArray>()));
    }

    pub(super) fn integer(&mut self, name: &str, values: impl Iterator<Item = Option<i64>>) {
        self.push(name, DataType::Int64, Arc::new(values.collect::<Int64Array>()));
    }

    pub(super) fn time(&mut self, name: &str, values: impl Iterator<Item = Option<Timestamp>>) {
        let micros: TimestampMicrosecondArray = values.map(|time| time.map(Timestamp::as_micros)).collect();
        self.push(name, time_type(), Arc::new(micros.with_timezone("UTC")));
    }

    pub(super) fn identities<'a>(&mut self, values: impl Iterator<Item = &'a RecordingId>) {
        let ids: BinaryArray = values.map(|id| Some(id.0.as_slice())).collect();
        self.push(ID, DataType::Binary, Arc::new(ids));
    }

    fn push(&mut self, name: &str, data_type: DataType, column: ArrayRef) {
        self.fields.push(Field::new(name, data_type, true));
        self.columns.push(column);
    }

    /// The batch; all columns must be of one length.
    pub(super) fn finish(self, table: &str) -> Result<RecordBatch, StoreError> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.columns)
            .map_err(|error| StoreError::record(table, error))
    }
}

/// A batch as it was read; the engine may have chosen other layouts of the same types.
pub(super) struct ReadBatch<'batch> {
    pub(super) batch: &'batch RecordBatch,
    /// The table's folder, for errors.
    pub(super) table: &'batch str,
}

impl ReadBatch<'_> {
    fn column(&self, name: &str, data_type: &DataType) -> Result<ArrayRef, StoreError> {
        let missing = || StoreError::content(self.table, format!("column {name} is missing"));
        let column = self.batch.column_by_name(name).ok_or_else(missing)?;
        cast(column, data_type).map_err(|error| StoreError::content(self.table, format!("column {name}: {error}")))
    }

    pub(super) fn text(&self, name: &str) -> Result<StringArray, StoreError> {
        Ok(self.column(name, &DataType::Utf8)?.as_string().clone())
    }

    pub(super) fn integer(&self, name: &str) -> Result<Int64Array, StoreError> {
        Ok(self.column(name, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    }

    pub(super) fn time(&self, name: &str) -> Result<TimestampMicrosecondArray, StoreError> {
        Ok(self.column(name, &time_type())?.as_primitive::<TimestampMicrosecondType>().clone())
    }

    pub(super) fn bytes(&self, name: &str) -> Result<BinaryArray, StoreError> {
        Ok(self.column(name, &DataType::Binary)?.as_binary::<i32>().clone())
    }

    pub(super) fn identities(&self) -> Result<Vec<RecordingId>, StoreError> {
        let ids = self.bytes(ID)?;
        let id = |bytes: Option<&[u8]>| bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(RecordingId);
        let ids: Option<Vec<RecordingId>> = ids.iter().map(id).collect();
        ids.ok_or_else(|| StoreError::content(self.table, "an identity has not 16 bytes"))
    }

    /// A value that the program always writes.
    pub(super) fn required<T>(&self, value: Option<T>, name: &str) -> Result<T, StoreError> {
        value.ok_or_else(|| StoreError::content(self.table, format!("column {name} holds no value")))
    }
}

/// A text column's value at `row`, `None` for NULL.
pub(super) fn text_at(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// An integer column's value at `row`, `None` for NULL.
pub(super) fn integer_at(column: &Int64Array, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.value(row))
}

/// A time column's value at `row`, `None` for NULL.
pub(super) fn time_at(column: &TimestampMicrosecondArray, row: usize) -> Option<Timestamp> {
    column.is_valid(row).then(|| Timestamp::from_micros(column.value(row)))
}

/// Values as a JSON list of texts and nulls; `None` for none.
pub(super) fn json_of_values(values: &[Value]) -> Option<String> {
    let texts = || values.iter().map(|value| value.as_str().map(serde_json::Value::from).unwrap_or_default());
    (!values.is_empty()).then(|| serde_json::Value::Array(texts().collect()).to_string())
}

/// What [`json_of_values`] wrote.
pub(super) fn values_of_json(json: Option<&str>) -> Result<Vec<Value>, serde_json::Error> {
    let Some(json) = json else { return Ok(Vec::new()) };
    let texts: Vec<Option<String>> = serde_json::from_str(json)?;
    Ok(texts.into_iter().map(Value::from).collect())
}
