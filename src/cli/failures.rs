//! Every room's errors as failures: what is wrong, where, and what to do about it.

use super::diagnostic::{Failure, SourceLine};
use crate::audit::{AuditError, Location, Mistakes};
use crate::capture::CaptureError;
use crate::catalog::CatalogError;
use crate::store::StoreError;
use crate::trace::TraceError;

fn rule_line(location: &Location) -> SourceLine {
    SourceLine {
        file: location.file.display().to_string(),
        line: location.line,
        column: location.column,
        text: location.line_text.to_string(),
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        match &error {
            AuditError::Mistakes(mistakes) => mistaken(mistakes),
            _ => Failure::new(error),
        }
    }
}

fn mistaken(mistakes: &Mistakes) -> Failure {
    let count = match mistakes.len() {
        1 => "1 mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    mistakes.iter().fold(Failure::new(format!("understand what is written: {count}")), |failure, mistake| {
        failure.at(rule_line(&mistake.location), &mistake.message, mistake.help.as_deref())
    })
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        Failure::new(error)
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Failure::new(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::new(error)
    }
}

impl From<TraceError> for Failure {
    fn from(error: TraceError) -> Self {
        match &error {
            TraceError::EmptyHistory => Failure::new(error).with_help(
                "Name the inputs under [ingest] files in blast-radius.toml, or run blast-radius ingest FILES.",
            ),
            TraceError::Scratch { help, .. } => Failure::new(&error).with_help(help.as_str()),
            _ => Failure::new(error),
        }
    }
}
