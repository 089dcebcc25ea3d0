//! One Parquet file as a table.
//!
//! Types are taken as they are where PostgreSQL has them, and widened where it has not (unsigned integers). What
//! PostgreSQL could not hold exactly, such as a nanosecond that is no microsecond, is refused, not rounded. The
//! file's own key-value metadata may name the key: `blast_radius.key = "a,b"`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date64Type, Field, Fields, Schema, SchemaRef, TimeUnit, TimestampNanosecondType};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::lazy_table::{Part, RowSource, wrap_error};
use super::now::{OpenedTable, unknown_column};
use super::{CatalogError, arrow_type, column_type_of};
use crate::model::{Column, ColumnName, ColumnType, TableName, TableSchema};

/// The metadata entry that names the key columns, separated by commas.
const KEY_METADATA: &str = "blast_radius.key";
const ROWS_PER_BATCH: usize = 8192;

#[derive(Debug)]
struct ParquetFile {
    path: PathBuf,
    table: TableName,
    metadata: ArrowReaderMetadata,
}

/// Opens the file and reads its schema.
///
/// # Errors
/// A file that is no Parquet; a key in its metadata that names a column it does not have.
pub(super) fn open(path: &Path, name: TableName) -> Result<OpenedTable, CatalogError> {
    let refuse = |reason: String| CatalogError::File { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    let metadata = load(&file).map_err(|error| refuse(error.to_string()))?;
    let columns: Vec<Column> = metadata.schema().fields().iter().map(|field| column_of(field, &metadata)).collect();
    let mut schema =
        TableSchema { name: name.clone(), columns, key: Vec::new(), foreign_keys: Vec::new(), unique_keys: Vec::new() };
    schema.key = declared_key(&metadata);
    if let Some(missing) = schema.key.iter().find(|column| schema.column(column).is_none()) {
        return Err(unknown_column(&schema, missing));
    }
    let rows = ParquetFile { path: path.to_owned(), table: name, metadata };
    Ok(OpenedTable { schema, unique_key: Vec::new(), rows: Arc::new(rows) })
}

/// The file's own schema, but with each text column read as what the engine computes with, which saves a copy of it.
fn load(file: &File) -> Result<ArrowReaderMetadata, parquet::errors::ParquetError> {
    let own = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())?;
    let as_read = own.schema().fields().iter().map(|field| match field.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        _ => Arc::clone(field),
    });
    let schema = Schema::new_with_metadata(as_read.collect::<Fields>(), own.schema().metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    // Where the reader does not take it, each batch is converted.
    Ok(ArrowReaderMetadata::try_new(Arc::clone(own.metadata()), options).unwrap_or(own))
}

fn declared_key(metadata: &ArrowReaderMetadata) -> Vec<ColumnName> {
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    let key =
        entries.into_iter().flatten().find(|entry| entry.key == KEY_METADATA).and_then(|entry| entry.value.as_deref());
    let names = key.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(ColumnName::from).collect()
}

fn column_of(field: &Field, metadata: &ArrowReaderMetadata) -> Column {
    let column_type =
        if is_uuid(field, metadata) { ColumnType::Other("uuid".to_owned()) } else { column_type_of(field.data_type()) };
    Column { name: field.name().as_str().into(), column_type, not_null: !field.is_nullable(), generated: false }
}

fn is_uuid(field: &Field, metadata: &ArrowReaderMetadata) -> bool {
    let parquet_fields = metadata.parquet_schema().root_schema().get_fields();
    let parquet_field = parquet_fields.iter().find(|parquet_field| parquet_field.name() == field.name());
    let logical_type = parquet_field.and_then(|parquet_field| parquet_field.get_basic_info().logical_type_ref());
    matches!(logical_type, Some(parquet::basic::LogicalType::Uuid))
}

impl RowSource for ParquetFile {
    fn parts(&self) -> usize {
        self.metadata.metadata().num_row_groups().max(1)
    }

