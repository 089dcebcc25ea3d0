//! One CSV file as a table: a header, commas, double quotes as RFC 4180 and `COPY … (FORMAT csv, HEADER)` write them.
//!
//! An empty field is NULL, an empty quoted field the empty text. A column has a type other than text only where every
//! value of it would print the same after being read as that type: `007` keeps its zeros, so its column is text.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;

use super::column_guess::ColumnGuess;
use super::lazy_table::{Part, RowSource, wrap_error};
use super::now::OpenedTable;
use super::{CatalogError, array_from_values};
use crate::model::{Column, ColumnType, TableName, TableSchema, Value};

const ROWS_PER_BATCH: usize = 8192;

/// A record: one field a column, `None` for NULL.
type Record = Vec<Option<String>>;

#[derive(Debug)]
struct CsvFile {
    path: PathBuf,
    schema: Arc<TableSchema>,
}

/// Opens the file, and reads it once to tell its columns' types.
///
/// # Errors
/// A file without a header, with a column twice, or with a line that is no CSV or has too few or too many fields.
pub(super) fn open(path: &Path, name: TableName) -> Result<OpenedTable, CatalogError> {
    let mut records = CsvRecords::open(path)?;
    let mut guesses = vec![ColumnGuess::default(); records.header.len()];
    while let Some(record) = records.next_record()? {
        for (guess, field) in guesses.iter_mut().zip(&record) {
            if let Some(text) = field {
                guess.see(text);
            }
        }
    }
    let columns = records.header.iter().zip(&guesses).map(|(column, guess)| Column {
        name: column.as_str().into(),
        column_type: guess.column_type(),
        not_null: false,
        generated: false,
    });
    let schema = TableSchema {
        name,
        columns: columns.collect(),
        key: Vec::new(),
        foreign_keys: Vec::new(),
        unique_keys: Vec::new(),
    };
    let rows = CsvFile { path: path.to_owned(), schema: Arc::new(schema.clone()) };
    Ok(OpenedTable { schema, unique_key: Vec::new(), rows: Arc::new(rows) })
}

impl RowSource for CsvFile {
    fn read(&self, projection: SchemaRef, _part: Part, _filters: &[Expr]) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&projection), 2);
        let batches = stream.tx();
        let (path, schema) = (self.path.clone(), Arc::clone(&self.schema));
        stream.spawn_blocking(move || {
            let mut records = CsvRecords::open(&path).map_err(wrap_error)?;
            loop {
                let chunk = records.next_chunk().map_err(wrap_error)?;
                if chunk.is_empty() {
                    return Ok(());
                }
                let batch = batch_of(&chunk, &schema, &projection).map_err(wrap_error)?;
                if batches.blocking_send(Ok(batch)).is_err() {
                    // Nobody listens any more: the query has what it needs.
                    return Ok(());
                }
            }
        });
        stream.build()
    }
}

fn batch_of(chunk: &[Record], schema: &TableSchema, projection: &SchemaRef) -> Result<RecordBatch, CatalogError> {
    let refuse = |reason: String| CatalogError::Rows { table: schema.name.clone(), reason };
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(projection.fields().len());
    for field in projection.fields() {
        let position = schema.columns.iter().position(|column| column.name.as_ref() == field.name());
        let position = position.ok_or_else(|| refuse(format!("it has no column {}", field.name())))?;
        let column_type = &schema.columns[position].column_type;
        let array = array_of(chunk.iter().map(|record| record[position].as_deref()), column_type);
        arrays.push(array.map_err(|source| CatalogError::Value {
            table: schema.name.clone(),
            column: field.name().clone(),
            source,
        })?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(chunk.len()));
    RecordBatch::try_new_with_options(Arc::clone(projection), arrays, &options)
        .map_err(|error| refuse(error.to_string()))
}

fn array_of<'a>(
    fields: impl ExactSizeIterator<Item = Option<&'a str>>,
    column_type: &ColumnType,
) -> Result<ArrayRef, crate::model::ModelError> {
    if *column_type != ColumnType::Boolean {
        return array_from_values(column_type, fields);
    }
    let canonical = fields
        .map(|field| field.map_or(Ok(Value::NULL), |text| column_type.canonical(&Value::text(text))))
        .collect::<Result<Vec<Value>, _>>()?;
    array_from_values(column_type, canonical.iter().map(Value::as_str))
}

