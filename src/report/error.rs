//! What can go wrong with a report.

use std::io;

/// A report that cannot be written. Messages fit "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The output refuses: a full disk, a closed pipe.
    #[error("write the output: {0}")]
    Output(#[from] io::Error),
    /// A records file whose ending names no format.
    #[error("write records to {path}: its name must end in {known}")]
    UnknownEnding {
        /// The file asked for.
        path: String,
        /// The endings that are known, as a phrase.
        known: String,
    },
    /// An audit that JUnit's XML refuses.
    #[error("write the audit as JUnit: {0}")]
    Junit(String),
    /// Records that Parquet refuses.
    #[error("write records as Parquet: {0}")]
    Parquet(String),
}

impl ReportError {
    /// Whether the reader of the output went away, which is no error of ours.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, ReportError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<serde_json::Error> for ReportError {
    fn from(error: serde_json::Error) -> Self {
        ReportError::Output(error.into())
    }
}

impl From<csv::Error> for ReportError {
    fn from(error: csv::Error) -> Self {
        ReportError::Output(error.into())
    }
}

/// Parquet wraps the writer's own error: a closed pipe must stay one.
impl From<parquet::errors::ParquetError> for ReportError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        match error {
            parquet::errors::ParquetError::External(source) => match source.downcast::<io::Error>() {
                Ok(error) => ReportError::Output(*error),
                Err(source) => ReportError::Parquet(source.to_string()),
            },
            error => ReportError::Parquet(error.to_string()),
        }
    }
}
