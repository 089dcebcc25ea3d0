//! What can go wrong with an audit.

use std::path::PathBuf;

use super::mistake::Mistakes;
use crate::catalog::CatalogError;

/// Why an audit could not be done. Messages fit "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A rules file or folder that cannot be read.
    #[error("read {path}: {reason}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Rules or faults that are wrong: every mistake, each with its place.
    #[error("understand what is written ({} found):\n{_0}", count(.0.len()))]
    Mistakes(Mistakes),
    /// No rule at all: an audit that checks nothing would pass.
    #[error("find a rule{}", looked_in(.0))]
    NoRules(Vec<PathBuf>),
    /// The file of accepted violations cannot be added to.
    #[error("accept violations in {path}: {reason}")]
    Accept {
        /// The file.
        path: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// Violations that are too many for memory, and a disk that does not take or give them.
    #[error("keep violations that are too many for memory: {0}")]
    Keys(#[from] std::io::Error),
    /// The tables cannot be reached.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

fn count(mistakes: usize) -> String {
    if mistakes == 1 { "1 mistake".to_owned() } else { format!("{mistakes} mistakes") }
}

fn looked_in(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return ": name files or folders of rules under [audit] rules in blast-radius.toml".to_owned();
    }
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    format!(" in {}: write some, or name another file or folder", names.join(", "))
}
