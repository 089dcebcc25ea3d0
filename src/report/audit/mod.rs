//! What an audit found, for people, scripts, CI, monitoring and catalogues.
//!
//! In: an [`AuditReport`], which is an [`AuditOutcome`] and what is needed to tell of it. Out: one of the `FORMATS`, each
//! a file with a [`AuditFormat`] and a line in that list. Cells are never printed, only keys.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::ReportError;
use crate::audit::{AuditOutcome, Location, Schemas, Severity};
use crate::catalog::DatabaseAddress;
use crate::model::Timestamp;

mod findings;
mod github;
mod html;
mod json;
mod junit;
mod markdown;
mod openlineage;
mod prometheus;
mod records;
#[cfg(test)]
mod sample;
mod sarif;
mod text;

pub use html::write_audit_html;
pub use records::write_violations;

/// Every format, the default first.
const FORMATS: &[AuditFormat] = &[
    text::FORMAT,
    json::FORMAT,
    junit::FORMAT,
    sarif::FORMAT,
    github::FORMAT,
    markdown::FORMAT,
    prometheus::FORMAT,
    openlineage::FORMAT,
];

/// An audit's outcome, and what the formats need to tell of it.
#[derive(Clone, Copy, Debug)]
pub struct AuditReport<'a> {
    /// What was found.
    pub outcome: &'a AuditOutcome,
    /// From which severity on a violation fails the audit.
    pub fail_on: Severity,
    /// The shapes of the tables: they say which keys are numbers.
    pub schemas: &'a Schemas,
    /// Where each rule stands, by its id.
    pub places: &'a BTreeMap<Arc<str>, Location>,
    /// Files are named relative to this folder, where they lie in it: the top of the repository.
    pub folder: &'a Path,
    /// The data audited, as data catalogues name it.
    pub address: &'a DatabaseAddress,
    /// When the audit was done.
    pub finished: Timestamp,
    /// Whether people get every key, or the first few.
    pub verbose: bool,
}

/// A way to print an audit.
#[derive(Debug)]
pub struct AuditFormat {
    /// Its name, as `--format` takes it.
    pub name: &'static str,
    write: fn(&AuditReport<'_>, &mut dyn Write) -> Result<(), ReportError>,
}

impl AuditFormat {
    /// The format of this name, and the text for people where none is named.
    pub fn named(name: Option<&str>) -> Option<&'static AuditFormat> {
        let name = name.unwrap_or("text");
        FORMATS.iter().find(|format| format.name == name)
    }

    /// The names of all formats, the default first.
    pub fn names() -> Vec<&'static str> {
        FORMATS.iter().map(|format| format.name).collect()
    }

    /// Prints the report.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, report: &AuditReport<'_>, out: &mut dyn Write) -> Result<(), ReportError> {
        (self.write)(report, out)
    }
}

impl AuditReport<'_> {
    /// Where a rule stands: its file relative to the report's folder with `/` between its parts, and its place there.
    fn place(&self, rule: &str) -> Option<(String, &Location)> {
        let location = self.places.get(rule)?;
        let file = location.file.strip_prefix(self.folder).unwrap_or(&location.file);
        let parts: Vec<_> = file.iter().map(|part| part.to_string_lossy()).collect();
        Some((parts.join("/").replacen("//", "/", 1), location))
    }
}
