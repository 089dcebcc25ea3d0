//! What can go wrong on the way to where queries run.

/// A database that cannot be reached. Messages fit "failed to …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// A connection string, or what it points at, that does not say how to reach the database. Never with the string
    /// itself, which may hold a password.
    #[error("read how to reach the database: {0}")]
    Settings(String),
    /// A server that does not answer, or refuses.
    #[error("connect to {target}: {reason}")]
    Connect {
        /// Host and port.
        target: String,
        /// What the server, or the system, says.
        reason: String,
    },
    /// No place for what does not fit into memory.
    #[error("make room for what does not fit into memory: {0}")]
    Memory(String),
}
