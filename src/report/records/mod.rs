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
    use super::*;

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
