//! The formats there are, and how the right one is found.

use std::collections::VecDeque;
use std::sync::Arc;

use super::CaptureError;
use super::dbt::Dbt;
use super::debezium::Debezium;
use super::events::Events;
use super::lines::{LONGEST_LINE, Line};
use super::openlineage::OpenLineage;
use super::otlp::Otlp;
use super::postgres_csvlog::PostgresCsvlog;
use super::postgres_jsonlog::PostgresJsonlog;
use super::postgres_prefix::LogLinePrefix;
use super::postgres_stderr::PostgresStderr;
use super::wal2json::Wal2json;
use crate::model::Recording;

/// Every format, in the order in which an unknown input is tried. A new one is one line here.
static FORMATS: &[&dyn Format] =
    &[&PostgresJsonlog, &PostgresCsvlog, &Wal2json, &Debezium, &Otlp, &Dbt, &OpenLineage, &Events, &PostgresStderr];

/// An input format of lines.
pub(super) trait Format: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;
    /// Whether a line, whole or cut off, is of this format and can be of no other.
    fn recognises(&self, line: &str) -> bool;
    /// A reader for one input from its first line on.
    fn reader(&self) -> Box<dyn LineReader>;
}

/// What is known of an input before its first line is read.
pub(super) struct Beginning<'input> {
    /// The input's name.
    pub(super) input: &'input Arc<str>,
    /// Its first lines.
    pub(super) lines: &'input VecDeque<Line>,
    /// The server's `log_line_prefix`, where it was named.
    pub(super) log_line_prefix: Option<&'input LogLinePrefix>,
}

/// Reads one input's lines in order; what a line means may depend on the lines before it.
pub(super) trait LineReader {
    /// Looks at the beginning of the input, once, before anything else.
    ///
    /// # Errors
    /// Why the input cannot be read at all.
    fn prepare(&mut self, _beginning: &Beginning<'_>) -> Result<(), CaptureError> {
        Ok(())
    }

    /// Whether a line goes on with the record that the lines before it began; asked of every line, in order. A format
    /// with a record on every line says no.
    fn continues(&mut self, _line: &[u8]) -> bool {
        false
    }

    /// Reads one record, its lines joined (without the last end, valid UTF-8, not blank), and adds what it says to
    /// `recording`.
    ///
    /// # Errors
    /// Why the line cannot be read, or a part of it, as a fragment that fits "line 7: …".
    fn read_line(&mut self, line: &str, recording: &mut Recording) -> Result<LineOutcome, String>;

    /// As [`LineReader::read_line`], of the input's last record: more of it may be written yet.
    ///
    /// # Errors
    /// As [`LineReader::read_line`].
    fn read_last(&mut self, line: &str, recording: &mut Recording) -> Result<LineOutcome, String> {
        self.read_line(line, recording)
    }

    /// The most bytes that a record of several lines may have.
    fn longest_record(&self) -> usize {
        LONGEST_LINE
    }

    /// Adds what the last lines left open.
    fn finish(&mut self, recording: &mut Recording);
}

/// What came of a readable line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineOutcome {
    /// It says something that is, or will be, recorded.
    Used,
    /// It is sound and says nothing of writes or statements.
    Ignored,
}

/// The `--format` of `ingest`, and what it needs to be known.
#[derive(Clone)]
pub struct FormatChoice {
    format: Option<&'static dyn Format>,
    log_line_prefix: Option<LogLinePrefix>,
}

impl FormatChoice {
    /// Tell the format from the content.
    pub const AUTO: FormatChoice = FormatChoice { format: None, log_line_prefix: None };

    /// The format of this name, or [`FormatChoice::AUTO`] for `auto`.
    ///
    /// # Errors
    /// [`CaptureError::UnknownFormat`], which names the formats there are.
    pub fn named(name: &str) -> Result<Self, CaptureError> {
        if name == "auto" {
            return Ok(FormatChoice::AUTO);
        }
        match FORMATS.iter().find(|format| format.name() == name) {
            Some(format) => Ok(FormatChoice { format: Some(*format), ..FormatChoice::AUTO }),
            None => Err(CaptureError::UnknownFormat { name: name.to_owned(), known: known_formats() }),
        }
    }

    /// The same, with the `log_line_prefix` of the server that wrote the plain logs among the inputs, as
    /// `SHOW log_line_prefix` tells it; without it the prefix is told from the content.
    ///
    /// # Errors
    /// [`CaptureError::LogLinePrefix`] for a prefix that no line could be read with.
    pub fn with_log_line_prefix(self, setting: &str) -> Result<Self, CaptureError> {
        match LogLinePrefix::parse(setting) {
            Ok(prefix) => Ok(FormatChoice { log_line_prefix: Some(prefix), ..self }),
            Err(reason) => Err(CaptureError::LogLinePrefix { setting: setting.to_owned(), reason }),
        }
    }

    pub(super) fn log_line_prefix(&self) -> Option<&LogLinePrefix> {
        self.log_line_prefix.as_ref()
    }

    /// The format chosen; else the first that recognises one of an input's first lines.
    pub(super) fn for_lines<'lines>(&self, lines: impl Iterator<Item = &'lines [u8]>) -> Option<&'static dyn Format> {
        if self.format.is_some() {
            return self.format;
        }
        let mut lines = lines.map(String::from_utf8_lossy);
        lines.find_map(|line| FORMATS.iter().find(|format| format.recognises(&line)).copied())
    }
}

/// `auto` where the content decides.
impl std::fmt::Debug for FormatChoice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.format.map_or("auto", Format::name))
    }
}

/// The names that `--format` takes beside `auto`.
pub fn format_names() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|format| format.name())
}

pub(super) fn known_formats() -> String {
    format_names().collect::<Vec<_>>().join(", ")
}