    fn row_count(&self) -> Option<u64> {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).ok()
    }

    fn read(&self, projection: SchemaRef, part: Part, _filters: &[Expr]) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&projection), 2);
        let batches = stream.tx();
        let (path, table, metadata) = (self.path.clone(), self.table.clone(), self.metadata.clone());
        stream.spawn_blocking(move || {
            let refuse = |reason: String| wrap_error(CatalogError::File { path: path.clone(), reason });
            let file = File::open(&path).map_err(|error| refuse(error.to_string()))?;
            let wanted: Vec<usize> = projection
                .fields()
                .iter()
                .map(|field| metadata.schema().index_of(field.name()))
                .collect::<Result<_, _>>()
                .map_err(DataFusionError::from)?;
            let mask = ProjectionMask::roots(metadata.parquet_schema(), wanted);
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
                .with_projection(mask)
                .with_row_groups(part.range(metadata.metadata().num_row_groups()).collect())
                .with_batch_size(ROWS_PER_BATCH)
                .build()
                .map_err(|error| refuse(error.to_string()))?;
            for batch in reader {
                let batch = batch.map_err(|error| refuse(error.to_string()))?;
                let batch = in_our_types(&batch, &projection, &table, &metadata).map_err(wrap_error)?;
                if batches.blocking_send(Ok(batch)).is_err() {
                    // Nobody listens any more: the query has what it needs.
                    return Ok(());
                }
            }
            Ok(())
        });
        stream.build()
    }
}

/// The batch with the columns of `projection` in its order and types.
fn in_our_types(
    batch: &RecordBatch,
    projection: &SchemaRef,
    table: &TableName,
    metadata: &ArrowReaderMetadata,
) -> Result<RecordBatch, CatalogError> {
    let refuse = |reason: String| CatalogError::Rows { table: table.clone(), reason };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(projection.fields().len());
    for field in projection.fields() {
        let position = batch.schema().index_of(field.name()).map_err(|error| refuse(error.to_string()))?;
        let source = batch.schema();
        let column = column_of(source.field(position), metadata);
        let array = in_our_type(batch.column(position), &column.column_type);
        columns.push(array.map_err(|reason| refuse(format!("column {}: {reason}", field.name())))?);
    }
    let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(projection), columns, &options)
        .map_err(|error| refuse(error.to_string()))
}

fn in_our_type(array: &ArrayRef, column_type: &ColumnType) -> Result<ArrayRef, String> {
    let wanted = arrow_type(column_type);
    match array.data_type() {
        same if *same == wanted => Ok(Arc::clone(array)),
        DataType::Dictionary(_, values) => in_our_type(&exact_cast(array, values)?, column_type),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let nanoseconds = array.as_primitive::<TimestampNanosecondType>();
            if let Some(finer) = nanoseconds.iter().flatten().find(|value| value % 1_000 != 0) {
                return Err(format!("{finer} ns is no whole number of microseconds, the finest that PostgreSQL keeps"));
            }
            exact_cast(array, &wanted)
        }
        DataType::Date64 => {
            let milliseconds = array.as_primitive::<Date64Type>();
            if let Some(partial) = milliseconds.iter().flatten().find(|value| value % 86_400_000 != 0) {
                return Err(format!("{partial} ms is no whole number of days"));
            }
            exact_cast(array, &wanted)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => exact_cast(array, &wanted),
        _ if matches!(column_type, ColumnType::Other(_)) => as_text(array, column_type),
        _ => exact_cast(array, &wanted),
    }
}

/// A cast that fails rather than turn what does not fit into NULL.
fn exact_cast(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, String> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, wanted, &options).map_err(|error| error.to_string())
}

/// The text PostgreSQL would print; for nested types, which it has no like of, what arrow prints.
fn as_text(array: &ArrayRef, column_type: &ColumnType) -> Result<ArrayRef, String> {
    let is_bytes = *column_type == ColumnType::Other("bytea".to_owned());
    let is_uuid = *column_type == ColumnType::Other("uuid".to_owned());
    let is_time = matches!(array.data_type(), DataType::Time32(_) | DataType::Time64(_));
    let text_at = |position: usize| -> Result<Option<String>, String> {
        if array.is_null(position) {
            return Ok(None);
        }
        let text = array_value_to_string(array, position).map_err(|error| error.to_string())?;
        Ok(Some(match () {
            () if is_bytes => format!("\\x{text}"),
            () if is_uuid => with_dashes(&text),
            () if is_time && text.contains('.') => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            () => text,
        }))
    };
    let texts: StringArray = (0..array.len()).map(text_at).collect::<Result<Vec<_>, _>>()?.into_iter().collect();
    Ok(Arc::new(texts))
}

