//! Every room's errors as failures: what is wrong, where, and what to do about it.

use super::diagnostic::{Failure, SourceLine};
use super::recorded::IngestError;
use crate::audit::{AuditError, Location, Mistakes};
use crate::catalog::CatalogError;
use crate::lineage::LineageError;
use crate::project::{ProjectError, SourceLocation};
use crate::store::StoreError;
use crate::trace::TraceError;

impl From<ProjectError> for Failure {
    fn from(error: ProjectError) -> Self {
        match &error {
            ProjectError::Invalid { location, reason } => {
                Failure::new(format!("understand {}", location.file.display())).at(project_line(location), reason)
            }
            _ => placed(&error, error.location()),
        }
    }
}

impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Self {
        placed(&error, error.location())
    }
}

fn placed(error: &dyn std::error::Error, location: Option<&SourceLocation>) -> Failure {
    let failure = Failure::new(error);
    match location {
        Some(location) => failure.at(project_line(location), "named here"),
        None => failure,
    }
}

fn project_line(location: &SourceLocation) -> SourceLine {
    SourceLine {
        file: location.file.display().to_string(),
        line: location.line,
        column: location.column,
        text: location.line_text.clone(),
    }
}

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
        let label = match &mistake.help {
            Some(help) => format!("{} ({help})", mistake.message),
            None => mistake.message.clone(),
        };
        failure.at(rule_line(&mistake.location), label)
    })
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

impl From<LineageError> for Failure {
    fn from(error: LineageError) -> Self {
        Failure::new(error)
    }
}

impl From<TraceError> for Failure {
    fn from(error: TraceError) -> Self {
        match &error {
            TraceError::EmptyHistory => Failure::new(error).with_help(
                "Name the inputs under [ingest] files in blast-radius.toml, or run blast-radius ingest FILES.",
            ),
            _ => Failure::new(error),
        }
    }
}