/// The records of a CSV file, one after the other.
struct CsvRecords {
    path: PathBuf,
    input: BufReader<File>,
    /// The names of the columns.
    header: Vec<String>,
    /// The last line read, 1 for the first.
    line: u64,
}

impl CsvRecords {
    fn open(path: &Path) -> Result<Self, CatalogError> {
        let refuse = |reason: String| CatalogError::File { path: path.to_owned(), reason };
        let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
        let mut records =
            CsvRecords { path: path.to_owned(), input: BufReader::new(file), header: Vec::new(), line: 0 };
        let header = records.read_record()?.ok_or_else(|| refuse("it is empty: expected a header".to_owned()))?;
        for (position, name) in header.into_iter().enumerate() {
            // A byte order mark is what spreadsheets write first.
            let name =
                name.map(|name| if position == 0 { name.trim_start_matches('\u{feff}').to_owned() } else { name });
            let name = name.filter(|name| !name.is_empty());
            let name =
                name.ok_or_else(|| records.refuse(format!("column {} of the header has no name", position + 1)))?;
            if records.header.contains(&name) {
                return Err(records.refuse(format!("the header names column {name} twice")));
            }
            records.header.push(name);
        }
        Ok(records)
    }

    fn refuse(&self, reason: String) -> CatalogError {
        CatalogError::File { path: self.path.clone(), reason: format!("line {}: {reason}", self.line) }
    }

    fn next_chunk(&mut self) -> Result<Vec<Record>, CatalogError> {
        let mut chunk = Vec::new();
        while chunk.len() < ROWS_PER_BATCH {
            match self.next_record()? {
                Some(record) => chunk.push(record),
                None => break,
            }
        }
        Ok(chunk)
    }

    /// The next record, with as many fields as the header.
    fn next_record(&mut self) -> Result<Option<Record>, CatalogError> {
        let Some(record) = self.read_record()? else { return Ok(None) };
        if record.len() != self.header.len() {
            let (found, wanted) = (record.len(), self.header.len());
            return Err(self.refuse(format!("{found} fields, where the header names {wanted} columns")));
        }
        Ok(Some(record))
    }

    /// Reads on until a record is whole: a quoted field may hold line breaks.
    fn read_record(&mut self) -> Result<Option<Record>, CatalogError> {
        let mut begun = BegunRecord::default();
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.input.read_line(&mut line).map_err(|error| self.refuse(error.to_string()))?;
            if read == 0 {
                return match begun.open {
                    Some(_) => Err(self.refuse("a quote is never closed".to_owned())),
                    None => Ok(None),
                };
            }
            self.line += 1;
            // An empty line is a record only where the one column may be NULL in it; elsewhere it is padding.
            if begun.open.is_none() && line.trim_end_matches(['\r', '\n']).is_empty() && self.header.len() != 1 {
                continue;
            }
            if begun.take(&line).map_err(|reason| self.refuse(reason))? {
                return Ok(Some(begun.fields));
            }
        }
    }
}

/// A record as far as it was read.
#[derive(Default)]
struct BegunRecord {
    fields: Record,
    /// The quoted field that goes on in the next line.
    open: Option<String>,
}

