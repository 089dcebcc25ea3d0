//! Every affected record, as a file: its ending names the format.

mod csv;
mod ndjson;
mod parquet;

use std::io::Write;
use std::path::Path;

use super::{Report, ReportError};

/// A format of records files. Adding one: a file with a `write` function, and a line in [`FORMATS`].
pub struct RecordsFormat {
    /// How the file's name ends, without the dot.
    pub ending: &'static str,
    /// Writes every record.
    pub write: fn(&Report<'_>, &mut (dyn Write + Send)) -> Result<(), ReportError>,
}

/// Every format of records files.
pub static FORMATS: [RecordsFormat; 3] = [
    RecordsFormat { ending: "ndjson", write: ndjson::write },
    RecordsFormat { ending: "csv", write: csv::write },
    RecordsFormat { ending: "parquet", write: parquet::write },
];

/// The format that the file's ending names.
///
/// # Errors
/// An ending that names none; the message lists those that do.
pub fn format_of(path: &Path) -> Result<&'static RecordsFormat, ReportError> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    FORMATS.iter().find(|format| format.ending.eq_ignore_ascii_case(ending)).ok_or_else(|| {
        let endings: Vec<String> = FORMATS.iter().map(|format| format!(".{}", format.ending)).collect();
        ReportError::UnknownEnding { path: path.display().to_string(), known: endings.join(", ") }
    })
}

#[cfg(test)]
mod tests {
    use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use arrow::array::{Array, AsArray};

    use super::*;
    use crate::report::sample;

    fn written(ending: &str) -> Vec<u8> {
        let (found, schemas, settings) = (sample::blast_radius(), sample::schemas(), sample::settings());
        let path = format!("records.{ending}");
        let format = format_of(Path::new(&path)).expect("the ending is known");
        let mut bytes = Vec::new();
        (format.write)(&Report::new(&found, &schemas, &settings), &mut bytes).expect("a vector takes everything");
        assert!(!bytes.windows(11).any(|window| window == b"example.org"), "a personal value is in {path}");
        bytes
    }

    #[test]
    fn every_record_is_a_line() {
        let lines = String::from_utf8(written("ndjson")).expect("JSON is UTF-8");
        assert_eq!(lines.lines().count(), 6);
        let first = r#"{"table":"public.orders","key":{"id":17},"role":"root","state":"live","columns":[{"name":"total","current":"1000.00","expected":"10.00","exact":true},{"name":"email","exact":true,"personal":true},{"name":"note","current":null,"exact":false}],"hops":0,"rules":["order-total-adds-up"],"written":{"seq":120033,"ts":"2026-03-02T10:15:30.123456Z","tx":"733","release":"v42"},"cause":null,"repair":"update"}"#;
        assert_eq!(lines.lines().next(), Some(first));
        let table = String::from_utf8(written("csv")).expect("CSV is UTF-8");
        let mut rows = ::csv::Reader::from_reader(table.as_bytes());
        let rows: Vec<::csv::StringRecord> = rows.records().collect::<Result<_, _>>().expect("the table is CSV");
        assert_eq!(rows.len(), 6);
        assert_eq!(&rows[0][5], r#"{"total":"1000.00","note":null}"#);
        assert_eq!(&rows[0][6], r#"{"total":"10.00"}"#);
        assert_eq!((&rows[0][19], &rows[4][15]), ("7", r#"{"id":17}"#));
    }

    #[test]
    fn parquet_is_typed() {
        let mut file = tempfile::tempfile().expect("a temporary file can be made");
        file.write_all(&written("parquet")).expect("it can be written");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("the file is Parquet");
        let batches: Vec<_> = reader.build().expect("it can be read").collect::<Result<_, _>>().expect("it is whole");
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 6);
        let batch = &batches[0];
        assert_eq!(batch.column_by_name("state").expect("a column").as_string::<i32>().value(3), "missing");
        let columns = batch.column_by_name("columns").expect("a column").as_list::<i32>().value(0);
        let columns = columns.as_struct();
        assert_eq!(columns.len(), 3);
        assert_eq!(columns.column_by_name("expected").expect("a field").as_string::<i32>().value(0), "10.00");
        assert!(columns.column_by_name("personal").expect("a field").as_boolean().value(1));
    }

    #[test]
    fn the_ending_names_the_format() {
        assert_eq!(format_of(Path::new("a/all.Parquet")).map(|format| format.ending).ok(), Some("parquet"));
        let error = format_of(Path::new("records.xlsx")).err().map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some("write records to records.xlsx: its name must end in .ndjson, .csv, .parquet")
        );
    }
}