fn with_dashes(hexadecimal: &str) -> String {
    let mut text = String::with_capacity(36);
    for (position, digit) in hexadecimal.chars().enumerate() {
        if matches!(position, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, Decimal128Array, DictionaryArray, StringViewArray, Time64MicrosecondArray,
        TimestampNanosecondArray, UInt32Array,
    };
    use arrow::datatypes::Int32Type;
    use futures::TryStreamExt;
    use parquet::arrow::ArrowWriter;
    use parquet::file::metadata::KeyValue;

    use super::*;
    use crate::catalog::{arrow_schema, rows_from_batch};
    use crate::model::Row;

    fn written(columns: Vec<(&str, ArrayRef)>, key: Option<&str>) -> tempfile::TempDir {
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = File::create(folder.path().join("t.parquet")).expect("a file");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("rows");
        if let Some(key) = key {
            writer.append_key_value_metadata(KeyValue::new(KEY_METADATA.to_owned(), key.to_owned()));
        }
        writer.close().expect("a footer");
        folder
    }

    async fn read(folder: &tempfile::TempDir) -> Result<(TableSchema, Vec<Row>), CatalogError> {
        let OpenedTable { schema, rows: source, .. } =
            open(&folder.path().join("t.parquet"), TableName::new("public", "t"))?;
        let batches: Vec<RecordBatch> = source
            .read(arrow_schema(&schema), Part::WHOLE, &[])
            .try_collect()
            .await
            .map_err(super::super::lazy_table::unwrap_engine_error)?;
        let mut rows = Vec::new();
        for batch in batches {
            rows.extend(rows_from_batch(&schema, &batch)?);
        }
        Ok((schema, rows))
    }

    #[tokio::test]
    async fn types_become_postgresql_s() {
        let dictionary: DictionaryArray<Int32Type> = ["open", "open"].into_iter().collect();
        let money = Decimal128Array::from(vec![1050, -5]).with_precision_and_scale(12, 2).expect("a decimal");
        let moments = TimestampNanosecondArray::from(vec![1_000, 2_000_000]).with_timezone("+01:00");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(UInt32Array::from(vec![7, u32::MAX]))),
            ("status", Arc::new(dictionary)),
            ("note", Arc::new(StringViewArray::from(vec![Some("it's"), None]))),
            ("total", Arc::new(money)),
            ("at", Arc::new(moments)),
            ("raw", Arc::new(BinaryArray::from(vec![b"\x01\xff".as_slice(), b""]))),
            ("clock", Arc::new(Time64MicrosecondArray::from(vec![1_500_000, 0]))),
        ];
        let (schema, rows) = read(&written(columns, Some("id, status"))).await.expect("a table");
        assert_eq!(schema.key, ["id".into(), "status".into()] as [ColumnName; 2]);
        let printed: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|(_, value)| value.to_string()).collect()).collect();
        assert_eq!(
            printed[0],
            ["7", "open", "it's", "10.50", "1970-01-01 00:00:00.000001+00", "\\x01ff", "00:00:01.5"]
        );
        assert_eq!(printed[1][..4], ["4294967295", "open", "NULL", "-0.05"]);
    }

    #[tokio::test]
    async fn what_would_be_rounded_is_refused() {
        let moments: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_001]));
        let message = read(&written(vec![("at", moments)], None)).await.expect_err("a nanosecond").to_string();
        assert!(
            message.contains("public.t") && message.contains("column at") && message.contains("1001 ns"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn a_key_in_the_metadata_must_exist() {
        let ids: ArrayRef = Arc::new(UInt32Array::from(vec![1]));
        let message = read(&written(vec![("id", ids)], Some("idd"))).await.expect_err("no such column").to_string();
        assert!(message.contains("did you mean id?"), "{message}");
    }

    #[test]
    fn not_null_is_what_the_file_says() {
        let schema =
            Schema::new(vec![Field::new("id", DataType::Int32, false), Field::new("n", DataType::Int32, true)]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("t.parquet");
        let file = File::create(&path).expect("a file");
        ArrowWriter::try_new(file, Arc::new(schema), None).expect("a writer").close().expect("a footer");
        let OpenedTable { schema, .. } = open(&path, TableName::new("public", "t")).expect("a table");
        assert_eq!(schema.columns.iter().map(|column| column.not_null).collect::<Vec<_>>(), [true, false]);
    }
}
