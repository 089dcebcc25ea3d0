//! What is wrong in a file somebody wrote, and where.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A place in a text file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file.
    pub file: Arc<Path>,
    /// The line, 1 for the first.
    pub line: usize,
    /// The column in characters, 1 for the first.
    pub column: usize,
    /// The whole line, to be shown.
    pub line_text: Arc<str>,
}

/// `file:line:column`, as editors and terminals link it.
impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// One mistake in a rules or faults file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub location: Location,
    /// What is wrong: a lowercase sentence without its full stop.
    pub message: String,
    /// What to write instead, where that can be said.
    pub help: Option<String>,
}

/// Four lines: the message with its place, the line with a mark under the column, the help.
impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { line, column, line_text, .. } = &self.location;
        let margin = " ".repeat(line.to_string().len());
        let indent = " ".repeat(column.saturating_sub(1));
        write!(formatter, "{}: {}", self.location, self.message)?;
        write!(formatter, "\n  {line} | {line_text}\n  {margin} | {indent}^")?;
        match &self.help {
            Some(help) => write!(formatter, "\n  {margin} = {help}"),
            None => Ok(()),
        }
    }
}

/// Every mistake of one or more files, in the order of file, line and column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// One more.
    pub fn push(&mut self, location: Location, message: impl Into<String>, help: Option<String>) {
        self.0.push(Mistake { location, message: message.into(), help });
    }

    /// All of another collection.
    pub fn extend(&mut self, others: Mistakes) {
        self.0.extend(others.0);
    }

    /// Those that a condition holds for, and the others.
    pub(super) fn split(self, holds: impl FnMut(&Mistake) -> bool) -> (Mistakes, Mistakes) {
        let (those, others) = self.0.into_iter().partition(holds);
        (Mistakes(those), Mistakes(others))
    }

    /// The mistakes in the order of file, line and column.
    pub fn sorted(mut self) -> Self {
        self.0.sort_by(|one, other| one.location.cmp(&other.location));
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// One after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, mistake) in self.0.iter().enumerate() {
            let gap = if position == 0 { "" } else { "\n" };
            write!(formatter, "{gap}{mistake}")?;
        }
        Ok(())
    }
}
