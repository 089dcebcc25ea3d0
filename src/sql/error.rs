//! What can be wrong with a SQL text.

/// A SQL text that cannot be understood. Messages fit "failed to …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The text is no SQL that the parser knows; the parser's message holds line and column.
    #[error("parse SQL: {0}")]
    Parse(String),
    /// A column that no table in reach has.
    #[error("find column {0}: no table in reach has it")]
    UnknownColumn(String),
    /// Operators nest in operators deeper than a stack is sure to hold.
    #[error("understand SQL that nests more than {most} operators deep")]
    TooDeep {
        /// The deepest that is read.
        most: usize,
    },
    /// A construct whose reads and writes are not understood.
    #[error("understand {0}")]
    Unsupported(String),
}
