//! What can go wrong in a trace.

use crate::catalog::CatalogError;
use crate::model::ReleaseName;

/// A trace that cannot be done. Messages fit "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A release that wrote nothing in the history.
    #[error("find release {release}: {}", known_releases(.known))]
    UnknownRelease {
        /// The release asked for.
        release: ReleaseName,
        /// The releases that the history knows.
        known: Vec<String>,
    },
    /// A history without a single write.
    #[error("trace an empty history: ingest write events first")]
    EmptyHistory,
    /// The tables could not be read or rolled.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A scratch server that cannot be used.
    #[error("run statements again on the scratch server: {reason}")]
    Scratch {
        /// Why not.
        reason: String,
        /// What to do about it.
        help: String,
    },
    /// A rule or fault whose SQL cannot be evaluated over the history.
    #[error("evaluate {what}: {reason}")]
    Evaluate {
        /// The rule or fault.
        what: String,
        /// Why not.
        reason: String,
    },
}

fn known_releases(known: &[String]) -> String {
    if known.is_empty() {
        return "no write of the history names a release".to_owned();
    }
    format!("the history knows {}", known.join(", "))
}
