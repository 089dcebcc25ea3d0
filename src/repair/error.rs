//! What can go wrong with a repair.

use std::path::PathBuf;

use crate::engine::EngineError;

/// A repair that cannot be written or rehearsed. Messages fit "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// A file or folder that cannot be written.
    #[error("write {path}: {reason}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A database that does not answer, or refuses.
    #[error(transparent)]
    Connect(#[from] EngineError),
    /// SQL of the repair that the database refuses. Nothing was changed: a rehearsal is rolled back.
    #[error("rehearse the {step}: {reason}")]
    Rehearse {
        /// What was rehearsed: `repair` or `undo`, and which transaction of it.
        step: String,
        /// What the database says, with its hint.
        reason: String,
    },
}
