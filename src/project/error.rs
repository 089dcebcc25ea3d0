//! What can be wrong with a project file.

use std::path::PathBuf;

/// A place in a text file, with the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLocation {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters of the line are meant; at least 1.
    pub length: usize,
    /// The whole line, without its end.
    pub line_text: String,
}

impl SourceLocation {
    /// Where the bytes `span` of `text` stand. A span over several lines is cut at the end of its first.
    pub fn of_span(file: PathBuf, text: &str, span: std::ops::Range<usize>) -> Self {
        let start = floor_char_boundary(text, span.start);
        let end = floor_char_boundary(text, span.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        SourceLocation {
            file,
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            length: text[start..end.min(line_end)].chars().count().max(1),
            line_text: without_passwords(text[line_start..line_end].trim_end_matches('\r')),
        }
    }
}

/// The line with the password of every URL in it starred out, character for character, so that columns still fit.
fn without_passwords(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(scheme) = rest.find("://") {
        let (before, authority) = rest.split_at(scheme + "://".len());
        shown.push_str(before);
        let end = authority.find(['/', '"', '\'', ' ']).unwrap_or(authority.len());
        let secret = authority[..end].rfind('@').and_then(|at| Some((authority[..at].find(':')? + 1, at)));
        if let Some((colon, at)) = secret {
            shown.push_str(&authority[..colon]);
            shown.extend(authority[colon..at].chars().map(|_| '*'));
            shown.push_str(&authority[at..end]);
        } else {
            shown.push_str(&authority[..end]);
        }
        rest = &authority[end..];
    }
    shown.push_str(rest);
    shown
}

fn floor_char_boundary(text: &str, position: usize) -> usize {
    (0..=position.min(text.len())).rev().find(|&candidate| text.is_char_boundary(candidate)).unwrap_or(0)
}

/// A project that cannot be found or understood. Messages fit "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// No project file here or above.
    #[error(
        "find blast-radius.toml in {start} or any folder above it: create one there (a [database] section with \
         `files = \"data\"` or `url = \"env:NAME\"` is a beginning), or name its folder with --project"
    )]
    NotFound {
        /// Where the search began.
        start: PathBuf,
    },
    /// A project file that cannot be read at all.
    #[error("read {file}: {reason}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A mistake in the project file.
    #[error("understand {}:{}:{}: {reason}", .location.file.display(), .location.line, .location.column)]
    Invalid {
        /// Where the mistake is.
        location: SourceLocation,
        /// What is wrong, and what to write instead.
        reason: String,
    },
    /// `url = "env:NAME"`, and there is no such variable.
    #[error(
        "read the database URL from the environment ({}:{}): {name} {problem}",
        .location.file.display(),
        .location.line
    )]
    Environment {
        /// Where the project file names the variable.
        location: SourceLocation,
        /// The variable.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl ProjectError {
    /// The place in the project file that is meant, if one is.
    pub fn location(&self) -> Option<&SourceLocation> {
        match self {
            ProjectError::Invalid { location, .. } | ProjectError::Environment { location, .. } => Some(location),
            ProjectError::NotFound { .. } | ProjectError::Unreadable { .. } => None,
        }
    }
}