impl BegunRecord {
    /// Takes its next line, with its end; whether that is its last.
    fn take(&mut self, line: &str) -> Result<bool, String> {
        let content = line.strip_suffix('\n').unwrap_or(line);
        let content = content.strip_suffix('\r').unwrap_or(content);
        let mut rest = content;
        loop {
            let quoted = match self.open.take() {
                Some(field) => Some((field, rest)),
                None => rest.strip_prefix('"').map(|text| (String::new(), text)),
            };
            let after = if let Some((mut field, text)) = quoted {
                let Some(after) = close_quote(&mut field, text) else {
                    // The line break belongs to the field while its quote is open.
                    field.push_str(&line[content.len()..]);
                    self.open = Some(field);
                    return Ok(false);
                };
                self.fields.push(Some(field));
                after
            } else {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                if field.contains('"') {
                    return Err(format!(
                        "a quote within the unquoted field {field}: put the field in quotes and double the quote"
                    ));
                }
                self.fields.push((!field.is_empty()).then(|| field.to_owned()));
                after
            };
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(true),
                None => return Err("a quoted field is followed by text: expected a comma".to_owned()),
            }
        }
    }
}

/// Adds to the field what stands before its closing quote, and gives what follows that; `None` where the quote is not
/// closed.
fn close_quote<'text>(field: &mut String, text: &'text str) -> Option<&'text str> {
    let mut rest = text;
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            field.push_str(rest);
            return None;
        };
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some(after),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;
    use crate::catalog::{arrow_schema, rows_from_batch};

    async fn read(text: &str) -> Result<(TableSchema, Vec<Vec<Value>>), CatalogError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).expect("a file");
        let OpenedTable { schema, rows: source, .. } = open(&path, TableName::new("public", "t"))?;
        let batches: Vec<RecordBatch> = source
            .read(arrow_schema(&schema), Part::WHOLE, &[])
            .try_collect()
            .await
            .map_err(super::super::lazy_table::unwrap_engine_error)?;
        let mut rows = Vec::new();
        for batch in batches {
            rows.extend(rows_from_batch(&schema, &batch)?);
        }
        let values = rows.iter().map(|row| row.iter().map(|(_, value)| value.clone()).collect()).collect();
        Ok((schema, values))
    }

    #[tokio::test]
    async fn quotes_line_breaks_and_nulls() {
        let text = "\u{feff}id,note,\"a \"\"b\"\"\"\r\n1,\"two\nlines, \"\"quoted\"\"\",\r\n2,\"\",x\r\n";
        let (schema, rows) = read(text).await.expect("a table");
        let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_ref()).collect();
        assert_eq!(names, ["id", "note", "a \"b\""]);
        assert_eq!(rows[0], [Value::text("1"), Value::text("two\nlines, \"quoted\""), Value::NULL]);
        assert_eq!(rows[1], [Value::text("2"), Value::text(""), Value::text("x")]);
    }

    #[tokio::test]
    async fn a_field_of_many_lines_is_read_line_by_line() {
        let lines = "a \"\"line\"\"\r\n\n".repeat(200_000);
        let began = std::time::Instant::now();
        let (_, rows) = read(&format!("id,note\n1,\"{lines}\"\n2,\"\n\"\n")).await.expect("a table");
        assert_eq!(rows[0][1], Value::text(lines.replace("\"\"", "\"")));
        assert_eq!(rows[1][1], Value::text("\n"));
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "each line is looked at once");
    }

    #[tokio::test]
    async fn a_last_line_without_its_break_counts() {
        let (_, rows) = read("id\n1\n2").await.expect("a table");
        assert_eq!(rows.len(), 2);
    }

    #[tokio::test]
    async fn damage_is_told_with_its_line() {
        for (text, line, reason) in [
            ("id,n\n1,2\n3\n", "line 3", "1 fields, where the header names 2"),
            ("id,n\n1,5\" pipe\n", "line 2", "a quote within the unquoted field"),
            ("id,n\n1,\"open\n", "line 2", "never closed"),
            ("id,n\n1,\"a\"b\n", "line 2", "expected a comma"),
            ("id,n\n1,\"a\nb\"c,\"\n", "line 3", "expected a comma"),
            ("id,id\n", "line 1", "column id twice"),
            ("id,\n", "line 1", "column 2 of the header has no name"),
        ] {
            let message = read(text).await.expect_err(text).to_string();
            assert!(message.contains(line) && message.contains(reason), "{text}: {message}");
        }
        let message = read("").await.expect_err("an empty file").to_string();
        assert!(message.contains("expected a header"), "{message}");
    }
}
