//! One row a record, typed: times are timestamps, rules and columns are lists. `key` and `cause_key` are JSON objects,
//! as tables have different keys; cells are PostgreSQL's texts, as columns have different types.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, ListBuilder, StringBuilder, StructBuilder, TimestampMicrosecondBuilder, UInt32Builder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::model::Value;
use crate::report::{Report, ReportError, ReportedColumn, ReportedRecord};
use crate::trace::AffectedRecord;

/// Records in one batch.
const BATCH: usize = 8_192;

pub(super) fn write(report: &Report<'_>, out: &mut (dyn Write + Send)) -> Result<(), ReportError> {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(out, schema(), Some(properties))?;
    let mut batch = Batch::new();
    let mut held = 0;
    for (affected, record) in report.records() {
        batch.append(affected, &record, report.printable_subject(affected))?;
        held += 1;
        if held == BATCH {
            writer.write(&batch.finish()?)?;
            held = 0;
        }
    }
    if held > 0 {
        writer.write(&batch.finish()?)?;
    }
    writer.close()?;
    Ok(())
}

fn column_fields() -> Fields {
    Fields::from(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("current", DataType::Utf8, true),
        Field::new("expected", DataType::Utf8, true),
        // Tells an expected NULL from an expected value that is not known.
        Field::new("expected_known", DataType::Boolean, false),
        Field::new("exact", DataType::Boolean, false),
        Field::new("personal", DataType::Boolean, false),
    ])
}

fn schema() -> Arc<Schema> {
    let text = |name: &str, nullable: bool| Field::new(name, DataType::Utf8, nullable);
    let columns = Arc::new(Field::new("item", DataType::Struct(column_fields()), false));
    let rules = Arc::new(Field::new("item", DataType::Utf8, false));
    Arc::new(Schema::new(vec![
        text("table", false),
        text("key", false),
        text("role", false),
        text("state", false),
        Field::new("columns", DataType::List(columns), false),
        Field::new("hops", DataType::UInt32, false),
        Field::new("rules", DataType::List(rules), false),
        Field::new("written_seq", DataType::UInt64, true),
        Field::new("written_ts", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        text("written_tx", true),
        text("written_release", true),
        text("cause_table", true),
        text("cause_key", true),
        text("cause_statement", true),
        text("repair", false),
        text("why", true),
        text("subject", true),
        Field::new("external", DataType::Boolean, false),
    ]))
}

/// The columns of a batch while it fills.
struct Batch {
    table: StringBuilder,
    key: StringBuilder,
    role: StringBuilder,
    state: StringBuilder,
    columns: ListBuilder<StructBuilder>,
    hops: UInt32Builder,
    rules: ListBuilder<StringBuilder>,
    written_seq: UInt64Builder,
    written_ts: TimestampMicrosecondBuilder,
    written_tx: StringBuilder,
    written_release: StringBuilder,
    cause_table: StringBuilder,
    cause_key: StringBuilder,
    cause_statement: StringBuilder,
    repair: StringBuilder,
    why: StringBuilder,
    subject: StringBuilder,
    external: BooleanBuilder,
}

impl Batch {
    fn new() -> Self {
        let columns = StructBuilder::from_fields(column_fields(), BATCH);
        let column_item = Field::new("item", DataType::Struct(column_fields()), false);
        Batch {
            table: StringBuilder::new(),
            key: StringBuilder::new(),
            role: StringBuilder::new(),
            state: StringBuilder::new(),
            columns: ListBuilder::new(columns).with_field(column_item),
            hops: UInt32Builder::new(),
            rules: ListBuilder::new(StringBuilder::new()).with_field(Field::new("item", DataType::Utf8, false)),
            written_seq: UInt64Builder::new(),
            written_ts: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            written_tx: StringBuilder::new(),
            written_release: StringBuilder::new(),
            cause_table: StringBuilder::new(),
            cause_key: StringBuilder::new(),
            cause_statement: StringBuilder::new(),
            repair: StringBuilder::new(),
            why: StringBuilder::new(),
            subject: StringBuilder::new(),
            external: BooleanBuilder::new(),
        }
    }

    fn append(
        &mut self,
        affected: &AffectedRecord,
        record: &ReportedRecord<'_>,
        subject: Option<&Value>,
    ) -> Result<(), ReportError> {
        self.table.append_value(&record.table);
        self.key.append_value(serde_json::to_string(&record.key)?);
        self.role.append_value(record.role);
        self.state.append_value(record.state);
        for column in &record.columns {
            append_column(self.columns.values(), column)?;
        }
        self.columns.append(true);
        self.hops.append_value(record.hops);
        self.rules.append_value(record.rules.iter().map(Some));
        self.written_seq.append_option(record.written.seq);
        self.written_ts.append_value(affected.written.ts.as_micros());
        self.written_tx.append_option(record.written.tx);
        self.written_release.append_option(record.written.release);
        let cause = record.cause.as_ref();
        self.cause_table.append_option(cause.map(|cause| &cause.table));
        self.cause_key.append_option(cause.map(|cause| serde_json::to_string(&cause.key)).transpose()?);
        self.cause_statement.append_option(cause.and_then(|cause| cause.statement.as_deref()));
        self.repair.append_value(record.repair);
        self.why.append_option(record.why);
        self.subject.append_option(subject.and_then(Value::as_str));
        self.external.append_value(affected.external);
        Ok(())
    }

    fn finish(&mut self) -> Result<RecordBatch, ReportError> {
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(self.table.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.role.finish()),
            Arc::new(self.state.finish()),
            Arc::new(self.columns.finish()),
            Arc::new(self.hops.finish()),
            Arc::new(self.rules.finish()),
            Arc::new(self.written_seq.finish()),
            Arc::new(self.written_ts.finish()),
            Arc::new(self.written_tx.finish()),
            Arc::new(self.written_release.finish()),
            Arc::new(self.cause_table.finish()),
            Arc::new(self.cause_key.finish()),
            Arc::new(self.cause_statement.finish()),
            Arc::new(self.repair.finish()),
            Arc::new(self.why.finish()),
            Arc::new(self.subject.finish()),
            Arc::new(self.external.finish()),
        ];
        RecordBatch::try_new(schema(), arrays).map_err(|error| ParquetError::from(error).into())
    }
}

fn append_column(cells: &mut StructBuilder, column: &ReportedColumn<'_>) -> Result<(), ReportError> {
    let texts = [Some(column.name), column.current.flatten(), column.expected.flatten()];
    for (place, text) in texts.into_iter().enumerate() {
        cells.field_builder::<StringBuilder>(place).ok_or_else(misplaced)?.append_option(text);
    }
    for (place, flag) in [(3, column.expected.is_some()), (4, column.exact), (5, column.personal)] {
        cells.field_builder::<BooleanBuilder>(place).ok_or_else(misplaced)?.append_value(flag);
    }
    cells.append(true);
    Ok(())
}

fn misplaced() -> ReportError {
    ReportError::Parquet("the columns of a record are not where its schema says".to_owned())
}
