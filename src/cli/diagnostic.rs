//! Errors as the terminal shows them: what was wrong, where, and what to do about it.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents,
};

use crate::repair::RepairError;
use crate::report::ReportError;

/// A place in a file, with the line as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The line's text.
    pub text: String,
}

/// Why the job could not be done: the exit status is 2.
#[derive(Debug)]
pub struct Failure {
    message: String,
    help: Option<String>,
    places: Vec<Place>,
    closed_pipe: bool,
}

/// One mistake in a file.
#[derive(Debug)]
struct Place {
    source: SourceLine,
    label: String,
    help: Option<String>,
}

impl Failure {
    /// A failure that `what` (a fragment that fits "failed to …") describes.
    pub fn new(what: impl fmt::Display) -> Self {
        Failure { message: format!("failed to {what}"), help: None, places: Vec::new(), closed_pipe: false }
    }

    /// With what to do about it.
    pub fn with_help(mut self, help: impl fmt::Display) -> Self {
        self.help = Some(help.to_string());
        self
    }

    /// With a place to show, what is wrong there, and what to write instead; a failure may have several.
    pub fn at(mut self, source: SourceLine, label: impl fmt::Display, help: Option<&str>) -> Self {
        self.places.push(Place { source, label: label.to_string(), help: help.map(str::to_owned) });
        self
    }

    /// Whether the reader of our output went away, which is no failure.
    pub fn is_closed_pipe(&self) -> bool {
        self.closed_pipe
    }

    /// The failure as text for standard error, with colours where asked for.
    pub fn rendered(&self, colored: bool) -> String {
        let theme = if colored { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(100);
        let mut text = String::new();
        match handler.render_report(&mut text, self) {
            Ok(()) => text,
            // The message matters more than its frame.
            Err(fmt::Error) => format!("{self}\n"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Diagnostic for Failure {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let places = self.places.iter().map(|place| place as &dyn Diagnostic);
        (!self.places.is_empty()).then(|| Box::new(places) as Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SourceLine { file, line, column, .. } = &self.source;
        write!(formatter, "{file}:{line}:{column}: {}", self.label)
    }
}

impl std::error::Error for Place {}

impl Diagnostic for Place {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let offset = byte_offset(&self.source);
        let rest = self.source.text.get(offset..).unwrap_or_default();
        // The mark goes under the word that begins there.
        let length = rest.find(|character: char| character.is_whitespace() || ",:".contains(character));
        let length = length.unwrap_or(rest.len()).max(1);
        Some(Box::new(std::iter::once(LabeledSpan::new(Some("here".to_owned()), offset, length))))
    }
}

fn byte_offset(source: &SourceLine) -> usize {
    let mut offsets = source.text.char_indices().map(|(offset, _)| offset);
    offsets.nth(source.column.saturating_sub(1)).unwrap_or(source.text.len())
}

/// One line of a file, with the number that it has there.
impl SourceCode for SourceLine {
    fn read_span<'a>(
        &'a self,
        _span: &SourceSpan,
        _lines_before: usize,
        _lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let whole = SourceSpan::new(0.into(), self.text.len());
        let line = self.line.saturating_sub(1);
        let contents = MietteSpanContents::new_named(self.file.clone(), self.text.as_bytes(), whole, line, 0, 1);
        Ok(Box::new(contents))
    }
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        Failure { closed_pipe: error.is_closed_pipe(), ..Failure::new(error) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        ReportError::Output(error).into()
    }
}

impl From<RepairError> for Failure {
    fn from(error: RepairError) -> Self {
        let help = match &error {
            RepairError::Rehearse { .. } => Some("Nothing was changed: the rehearsal was rolled back."),
            RepairError::File { .. } | RepairError::Connect(_) => None,
        };
        let failure = Failure::new(error);
        match help {
            Some(help) => failure.with_help(help),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_where_it_stands() {
        let source =
            SourceLine { file: "rules/shop.yaml".to_owned(), line: 12, column: 5, text: "    colum: total".to_owned() };
        let failure = Failure::new("read rules/shop.yaml")
            .at(source, "unknown key 'colum'", Some("Did you mean columns?"))
            .with_help("See docs/rules.md.");
        let text = failure.rendered(false);
        for part in [
            "failed to read rules/shop.yaml",
            "rules/shop.yaml:12",
            "12 │     colum: total",
            "unknown key 'colum'",
            "Did you mean columns?",
            "See docs/rules.md.",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
