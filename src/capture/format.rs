//! The formats there are, and how the right one is found.

use super::CaptureError;
use super::dbt::Dbt;
use super::events::Events;
use super::openlineage::OpenLineage;
use super::postgres_jsonlog::PostgresJsonlog;
use super::wal2json::Wal2json;
use crate::model::Recording;

/// Every format, in the order in which an unknown input is tried. A new one is one line here.
static FORMATS: &[&dyn Format] = &[&PostgresJsonlog, &Wal2json, &Dbt, &OpenLineage, &Events];

/// An input format of lines.
pub(super) trait Format: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;
    /// Whether a line, whole or cut off, is of this format and can be of no other.
    fn recognises(&self, line: &str) -> bool;
    /// A reader for one input from its first line on.
    fn reader(&self) -> Box<dyn LineReader>;
}

/// Reads one input's lines in order; what a line means may depend on the lines before it.
pub(super) trait LineReader {
    /// Reads one line (without its end, valid UTF-8, not blank) and adds what it says to `recording`.
    ///
    /// # Errors
    /// Why the line cannot be read, as a fragment that fits "line 7: …".
    fn read_line(&mut self, line: &str, recording: &mut Recording) -> Result<LineOutcome, String>;

    /// Adds what the last lines left open.
    fn finish(&mut self, recording: &mut Recording);

    /// Why the input cannot end where it does, if it cannot; as [`LineReader::read_line`]'s reasons.
    fn unfinished(&self) -> Option<String> {
        None
    }
}

/// What came of a readable line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineOutcome {
    /// It says something that is, or will be, recorded.
    Used,
    /// It is sound and says nothing of writes or statements.
    Ignored,
}

/// The `--format` of `ingest`.
#[derive(Clone, Copy)]
pub struct FormatChoice(Option<&'static dyn Format>);

impl FormatChoice {
    /// Tell the format from the content.
    pub const AUTO: FormatChoice = FormatChoice(None);

    /// The format of this name, or [`FormatChoice::AUTO`] for `auto`.
    ///
    /// # Errors
    /// [`CaptureError::UnknownFormat`], which names the formats there are.
    pub fn named(name: &str) -> Result<Self, CaptureError> {
        if name == "auto" {
            return Ok(FormatChoice::AUTO);
        }
        match FORMATS.iter().find(|format| format.name() == name) {
            Some(format) => Ok(FormatChoice(Some(*format))),
            None => Err(CaptureError::UnknownFormat { name: name.to_owned(), known: known_formats() }),
        }
    }

    /// The format chosen; else the first that recognises one of an input's first lines.
    pub(super) fn for_lines<'lines>(self, lines: impl Iterator<Item = &'lines [u8]>) -> Option<&'static dyn Format> {
        if self.0.is_some() {
            return self.0;
        }
        let mut lines = lines.map(String::from_utf8_lossy);
        lines.find_map(|line| FORMATS.iter().find(|format| format.recognises(&line)).copied())
    }
}

/// `auto` where the content decides.
impl std::fmt::Debug for FormatChoice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0.map_or("auto", Format::name))
    }
}

/// The names that `--format` takes beside `auto`.
pub fn format_names() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|format| format.name())
}

pub(super) fn known_formats() -> String {
    format_names().collect::<Vec<_>>().join(", ")
}
